"""A point on a table that goes where it is told, and the product's own flow policy, cloned from demonstrations there.

Two problems: four goals around the middle, all as good (`four_goals`), and a bin that is not quite where it is seen
(`reach`). The policy is `policy.flow.FlowPolicy` with its bottleneck, of the product's own cloning on a few hundred
demonstrations; it sees the point and the bin, and puts out chunks of `T` displacements (m) and a gripper width.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from robot_rl.config import PolicyConfig
from robot_rl.policy.cloning import clone
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.policy.flow import FlowPolicy
from robot_rl.policy.torch_flow import TorchFlow
from robot_rl.types import ActionSpace, Array, Observation

T, STEP_S, GRIPPER_M = 4, 0.05, 0.04
FASTEST_M = 0.02
"""Per step and axis."""
SPACE = ActionSpace(
    kind="ee_delta",
    names=("dx", "dy", "gripper"),
    units=("m", "m", "m"),
    low=(-FASTEST_M, -FASTEST_M, 0.0),
    high=(FASTEST_M, FASTEST_M, 0.08),
)
EDGE_M = 0.2
HEIGHT_M = 0.1
GOALS = 0.1 * np.array([[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]])
"""m, those of LP-DS's toy at a tenth of its size."""
Target = Callable[[Array, Array], Array]
"""(point [2], bin [2]) -> where to go [2], m."""


@dataclass(frozen=True)
class State:
    """Where things are, m."""

    point: Array
    """[2]."""
    bin: Array
    """[2], as it is seen."""
    steps: int = 0


@dataclass(frozen=True)
class Plane:
    """A `World`. It succeeds when the point is within `radius_m` of one of the goals at the end of a chunk."""

    policy: FlowPolicy
    decoder: TorchFlow
    goals: Callable[[State], Array]
    """[n, 2] m."""
    start: Callable[[np.random.Generator], State]
    radius_m: float
    max_steps: int

    def observe(self, state: State) -> Observation:
        return observation(state.point, state.bin, state.steps)

    def step(self, state: State, chunk: Array) -> State:
        point = np.clip(state.point + chunk[:, :2].sum(0), -EDGE_M, EDGE_M)
        return replace(state, point=point, steps=state.steps + len(chunk))

    def outcome(self, state: State) -> bool | None:
        if self.away(state) < self.radius_m:
            return True
        return False if state.steps >= self.max_steps else None

    def away(self, state: State) -> float:
        """M to the nearest goal."""
        return float(np.linalg.norm(self.goals(state) - state.point, axis=1).min())


def observation(point: Array, seen: Array, number: int = 0) -> Observation:
    """What is known with the TCP at `point` and the bin seen at `seen`, both [2] m."""
    nothing: Array = np.zeros(0)
    pose = np.array([*point, HEIGHT_M, 0.0, 0.0, 0.0, 1.0])
    extra = {"bin_pose": np.array([*seen, 0.0, 0.0])}
    return Observation(number, {}, nothing, nothing, pose, GRIPPER_M, np.zeros(6), extra=extra)


# --- four goals -----------------------------------------------------------------------------------------------------


def nearest_goal(point: Array) -> int:
    """Its index in `GOALS`."""
    return int(np.linalg.norm(GOALS - point, axis=1).argmin())


def four_goals(quick: bool, *, only: int | None = None) -> Plane:
    """From the middle to any of four goals, or to one of them alone; the demonstrations went to the nearest.

    As in the LP-DS paper's appendix B: starts all over the table (half of them near the middle here, where episodes
    begin), noise of a tenth of the distance to the goals, and hence a policy that goes to all four from the middle.
    """
    policy = _four_goals_policy(quick)

    def start(rng: np.random.Generator) -> State:
        return State(rng.normal(0.0, 0.002, 2), np.zeros(2))

    wanted = GOALS if only is None else GOALS[only : only + 1]
    return Plane(policy, TorchFlow.from_policy(policy), lambda state: wanted, start, radius_m=0.01, max_steps=16)


@cache
def _four_goals_policy(quick: bool) -> FlowPolicy:
    rng = np.random.default_rng(0)
    starts = [
        rng.uniform(-EDGE_M, EDGE_M, 2) if i % 2 else rng.normal(0.0, 0.01, 2) for i in range(40 if quick else 400)
    ]
    episodes = [demonstrate(start, np.zeros(2), GOALS[nearest_goal(start)], 0.01, 20, rng) for start in starts]
    return cloned(joined(episodes), quick)


# --- a bin that is not where it is seen -----------------------------------------------------------------------------


def reach(quick: bool, *, error_m: tuple[float, float] = (0.012, -0.012), radius_m: float = 0.008) -> Plane:
    """From the left to the bin, which is seen `error_m` off where it is; the demonstrations went where it was seen."""
    policy = _reach_policy(quick)

    def start(rng: np.random.Generator) -> State:
        return State(*_reach_start(rng))

    def goals(state: State) -> Array:
        found: Array = state.bin[None] + np.array(error_m)
        return found

    return Plane(policy, TorchFlow.from_policy(policy), goals, start, radius_m=radius_m, max_steps=24)


def _reach_start(rng: np.random.Generator) -> tuple[Array, Array]:
    return np.array([-0.12, 0.0]) + rng.uniform(-0.02, 0.02, 2), rng.uniform(-0.05, 0.05, 2)


@cache
def _reach_policy(quick: bool) -> FlowPolicy:
    rng = np.random.default_rng(1)
    episodes = []
    for _ in range(40 if quick else 400):
        point, seen = _reach_start(rng)
        episodes.append(demonstrate(point, seen, seen + rng.normal(0.0, 0.006, 2), 0.001, 24, rng))
    return cloned(joined(episodes), quick)


# --- demonstrations and cloning -------------------------------------------------------------------------------------


def demonstrate(
    point: Array, seen: Array, target: Array, noise_m: float, steps: int, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """A noisy expert goes to `target`: points [n, 2], bins [n, 2], actions [n, 3]."""
    points, actions = [], []
    for _ in range(steps):
        wanted = np.clip(0.4 * (target - point), -0.8 * FASTEST_M, 0.8 * FASTEST_M)
        action = np.clip(wanted + rng.normal(0.0, noise_m, 2), -FASTEST_M, FASTEST_M)
        points.append(point)
        actions.append([*action, GRIPPER_M])
        point = np.clip(point + action, -EDGE_M, EDGE_M)
    return np.array(points), np.tile(seen, (steps, 1)), np.array(actions)


def joined(episodes: list[tuple[Array, Array, Array]]) -> Demonstrations:
    """One set of them."""
    points, bins, actions = (np.concatenate(parts) for parts in zip(*episodes, strict=True))
    rest = np.tile([HEIGHT_M, 0.0, 0.0, 0.0, 1.0], (len(points), 1))
    return Demonstrations(
        tcp_pose=np.concatenate([points, rest], axis=1),
        gripper_width=np.full(len(points), GRIPPER_M),
        bin_pose=np.concatenate([bins, np.zeros((len(points), 2))], axis=1),
        action=actions,
        episode=np.repeat(np.arange(len(episodes)), [len(one[0]) for one in episodes]),
    )


def cloned(demonstrations: Demonstrations, quick: bool) -> FlowPolicy:
    """A small flow policy with a bottleneck of 4 entries."""
    config = PolicyConfig(
        checkpoint="policy.safetensors",
        demonstrations=demonstrations.episodes,
        horizon=T,
        hidden=64,
        layers=2,
        embedding=16,
        latent=4,
        ode_steps=4,
        train_steps=60 if quick else 2000,
        bottleneck_steps=40 if quick else 1000,
        batch=256,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / config.checkpoint
        clone(demonstrations, config, SPACE, path, step_s=STEP_S)
        return FlowPolicy.load(path)
