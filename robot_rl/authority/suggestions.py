"""Where to start: a value for each setting that decides, from what can be measured before learning, and the reason.

b_W by the norm that noise of the layout has and by the chunks' spread; alpha by the scale of the demonstrations'
actions; lambda by the RMS rule; H by the chunks that the protocol will bring; UTD by this machine's updates a second.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.adapters.latent import FRESH_RMS, rms, scale_by_rms
from robot_rl.authority.interface import Interface, display_units, interface_of, is_displacement, plain_interface
from robot_rl.config import MethodConfig, TaskConfig
from robot_rl.learn.learner import Learner
from robot_rl.learn.matmul import choose, probe
from robot_rl.learn.steering import Decoder
from robot_rl.methods import entry_of, method_of
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.protocols import FrozenPolicy
from robot_rl.types import ActionSpace, Array, Context, LabelValue, PolicySpec, Transition

DRAWS = 24
"""Noises per state, for a spread."""
HORIZON_SHARES = {"usr": 0.1, "usr-sac": 0.1, "policy-decorator": 0.3}
"""H as a share of the protocol's chunks: short where the noise explores too, long where the residual is alone."""


@dataclass(frozen=True)
class Suggestion:
    """One setting of one or more methods."""

    methods: tuple[str, ...]
    setting: str
    value: float | tuple[float, ...]
    now: float | tuple[float, ...]
    """What the task file has."""
    shown: tuple[str, str]
    """Both with their units, for a person."""
    reason: str


def suggest(
    method: str,
    task: TaskConfig,
    policy: FrozenPolicy,
    decoder: Decoder,
    contexts: Sequence[Context],
    demonstrations: Demonstrations,
    chunks_per_episode: float,
    rng: np.random.Generator,
    updates: int,
) -> Iterator[Suggestion]:
    """For one `method` of `task`; `contexts` are states that the base policy visits, `updates` are timed for UTD."""
    config, entry = task.method(method), entry_of(method)
    if entry.kind == "squashed" and config.noise_layout != "none":
        bound, why = noise_bound(policy, contexts, config, rng)
        yield Suggestion(
            (method,), "noise_bound", bound, config.noise_bound, (f"{bound:g}", f"{config.noise_bound:g}"), why
        )
    if config.residual_layout != "none" and config.residual_scale != "full":
        scale = action_scale(demonstrations, policy.spec.action_space)
        yield _residual_scale(method, config, policy.spec, scale)
    if config.latent_scale:
        yield _latent_scale(method, config, policy, demonstrations)
    if method_of(method) in HORIZON_SHARES and config.residual_layout != "none":
        yield _residual_horizon(method, config, task, chunks_per_episode)
    yield _utd(method, config, task, policy, decoder, contexts, updates)


# --- b_W ------------------------------------------------------------------------------------------------------------


def noise_bound(
    policy: FrozenPolicy, contexts: Sequence[Context], config: MethodConfig, rng: np.random.Generator
) -> tuple[float, str]:
    """(b_W, reason). A corner of the box has b_W times the norm that N(0, I) has on average, in every layout.

    Few dimensions (repeat, low_rank): an actor does go into corners, so their norm is the one to match, b_W = 1. With
    many (full) it does not, and a fresh actor's norm is the one to match, 0.63 b_W: 1.5. Less than the base policy's
    own spread of chunks would explore less than the base does: then it is raised, to 1.5 at most.
    """
    base = spread(policy, contexts, plain_interface(policy.spec), rng)
    tied = config.noise_layout != "full"
    for bound in (1.0, 1.25, 1.5) if tied else (1.5,):
        tried = config.model_copy(update={"noise_bound": bound, "residual_layout": "none"})
        reached = spread(policy, contexts, interface_of(policy.spec, tried), rng)
        if reached >= base:
            break
    whose, norm = ("a corner's", bound) if tied else ("a fresh actor's", FRESH_RMS * bound)
    return bound, (
        f"layout {config.noise_layout}: {whose} noise then has {norm:.2f} of the norm of N(0, I), and a fresh actor's "
        f"chunks spread {reached:.1f} mm, the base's own {base:.1f}"
    )


def spread(policy: FrozenPolicy, contexts: Sequence[Context], interface: Interface, rng: np.random.Generator) -> float:
    """RMS over states of how far (mm, RMS over the steps) chunks end from their mean, for a fresh actor's steers."""
    moving = is_displacement(policy.spec.action_space)
    variances = []
    for context in contexts:
        steers, base = interface.fresh(rng, DRAWS), interface.draw_base(rng, DRAWS)
        ways = 1000 * np.cumsum(interface.chunks(policy, context, steers, base)[:, :, moving], axis=1)
        variances.append(np.square(ways - ways.mean(0)).sum(2).mean())
    return math.sqrt(float(np.mean(variances)))


# --- alpha ----------------------------------------------------------------------------------------------------------


def action_scale(demonstrations: Demonstrations, space: ActionSpace) -> Array:
    """[A] SI: RMS of the demonstrations' actions per control step; an absolute entry (the gripper) has none, 0."""
    scale: Array = np.sqrt(np.square(demonstrations.action.astype(np.float64)).mean(0)) * is_displacement(space)
    return scale


def _residual_scale(method: str, config: MethodConfig, spec: PolicySpec, scale: Array) -> Suggestion:
    """A constant residual adds up over the chunk: one demonstrated step is then what it moves a whole chunk by."""
    assert config.residual_scale != "full"  # has no bound to choose
    constant = config.residual_layout == "constant"
    alpha = scale / spec.horizon if constant else scale
    why = (
        f"added up over {spec.horizon} steps it then moves a chunk by one demonstrated step"
        if constant
        else "each step may then be corrected by a demonstrated one; a chunk must not cross between two ways, so less "
        "may be safer"
    )
    shown = [_bounds(np.array(a, np.float64), spec.action_space, spec.horizon) for a in (alpha, config.residual_scale)]
    return Suggestion(
        (method,),
        "residual_scale",
        tuple(float(f"{value:.2g}") for value in alpha),
        config.residual_scale,
        (shown[0], shown[1]),
        f"near the demonstrated action scale (Policy Decorator), {_bounds(scale, spec.action_space)} a step: {why}",
    )


def _bounds(alpha: Array, space: ActionSpace, horizon: int = 0) -> str:
    """The bounds [A] as a person reads them: of the displacements, per step, and per chunk of `horizon` steps."""
    factors, units = display_units(space)

    def listed(times: int) -> str:
        moving = np.flatnonzero(is_displacement(space))
        return "/".join(f"{alpha[i] * factors[i] * times:.2g}" for i in moving) + f" {units[moving[0]]}"

    return f"{listed(1)} a step, {listed(horizon)} a chunk" if horizon else listed(1)


# --- lambda, H, UTD ---------------------------------------------------------------------------------------------------


def _latent_scale(
    method: str, config: MethodConfig, policy: FrozenPolicy, demonstrations: Demonstrations
) -> Suggestion:
    rows = range(0, len(demonstrations.episode), policy.spec.horizon)
    z = policy.encode([demonstrations.observation(row) for row in rows]).z
    assert z is not None  # the layout has seen to it that the policy has one
    moved = math.sqrt(
        (config.latent_rank or z.shape[1]) / z.shape[1]
    )  # an entry that is left alone counts in RMS(z) alone
    value = scale_by_rms(z) / moved
    share = config.latent_scale * FRESH_RMS * moved / rms(z)
    return Suggestion(
        (method,),
        "latent_scale",
        value,
        config.latent_scale,
        (f"{value:.2f}", f"{config.latent_scale:g}"),
        f"RMS(λ dz) is then 15 % of RMS(z) = {rms(z):.2f} over demonstrations (ZPRL: 10 to 20 %); now {share:.0%}",
    )


def _residual_horizon(method: str, config: MethodConfig, task: TaskConfig, chunks_per_episode: float) -> Suggestion:
    total = chunks_per_episode * task.protocol.episodes
    share = HORIZON_SHARES[method_of(method)]
    value = round(share * total)
    why = (
        "the noise explores from the beginning, so the residual may come soon"
        if config.noise_layout != "none"
        else "a large H is the safe choice where the residual is all that explores (Policy Decorator, appendix B.2)"
    )
    return Suggestion(
        (method,),
        "residual_horizon",
        value,
        config.residual_horizon,
        (f"{value} chunks", f"{config.residual_horizon}"),
        f"{share:.0%} of the {total:.0f} chunks that {task.protocol.episodes} episodes of {chunks_per_episode:.1f} "
        f"bring; now {config.residual_horizon / total:.0%}; {why}",
    )


def _utd(
    method: str,
    config: MethodConfig,
    task: TaskConfig,
    policy: FrozenPolicy,
    decoder: Decoder,
    contexts: Sequence[Context],
    updates: int,
) -> Suggestion:
    spec = policy.spec
    rate = updates_per_second(method, config, task, policy, decoder, contexts, updates)
    chunk_rate = 1 / (spec.horizon * spec.step_s)
    possible = rate / chunk_rate
    value = config.utd if possible >= config.utd else max(1.0, math.floor(possible))
    return Suggestion(
        (method,),
        "utd",
        value,
        config.utd,
        (f"{value:g}", f"{config.utd:g}"),
        f"{rate:.0f} updates/s on this machine as busy as it is, {chunk_rate:.2g} chunks/s at real-time pace: at most "
        f"{possible:.1f}",
    )


def updates_per_second(
    method: str,
    config: MethodConfig,
    task: TaskConfig,
    policy: FrozenPolicy,
    decoder: Decoder,
    contexts: Sequence[Context],
    updates: int,
) -> float:
    """Of this method's learner on this machine as busy as it is, with `contexts` as its one episode."""
    measured = probe(batch=config.batch, hidden=config.hidden, members=config.critics)
    matmul = choose(task.compute.matmul, None, measured)
    learner = Learner(
        policy.spec,
        method,
        config,
        decoder,
        seed=0,
        matmul=matmul,
        precision=task.compute.precision,
        device=task.compute.device,
    )
    interface = interface_of(policy.spec, config, entry_of(method).kind)
    learner.add_episode(practice_episode(interface, policy, contexts, config.gamma))
    learner.set_labels({1: LabelValue.SUCCESS})
    learner.learn(max(1, updates // 5))
    began = time.perf_counter()
    learner.learn(updates)
    return updates / (time.perf_counter() - began)


def practice_episode(
    interface: Interface, policy: FrozenPolicy, contexts: Sequence[Context], gamma: float
) -> list[Transition]:
    """One episode through `contexts` by a fresh actor; for timing, not for learning from."""
    rng = np.random.default_rng(0)
    steers = interface.fresh(rng, len(contexts))
    episode = []
    for i, (context, steer) in enumerate(zip(contexts, steers, strict=True)):
        after = contexts[min(i + 1, len(contexts) - 1)]
        base = interface.draw_base(rng, 1)
        chunk = interface.chunks(policy, context, steer[None], base)[0]
        chunk = np.clip(chunk, policy.spec.action_space.low, policy.spec.action_space.high)
        episode.append(
            Transition(
                episode=1,
                index=i,
                features=context.features[0],
                next_features=after.features[0],
                noise=base[0],
                steer=steer,
                base_chunk=chunk,
                executed_chunk=chunk,
                k_executed=policy.spec.horizon,
                discount=gamma,
                terminal=i == len(contexts) - 1,
                truncated=False,
                z=None if context.z is None else context.z[0],
                next_z=None if after.z is None else after.z[0],
            )
        )
    return episode
