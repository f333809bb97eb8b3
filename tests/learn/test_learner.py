"""The learner: budget, determinism, continuation, labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from robot_rl.adapters.acting import BaseAdapter, SteeringAdapter
from robot_rl.errors import ConfigError, SpecMismatch
from robot_rl.learn.learner import METHODS, Learner
from robot_rl.types import Array, LabelValue, Transition
from tests.learn.bandit import SMALL, SPEC, A, BimodalDecoder, F, T, chunks, config_of, decoder_of, spec_of

SUCCESS, FAILURE = LabelValue.SUCCESS, LabelValue.FAILURE
QUICK: dict[str, Any] = {"hidden": 16, "warmup_episodes": 2, "utd": 2.0, "pool": 3}


def learner(method: str = "usr", seed: int = 0, **settings: Any) -> Learner:
    config = config_of(method).model_copy(update={**QUICK, **settings})
    return Learner(spec_of(method), method, config, decoder_of(method), seed)


def feed(subject: Learner, first: int, last: int) -> None:
    """Episodes first .. last of three chunks, every other one a success, each with its budget."""
    for number in range(first, last + 1):
        subject.add_episode(chunks(number, 3, subject.layout.size))
        subject.set_labels({k: SUCCESS if k % 2 else FAILURE for k in range(1, number + 1)})
        subject.learn()


def weights(subject: Learner) -> dict[str, Array]:
    return {name: array.copy() for name, array in subject.state()[0].items()}


def same(first: dict[str, Array], second: dict[str, Array]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


# --- budget ---------------------------------------------------------------------------------------------------------


def test_nothing_is_learnt_in_the_warm_up_and_its_chunks_are_paid_for_at_its_end() -> None:
    subject = learner()
    feed(subject, 1, 1)
    assert subject.warming_up
    assert subject.updates == 0
    assert isinstance(subject.adapter(), BaseAdapter)
    feed(subject, 2, 2)
    assert not subject.warming_up
    assert subject.updates == 12
    assert isinstance(subject.adapter(), SteeringAdapter)
    feed(subject, 3, 3)
    assert subject.updates == 18
    assert subject.owed == 0


def test_a_fraction_of_an_update_is_carried_over() -> None:
    subject = learner(utd=0.5, warmup_episodes=0)
    feed(subject, 1, 4)
    assert subject.updates == 6


def test_an_episode_without_a_label_is_not_learnt_from() -> None:
    subject = learner(warmup_episodes=0)
    subject.add_episode(chunks(1, 3, subject.layout.size))
    assert subject.owed == 0
    assert subject.learn(5) == 0


@pytest.mark.parametrize("method", ["usr", "dsrl-na"])
@pytest.mark.parametrize("bootstrap", ["decode", "distilled"])
def test_success_is_carried_back_to_earlier_chunks(method: str, bootstrap: str) -> None:
    subject = learner(method, warmup_episodes=0, batch=32, tau=0.05, bootstrap=bootstrap, learning_rate=3e-3)
    first, last = chunks(1, 2, subject.layout.size)
    subject.add_episode([replace(first, next_features=last.features), last])
    subject.set_labels({1: SUCCESS})
    subject.learn(250)
    executed = subject.layout.normalise(first.executed_chunk[None])
    state = torch.from_numpy(np.concatenate([first.features[None], executed], 1))
    value = float(subject._method._critic(state).detach().mean())  # type: ignore[attr-defined]
    assert 0.3 < value <= 1.05  # by its own reward it would be 0


def test_losses_are_named_and_finite() -> None:
    subject = learner()
    feed(subject, 1, 3)
    expected = {"td_loss", "distill_loss", "q", "actor_value", "entropy", "temperature"}
    assert subject.losses.keys() == expected
    assert all(np.isfinite(v) for v in subject.losses.values())


def test_a_variant_learns_as_its_method_and_names_itself_in_its_adapters() -> None:
    plain = learner("lp-ds")
    variant = Learner(plain.spec, "lp-ds:wide", plain.config, decoder_of("lp-ds"), seed=0)
    for subject in (plain, variant):
        feed(subject, 1, 4)
    assert same(weights(plain), weights(variant))
    assert variant.manifest()["method"] == "lp-ds:wide"
    assert variant.adapter().version == 4


# --- determinism and continuation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_same_seed_gives_the_same_bits(method: str) -> None:
    first, second, other = learner(method), learner(method), learner(method, seed=1)
    for subject in (first, second, other):
        feed(subject, 1, 4)
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(other))


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("pool", [0, 3])
def test_a_restored_learner_goes_on_bit_for_bit(method: str, pool: int) -> None:
    whole, broken, resumed = (learner(method, pool=pool) for _ in range(3))
    feed(whole, 1, 6)
    feed(broken, 1, 3)
    arrays, manifest = weights(broken), broken.state()[1]
    for number in range(1, 4):
        resumed.add_episode(chunks(number, 3, resumed.layout.size))
    resumed.restore(arrays, manifest)
    assert resumed.version == 3
    assert resumed.updates == broken.updates
    assert resumed.losses == broken.losses
    feed(resumed, 4, 6)
    assert same(weights(whole), weights(resumed))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_delayed_actor_is_updated_at_every_nth_update_also_across_a_restart(method: str) -> None:
    whole, broken, resumed = (learner(method, actor_delay=3, utd=0.01, warmup_episodes=0) for _ in range(3))
    for subject in (whole, broken, resumed):
        feed(subject, 1, 2)
    before, changed = weights(whole), []
    for _ in range(7):
        whole.learn(1)
        assert ("actor_value" in whole.losses) == (whole.updates % 3 == 0)
        after = weights(whole)
        moved = {name.split(".")[0] for name in after if not np.array_equal(before[name], after[name])}
        assert moved & {"critic", "action"}
        changed.append(bool(moved & {"actor", "temperature", "multiplier"}))
        before = after
    assert changed == [update % 3 == 0 for update in range(1, 8)]
    broken.learn(4)
    resumed.restore(weights(broken), broken.state()[1])
    resumed.learn(3)
    assert same(weights(whole), weights(resumed))


def test_labels_change_what_is_learnt() -> None:
    first, second = learner(), learner()
    feed(first, 1, 3)
    feed(second, 1, 2)
    second.add_episode(chunks(3, 3, second.layout.size))
    second.set_labels({1: SUCCESS, 2: FAILURE, 3: FAILURE})
    second.learn()
    assert not same(weights(first), weights(second))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"spec_hash": "of another policy"}, "spec_hash"),
        ({"method": "dsrl-na"}, "method"),
        ({"seed": 5}, "seed"),
        ({"config": {}}, "config"),
        ({"consumed": [1, 2, 3]}, "removed"),
        ({"chunks": 99}, "removed"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(change: dict[str, Any], match: str) -> None:
    subject = learner()
    feed(subject, 1, 2)
    arrays, manifest = subject.state()
    with pytest.raises(SpecMismatch, match=match):
        subject.restore(arrays, {**manifest, **change})


def test_an_episode_that_has_become_unreadable_does_not_stop_a_resume() -> None:
    subject, resumed = learner(), learner()
    feed(subject, 1, 3)
    resumed.add_episode(chunks(1, 3, resumed.layout.size))
    resumed.refuse(2, "sha256 differs")
    resumed.add_episode(chunks(3, 3, resumed.layout.size))
    resumed.restore(*subject.state())
    assert resumed.version == 3
    assert resumed.updates == subject.updates
    assert np.array_equal(resumed.actor_arrays()["layer.0.weight"], subject.actor_arrays()["layer.0.weight"])


# --- bad data, pools, adapters --------------------------------------------------------------------------------------


def test_a_bad_episode_is_refused_with_its_reason_and_learning_goes_on() -> None:
    subject = learner()
    feed(subject, 1, 2)
    bad = chunks(3, 2, subject.layout.size)
    subject.add_episode([bad[0], replace(bad[1], features=np.full(F, np.nan, np.float32))])
    assert "NaN" in subject.refused[3]
    assert subject.version == 3
    assert len(subject.replay) == 6
    feed(subject, 4, 4)
    assert all(np.isfinite(v) for v in subject.losses.values())


def test_an_empty_episode_is_refused_by_its_number_only() -> None:
    with pytest.raises(SpecMismatch, match="at least one chunk"):
        learner().add_episode([])


def pooled(number: int, size: int, noise: Array, decoded: Array) -> list[Transition]:
    return [replace(t, pool_noise=noise, pool_chunks=decoded) for t in chunks(number, 1, size)]


def test_a_stored_pool_is_used_instead_of_the_decoder() -> None:
    subject = learner(pool=2)
    noise = np.linspace(-1, 1, 2 * T * A, dtype=np.float32).reshape(2, T, A)
    decoded = np.full((2, T, A), 0.005, np.float32)
    steer, chunk = subject._pool(pooled(1, subject.layout.size, noise, decoded))
    assert np.allclose(steer[0] * subject.config.noise_bound, noise.reshape(2, -1))
    assert np.allclose(chunk[0], subject.layout.normalise(decoded))


def test_a_made_pool_is_what_the_decoder_decodes_and_differs_by_episode() -> None:
    subject = learner(pool=5)
    steer, chunk = subject._pool(chunks(1, 2, subject.layout.size))
    assert steer.shape == (2, 5, T * A)
    assert chunk.shape == (2, 5, T * A)
    side = np.sign(chunk.reshape(2, 5, T, A)[..., 0, 1])
    assert np.array_equal(side, np.sign(steer[..., 1]))
    assert not np.array_equal(steer, subject._pool(chunks(2, 2, subject.layout.size))[0])


def test_an_adapter_does_not_change_when_learning_goes_on() -> None:
    subject = learner()
    feed(subject, 1, 2)
    adapter = subject.adapter()
    assert isinstance(adapter, SteeringAdapter)
    features = np.ones((1, F), np.float32)
    before = adapter.actor(features)[0].copy()
    feed(subject, 3, 4)
    assert np.array_equal(adapter.actor(features)[0], before)
    assert adapter.version == 2
    assert subject.adapter().version == 4


def test_the_manifest_names_version_budget_and_episodes() -> None:
    subject = learner()
    feed(subject, 1, 3)
    manifest = subject.manifest()
    assert (manifest["version"], manifest["through_episode"], manifest["chunks"], manifest["updates"]) == (3, 3, 9, 18)
    assert manifest["spec_hash"] == SPEC.hash
    assert manifest["method"] == "usr"
    assert not manifest["warmup"]


def test_a_mistyped_method_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="dsrl-na"):
        Learner(SPEC, "dsrl", SMALL, BimodalDecoder(), seed=0)


def test_the_published_actor_is_the_average_that_the_setting_asks_for() -> None:
    newest, averaged = learner(actor_average=1.0), learner(actor_average=0.05)
    before = averaged.actor_arrays()["layer.0.weight"].copy()
    for subject in (newest, averaged):
        feed(subject, 1, 4)
    learnt = newest.actor_arrays()["layer.0.weight"]
    published = averaged.actor_arrays()["layer.0.weight"]
    assert np.array_equal(newest.state()[0]["actor.parameters"], averaged.state()[0]["actor.parameters"])
    assert np.array_equal(newest.state()[0]["actor.parameters"], newest.state()[0]["published.parameters"])
    assert 0 < np.abs(published - before).max() < np.abs(learnt - before).max()
