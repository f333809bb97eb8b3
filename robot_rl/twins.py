"""Twins by name: a task file says "module:factory", and this is the one place that loads it.

The service does not know its twin's package; it knows what a twin can do, which is this protocol.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from robot_rl.clock import Clock
from robot_rl.control.ports import Truth
from robot_rl.errors import ConfigError, SpecMismatch, nearest
from robot_rl.protocols import Robot
from robot_rl.types import Array

if TYPE_CHECKING:  # its models take longer to build than many a command to run
    from robot_rl.config import TaskConfig

TWIN = "twin"
"""The fast twin of the task's own file, where nothing else is said."""
RANDOMISED = "randomised"
"""What the worlds of `robot-rl adapt` are called: another one each episode, around the nominal one."""


@dataclass(frozen=True)
class Hardware:
    """What `--hw NAME` (`hw:=NAME`) moves."""

    words: str
    factory: str | None = None
    """"module:factory" of a twin that is not the task's own."""
    lockstep: bool = False
    """Whether its time can stand still."""
    missing: str = ""
    """What it cannot work without, and is not there yet."""


HARDWARE: Mapping[str, Hardware] = {
    TWIN: Hardware("the task's physics twin", lockstep=True),
    "protocol_twin": Hardware(
        "the same scene behind libfranka's protocol, moved by the Franka driver in real time",
        factory="sim_twin.protocol.twin:ProtocolTwin",
    ),
    "franka": Hardware(
        "a Franka arm",
        missing="it has no cameras: their drivers and the calibration of a cell are not there yet, and a policy does "
        "not act on what it cannot see; the same driver runs with protocol_twin",
    ),
}
"""Everything that takes the name of a robot reads it here."""


def hardware(name: str) -> Hardware:
    """What `name` is. Raises `ConfigError`: with the nearest name, or with the reason why it cannot be used yet."""
    if name not in HARDWARE:
        raise ConfigError(f"hw: there is no {name!r}{nearest(name, HARDWARE)}")
    if missing := HARDWARE[name].missing:
        raise ConfigError(f"hw {name}: {missing}")
    return HARDWARE[name]


class Split(IntEnum):
    """What an episode's start is for; the streams of different splits never meet."""

    DEMONSTRATIONS = 0
    TRAIN = 1
    SELECT = 2
    EVALUATE = 3


class TwinRobot(Robot, Protocol):
    """A simulated robot in front of its task."""

    is_twin: bool
    camera_process: str
    """Module whose process draws what its cameras see (`sim_twin.camera_process`)."""

    @property
    def joint_positions(self) -> Array:
        """[nq]: all that pictures depend on."""
        ...

    def draw(self, split: int, seed: int, episode: int) -> Any:
        """A start of the task's distribution; the same three numbers give the same start."""
        ...

    def reset(self, start: Any) -> None:
        """Everything anew, the arm included."""
        ...

    def reset_objects(self, start: Any) -> None:
        """The objects put back; the arm stays where it is."""
        ...

    def truth(self) -> Truth: ...


Pixel = tuple[float, float]
"""0 to 1 from a picture's left, and from its top."""


@dataclass(frozen=True)
class Place:
    """Where the object is put."""

    x: float
    """m, base frame."""
    y: float
    yaw: float
    """rad."""


class Placing(Protocol):
    """What a task's evaluation knows of places; a twin's package has it as `placing.TwinPlacing(task, columns)`."""

    def places(self) -> Sequence[Place]:
        """In the order in which they are gone through."""
        ...

    def put(self, start: Any, place: Place) -> Any:
        """A start with the object at `place`."""
        ...

    def marks(self, places: Sequence[Place]) -> Mapping[str, Sequence[Pixel | None]]:
        """Camera -> where each place is in its pictures; None: not in them."""
        ...


def load_placing(task: TaskConfig, columns: int = 5) -> Placing:
    """Of the package that the task's twin is of: two rows of `columns` places. Raises `ConfigError` if it has none."""
    kind = load_object(f"{_package_of(task)}.placing:TwinPlacing")
    placing: Placing = kind(task, columns)
    return placing


def load_object(name: str) -> Any:
    """What "module:name" names. Raises `ConfigError` if it cannot be imported."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the task names {name!r}: {error}; expected MODULE:NAME of an installed package (pip install "
            "'robot-rl[twin]' for the twin that comes with it)"
        ) from error


def load_twin(task: TaskConfig, world: str, clock: Clock, hw: str = TWIN) -> TwinRobot:
    """The twin that `hw` names (its own, if nothing is said), in one of the worlds of `task`.

    Raises `ConfigError` if it cannot be loaded. Whoever loads it closes it.
    """
    twin: TwinRobot = _twin_kind(hardware(hw).factory or task.twin)(task, world, clock)
    return twin


def load_randomised(task: TaskConfig, ranges: Mapping[str, Any], clock: Clock) -> TwinRobot:
    """The task's own twin, whose world is another one each episode: its starts bring it along.

    `ranges` as `randomisation` gives them. Raises `ConfigError` if the twin's package cannot do that.
    """
    kind = _twin_kind(task.twin)
    twin: TwinRobot = load_object(f"{_package_of(task)}.randomised:randomised")(kind, task, clock, ranges)
    return twin


def randomisation(task: TaskConfig, ranges: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """How far the worlds of `task` are from the nominal one: JSON-able, `ranges` in place of the defaults.

    Raises `ConfigError` for a range that the twin's package does not know, or if it knows none.
    """
    known: dict[str, Any] = load_object(f"{_package_of(task)}.randomised:ranges_of")(ranges or {})
    return known


def _twin_kind(name: str) -> Any:
    kind = load_object(name)
    if not getattr(kind, "is_twin", False):  # before it is called: a name in a file may be any function of any module
        raise SpecMismatch(f"{name} is not a twin: it has no `is_twin`")
    return kind


def _package_of(task: TaskConfig) -> str:
    """That the task's twin is of."""
    return task.twin.partition(":")[0].partition(".")[0]


@dataclass(frozen=True)
class Cell:
    """A twin at work on one stream of starts: what the actor and the automatic operator see of it."""

    twin: TwinRobot
    seed: int
    split: Split = Split.TRAIN
    whole: bool = True
    """Reset the arm too (lockstep): an episode then depends on its number and its adapter alone."""
    is_twin: bool = True

    def reset(self, episode: int) -> None:
        """Make the scene ready for `episode`."""
        start = self.start(episode)
        if self.whole:
            self.twin.reset(start)
        else:
            self.twin.reset_objects(start)

    def free(self, episode: int) -> None:
        """Everything anew as at the beginning of `episode`, an arm that is stuck included."""
        self.twin.reset(self.start(episode))

    def start(self, episode: int) -> Any:
        """Where `episode` begins."""
        return self.twin.draw(self.split, self.seed, episode)

    def truth(self) -> Truth:
        return self.twin.truth()


@dataclass(frozen=True, kw_only=True)
class PlacedCell(Cell):
    """A cell whose object goes from place to place in order, `repeats` episodes at each."""

    placing: Placing
    repeats: int = 2

    def start(self, episode: int) -> Any:
        places = self.placing.places()
        return self.placing.put(super().start(episode), places[place_of(episode, self.repeats, len(places))])


def place_of(episode: int, repeats: int, places: int) -> int:
    """Index of the place of `episode`, which counts from 1; after the last place it begins anew."""
    return (episode - 1) // repeats % places
