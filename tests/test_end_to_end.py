"""Commands from beginning to end (`tests/scenarios.py`): what came of each."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.learner import QUICK_CELLS
from benchmarks.lid_opening import SHORT_EPISODES
from benchmarks.store import CHUNKS, QUICK_EPISODES, forget
from robot_rl.methods import METHODS, method_of
from robot_rl.store.run import RunDirectory
from tests.commands import figures_of
from tests.scenarios import LIMIT_S, Scenarios

pytestmark = pytest.mark.timeout(2 * LIMIT_S)


def test_the_short_benchmark_of_learning(scenarios: Scenarios) -> None:
    figures = figures_of(scenarios["short_benchmark"])
    assert figures["lid_opening_episodes"] == SHORT_EPISODES
    assert 0 <= figures["lid_opening_usr_mean"] <= 1
    assert (scenarios.folder("short_benchmark") / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_and_its_evaluation_leave_table_picture_and_json(scenarios: Scenarios) -> None:
    done, run = scenarios["trained"], scenarios.folder("trained") / "run"
    assert done["run"].returncode == 0, done["run"].stdout + done["run"].stderr
    assert (run / "results" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert (run / "results" / "learner.png").read_bytes().startswith(b"\x89PNG")
    assert list((run / "results" / "tensorboard").iterdir())
    figures = figures_of(done["eval"])
    assert figures["trials"] == 5
    assert np.isfinite([figures["action_entropy"], figures["base_action_entropy"]]).all()
    assert figures["episodes"] == 4
    for name in ("base_success", "success"):
        assert figures[name] * 5 == pytest.approx(round(figures[name] * 5))
    assert figures["base_interval"][0] <= figures["base_success"] <= figures["base_interval"][1]


@pytest.mark.parametrize(
    ("command", "hint"),
    [("again", "resume it"), ("other", "was begun with 'usr'"), ("absent", "expected one of 1 to 4")],
)
def test_what_does_not_fit_the_run_is_refused(scenarios: Scenarios, command: str, hint: str) -> None:
    done = scenarios["trained"][command]
    assert done.returncode == 2
    assert hint in done.stdout


def test_a_run_that_is_over_goes_on(scenarios: Scenarios) -> None:
    more = scenarios["trained"]["more"]
    assert more.returncode == 0, more.stdout + more.stderr
    assert RunDirectory.open(scenarios.folder("trained") / "run").closed_episodes() == [1, 2, 3, 4, 5]


def test_its_critics_are_compared_and_it_is_not_changed(scenarios: Scenarios) -> None:
    done = scenarios["trained"]
    figures = figures_of(done["critics"])
    assert figures["method"] == "usr"
    assert figures["updates"] > 0
    for name in ("within_steers_actions", "within_actions_height_off_mm", "executed_steers_actions"):
        assert -1 <= figures["correlations"][name]["spearman"] <= 1
    assert 0 < figures["correlations"]["within_steers_side_off_mm"]["n"] < figures["chunks"]
    assert not done["changed"]


def test_recorded_episodes_are_learnt_from_rerun_and_exported(scenarios: Scenarios) -> None:
    done = scenarios["trained"]
    assert figures_of(done["offline"])["episodes"] == 4
    assert figures_of(done["rerun"])["identical"] is True
    assert figures_of(done["export"])["episodes"] == 4


def test_authority_leaves_tables_a_picture_and_json(scenarios: Scenarios) -> None:
    done, out = scenarios["authority"], scenarios.folder("authority") / "authority"
    figures = figures_of(done)
    for title in ("how far a chunk can be moved", "a controller that knows the answer", "where to start"):
        assert title in done.stdout
    assert (out / "authority.png").read_bytes().startswith(b"\x89PNG")
    assert figures == json.loads((out / "authority.json").read_text())
    of_method = {method: entry for entry in figures["interfaces"] for method in entry["methods"]}
    assert {method_of(method) for method in of_method} == set(METHODS)
    residual = of_method["policy-decorator"]
    assert residual["most"]["z"] == {"minus": 6.0, "plus": 6.0}
    assert residual["ceiling"] == {"oracle": "blind", **residual["oracles"]["blind"]}  # as its actor is
    assert [list(of_method[method]["oracles"]) for method in ("policy-decorator", "usr")] == [
        ["sees", "blind"],
        ["sees"],
    ]
    assert figures["frozen_policy"]["without_fault_zero_noise"]["trials"] == 3
    assert {"noise_bound", "residual_scale", "latent_scale", "residual_horizon", "utd"} == {
        entry["setting"] for entry in figures["start_with"]
    }


def test_the_learner_s_benchmark(scenarios: Scenarios) -> None:
    figures = figures_of(scenarios["learner"])
    assert figures["cells"].keys() == {cell.name for cell in QUICK_CELLS}
    assert figures["median_ratio_fp32"] > 1
    assert figures["threads"] == 1
    assert 0 < figures["median_gemm_fraction"] < 1
    assert figures["pool_draw_cost"] < 1.1
    assert 1 < figures["distillation_cost"] < figures["fresh_decode_cost"]


def test_the_tick_benchmark(scenarios: Scenarios) -> None:
    figures = figures_of(scenarios["ticks"])
    assert figures["learner_updates"] > 0
    assert figures["ticks_each"] == 54
    assert figures["learner_cpu_share"] > 0


def test_the_recording_benchmark(scenarios: Scenarios) -> None:
    figures = figures_of(scenarios["recording"])
    assert figures["steps_each"] == 60
    assert figures["frames_recorded"] > 0
    assert figures["frames_unaccounted"] == 0


def test_demonstrations_and_cloning(scenarios: Scenarios) -> None:
    done = scenarios["cloned"]
    for one in done.values():
        assert one.returncode == 0, one.stdout + one.stderr
    assert "flow-" in done["pretrain"].stdout
    assert (scenarios.folder("cloned") / "clone.safetensors").exists()


def test_the_store_s_benchmark(scenarios: Scenarios) -> None:
    figures = figures_of(scenarios["store"])
    assert figures["episodes"] == figures["pooled_episodes"] == QUICK_EPISODES
    assert figures["chunks"] == QUICK_EPISODES * CHUNKS
    for what in ("replay_transitions_seconds", "pooled_rows_seconds"):
        assert 0 < figures[f"{what}_again"] < figures[f"{what}_first"]
    assert figures["runs_command_seconds_again"] > 0
    assert figures["pooled_bytes_per_transition"] > figures["replay_bytes_per_transition"] >= 0
    run = RunDirectory.open(scenarios.folder("store") / "run")
    derived = [*run.path.glob(".*.memory"), *run.episodes.glob("*/transitions.packed"), *run.episodes.glob("*/.pool.*")]
    assert len(derived) == 3 + 2 * QUICK_EPISODES
    forget(run)
    assert not any(path.exists() for path in derived)
