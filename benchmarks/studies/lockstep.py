"""A small world, a frozen policy and the product's own learner in one process: act, label, learn, as in lockstep.

What acts in an episode is the version that was trained on all episodes before it but the newest `LAG`, as in a lockstep
run (`compositions.adapter_source.LockstepAdapters`), and the learner works off all that it owes between episodes. There
is no guard and no store: a world clips what it is sent to its action space, and replay holds what was executed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from robot_rl.adapters.acting import BaseAdapter
from robot_rl.adapters.latent import rms
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.compositions.adapter_source import LAG
from robot_rl.config import MethodConfig
from robot_rl.learn.learner import Learner
from robot_rl.learn.steering import Decoder
from robot_rl.protocols import Adapter, FrozenPolicy
from robot_rl.types import ActionSpace, Array, Context, LabelValue, Observation, Transition

TRAINING, TRIALS = 1, 2
"""Streams of random numbers: starts of the one are never starts of the other."""


class World(Protocol):
    """Where a study happens. A state is the world's own, and is never changed: `step` gives another."""

    @property
    def policy(self) -> FrozenPolicy: ...

    @property
    def decoder(self) -> Decoder:
        """The policy's, in torch."""
        ...

    def start(self, rng: np.random.Generator) -> Any:
        """A state in which an episode begins."""
        ...

    def observe(self, state: Any) -> Observation: ...

    def step(self, state: Any, chunk: Array) -> Any:
        """The state after `chunk` [T, A] SI, which lies in the action space."""
        ...

    def outcome(self, state: Any) -> bool | None:
        """Whether the episode has succeeded, or has failed; None while it goes on."""
        ...


@dataclass(frozen=True)
class Played:
    """An episode."""

    transitions: Sequence[Transition]
    success: bool
    last: Any
    """The world's state at its end."""

    @property
    def executed(self) -> Array:
        """[n * T, A] SI: every action that was sent; an episode may have ended within its last chunk."""
        return np.concatenate([transition.executed_chunk for transition in self.transitions])


def play(
    world: World, adapter: Adapter, rng: np.random.Generator, *, explore: bool, number: int = 0, gamma: float = 1.0
) -> Played:
    """One episode; everything random in it comes from `rng`."""
    policy, state = world.policy, world.start(rng)
    context = policy.encode([world.observe(state)])
    transitions: list[Transition] = []
    steering = outcome = None
    while outcome is None:
        steering = adapter.steer(context, rng, explore=explore, previous=steering)
        latent = None if steering.latent is None else steering.latent[None]
        base = policy.decode(context, steering.noise[None], latent)[0]
        wanted = base + steering.residual if steering.chunk is None else steering.chunk
        executed = clipped(wanted, policy.spec.action_space)
        state = world.step(state, executed)
        outcome = world.outcome(state)
        following = policy.encode([world.observe(state)])
        transitions.append(
            Transition(
                episode=number,
                index=len(transitions),
                features=context.features[0],
                next_features=following.features[0],
                noise=steering.noise,
                steer=steering.steer,
                base_chunk=base,
                executed_chunk=executed,
                k_executed=policy.spec.horizon,
                discount=gamma,
                terminal=outcome is True,
                truncated=outcome is False,
                z=_z(context),
                next_z=_z(following),
            )
        )
        context = following
    return Played(transitions, bool(outcome), state)


@dataclass
class Training:
    """What came of a training run."""

    learner: Learner
    curve: list[int] = field(default_factory=list)
    """1 for each episode that succeeded, while training."""
    noise: list[float] = field(default_factory=list)
    """RMS of the decoder's noise in each episode; 1 is the policy's own."""

    @property
    def adapter(self) -> Adapter:
        """The newest version."""
        return self.learner.adapter()


def train(
    world: World,
    method: str,
    config: MethodConfig,
    seed: int,
    episodes: int,
    *,
    before: Callable[[Learner], dict[int, LabelValue]] | None = None,
    quick: bool = False,
    done: Callable[[int], None] = lambda number: None,
) -> Training:
    """Train `method` for `episodes` episodes. `before` gives a learner its offline data and returns their labels.

    `done` is told how many are. `quick`: whatever the settings say, a short warm-up and hardly any updates.
    """
    if quick:
        config = config.model_copy(update={"warmup_episodes": 2, "utd": 0.3})
    learner = Learner(world.policy.spec, method, config, world.decoder, seed)
    labels = {} if before is None else before(learner)
    first = max(labels, default=0) + 1
    versions = deque([learner.adapter()], maxlen=LAG + 1)
    training = Training(learner)
    for number in range(first, first + episodes):
        rng = np.random.default_rng([TRAINING, seed, number])
        played = play(world, versions[0], rng, explore=True, number=number, gamma=config.gamma)
        labels[number] = LabelValue.SUCCESS if played.success else LabelValue.FAILURE
        learner.add_episode(played.transitions)
        learner.set_labels(labels)
        learner.learn()
        versions.append(learner.adapter())
        training.curve.append(int(played.success))
        done(number - first + 1)
        training.noise.append(rms(np.array([transition.noise for transition in played.transitions])))
    return training


def trials(world: World, adapter: Adapter, count: int, seed: int, *, explore: bool = False) -> list[Played]:
    """`count` episodes whose starts were never trained on; the same starts for every adapter."""
    return [
        play(world, adapter, np.random.default_rng([TRIALS, seed, number]), explore=explore) for number in range(count)
    ]


def success_rate(played: Sequence[Played]) -> float:
    """Of episodes."""
    return float(np.mean([one.success for one in played]))


def base_adapter(world: World) -> BaseAdapter:
    """The frozen policy as it is."""
    return BaseAdapter(SteeringLayout.plain(world.policy.spec))


def clipped(chunk: Array, space: ActionSpace) -> Array:
    """A chunk [T, A] within the action space."""
    within: Array = np.clip(chunk, np.array(space.low, np.float32), np.array(space.high, np.float32)).astype(np.float32)
    return within


def first_reached(curve: Sequence[int], level: float, window: int) -> int:
    """After how many episodes the mean of the newest `window` outcomes came to `level`; one more than all if never."""
    means = np.convolve(curve, np.ones(window) / window, "valid")
    reached = np.flatnonzero(means >= level - 1e-9)
    return int(reached[0]) + window if len(reached) else len(curve) + 1


def _z(context: Context) -> Array | None:
    return None if context.z is None else context.z[0]
