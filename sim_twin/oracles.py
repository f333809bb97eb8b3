"""Who knows the answer to lid opening: the scripted expert, told which ear is whole and the true height error.

`LidOpeningGuide` is what the task files name; `robot_rl.authority.oracle` makes a controller of it for any steering
interface. Four such controllers check the task itself, not a learner:

- `base`: the frozen policy, w ~ N(0, I);
- `ear`: the noise chosen towards a whole ear, at the height that the robot believes in;
- `ear_height`: the same at the true height: all that choosing the noise can do;
- `ear_residual`: noise and residual at the true height: what USR can do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace

import numpy as np

from robot_rl.authority.ceilings import Controller, base_controller, oracle_maker
from robot_rl.authority.interface import interface_of
from robot_rl.config import TaskConfig
from robot_rl.errors import ConfigError, nearest
from robot_rl.protocols import FrozenPolicy
from robot_rl.types import Array, Observation
from sim_twin.expert import Expert
from sim_twin.lid_opening import LidOpeningTwin

ORACLES = ("base", "ear", "ear_height", "ear_residual")
FINGERTIP_M = 0.008
"""m: how far the fingertips reach beyond the TCP."""
WHOLE_EARS = {"left": ("right",), "right": ("left",), "none": ("left", "right")}
"""Broken ear -> those by which the lid can be opened."""


class LidOpeningGuide:
    """A twin, and one flawless expert for each whole ear; implements `authority.guide.Guide`.

    `faultless`: both ears whole and no height error, as where the demonstrations were recorded. Without
    `knows_height` the experts go where the robot's own calibration says.
    """

    is_guide = True

    def __init__(self, task: TaskConfig, *, faultless: bool = False, knows_height: bool = True) -> None:
        self.twin = LidOpeningTwin(task, whole=faultless)
        self._faultless, self._knows_height = faultless, knows_height
        self._experts = self._instruct()

    def reset(self, split: int, seed: int, episode: int) -> None:
        start = self.twin.draw(split, seed, episode)
        self.twin.reset(replace(start, height_error=0.0) if self._faultless else start)
        self._experts = self._instruct()

    def plan(self, observation: Observation, horizon: int) -> Array:
        """[P, T, 4] SI, one for each whole ear: displacements, then the gripper's width."""
        return np.array([_ahead(expert, observation, horizon) for expert in self._experts])

    def follow(self, observation: Observation) -> None:
        for expert in self._experts:
            expert.act(observation)

    def judge(self, observation: Observation, chunks: Array) -> Mapping[str, Array]:
        """`height_off_mm`, `side_off_mm`: how far above or below, and beside, the way in below the nearer whole ear the
        fingertips come to the ear's front (or to the chunk's end). {} unless most of the chunks go in there.
        """
        tcp = observation.tcp_pose[:3]
        path = tcp + np.cumsum(chunks[:, :, :3], 1)  # [n, T, 3] m
        rows, off = np.arange(len(chunks)), []
        for expert in self._experts:
            slot, forward, leftward = expert.slot(observation)
            there = (path - slot) @ forward >= -FINGERTIP_M
            if (tcp - slot) @ forward >= -FINGERTIP_M or there.any(1).mean() <= 0.5:
                return {}
            step = np.where(there.any(1), there.argmax(1), path.shape[1] - 1)
            away = path[rows, step] - slot
            off.append([np.abs(away[:, 2]), np.abs(away @ leftward)])
        height, side = 1000 * np.array(off).transpose(1, 0, 2)  # [P, n] mm each
        nearer = side.argmin(0)
        return {"height_off_mm": height[nearer, rows], "side_off_mm": side[nearer, rows]}

    def _instruct(self) -> list[Expert]:
        scene, start = self.twin.scene, self.twin.start
        told = {
            "height_std": 0.0,
            "noise_std": 0.0,
            "height_bias": start.height_error if self._knows_height else 0.0,
        }
        return [
            Expert(scene, scene.expert.model_copy(update={**told, "ears": ear}), np.random.default_rng(start.seed))
            for ear in WHOLE_EARS[scene.bin.broken_ear]
        ]


def _ahead(expert: Expert, observation: Observation, horizon: int) -> Array:
    """[T, 4] SI: the expert's actions from here, if each is carried out."""
    expert = deepcopy(expert)
    rows = []
    seen = observation
    for _ in range(horizon):
        rows.append(expert.act(seen))
        pose = seen.tcp_pose.copy()
        pose[:3] += rows[-1][:3]
        seen = replace(seen, tcp_pose=pose)
    return np.array(rows)


def named_oracle(
    name: str, task: TaskConfig, policy: FrozenPolicy
) -> tuple[LidOpeningGuide, Callable[[np.random.Generator], Controller]]:
    """One of `ORACLES`, for `authority.ceilings.rollouts`; with the interface that DSRL-NA has on this task for noise
    alone, and USR's for noise and residual. Raises `ConfigError`.
    """
    if name not in ORACLES:
        raise ConfigError(f"no oracle {name!r}{nearest(name, ORACLES)}")
    guide = LidOpeningGuide(task, knows_height=name != "ear")
    if name == "base":
        return guide, lambda rng: base_controller(policy, rng)
    interface = interface_of(policy.spec, task.method("usr" if name == "ear_residual" else "dsrl-na"))
    return guide, oracle_maker(interface, policy, guide)
