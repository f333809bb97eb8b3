"""Settings that a method's learner would refuse are refused where a run is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from robot_rl.adapters.fitting import fitting_layout
from robot_rl.errors import SpecMismatch
from robot_rl.methods import METHODS
from robot_rl.policy.flow import FlowPolicy
from robot_rl.task_files import TASKS_DIR, load_task

SPEC = FlowPolicy.load(TASKS_DIR / "lid_opening.safetensors").spec
TASK = load_task("lid_opening")
NONE = (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("method", METHODS)
def test_the_lid_tasks_settings_steer_what_each_method_does(method: str) -> None:
    layout, entry = fitting_layout(SPEC, method, TASK.method(method)), METHODS[method]
    steered = {
        part
        for part, size in (
            ("noise", layout.noise_size),
            ("residual", layout.residual_size),
            ("latent", layout.latent_size),
        )
        if size
    }
    assert entry.steers <= steered <= entry.steers | entry.may_steer


@pytest.mark.parametrize(
    ("method", "settings", "words"),
    [
        ("zprl", {"latent_scale": 0.0}, "zprl steers the latent, and by latent_scale there is nothing to steer"),
        ("policy-decorator", {"residual_scale": NONE}, "by residual_layout and residual_scale there is nothing"),
        ("usr-sac", {"residual_layout": "none"}, "usr-sac steers the residual"),
        ("lp-ds", {"noise_layout": "none"}, "lp-ds steers the noise, and by noise_layout"),
        ("dsrl-sac", {"residual_layout": "constant", "residual_scale": (0.01, 0.01, 0.01, 0)}, "does not .* residual"),
        ("zprl", {"noise_layout": "full"}, "zprl does not steer the noise, but by noise_layout it has 32 dimensions"),
        ("rlpd", {"latent_scale": 1.0}, "rlpd does not steer the latent"),
        ("usr", {"residual_layout": "per_step", "residual_scale": (0.01,)}, "residual_scale"),
        ("zprl", {"target_entropy": 20.0}, r"target_entropy: expected below .* \[-1, 1\]\^"),
    ],
)
def test_what_is_not_the_method_is_refused(method: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecMismatch, match=words):
        fitting_layout(SPEC, method, TASK.method(method).model_copy(update=settings))


def test_usr_may_leave_the_residual_alone() -> None:
    without = TASK.method("usr").model_copy(update={"residual_layout": "none"})
    assert fitting_layout(SPEC, "usr", without).residual_size == 0
