"""A cell for tests: the point robot behind the real guard, a policy that drives it to a goal, and who records it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_rl.clock import SECOND, SteppedClock
from robot_rl.config import GuardConfig
from robot_rl.control.motion import Motion
from robot_rl.control.ports import EpisodeRecord
from robot_rl.control.session import Session
from robot_rl.errors import LabelConflict, StoreError
from robot_rl.safety.guard import Guard
from robot_rl.safety.limits import Limits
from robot_rl.testing.point_robot import SPEC, PointRobot
from robot_rl.types import ActionChunk, Array, Context, Label, LabelValue, Observation, PolicySpec, Steering, Transition

HOME = (0.4, 0.0, 0.3)
HORIZON = 4
PERIOD_NS = round(SECOND / SPEC.control_hz)
LIMITS = Limits(
    workspace_low=np.array([0.3, -0.3, 0.1]),
    workspace_high=np.array([0.7, 0.3, 0.6]),
    step_m=0.022,
    seam_m=0.030,
    tolerance=2.0,
    gripper_low=0.0,
    gripper_high=0.08,
)


class PointPolicy:
    """Features are the TCP's position; a chunk goes 6 mm a step along +x, and sideways by its noise.

    `trouble` is called before each encode and decode with its name, and may raise; `shift` is added to every chunk.
    """

    def __init__(self, trouble: Callable[[str], None] = lambda call: None) -> None:
        self.trouble = trouble
        self.shift: Array = np.zeros((HORIZON, 4), np.float32)
        self.spec = PolicySpec(
            policy_id="point",
            observation={"tcp_pose": (7,)},
            action_space=SPEC.action_space,
            horizon=HORIZON,
            step_s=0.05,
            noise_shape=(HORIZON, 4),
            features=3,
            latent=2,
            deterministic=True,
            decodes_from_features=True,
        )

    def encode(self, observations: Sequence[Observation]) -> Context:
        self.trouble("encode")
        features = np.stack([o.tcp_pose[:3] for o in observations]).astype(np.float32)
        return Context(features, z=features[:, :2] * 2)

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        self.trouble("decode")
        chunks: Array = np.zeros((len(noise), HORIZON, 4), np.float32)
        chunks[..., 0] = 0.006
        chunks[..., 1] = np.clip(noise[..., 1], -1, 1) * 0.001
        chunks[..., 3] = 0.04
        return chunks + self.shift


@dataclass
class PointAdapter:
    """Noise from N(0, I), and a constant residual upwards."""

    version: int = 7
    residual_m: float = 0.0005
    whole_chunk: Array | None = None
    """[T, A]: sent in place of what the policy decodes."""
    asked: list[Steering | None] = field(default_factory=list)
    """What each decision was told of the one before it."""
    decided: list[Steering] = field(default_factory=list)

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        noise = rng.standard_normal((HORIZON, 4)).astype(np.float32)
        residual = np.zeros((HORIZON, 4), np.float32)
        residual[:, 2] = self.residual_m
        self.asked.append(previous)
        self.decided.append(Steering(noise.reshape(-1), noise, residual, chunk=self.whole_chunk))
        return self.decided[-1]


@dataclass(frozen=True)
class PointTruth:
    success: bool
    failed: bool


class PointTwin:
    """Success is to get 10 cm along +x; an episode in `doomed` can only fail, one in `hopeless` runs into its limit."""

    is_twin = True

    def __init__(self, robot: PointRobot, doomed: set[int] | None = None, hopeless: set[int] | None = None) -> None:
        self.robot = robot
        self.doomed, self.hopeless = doomed or set(), hopeless or set()
        self.episode = 0
        self.resets: list[int] = []
        self.freed: list[int] = []
        self.can_free = True

    def reset(self, episode: int) -> None:
        self.episode = episode
        self.resets.append(episode)
        self.robot.xyz = np.array(HOME) + np.random.default_rng(episode).uniform(-0.01, 0.01, 3)

    def free(self, episode: int) -> None:
        self.freed.append(episode)
        if self.can_free:
            self.robot.xyz = np.array(HOME)

    def truth(self) -> PointTruth:
        done = bool(self.robot.xyz[0] > HOME[0] + 0.10) and self.episode not in self.hopeless
        return PointTruth(done and self.episode not in self.doomed, done and self.episode in self.doomed)


@dataclass(frozen=True)
class Event:
    seq: int
    label: Label


@dataclass
class Row:
    episode: int
    complete: bool = True
    ended_by: str = "timeout"
    label: LabelValue | None = None
    author: str | None = None
    revision: int = 0
    adapter_version: int = 0
    steps: int = 0
    started_wall_ns: int = 0
    corrected: bool = False


class MemoryBook:
    """A label log in memory that keeps the store's promises: idempotent ids, revisions, only closed episodes."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.log: list[Event] = []
        self.audit: list[tuple[str, str, Mapping[str, Any]]] = []

    def close_episode(self, episode: int) -> None:
        self.rows[episode] = Row(episode)

    def add_label(self, label: Label, expected_revision: int | None = None) -> Event:
        for event in self.log:
            if event.label.event_id == label.event_id:
                if event.label != label:
                    raise LabelConflict(f"{label.event_id} says something else")
                return event
        if label.episode not in self.rows:
            raise StoreError(f"episode {label.episode} is not closed")
        row = self.rows[label.episode]
        if expected_revision is not None and expected_revision != row.revision:
            raise LabelConflict(f"revision is {row.revision}, expected {expected_revision}")
        event = Event(len(self.log) + 1, label)
        self.log.append(event)
        row.corrected = row.label is not None
        row.label, row.author, row.revision = label.value, label.author, event.seq
        return event

    def undo_label(self, episode: int, author: str, event_id: str) -> Event:
        values = [event.label.value for event in self.log if event.label.episode == episode]
        value = values[-2] if len(values) > 1 else LabelValue.DISCARD
        return self.add_label(Label(event_id, episode, value, author))

    def record(self, kind: str, author: str, detail: Mapping[str, Any]) -> None:
        self.audit.append((kind, author, detail))

    def episodes(self) -> list[Row]:
        return [self.rows[episode] for episode in sorted(self.rows)]


@dataclass
class MemoryRecorder:
    """What an episode wrote."""

    transitions: list[Transition] = field(default_factory=list)
    messages: list[tuple[str, int, Mapping[str, Any]]] = field(default_factory=list)
    records: list[EpisodeRecord] = field(default_factory=list)
    chunks: list[tuple[ActionChunk, int]] = field(default_factory=list)

    def begin(self, episode: int, adapter_version: int) -> None:
        self.transitions, self.messages = [], []

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, Any]) -> None:
        self.messages.append((topic, stamp_ns, message))

    def chunk(self, chunk: ActionChunk, epoch: int) -> None:
        self.chunks.append((chunk, epoch))

    def write_transition(self, transition: Transition) -> None:
        self.transitions.append(transition)

    def end(self, record: EpisodeRecord) -> None:
        self.records.append(record)

    def topic(self, name: str) -> list[Mapping[str, Any]]:
        return [message for topic, _, message in self.messages if topic == name]


class Cell:
    """Robot, guard, session and motion; `at` names what the operator does after the n-th control period of motion."""

    def __init__(self, book: MemoryBook | None = None, *, planned: int = 3, first: int = 1) -> None:
        self.clock = SteppedClock()
        self.robot = PointRobot(self.clock, HOME)
        self.guard = Guard(self.robot, LIMITS, GuardConfig(), self.clock)
        self.book = book or MemoryBook()
        self.session = Session(self.guard, self.book, self.guard.safety, first=first, planned=planned)
        self.at: dict[int, Callable[[], object]] = {}
        self.pumps = 0
        self.renew = True
        self.motion = Motion(self.guard, self.session, self.clock, self.pump)

    def pump(self) -> None:
        self.pumps += 1
        if self.renew:
            self.guard.renew_operator()
        act = self.at.pop(len(self.robot.applied) + self.robot.held, None)
        if act is not None:
            act()

    def press(self, name: str, **args: Any) -> dict[str, Any]:
        """An operator's command."""
        return self.session.command(name, args, "ana", self.clock.now_ns())

    def label(self, episode: int, value: str, event_id: str, **args: Any) -> dict[str, Any]:
        return self.press("label", episode=episode, value=value, event_id=event_id, **args)

    def start_episode(self) -> None:
        """Armed, running, and the episode begun."""
        self.press("arm")
        self.press("run")
        assert self.session.begin_episode()

    def causes(self) -> list[str]:
        return [cause.id for cause in self.guard.safety.causes]
