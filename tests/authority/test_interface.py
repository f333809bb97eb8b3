"""Interfaces: what a task's methods may do, each once, and as their adapters do it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robot_rl.adapters.acting import BaseAdapter
from robot_rl.authority.interface import (
    displacement_map,
    display_units,
    interface_of,
    interfaces_of,
    is_displacement,
    plain_interface,
)
from robot_rl.compositions.plan import load_policy
from robot_rl.errors import SpecMismatch
from robot_rl.task_files import load_task, method_config, task_path
from robot_rl.types import ActionSpace
from tests.authority.bandit import LINEAR_SPEC, LinearPolicy, contexts, interface

RESIDUAL: dict[str, Any] = {"residual_layout": "constant", "residual_scale": (0.001, 0.001, 0.001, 0.0)}
SETTINGS: dict[str, dict[str, Any]] = {
    "usr": RESIDUAL,
    "policy-decorator": RESIDUAL,
    "dsrl-na": {},
    "zprl": {},
    "lp-ds": {},
}


@pytest.mark.parametrize("task", ["lid_opening", "lid_opening_strict"])
def test_every_method_of_a_task_has_one_interface(task: str) -> None:
    config = load_task(task)
    found = interfaces_of(config, load_policy(config, task_path(task)).spec)
    assert sorted(method for one in found for method in one.methods) == sorted(config.methods)
    assert len({one.name for one in found}) == len(found)
    names = [one.name for one in found]
    for layout in ("full", "repeat"):
        assert any(name.startswith(f"noise {layout}") and "+" not in name for name in names)


def test_interfaces_that_differ_are_not_taken_for_one() -> None:
    config = load_task("lid_opening")
    spec = load_policy(config, task_path("lid_opening")).spec
    alpha = (0.00075, 0.00075, 0.00075, 0.0)
    usr = {"noise_layout": "repeat", "noise_bound": 0.5, "residual_layout": "constant"}
    low_rank = {"noise_layout": "low_rank", "noise_rank": 4}
    methods = {
        "usr": method_config("usr", **usr, residual_scale=alpha),
        "usr:same": method_config("usr", **usr, residual_scale=alpha, learning_rate=1e-5),
        "usr:z": method_config("usr", **usr, residual_scale=(0.0, 0.0, 0.00075, 0.0)),
        "usr:narrow": method_config("usr", **usr, residual_scale=alpha, residual_std=0.1),
        "dsrl-na": method_config("dsrl-na", **low_rank),
        "dsrl-na:other": method_config("dsrl-na", **low_rank, noise_seed=7),
        "lp-ds": method_config("lp-ds"),
        "lp-ds:near": method_config("lp-ds", noise_bound=0.1),
    }
    found = interfaces_of(config.model_copy(update={"methods": methods}), spec)
    assert [one.methods for one in found if one.methods] == [
        ("usr", "usr:same"), ("usr:z",), ("usr:narrow",), ("dsrl-na",), ("dsrl-na:other",), ("lp-ds",), ("lp-ds:near",),
    ]  # fmt: skip
    assert len({one.name for one in found}) == len(found)
    assert [one.layout.size for one in found if one.methods][:2] == [7, 5]


@pytest.mark.parametrize(
    ("alpha", "words"),
    [
        ((0.00075, 0.0005, 0.0, 0.0), "±6 mm"),
        ((0.00075, 0.0, 0.0, 0.02), "±6 mm, width ±20 mm"),
        ((0.0, 0.0, 0.0, 0.02), "width ±20 mm"),
    ],
)
def test_a_residuals_bound_is_that_of_the_chunk_where_it_adds_up(alpha: tuple[float, ...], words: str) -> None:
    config = load_task("lid_opening")
    spec = load_policy(config, task_path("lid_opening")).spec
    assert spec.horizon == 8
    settings = method_config("policy-decorator", residual_layout="constant", residual_scale=alpha)
    gripper = spec.action_space.names[-1]
    assert interface_of(spec, settings).name == f"residual constant {words}".replace("width", gripper)


@pytest.mark.parametrize("method", SETTINGS)
def test_steer_zero_is_where_the_base_policy_is(method: str) -> None:
    """The warm-up's adapter steers by 0 as well; where it draws the noise itself, at that noise."""
    of = interface(method, **SETTINGS[method])
    context, rng = contexts(1)[0], np.random.default_rng(0)
    warm = BaseAdapter(of.layout).steer(context, rng, explore=True)
    latent = None if warm.latent is None else warm.latent[None]
    expected = LinearPolicy().decode(context, warm.noise[None], latent)[0]
    steer, base = np.zeros((1, of.layout.size), np.float32), warm.noise[None]
    if not of.keeps_base_noise:
        steer[0], base = warm.steer, np.zeros_like(base)
    np.testing.assert_allclose(of.chunks(LinearPolicy(), context, steer, base)[0], expected, atol=1e-7)


@pytest.mark.parametrize("method", SETTINGS)
def test_base_noise_is_normal_where_it_stays_the_bases(method: str) -> None:
    of = interface(method, **SETTINGS[method])
    drawn = of.draw_base(np.random.default_rng(0), 2000)
    assert of.keeps_base_noise == (method in ("policy-decorator", "zprl", "lp-ds"))
    assert drawn.shape == (2000, *LINEAR_SPEC.noise_shape)
    assert drawn.std() == pytest.approx(1.0 if of.keeps_base_noise else 0.0, abs=0.03)


def test_nothing_to_steer_is_the_policy_itself() -> None:
    plain = plain_interface(LINEAR_SPEC)
    assert plain.layout.size == 0
    assert plain.keeps_base_noise


def test_units_are_millimetres_and_degrees_and_only_displacements_add_up() -> None:
    space = ActionSpace(
        kind="ee_delta", names=("dx", "drz", "gripper"), units=("m", "rad", "m"), low=(-1,) * 3, high=(1,) * 3
    )
    assert display_units(space)[1] == ("mm", "°", "mm")
    moved = np.tile([0.001, np.pi / 180, 0.002], (5, 1)).reshape(-1) @ displacement_map(space, 5)
    np.testing.assert_allclose(moved, [5.0, 5.0, 2.0])
    with pytest.raises(SpecMismatch, match="ee_delta"):
        is_displacement(ActionSpace(kind="joint", names=("q",), units=("rad",), low=(-1.0,), high=(1.0,)))
