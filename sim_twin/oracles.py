"""Controllers that know the answer: what each steering interface could reach on this task with this frozen policy.

They check the task, not a learner. A reference path comes from the scripted expert, told the whole ear and, where an
oracle may know it, the true height error; the oracle then gets as near to it as its interface lets it:

- `base`: the frozen policy, w ~ N(0, I);
- `ear`: of K noises, clipped to [-b_W, b_W], the one whose chunk is nearest to a path to the whole ear;
- `ear_height`: the same, but the path is at the true height: all that choosing the noise can do;
- `ear_residual`: the ear by noise, and the rest by one constant residual within alpha per step: what USR can do.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np

from robot_rl.adapters.acting import BaseAdapter
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.protocols import FrozenPolicy
from robot_rl.types import Array, Context, Observation
from sim_twin.expert import Expert
from sim_twin.lid_opening import ACTION_SPACE, LidOpeningTwin

CANDIDATES = 64
"""K noises that a steering oracle chooses from, per chunk."""
ORACLES = ("base", "ear", "ear_height", "ear_residual")


class Oracle:
    """One episode's knowing controller; chunks in SI units."""

    def __init__(
        self, name: str, policy: FrozenPolicy, twin: LidOpeningTwin, config: MethodConfig, rng: np.random.Generator
    ) -> None:
        self._name, self._policy, self._config, self._rng = name, policy, config, rng
        self._frozen = BaseAdapter(SteeringLayout.plain(policy.spec))
        self._layout = SteeringLayout(policy.spec, config)
        broken = twin.scene.bin.broken_ear
        ears = {"left": "right", "right": "left", "none": "both"}[broken]
        flawless = {"height_std": 0.0, "height_bias": 0.0, "noise_std": 0.0}
        exact = twin.scene.expert.model_copy(update=flawless | {"ears": ears})
        raised = exact.model_copy(update={"height_bias": twin.start.height_error})
        self._path = Expert(twin.scene, exact, np.random.default_rng(twin.start.seed))
        self._true_path = Expert(twin.scene, raised, np.random.default_rng(twin.start.seed))

    def chunk(self, observation: Observation) -> Array:
        """[T, A] for what is seen now."""
        context = self._policy.encode([observation])
        if self._name == "base":
            noise = self._frozen.steer(context, self._rng, explore=True).noise
            plain: Array = self._policy.decode(context, noise[None])[0]
            return plain
        many = Context(
            features=np.repeat(context.features, CANDIDATES, 0),
            z=None if context.z is None else np.repeat(context.z, CANDIDATES, 0),
        )
        chunks = self._policy.decode(many, self._noise(CANDIDATES)).astype(np.float64)
        reference = self._plan(self._path, observation)
        truth = self._plan(self._true_path, observation)
        wanted = truth if self._name == "ear_height" else reference
        # Where the chunk leads counts, and the way there: both the end and the middle must fit.
        ways = np.cumsum(chunks[:, :, :3], axis=1)
        best = chunks[np.argmin(np.square(ways - np.cumsum(wanted, axis=0)).sum((1, 2)))].copy()
        if self._name == "ear_residual":
            bound = np.array(self._config.residual_scale)[:3]
            best[:, :3] += np.clip((truth - best[:, :3]).mean(0), -bound, bound)
        within: Array = np.clip(best, ACTION_SPACE.low, ACTION_SPACE.high)
        return within

    def _noise(self, size: int) -> Array:
        """[size, T, A] from N(0, I), clipped to the actor's bound."""
        steer = np.zeros((size, self._layout.size), np.float32)
        draw = self._rng.standard_normal((size, self._layout.noise_size)) / self._config.noise_bound
        steer[:, : self._layout.noise_size] = np.clip(draw, -1, 1)
        noise, _ = self._layout.split(steer)
        return noise

    def follow(self, observation: Observation) -> None:
        """Once per control step, before it is carried out: the references' phases go by where the arm really is."""
        self._path.act(observation)
        self._true_path.act(observation)

    def _plan(self, expert: Expert, observation: Observation) -> Array:
        """[T, 3] m: the expert's displacements from here, if each is carried out."""
        expert = deepcopy(expert)
        rows = []
        seen = observation
        for _ in range(self._policy.spec.horizon):
            action = expert.act(seen)
            rows.append(action[:3])
            pose = seen.tcp_pose.copy()
            pose[:3] += action[:3]
            seen = replace(seen, tcp_pose=pose)
        return np.array(rows)


def run_oracle(
    name: str,
    policy: FrozenPolicy,
    twin: LidOpeningTwin,
    config: MethodConfig,
    max_steps: int,
    rng: np.random.Generator,
) -> bool:
    """One episode from the twin's present start; whether it succeeded."""
    oracle = Oracle(name, policy, twin, config, rng)
    for _ in range(0, max_steps, policy.spec.horizon):
        for action in oracle.chunk(twin.observe()):
            oracle.follow(twin.observe())
            twin.apply(action)
            truth = twin.truth()
            if truth.success or truth.failed:
                return truth.success
    return False
