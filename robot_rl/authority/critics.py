"""A critic check: do a run's two critics agree, and does either know what matters?

USR, DSRL-NA and LP-DS learn values on actions, and carry them over to steers by distillation. The actor climbs the
second critic, so two things must hold, and are measured at the run's own states:

- over the chunks that were executed: the critic on steers against the one on actions, and both against the episode's
  success;
- within a state, over K draws as the distillation makes them: the same two against each other, and against task
  variables that the twin's guide names. The value of a state does not help here; only this ranks the actor's choices.

Correlations are Pearson's and Spearman's; within states, means over the states at which both sides vary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats

from robot_rl.authority.guide import Guide
from robot_rl.errors import ConfigError
from robot_rl.learn.learner import Learner
from robot_rl.learn.method import Aliased
from robot_rl.learn.networks import Ensemble
from robot_rl.learn.sac import reduce
from robot_rl.store.episode import read_messages, read_transitions
from robot_rl.store.run import RunDirectory
from robot_rl.store.taken import steers_known
from robot_rl.twins import Split
from robot_rl.types import Array, LabelValue, Observation, Transition, Verdict

DRAWS = 32
"""K."""
CARRIED_OUT = (Verdict.PASS.value, Verdict.CLIPPED.value)
FEWEST = 3
"""Pairs from which a correlation is given."""


@dataclass(frozen=True)
class Correlation:
    """Of two quantities over n chunks or states; NaN where one of them does not vary."""

    pearson: float
    spearman: float
    n: int


@dataclass(frozen=True)
class State:
    """Where one chunk of the run began."""

    transition: Transition
    success: bool
    """Of its episode."""
    judged: Mapping[str, Array]
    """Task variables of the K draws [K] at this state, {} where it was not recorded what was seen."""
    steers: Array
    """[K, S] draws, as distillation makes them."""
    chunks: Array
    """[K, T*A] normalised: what they make of the base policy."""
    steer_known: bool = True
    """Whether the transition's steer is what was done; nobody knows that of an expert's."""


def critics_of(learner: Learner) -> tuple[Ensemble, Ensemble]:
    """(on steers, on actions). Raises `ConfigError` for a method that has only one."""
    pair = learner.method.critics() if isinstance(learner.method, Aliased) else None
    if pair is None:
        raise ConfigError(
            f"{learner.method_name} has a single critic here, so there is nothing to compare; the check is for usr, "
            "dsrl-na and lp-ds (with critic: distilled)"
        )
    return pair


def check_critics(learner: Learner, states: Sequence[State]) -> dict[str, Correlation]:
    """Name of a pair -> its correlation."""
    on_steers, on_actions = critics_of(learner)

    def value(critic: Ensemble, features: Array, judged: Array) -> Array:
        inputs = torch.from_numpy(np.concatenate([features, judged], 1).astype(np.float32))
        with torch.no_grad():
            q: Array = reduce(critic(inputs, frozen=True), learner.config).numpy()
        return q

    features = np.stack([state.transition.features for state in states])
    known = np.array([state.steer_known for state in states])
    executed = learner.layout.normalise(np.stack([state.transition.executed_chunk for state in states]))
    steer_q = value(on_steers, features, np.stack([state.transition.steer for state in states]))
    action_q = value(on_actions, features, executed)
    success = np.array([state.success for state in states], np.float64)
    found = {
        "executed: steers, actions": correlate(steer_q[known], action_q[known]),
        "executed: steers, success": correlate(steer_q[known], success[known]),
        "executed: actions, success": correlate(action_q, success),
    }
    within: dict[str, list[Correlation]] = {}
    for state in states:
        same = np.repeat(state.transition.features[None], len(state.steers), 0)
        sides = {"steers": value(on_steers, same, state.steers), "actions": value(on_actions, same, state.chunks)}
        pairs = {"within: steers, actions": (sides["steers"], sides["actions"])}
        for variable, truth in state.judged.items():
            pairs |= {f"within: {side}, {variable}": (q, truth) for side, q in sides.items()}
        for name, (a, b) in pairs.items():
            within.setdefault(name, []).append(correlate(a, b))
    return found | {name: _mean(values) for name, values in within.items()}


def correlate(a: Array, b: Array) -> Correlation:
    """Of [n] and [n]."""
    if len(a) < FEWEST or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Correlation(np.nan, np.nan, len(a))
    return Correlation(float(stats.pearsonr(a, b).statistic), float(stats.spearmanr(a, b).statistic), len(a))


def _mean(values: Sequence[Correlation]) -> Correlation:
    """Over those that vary; n counts them."""
    known = [value for value in values if not np.isnan(value.pearson)]
    if not known:
        return Correlation(np.nan, np.nan, 0)
    pearson, spearman = (float(np.mean([getattr(v, name) for v in known])) for name in ("pearson", "spearman"))
    return Correlation(pearson, spearman, len(known))


# --- the run's states -----------------------------------------------------------------------------------------------


def states_of(run: RunDirectory, learner: Learner, guide: Guide, episode: int, value: LabelValue) -> list[State]:
    """Where each chunk of a closed `episode` with label `value` began, with K draws and what the guide thinks of them.

    The guide's expert is led through the episode as it was recorded. Its first observation was not: the twin, put at
    the episode's start, gives it again (in lockstep exactly). Raises as `read_messages` does.
    """
    generator = torch.Generator().manual_seed(episode)
    success = value is LabelValue.SUCCESS
    folder, layout = run.episode(episode), learner.layout
    transitions, known = read_transitions(folder), steers_known(folder)
    guide.reset(Split.TRAIN, learner.seed, episode)
    seen: list[Observation] = [guide.twin.observe()]
    steps = [message.body for message in read_messages(folder, "/steps") if message.body["verdict"] in CARRIED_OUT]
    seen += [_observation(body, seen[0]) for body in steps]
    states, step = [], 0
    for transition in transitions:
        observation = seen[step] if step < len(seen) else None
        steers, chunks = draw(learner, transition.features, generator)
        judged: Mapping[str, Array] = {}
        if observation is not None:
            metres = chunks * layout.action_half + layout.action_mid
            judged = guide.judge(observation, metres.reshape(len(chunks), *transition.executed_chunk.shape))
        states.append(State(transition, success, judged, steers, chunks, known))
        for done in range(step, min(step + transition.k_executed, len(seen))):
            guide.follow(seen[done])
        step += transition.k_executed
    return states


def draw(learner: Learner, features: Array, generator: torch.Generator) -> tuple[Array, Array]:
    """K steers [K, S], noise ~ clipped N(0, I) and residual ~ U[-1, 1], and their chunks [K, T*A] normalised."""
    layout = learner.layout
    noise = learner.steering.draw_noise(DRAWS, generator)
    residual = torch.rand(DRAWS, layout.residual_size, generator=generator) * 2 - 1
    steer = torch.cat([noise, residual], 1)
    many = torch.from_numpy(features.astype(np.float32)).expand(DRAWS, -1)
    with torch.no_grad():
        chunks: Array = learner.steering.act(many, steer).numpy()
    return steer.numpy(), chunks


def _observation(body: Mapping[str, object], like: Observation) -> Observation:
    """What was recorded after a control step."""
    extra = body["extra"]
    assert isinstance(extra, dict)  # as `control.episode` writes it; the file is what its manifest says
    return Observation(
        seq=int(str(body["seq"])),
        stamps_ns={},
        q=np.array(body["q"]),
        dq=np.zeros_like(like.dq),
        tcp_pose=np.array(body["tcp_pose"]),
        gripper_width=float(str(body["gripper_width"])),
        wrench=like.wrench,
        extra={name: np.array(values) for name, values in extra.items()},
    )
