"""What the cameras show, in the observations of a control loop: the newest frame of each camera that the policy reads.

Cameras publish in a process of their own (`services.frames`), and nothing here waits for them: `take` drains what has
come, which is done between any two control steps. A frame is decoded when somebody looks at it, and that is once a
chunk. What a camera shows is acted on for `oldest_ms` after it was taken and no longer: a picture that is older, or was
never there, is `BadObservation`, which the loop answers by holding, with the camera's name as the reason. Nothing is
acted on that was shown before the robot was told that it may move: a scene is reset between two episodes.

A stamp is the monotonic clock of this host, on which the cameras' process runs too. A frame whose stamp is not newer
than its camera's last one is no news: a camera that repeats a picture, or whose sequence goes back, ages. One from the
future (a stamp of another clock) is none either.

Nothing is resized: demonstrations are recorded by the task's own cameras at the size that the policy's spec states, and
so is this. A frame of another size is refused as an observation of a wrong shape is.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robot_rl.clock import MS, Clock
from robot_rl.control.ports import GuardPort
from robot_rl.errors import BadObservation, DeadlineMissed
from robot_rl.services.frames import FRAME_BACKLOG
from robot_rl.types import Array, Command, CommandResult, Observation, PolicySpec, RobotSpec, SafetyState
from robot_rl.wire.latest import Subscriber

log = logging.getLogger(__name__)

LOOK_S = 0.02
"""Between two looks while there is nothing to do but to wait for a first frame."""
IMAGES = "images."


def cameras_of(spec: PolicySpec) -> tuple[str, ...]:
    """The cameras that a policy of `spec` reads."""
    return tuple(sorted(key[len(IMAGES) :] for key in spec.observation if key.startswith(IMAGES)))


@dataclass(frozen=True)
class Frame:
    """One picture as it came."""

    stamp_ns: int
    """When what it shows was so."""
    jpeg: bytes


class Sight:
    """The newest frame of each of `cameras` (`wanted`: of those that the policy reads), published on `endpoint`.

    Without an endpoint nothing ever comes. Belongs to one thread.
    """

    def __init__(
        self, endpoint: str | None, cameras: Sequence[str], wanted: Sequence[str], oldest_ms: float, clock: Clock
    ) -> None:
        self.cameras, self.wanted = tuple(dict.fromkeys([*cameras, *wanted])), tuple(wanted)
        self._oldest_ms, self._clock = oldest_ms, clock
        self._frames = None if endpoint is None else Subscriber(endpoint, backlog=FRAME_BACKLOG)
        self._newest: dict[str, Frame] = {}
        self._since_ns = 0

    def take(self) -> None:
        """Take what has come since the last call."""
        for camera, header, jpeg in self._frames.take() if self._frames else ():
            stamp_ns, last = header.get("stamp_ns"), self._newest.get(camera)
            if type(stamp_ns) is not int or stamp_ns > self._clock.now_ns():
                continue
            if last is None or stamp_ns > last.stamp_ns:
                self._newest[camera] = Frame(stamp_ns, jpeg)

    @property
    def unseen(self) -> list[str]:
        """The cameras that have not shown a frame yet."""
        return [camera for camera in self.cameras if camera not in self._newest]

    def await_wanted(self, patience_s: float, tend: Callable[[], None]) -> None:
        """Until each camera that the policy reads has shown a frame; `tend` is called meanwhile, and may raise.

        Raises `DeadlineMissed` after `patience_s`, with the cameras that have not.
        """
        deadline = time.monotonic() + patience_s
        while missing := sorted(set(self.unseen) & set(self.wanted)):
            if time.monotonic() > deadline:
                raise DeadlineMissed(
                    f"cameras: expected a first frame of {', '.join(missing)}, which the policy reads, within "
                    f"{patience_s:g} s, got none; logs/cameras.log in the run's directory says what became of them"
                )
            tend()
            time.sleep(LOOK_S)
            self.take()

    def begin(self) -> None:
        """What was shown before now is not acted on."""
        self._since_ns = self._clock.now_ns()

    def with_images(self, observation: Observation) -> Observation:
        """`observation` and what the policy's cameras show now, each under its own stamp."""
        if not self.wanted:
            return observation
        self.take()
        newest = {camera: self._newest[camera] for camera in self.wanted if camera in self._newest}
        seen = {camera: frame for camera, frame in newest.items() if frame.stamp_ns >= self._since_ns}
        stamps = {camera: frame.stamp_ns for camera, frame in seen.items()}
        images = Shown(self.wanted, seen, self._clock.now_ns(), self._oldest_ms)
        return replace(observation, stamps_ns={**observation.stamps_ns, **stamps}, images=images)

    def close(self) -> None:
        if self._frames:
            self._frames.close()


class Shown(Mapping[str, Array]):
    """Camera -> uint8 [H, W, 3] RGB as it was known at `now_ns`, decoded at the first look and kept.

    Looking at a camera raises `BadObservation` when it had shown nothing yet, or nothing that was fresh.
    """

    def __init__(self, cameras: Sequence[str], frames: Mapping[str, Frame], now_ns: int, oldest_ms: float) -> None:
        self._cameras, self._frames = cameras, frames
        self._now_ns, self._oldest_ms = now_ns, oldest_ms
        self._decoded: dict[str, Array] = {}

    def __getitem__(self, camera: str) -> Array:
        if camera not in self._cameras:
            raise KeyError(camera)
        if camera not in self._decoded:
            if camera not in self._frames:
                raise BadObservation(f"camera {camera}: expected a frame, none has come yet")
            frame = self._frames[camera]
            if (self._now_ns - frame.stamp_ns) / MS > self._oldest_ms:
                # without the age, which differs each time: one reason is recorded once
                raise BadObservation(f"camera {camera}: its newest frame is older than {self._oldest_ms:g} ms")
            self._decoded[camera] = decoded(camera, frame.jpeg)
        return self._decoded[camera]

    def __contains__(self, camera: object) -> bool:
        return camera in self._cameras  # without decoding it

    def __iter__(self) -> Iterator[str]:
        return iter(self._cameras)

    def __len__(self) -> int:
        return len(self._cameras)


def decoded(camera: str, jpeg: bytes) -> Array:
    """uint8 [H, W, 3] RGB, read-only. Raises `BadObservation` for what is no picture."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
            image: Array = np.array(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadObservation(f"camera {camera}: expected a JPEG frame, got none that can be read: {error}") from error
    image.flags.writeable = False
    return image


@dataclass(frozen=True)
class SeeingPort:
    """A `GuardPort` whose `observe` brings what the policy's cameras show; all else is the guard's own answer."""

    guard: GuardPort
    sight: Sight

    @property
    def spec(self) -> RobotSpec:
        return self.guard.spec

    @property
    def safety(self) -> SafetyState:
        return self.guard.safety

    def observe(self) -> Observation:
        return self.sight.with_images(self.guard.observe())

    def submit(self, command: Command) -> CommandResult:
        return self.guard.submit(command)

    def tick_hold(self) -> Observation:
        return self.guard.tick_hold()

    def check(self, chunk: Array) -> str | None:
        return self.guard.check(chunk)

    def set_active(self, active: bool) -> SafetyState:
        if active:
            self.sight.begin()
        return self.guard.set_active(active)


class FirstFrames:
    """Whether an episode may begin: each of the task's cameras has shown a frame, or is done without.

    After `patience_s` from the first question the run goes on, and both terminal and page say without which cameras;
    one that comes later is taken off the list.
    """

    def __init__(self, sight: Sight, patience_s: float) -> None:
        self._sight, self._patience_s = sight, patience_s
        self._deadline: float | None = None
        self._gone_on = False

    def __call__(self) -> str | None:
        """Why not yet, or None."""
        missing = self._sight.unseen
        if not missing or self._gone_on:
            return None
        if self._deadline is None:
            self._deadline = time.monotonic() + self._patience_s
        if time.monotonic() < self._deadline:
            return f"waiting for the first frame of {', '.join(missing)}"
        self._gone_on = True
        log.warning("%s", self.alarms[0])
        return None

    @property
    def alarms(self) -> list[str]:
        """For the page."""
        if not (self._gone_on and (missing := self._sight.unseen)):
            return []
        return [f"no frame of {', '.join(missing)} has come in {self._patience_s:g} s: episodes go on without"]
