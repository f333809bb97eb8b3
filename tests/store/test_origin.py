"""Whose weights these are."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from robot_rl.errors import SpecMismatch
from robot_rl.store.origin import origin_of, require_origin
from robot_rl.types import ActionSpace, PolicySpec

SPACE = ActionSpace("ee_delta", ("dx", "gripper"), ("m", "m"), (-0.01, 0.0), (0.01, 0.08))
SPEC = PolicySpec("mine", {"tcp_pose": (7,)}, SPACE, 8, 0.05, (8, 2), 11, None, True, True)


def test_ones_own_are_taken() -> None:
    manifest = json.loads(json.dumps(origin_of("lid", SPEC)))
    require_origin("checkpoint 3", manifest, "lid", SPEC)
    require_origin("checkpoint 3", {"spec_hash": SPEC.hash}, "lid", SPEC)  # as written before tasks were named


@pytest.mark.parametrize(
    ("task", "spec", "said"),
    [
        ("drawer", SPEC, "checkpoint 3 is of task 'drawer', this run is of 'lid'"),
        (
            "lid",
            replace(SPEC, action_space=replace(SPACE, low=(-0.02, 0.0))),
            r"action_space: theirs .*-0\.02.*, ours .*-0\.01",
        ),
        ("lid", replace(SPEC, policy_id="big", features=512), r"policy big .*features: theirs 512, ours 11"),
        ("lid", replace(SPEC, latent=16), "latent: theirs 16, ours None"),
    ],
    ids=["task", "action space", "backbone", "bottleneck"],
)  # fmt: skip
def test_those_of_another_run_are_refused_with_both_sides_named(task: str, spec: PolicySpec, said: str) -> None:
    manifest = json.loads(json.dumps(origin_of(task, spec)))
    with pytest.raises(SpecMismatch, match=said):
        require_origin("checkpoint 3", manifest, "lid", SPEC)


def test_where_no_spec_was_written_the_hashes_are_named() -> None:
    with pytest.raises(SpecMismatch, match=rf"None \(spec ab12\), this run has mine \(spec {SPEC.hash[:12]}\)"):
        require_origin("checkpoint 3", {"spec_hash": "ab12"}, "lid", SPEC)
