"""What must hold of every method, whatever it steers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from robot_rl import methods
from robot_rl.adapters.acting import BaseAdapter, make_adapter
from robot_rl.adapters.actor import NumpyActor, NumpyPerturbation
from robot_rl.adapters.fitting import fitting_layout
from robot_rl.config import MethodConfig
from robot_rl.errors import SpecMismatch
from robot_rl.learn.learner import METHODS, Learner
from robot_rl.learn.sac import actor_weights
from robot_rl.task_files import method_config
from robot_rl.types import Array, Context, LabelValue, Steering, Transition
from tests.learn.bandit import (
    LATENT_SPEC,
    OWN,
    SPEC,
    A,
    F,
    LatentDecoder,
    T,
    chunk_of,
    chunks,
    config_of,
    decoder_of,
    run,
    spec_of,
    success_rate,
)

SUCCESS, FAILURE = LabelValue.SUCCESS, LabelValue.FAILURE
ALL = sorted(METHODS)
STEERS_NOISE = ["dsrl-na", "dsrl-sac", "lp-ds", "usr", "usr-sac"]
CONTEXT = Context(np.array([[0.3, 1.0, -0.7]], np.float32), np.array([[0.4, -0.2]], np.float32))


def learner(method: str, seed: int = 0, **changes: Any) -> Learner:
    quick = {"hidden": 16, "warmup_episodes": 0, "batch": 32}
    config = config_of(method).model_copy(update={**quick, **changes})
    return Learner(spec_of(method), method, config, decoder_of(method), seed)


def test_a_target_entropy_that_no_actor_reaches_is_refused() -> None:
    """Of a run that goes on, as it was: above that of an even draw. A new one: above what the actor's kind reaches."""
    size = learner("dsrl-sac").layout.size
    learner("dsrl-sac", target_entropy=0.99 * size * math.log(2))
    with pytest.raises(SpecMismatch, match=rf"target_entropy: expected below .* \[-1, 1\]\^{size}.* got"):
        learner("dsrl-sac", target_entropy=size * math.log(2))

    highest = size * max(entropy_of_squashed(std) for std in np.linspace(0.5, 1.5, 101))
    spec, config = spec_of("dsrl-sac"), config_of("dsrl-sac")
    fitting_layout(spec, "dsrl-sac", config.model_copy(update={"target_entropy": highest - 0.001 * size}))
    with pytest.raises(SpecMismatch, match=rf"target_entropy: expected below .* \[-1, 1\]\^{size}.* got"):
        fitting_layout(spec, "dsrl-sac", config.model_copy(update={"target_entropy": highest}))


def entropy_of_squashed(std: float) -> float:
    """Nats, of tanh u, u ~ N(0, std^2): that of u, and the mean of log d tanh(u) / du."""
    drawn, weights = np.polynomial.hermite_e.hermegauss(200)
    squeezed = 2 * (math.log(2) - np.logaddexp(std * drawn, -std * drawn))
    return 0.5 * math.log(2 * math.pi * math.e) + math.log(std) + float(weights @ squeezed / weights.sum())


def learnt(method: str, episode: list[Transition], label: LabelValue, updates: int = 3, **changes: Any) -> Learner:
    subject = learner(method, **changes)
    subject.add_episode(episode)
    subject.set_labels({episode[0].episode: label})
    subject.learn(updates)
    return subject


def state_of(subject: Learner, without: str = "generator") -> dict[str, Array]:
    return {name: array.copy() for name, array in subject.state()[0].items() if name != without}


def same(first: Learner, second: Learner) -> bool:
    mine, other = state_of(first), state_of(second)
    return mine.keys() == other.keys() and all(np.array_equal(mine[name], other[name]) for name in mine)


# --- the registry ---------------------------------------------------------------------------------------------------


def test_each_method_is_known_to_task_files_and_to_the_learner() -> None:
    assert set(METHODS) == set(methods.METHODS)


def test_every_setting_is_read_by_some_method_and_every_setting_read_exists() -> None:
    read = methods.SHARED.union(*(entry.reads for entry in methods.METHODS.values()))
    assert read == set(MethodConfig.model_fields)
    for entry in methods.METHODS.values():
        assert set(entry.defaults) <= set(MethodConfig.model_fields)


# --- shapes ---------------------------------------------------------------------------------------------------------


class TiledDecoder(LatentDecoder):
    """A chunk of any length."""

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon

    def decode(self, features: Tensor, noise: Tensor, latent: Tensor | None = None) -> Tensor:
        assert noise.shape[1:] == (self._horizon, A)
        return 0.005 * noise.tanh() + 0.001 * features[:, :1, None]


@settings(max_examples=40, deadline=None)
@given(
    method=st.sampled_from(ALL),
    horizon=st.integers(1, 5),
    noise=st.sampled_from(["full", "repeat", "low_rank"]),
    residual=st.sampled_from(["constant", "per_step"]),
    critics=st.integers(1, 4),
    critic_reduce=st.sampled_from(["min", "mean"]),
    entropy=st.booleans(),
)
def test_every_setting_learns_and_acts_in_the_policys_shapes(
    method: str, horizon: int, noise: str, residual: str, critics: int, critic_reduce: str, entropy: bool
) -> None:
    spec = replace(LATENT_SPEC, horizon=horizon, noise_shape=(horizon, A))
    reads = methods.METHODS[method].reads
    update: dict[str, Any] = {"critics": critics, "critic_reduce": critic_reduce, "hidden": 8, "warmup_episodes": 0}
    update |= {"entropy_in_target": entropy, "timeouts_terminal": False}
    if "noise_layout" in reads:
        update |= {"noise_layout": noise, "noise_rank": 3}
    if "residual_layout" in reads and method != "dsrl-na":
        update |= {"residual_layout": residual}
    config = config_of(method).model_copy(update=update)
    subject = Learner(spec, method, config, TiledDecoder(horizon), seed=0)
    still = np.zeros((horizon, A), np.float32)
    episode = [
        replace(t, executed_chunk=still, base_chunk=still, noise=still)
        for t in chunks(1, 4, subject.layout.size, truncated=True)
    ]
    subject.add_episode(episode)
    subject.set_labels({1: FAILURE})
    assert subject.learn(2) == 2
    assert not subject.refused
    assert all(np.isfinite(value) for value in subject.losses.values())
    for explore in (True, False):
        decided = subject.adapter().steer(CONTEXT, np.random.default_rng(0), explore=explore)
        assert decided.steer.shape == (subject.layout.size,)
        assert decided.noise.shape == decided.residual.shape == (horizon, A)
        assert (decided.latent is not None) is (method == "zprl")
        assert (decided.chunk is not None) is (method == "rlpd")
        assert decided.steer.dtype == decided.noise.dtype == np.float32


@pytest.mark.parametrize("method", STEERS_NOISE)
def test_a_method_that_steers_noise_needs_noise_to_steer(method: str) -> None:
    with pytest.raises(SpecMismatch, match="noise"):
        learner(method, noise_layout="none")


@pytest.mark.parametrize("method", sorted(set(ALL) - set(STEERS_NOISE)))
def test_the_others_work_on_a_policy_without_noise(method: str) -> None:
    spec = replace(spec_of(method), noise_shape=())

    class NoNoise(LatentDecoder):
        def decode(self, features: Tensor, noise: Tensor, latent: Tensor | None = None) -> Tensor:
            assert noise.shape == (len(features),)
            return super().decode(features, torch.zeros(len(features), T, A), latent)

    config = config_of(method).model_copy(update={"hidden": 8, "warmup_episodes": 0, "timeouts_terminal": False})
    subject = Learner(spec, method, config, NoNoise(), seed=0)
    episode = [replace(t, noise=np.zeros((), np.float32)) for t in chunks(1, 3, subject.layout.size, truncated=True)]
    subject.add_episode(episode)
    subject.set_labels({1: FAILURE})
    assert subject.learn(2) == 2
    assert subject.adapter().steer(CONTEXT, np.random.default_rng(0), explore=True).noise.shape == ()
    base = BaseAdapter(subject.layout).steer(CONTEXT, np.random.default_rng(0), explore=True)
    assert base.noise.shape == ()


# --- steering of zero -----------------------------------------------------------------------------------------------


def silenced(method: str) -> Steering:
    """What a version decides whose actor puts out zeros, in evaluation."""
    subject = learner(method)
    arrays = subject.actor_arrays()
    last = max(arrays)[: len("layer.0")]
    silent = {name: np.zeros_like(a) if name.startswith(last) else a for name, a in arrays.items()}
    adapter = make_adapter(silent, subject.manifest(), subject.spec)
    return adapter.steer(CONTEXT, np.random.default_rng(7), explore=False)


@pytest.mark.parametrize("method", ["lp-ds", "policy-decorator", "residual-rl", "zprl"])
def test_a_steering_of_zero_is_the_base_policy_with_its_own_noise(method: str) -> None:
    decided = silenced(method)
    base = BaseAdapter(learner(method).layout).steer(CONTEXT, np.random.default_rng(7), explore=False)
    assert np.array_equal(decided.noise, base.noise)
    assert decided.noise.any()
    chunk, expected = chunk_of(CONTEXT.features[0], decided)[1], chunk_of(CONTEXT.features[0], base)
    assert np.array_equal(chunk, expected[1])
    assert np.array_equal(expected[0], expected[1])
    if method == "zprl":
        assert decided.latent is not None
        assert np.array_equal(decided.latent, np.array([0.4, -0.2], np.float32))


@pytest.mark.parametrize("method", ["dsrl-na", "dsrl-sac", "usr", "usr-sac"])
def test_a_steering_of_zero_is_the_base_policy_at_the_noise_0(method: str) -> None:
    decided = silenced(method)
    base, final = chunk_of(CONTEXT.features[0], decided)
    plain = LatentDecoder().decode(torch.from_numpy(CONTEXT.features), torch.zeros(1, T, A))[0]
    assert np.array_equal(base, plain.numpy())
    assert np.array_equal(final, base)


def test_without_a_base_policy_zero_is_the_middle_of_the_action_range() -> None:
    chunk = silenced("rlpd").chunk
    assert chunk is not None
    assert np.allclose(chunk, [0, 0, 0, 0.04])


# --- time -----------------------------------------------------------------------------------------------------------


def later(episode: list[Transition]) -> list[Transition]:
    """The same chunks, another state behind the last one."""
    last = episode[-1]
    assert last.next_z is not None
    return [*episode[:-1], replace(last, next_features=last.next_features + 1, next_z=last.next_z + 1)]


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize(
    ("truncated", "terminal_timeouts", "label", "looks"),
    [(False, False, FAILURE, False), (True, True, FAILURE, False), (True, False, SUCCESS, False),
     (True, False, FAILURE, True)],
)  # fmt: skip
def test_only_a_bootstrapped_time_out_looks_behind_the_end(
    method: str, truncated: bool, terminal_timeouts: bool, label: LabelValue, looks: bool
) -> None:
    changes: dict[str, Any] = {"timeouts_terminal": terminal_timeouts, "clip_targets": False, "pool": 0}
    episode = chunks(1, 1, learner(method).layout.size, truncated=truncated)
    first = learnt(method, episode, label, **changes)
    second = learnt(method, later(episode), label, **changes)
    assert same(first, second) is not looks


@pytest.mark.parametrize("method", ALL)
def test_a_corrected_label_changes_the_next_batch(method: str) -> None:
    first, second = learner(method), learner(method)
    for subject in (first, second):
        subject.add_episode(chunks(1, 3, subject.layout.size))
        subject.set_labels({1: SUCCESS})
        subject.learn(2)
    assert same(first, second)
    second.set_labels({1: FAILURE})
    for subject in (first, second):
        subject.learn(1)
    assert not same(first, second)


# --- bad data -------------------------------------------------------------------------------------------------------

NEEDED = [(method, field) for method in ALL for field in ("features", "next_features", "executed_chunk", "steer")]
NEEDED += [("zprl", "z"), ("zprl", "next_z"), ("policy-decorator", "base_chunk"), ("residual-rl", "base_chunk")]


@pytest.mark.parametrize(("method", "field"), NEEDED)
def test_a_nan_is_refused_with_its_episode_named_and_nothing_is_learnt_from_it(method: str, field: str) -> None:
    subject = learner(method)
    good, bad = chunks(1, 3, subject.layout.size), chunks(2, 3, subject.layout.size)
    broken = np.array(getattr(bad[1], field))
    broken.flat[0] = np.nan
    subject.add_episode(good)
    subject.add_episode([bad[0], replace(bad[1], **{field: broken}), bad[2]])  # type: ignore[arg-type]
    assert "episode 2, chunk 1" in subject.refused[2]
    assert "NaN" in subject.refused[2]
    subject.set_labels({1: SUCCESS, 2: SUCCESS})
    subject.learn(2)
    assert len(subject.replay) == 3
    assert all(np.isfinite(array).all() for array in state_of(subject).values())


# --- numpy and torch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("layer_norm", [True, False])
def test_the_numpy_actor_is_the_torch_actor(method: str, layer_norm: bool) -> None:
    actor: Any = learner(method, layer_norm=layer_norm)._method.actor
    actor.network.flat.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    seen = np.random.default_rng(0).normal(size=(50, actor.network.sizes[0])).astype(np.float32)
    weights = {name: weight.numpy() for name, weight in actor_weights(actor.network.layers()).items()}
    with torch.no_grad():
        if method == "lp-ds":
            shift = NumpyPerturbation(weights, layer_norm=layer_norm)(seen)
            assert np.abs(shift - actor(torch.from_numpy(seen)).numpy()).max() < 1e-6
            return
        mean, log_std = NumpyActor(weights, layer_norm=layer_norm)(seen)
        torch_mean, torch_log_std = actor.distribution(torch.from_numpy(seen))
    assert np.abs(np.tanh(mean) - torch_mean.tanh().numpy()).max() < 1e-6
    assert np.abs(log_std - torch_log_std.numpy()).max() < 5e-6


# --- continuation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("lp-ds", {"critic": "td", "pool": 0}),
        ("lp-ds", {"bootstrap": "distilled"}),
        ("policy-decorator", {"timeouts_terminal": False, "warmup_episodes": 2}),
        ("usr-sac", {"noise_layout": "low_rank", "noise_rank": 3}),
    ],
)
def test_variants_go_on_bit_for_bit(method: str, changes: dict[str, Any]) -> None:
    whole, broken, resumed = (learner(method, utd=2.0, **changes) for _ in range(3))

    def feed(subject: Learner, first: int, last: int) -> None:
        for number in range(first, last + 1):
            subject.add_episode(chunks(number, 3, subject.layout.size, truncated=number % 2 == 0))
            subject.set_labels({k: SUCCESS if k % 3 == 0 else FAILURE for k in range(1, number + 1)})
            subject.learn()

    feed(whole, 1, 6)
    feed(broken, 1, 3)
    for number in range(1, 4):
        resumed.add_episode(chunks(number, 3, resumed.layout.size, truncated=number % 2 == 0))
    resumed.restore({name: array.copy() for name, array in broken.state()[0].items()}, broken.state()[1])
    feed(resumed, 4, 6)
    assert same(whole, resumed)
    assert torch.equal(whole._generator.get_state(), resumed._generator.get_state())


def test_a_checkpoint_from_before_a_setting_existed_is_gone_on_from() -> None:
    subject, resumed = learner("usr"), learner("usr")
    for each in (subject, resumed):
        each.add_episode(chunks(1, 3, each.layout.size))
    subject.set_labels({1: SUCCESS})
    subject.learn(3)
    arrays, manifest = subject.state()
    new = (
        "noise_rank",
        "noise_seed",
        "latent_scale",
        "latent_rank",
        "trust_region",
        "dual_rate",
        "critic",
        "prior_share",
        "exploration_correlation",
    )
    old = {name: value for name, value in manifest["config"].items() if name not in new}
    resumed.restore(arrays, {**manifest, "config": old})
    assert resumed.updates == 3


# --- learning -------------------------------------------------------------------------------------------------------

LEARNING: dict[str, tuple[float, int, float, dict[str, Any]]] = {
    "usr": (0.001, 60, 0.8, {}),
    "usr-sac": (0.001, 80, 0.8, {"utd": 5}),
    "dsrl-na": (0.0, 40, 0.9, {"utd": 5}),
    "dsrl-sac": (0.0, 60, 0.9, {"utd": 5}),
    "policy-decorator": (0.001, 80, 0.3, {"actor_learning_rate": 1e-3, "learning_rate": 1e-3, "utd": 5}),
    "residual-rl": (0.0, 300, 0.7, {"target_entropy": -4.0}),
    "zprl": (0.0, 60, 0.75, {"utd": 5}),
    "lp-ds": (0.0, 60, 0.6, {"utd": 5}),
    "rlpd": (0.001, 160, 0.5, {"target_entropy": -4.0}),
}
"""Method -> height error (m), episodes, success to reach, settings. The base has 0.5 at height 0, and 0 at 1 mm.

Those that need no more have half the updates; by seeds 1 to 5 each of these reaches what is wanted.
"""


@pytest.mark.parametrize("method", ALL)
def test_it_beats_the_base_on_the_bandit(method: str) -> None:
    height, episodes, wanted, changes = LEARNING[method]
    subject = Learner(spec_of(method), method, config_of(method, **changes), decoder_of(method), seed=1)
    before = success_rate(BaseAdapter(subject.layout), height)
    run(subject, episodes, height)
    after = success_rate(subject.adapter(), height)
    assert before < wanted - 0.05
    assert after > wanted


def test_the_bandits_settings_are_those_of_a_task_file() -> None:
    for method in ALL:
        assert method_config(method, **OWN.get(method, {})) is not None
    assert SPEC.features == F
