"""The central types: what flows between robot, policy, adapter, guard, store and learner.

SI units; robot base frame; quaternions xyzw; stamps are int64 monotonic nanoseconds (`robot_rl.clock`).
Arrays are written once and then only read. Letters in shapes: T steps of a chunk, A action size, F features,
Z latent, S steer, K pool, n joints, B batch.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


# --- specifications -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ActionSpace:
    """What one row of a chunk means.

    `ee_delta` is the one kind so far: per control step a change of the TCP position in metres along the base
    frame's x, y, z, then the gripper's width in metres (absolute).
    """

    kind: str
    names: tuple[str, ...]
    units: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def size(self) -> int:
        """A, the number of entries of one action."""
        return len(self.names)


@dataclass(frozen=True, slots=True)
class RobotSpec:
    """What a robot accepts and how often."""

    name: str
    action_space: ActionSpace
    control_hz: float
    joints: int


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """What a frozen policy needs and gives; `hash` names it in checkpoints, handshakes and manifests."""

    policy_id: str
    observation: Mapping[str, tuple[int, ...]]
    """Key -> shape, of what `encode` reads: `tcp_pose`, `gripper_width`, `q`, `images.<camera>`, `extra.<name>`."""
    action_space: ActionSpace
    horizon: int
    """T, steps of a chunk."""
    step_s: float
    """Seconds between two steps of a chunk."""
    noise_shape: tuple[int, ...]
    """Shape of one decoder noise; () for a policy that takes none."""
    features: int
    """F, size of what an adapter sees."""
    latent: int | None
    """Z, size of the bottleneck, or None."""
    deterministic: bool
    """Same context, noise and latent: same chunk."""
    decodes_from_features: bool
    """A context rebuilt from stored features and latent alone can be decoded (state policies); else pools are used."""

    @property
    def hash(self) -> str:
        """sha256 over the canonical JSON of this spec, hexadecimal."""
        return canonical_hash(asdict(self))


def canonical_hash(value: Any) -> str:
    """sha256 of `value` as JSON with sorted keys, hexadecimal; tuples and lists are the same."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# --- what flows -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known at one control step."""

    seq: int
    stamps_ns: Mapping[str, int]
    """Source ("robot", a camera, an extra) -> monotonic ns at which it was taken."""
    q: Array
    """[n] rad."""
    dq: Array
    """[n] rad/s."""
    tcp_pose: Array
    """[7] position in m and quaternion xyzw, as the robot's own calibration has it."""
    gripper_width: float
    """m between the fingers."""
    wrench: Array
    """[6] N and Nm at the TCP."""
    images: Mapping[str, Array] = field(default_factory=dict)
    """Camera -> uint8 [H, W, 3] RGB."""
    extra: Mapping[str, Array] = field(default_factory=dict)
    """Name -> array (object poses, prompt, history), as declared in the policy's spec."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a frozen policy makes of B observations: what adapters see, and what `decode` needs."""

    features: Array
    """[B, F] float32."""
    z: Array | None = None
    """[B, Z] float32: the sampled bottleneck latent, or None."""
    handle: tuple[bytes, ...] = ()
    """Per observation, an opaque name of what a remote decoder has kept; () for local policies."""
    state: tuple[Any, ...] = ()
    """Per observation, what a local decoder needs beyond features and z (a cache, the observation); never travels."""

    def repeated(self, times: int) -> Context:
        """Each observation `times` times over, in its place."""
        z = None if self.z is None else np.repeat(self.z, times, 0)
        handle, state = (tuple(item for item in items for _ in range(times)) for items in (self.handle, self.state))
        return Context(np.repeat(self.features, times, 0), z, handle, state)


@dataclass(frozen=True, slots=True)
class Steering:
    """What an adapter decides for one chunk."""

    steer: Array
    """[S] float32: the adapter's raw output, what replay holds."""
    noise: Array
    """Decoder noise, of the policy's noise shape, float32."""
    residual: Array
    """[T, A] SI units, added to the decoded chunk; zeros if the method has none or its gate is shut."""
    latent: Array | None = None
    """[Z] latent to decode with instead of the context's z, or None."""
    chunk: Array | None = None
    """[T, A] SI units: executed in place of the decoded chunk and its residual, or None."""
    draw: Array | None = None
    """[S] float32: the draw from N(0, I) with which an actor explored, for the episode's next decision; or None."""


@dataclass(frozen=True, slots=True)
class ActionChunk:
    """T actions: what the policy decoded, and what is to be executed."""

    id: int
    observation_seq: int
    space: str
    step_s: float
    base: Array
    """[T, A] SI, decoded."""
    final: Array
    """[T, A] SI, base plus residual."""
    steer: Array
    """[S]."""
    noise: Array
    """The decoder noise that made `base`."""
    policy_id: str
    adapter_version: int


class Verdict(str, enum.Enum):
    """What the safety filter made of a command."""

    PASS = "pass"
    CLIPPED = "clipped"
    HELD = "held"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Command:
    """One action on its way to the robot."""

    target: Array
    """[A] SI, in the robot's action space."""
    deadline_ns: int
    """Not to be sent later than this."""
    epoch: int
    """The guard's safety epoch under which it was made."""
    chunk_id: int
    index: int


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A command as it was really carried out."""

    command: Command
    sent: Array
    """[A] SI; zeros for the deltas of a held step."""
    verdict: Verdict
    reason: str
    stamp_ns: int
    observation: Observation
    """What the robot reported after this control step."""


class Source(str, enum.Enum):
    """Who acted."""

    POLICY = "policy"
    HUMAN = "human"


@dataclass(frozen=True, slots=True)
class Transition:
    """One chunk as the learner sees it; it holds no reward: labels are folded in when a batch is sampled."""

    episode: int
    index: int
    features: Array
    """[F]."""
    next_features: Array
    """[F]."""
    noise: Array
    """Decoder noise, of the policy's noise shape."""
    steer: Array
    """[S]."""
    base_chunk: Array
    """[T, A] SI."""
    executed_chunk: Array
    """[T, A] SI: what the robot was sent after the filter; steps after the episode's end are as planned."""
    k_executed: int
    """Steps of the chunk that were sent; with overlap, those until the next one's observation (`control.overlap`)."""
    discount: float
    """Factor on the value of the next state, for one chunk."""
    terminal: bool
    """The episode ended here by success or failure."""
    truncated: bool
    """The episode ended here by its time limit."""
    z: Array | None = None
    next_z: Array | None = None
    pool_noise: Array | None = None
    """[K, ...] decoder noises drawn from N(0, I) at this state."""
    pool_chunks: Array | None = None
    """[K, T, A] SI: what they decode to."""
    source: Source = Source.POLICY


class LabelValue(str, enum.Enum):
    """What an operator says of an episode. `DISCARD`: never train on it."""

    SUCCESS = "success"
    FAILURE = "failure"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Label:
    """One event of the append-only label log; the newest of an episode counts."""

    event_id: str
    """Idempotency key, chosen by whoever labels."""
    episode: int
    value: LabelValue
    author: str
    supersedes: str | None = None
    """Event id of the label this one corrects."""


# --- safety ---------------------------------------------------------------------------------------------------------


class SafetyLevel(enum.IntEnum):
    """Ordered by severity."""

    OK = 0
    HOLD = 1
    STOP = 2
    FAULT = 3


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the guard is not OK."""

    id: str
    """Names this occurrence; clearing a latched cause must name it."""
    kind: str
    """operator_stop, operator_silent, command_late, observation_stale, bad_action, robot_fault, ..."""
    level: SafetyLevel
    detail: str
    clears: str
    """What clears it: "operator" for latched ones, else the condition in words."""
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class SafetyState:
    """The guard's word on whether the robot may move."""

    level: SafetyLevel
    epoch: int
    """Raised by every STOP and FAULT; a command of an older epoch is never sent."""
    causes: tuple[Cause, ...] = ()
