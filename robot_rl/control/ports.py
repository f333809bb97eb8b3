"""What the control loop needs of the parts around it; the guard, the store and a twin fit, in this process or another.

A composition root brings the parts together. `Guard` and `GuardClient` are a `GuardPort`, the store is a `LabelBook`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from robot_rl.protocols import Adapter, FrozenPolicy, RobotPort
from robot_rl.types import ActionChunk, Array, Context, Label, LabelValue, Observation, SafetyState, Transition

EndedBy: TypeAlias = Literal["success", "failure", "timeout", "operator", "fault", "aborted"]
"""success, failure: seen while it ran; timeout: its time limit; operator: ended by hand, or discarded; fault: of the
robot, or a policy whose chunks are refused again and again; aborted: by a STOP."""


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """How an episode ended; `Recorder.end` keeps it."""

    ended_by: EndedBy
    steps: int
    """Control steps in which a command was carried out; held ones do not count."""
    transitions: int
    terminal: bool
    truncated: bool
    complete: bool
    """False: something is missing or it was cut off; never train on it."""
    verdicts: Mapping[str, int]
    """`Verdict` -> number of commands."""


class GuardPort(RobotPort, Protocol):
    """The robot, and what the control loop tells the guard. `observe` also brings `safety` up to date."""

    def check(self, chunk: Array) -> str | None:
        """Why the filter would reject `chunk` [T, A] (SI) if it began now, or None."""
        ...

    def set_active(self, active: bool) -> SafetyState:
        """Whether an episode or homing runs: only then are commands carried out and deadlines watched."""
        ...

    def tick_hold(self) -> Observation:
        """Returns after one control period in which the robot held."""
        ...


class GuardControls(Protocol):
    """What an operator asks of the guard; callable from any thread."""

    def stop(self, author: str, reason: str) -> SafetyState: ...

    def clear(self, cause_id: str, author: str) -> SafetyState:
        """Raises `IllegalTransition` for a cause that is not latched now."""
        ...

    def renew_operator(self) -> None: ...


T_co = TypeVar("T_co", covariant=True)


class Answer(Protocol[T_co]):
    """A call of a policy that is under way elsewhere."""

    def ready(self, wait_s: float = 0.0) -> bool:
        """Whether `result` is there, or the reason why not; waits no longer than `wait_s`."""
        ...

    def result(self) -> T_co:
        """What the call returns, or raises."""
        ...

    def cancel(self) -> None: ...


@runtime_checkable
class PatientPolicy(FrozenPolicy, Protocol):
    """A frozen policy that can be asked without waiting for its answer: one in another process, on another machine."""

    def begin_encode(self, observations: Sequence[Observation]) -> Answer[Context]: ...

    def begin_decode(self, context: Context, noise: Array, latent: Array | None = None) -> Answer[Array]: ...


class AdapterSource(Protocol):
    """Where the adapter of an episode comes from."""

    def next(self, episode: int) -> Adapter | None:
        """The adapter for `episode`: in lockstep exactly the version due, else the newest verified one.

        None: not there yet, ask again; meanwhile the operator is served.
        """
        ...


class Recorder(Protocol):
    """Where the running episode is written to."""

    def begin(self, episode: int, adapter_version: int) -> None: ...

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, Any]) -> None: ...

    def chunk(self, chunk: ActionChunk, epoch: int) -> None:
        """`chunk` begins to be executed, under the guard's safety `epoch`; the steps that come of it are written."""
        ...

    def write_transition(self, transition: Transition) -> None: ...

    def end(self, record: EpisodeRecord) -> object:
        """When this returns, nothing of the episode can be lost."""
        ...


class LabelEvent(Protocol):
    """A label that is stored; `seq` is its episode's revision until the next one."""

    @property
    def seq(self) -> int: ...

    @property
    def label(self) -> Label: ...


class EpisodeSummary(Protocol):
    """A closed episode in the list."""

    @property
    def episode(self) -> int: ...

    @property
    def adapter_version(self) -> int: ...

    @property
    def steps(self) -> int: ...

    @property
    def ended_by(self) -> str: ...

    @property
    def complete(self) -> bool: ...

    @property
    def label(self) -> LabelValue | None: ...

    @property
    def author(self) -> str | None: ...

    @property
    def revision(self) -> int: ...

    @property
    def started_wall_ns(self) -> int: ...

    @property
    def corrected(self) -> bool:
        """There is an earlier label, which an undo gives again."""
        ...


class LabelBook(Protocol):
    """The label log, the audit log and the list of closed episodes; callable from any thread."""

    def add_label(self, label: Label, expected_revision: int | None = None) -> LabelEvent:
        """Idempotent by event id. Raises `LabelConflict`, or `NoSuchEpisode` if it is not closed."""
        ...

    def undo_label(self, episode: int, author: str, event_id: str) -> LabelEvent: ...

    def record(self, kind: str, author: str, detail: Mapping[str, Any]) -> object:
        """Append to the audit log."""
        ...

    def episodes(self) -> Sequence[EpisodeSummary]: ...


class Truth(Protocol):
    """What only a simulator knows."""

    @property
    def success(self) -> bool: ...

    @property
    def failed(self) -> bool:
        """It cannot succeed any more."""
        ...


class Twin(Protocol):
    """A simulated cell: it puts its own scene back and judges its own episodes."""

    @property
    def is_twin(self) -> bool: ...

    def reset(self, episode: int) -> None:
        """Make the scene ready for `episode`; the same episode gives the same scene."""
        ...

    def free(self, episode: int) -> None:
        """Take an arm that is stuck home, by hand as it were; the scene is that of `episode` anew."""
        ...

    def truth(self) -> Truth: ...
