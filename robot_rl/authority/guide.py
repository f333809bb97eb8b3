"""Who knows the answer: the twin's side of the authority report, named by a task file as `oracle: "module:class"`.

A guide works a twin of its own, and knows what neither policy nor adapter can see of it: which way leads to success
from here. What an interface makes of that knowledge is `authority.oracle`'s affair, and the same for every task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from robot_rl.config import TaskConfig
from robot_rl.errors import ConfigError, SpecMismatch
from robot_rl.twins import TwinRobot, load_object
from robot_rl.types import Array, Observation


class Guide(Protocol):
    """One twin and its expert; `is_guide` lets a task file name the class."""

    is_guide: bool

    @property
    def twin(self) -> TwinRobot: ...

    def reset(self, split: int, seed: int, episode: int) -> None:
        """The twin at a start of its stream, without the task's fault if the guide was made `faultless`."""
        ...

    def plan(self, observation: Observation, horizon: int) -> Array:
        """[P, T, A] SI: P ways that would succeed, each the expert's next `horizon` actions if all are carried out."""
        ...

    def follow(self, observation: Observation) -> None:
        """Once per control step, before it is carried out: the expert's phases go by where the robot really is."""
        ...

    def judge(self, observation: Observation, chunks: Array) -> Mapping[str, Array]:
        """Task variables that the guide names: name -> [n], of n chunks [n, T, A] SI that would begin here.

        The more of one, the worse the chunk: a critic that knows it correlates negatively.
        """
        ...


def load_guide(task: TaskConfig, *, faultless: bool = False) -> Guide:
    """The guide that `task` names, on its world "twin". Raises `ConfigError` or `SpecMismatch`."""
    if task.oracle is None:
        raise ConfigError(
            f"task {task.name!r} names no oracle, so nobody knows the answer; expected oracle: MODULE:CLASS in its file"
        )
    kind = load_object(task.oracle)
    if not getattr(kind, "is_guide", False):  # before it is called: a name in a file may be any function of any module
        raise SpecMismatch(f"{task.oracle} is not a guide: it has no `is_guide`")
    guide: Guide = kind(task, faultless=faultless)
    return guide
