"""Adapters as the actor sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_rl.adapters.acting import (
    BaseAdapter,
    NumpyActor,
    SteeringAdapter,
    gate,
    load_adapter,
    make_adapter,
)
from robot_rl.adapters.files import read_weights, write_weights
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.errors import BadObservation, IntegrityError, SpecMismatch
from robot_rl.learn.learner import Learner
from robot_rl.learn.sac import actor_weights
from robot_rl.protocols import Adapter
from robot_rl.types import Context
from tests.learn.bandit import SMALL, SPEC, WITH_RESIDUAL, A, BimodalDecoder, F, T, chunk_of, state

CONTEXT = Context(features=np.array([[0.3, 1.0, -0.7]], np.float32))


def learner(seed: int = 0, **settings: object) -> Learner:
    config = WITH_RESIDUAL.model_copy(update={"warmup_episodes": 0, **settings})
    return Learner(SPEC, "usr", config, BimodalDecoder(), seed)


def learnt(seed: int = 0, **settings: object) -> SteeringAdapter:
    adapter = learner(seed, **settings).adapter()
    assert isinstance(adapter, SteeringAdapter)
    return adapter


@pytest.mark.parametrize("layer_norm", [True, False])
def test_the_numpy_actor_is_the_torch_actor(layer_norm: bool) -> None:
    trained = learner(layer_norm=layer_norm)
    actor = trained._method.actor  # the torch half
    with torch.no_grad():
        actor.network.flat.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    features = np.random.default_rng(0).normal(size=(50, F)).astype(np.float32)
    weights = {name: weight.numpy() for name, weight in actor_weights(actor.network.layers()).items()}
    mean, log_std = NumpyActor(weights, layer_norm=layer_norm)(features)
    with torch.no_grad():
        torch_mean, torch_log_std = actor.distribution(torch.from_numpy(features))
    assert np.abs(np.tanh(mean) - torch_mean.tanh().numpy()).max() < 1e-6
    assert np.abs(log_std - torch_log_std.numpy()).max() < 5e-6


def test_both_kinds_are_adapters() -> None:
    assert isinstance(learnt(), Adapter)
    assert isinstance(BaseAdapter(SteeringLayout.plain(SPEC)), Adapter)


def test_a_fresh_actor_starts_near_the_base_policy() -> None:
    fresh = learnt()
    steers = np.array([fresh.steer(CONTEXT, np.random.default_rng(i), explore=True).steer for i in range(300)])
    assert np.abs(np.arctanh(steers).mean(0)).max() < 0.25
    assert np.abs(np.arctanh(steers).std(0) - 1).max() < 0.2
    assert np.abs(fresh.steer(CONTEXT, np.random.default_rng(0), explore=False).steer).max() < 0.05


def test_the_mode_is_the_same_whatever_the_generator() -> None:
    first, second = (learnt().steer(CONTEXT, np.random.default_rng(i), explore=False) for i in (0, 1))
    assert np.array_equal(first.steer, second.steer)
    assert np.array_equal(first.residual, second.residual)


def test_a_shut_gate_leaves_out_the_residual_and_says_so_in_the_steer() -> None:
    adapter = replace(learnt(), gate=0.0)
    steering = adapter.steer(CONTEXT, np.random.default_rng(0), explore=True)
    assert not steering.residual.any()
    assert not steering.steer[-1:].any()
    assert steering.noise.any()
    assert adapter.steer(CONTEXT, np.random.default_rng(0), explore=False).residual.any()


def test_the_gate_opens_as_often_as_it_says() -> None:
    adapter, rng = replace(learnt(), gate=0.3), np.random.default_rng(0)
    opened = [adapter.steer(CONTEXT, rng, explore=True).residual.any() for _ in range(2000)]
    assert abs(np.mean(opened) - 0.3) < 0.04


def test_the_gate_does_not_change_what_else_is_drawn() -> None:
    opened, shut = (
        replace(learnt(), gate=g).steer(CONTEXT, np.random.default_rng(4), explore=True) for g in (1.0, 0.0)
    )
    assert np.array_equal(opened.noise, shut.noise)


def test_the_gate_rises_linearly_to_one() -> None:
    assert [gate(c, 60) for c in (0, 15, 60, 90)] == [0.0, 0.25, 1.0, 1.0]
    assert gate(0, 0) == 1.0


def test_a_steering_of_zero_is_the_base_policy_exactly() -> None:
    layout = SteeringLayout(SPEC, WITH_RESIDUAL)
    noise, residual = layout.split(np.zeros((1, layout.size), np.float32))
    assert not noise.any()
    assert not residual.any()
    steering = BaseAdapter(layout).steer(CONTEXT, np.random.default_rng(0), explore=True)
    base, final = chunk_of(state(np.random.default_rng(0)), steering)
    assert np.array_equal(base, final)


def test_the_base_adapter_draws_standard_normal_noise_and_its_steer_names_it() -> None:
    adapter, rng = BaseAdapter(SteeringLayout(SPEC, WITH_RESIDUAL)), np.random.default_rng(0)
    drawn = [adapter.steer(CONTEXT, rng, explore=True) for _ in range(500)]
    noise = np.stack([steering.noise for steering in drawn])
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05
    assert noise.shape == (500, T, A)
    assert np.allclose(drawn[0].steer[: T * A] * WITH_RESIDUAL.noise_bound, drawn[0].noise.ravel())
    assert not any(steering.residual.any() for steering in drawn)


def test_features_of_another_policy_are_refused() -> None:
    with pytest.raises(BadObservation, match=r"\[1, 3\]"):
        learnt().steer(Context(features=np.zeros((1, 5), np.float32)), np.random.default_rng(0), explore=True)


# --- versions on disk -----------------------------------------------------------------------------------------------


def write(directory: Path, version: int, seed: int) -> Learner:
    trained = learner(seed)
    write_weights(directory, version, trained.actor_arrays(), {**trained.manifest(), "version": version})
    return trained


def test_a_loaded_version_acts_as_the_one_that_was_written(tmp_path: Path) -> None:
    expected = write(tmp_path, 3, seed=5).adapter().steer(CONTEXT, np.random.default_rng(0), explore=True)
    loaded = load_adapter(tmp_path, 3, SPEC)
    assert loaded.version == 3
    assert np.array_equal(loaded.steer(CONTEXT, np.random.default_rng(0), explore=True).steer, expected.steer)


def test_a_version_of_the_warm_up_is_the_base_policy() -> None:
    trained = learner(warmup_episodes=10)
    assert isinstance(make_adapter(trained.actor_arrays(), trained.manifest(), SPEC), BaseAdapter)


def cut(content: bytes) -> bytes:
    return content[:-7]


def flip(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("damage", [cut, flip, lambda content: b""], ids=["truncated", "one bit", "empty"])
def test_a_damaged_version_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    write(tmp_path, 1, seed=0)
    weights = tmp_path / "000001.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    with pytest.raises(IntegrityError, match="000001"):
        load_adapter(tmp_path, 1, SPEC)


def test_an_adapter_of_another_policy_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 1, seed=0)
    with pytest.raises(SpecMismatch, match="another-policy"):
        load_adapter(tmp_path, 1, replace(SPEC, policy_id="another-policy"))


def test_an_adapter_with_a_setting_of_a_later_version_is_refused_in_words(tmp_path: Path) -> None:
    write(tmp_path, 1, seed=0)
    arrays, manifest = read_weights(tmp_path, 1)
    manifest["config"]["of_tomorrow"] = 1
    with pytest.raises(SpecMismatch, match=r"adapter 1: its setting of_tomorrow is not known here .*another version"):
        make_adapter(arrays, manifest, SPEC)


def test_a_residual_is_within_alpha() -> None:
    steering = learnt().steer(CONTEXT, np.random.default_rng(0), explore=True)
    assert steering.residual.shape == (T, A)
    assert np.abs(steering.residual).max() <= max(SMALL.residual_scale, default=0.002)
