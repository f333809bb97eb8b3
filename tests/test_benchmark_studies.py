"""The studies of the papers' points, in the quick form, and the page that is made of their records."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from rich.console import Console

from benchmarks import digest, results
from benchmarks.studies import __main__ as command
from benchmarks.studies import lpds_modes, plane, two_modes, usr_modes
from benchmarks.studies import study as studies
from benchmarks.studies.catalogue import NAMES, study
from benchmarks.studies.lockstep import base_adapter, clipped, first_reached, play, success_rate, trials
from benchmarks.studies.shown import ShownSeeds
from benchmarks.studies.study import Verdict, spread
from robot_rl.errors import ConfigError
from robot_rl.testing.policy import FrozenPolicyConformance
from robot_rl.types import Observation

SEEDS = (0, 1)


@pytest.fixture(scope="module")
def quick() -> dict[str, Any]:
    """Study -> the data of its quick form."""
    return {}


@pytest.mark.parametrize("name", NAMES)
def test_a_study_runs_is_judged_and_drawn(name: str, quick: dict[str, Any], tmp_path: Path) -> None:
    one = study(name)
    data = json.loads(json.dumps(studies.rounded(one.run(SEEDS[:1] if name != "usr_modes" else SEEDS, True))))
    quick[name] = data
    last = json.loads(json.dumps(one.last_line(data), allow_nan=False))
    assert last["study"] == name
    assert all(key == key.lower() and key.replace("_", "").isalnum() for key in last)
    assert {f"claim_{number}_holds" for number in (1, 2)} <= set(last)
    assert all("the paper claims" in str(verdict) for verdict in one.judge(one.figures(data)))
    one.draw(data, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_the_page_is_made_of_what_is_on_record(
    quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "RECORDS", tmp_path / "studies")
    one = study("usr_modes")
    data = quick.get("usr_modes") or one.run(SEEDS, True)
    one.put_on_record(data, one.record())
    one.put_on_record(data, one.record().with_name("usr_modes-0123456789ab.json"))
    assert [path.name for path in (tmp_path / "studies").iterdir()] == ["usr_modes-0123456789ab.json"]
    assert results.main(["--out", str(tmp_path)]) == 0
    page = (tmp_path / "results.md").read_text()
    assert "USR, figures 1 and 7" in page
    assert "LP-DS, figures 1 and 2" not in page
    assert "other code than this" in page
    assert "| lid_opening | usr |" in page
    for picture in ("study_usr_modes", "results_lid_opening"):
        assert f"images/{picture}.png" in page
        assert (tmp_path / "images" / f"{picture}.png").exists()


def test_a_record_of_another_form_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "RECORDS", tmp_path / "studies")
    one = study("usr_modes")
    one.put_on_record({"seeds": [0]}, one.record())
    with pytest.raises(ConfigError, match=r"base.*benchmarks\.studies usr_modes --record"):
        results.main(["--out", str(tmp_path)])


def test_a_record_gives_way_to_one_that_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "RECORDS", tmp_path)
    one = study("usr_modes")
    one.put_on_record({"seeds": [0]}, one.record())
    with monkeypatch.context() as full:
        full.setattr(studies, "atomic_write", Mock(side_effect=OSError("no space")))
        with pytest.raises(OSError, match="no space"):
            one.put_on_record({"seeds": [0, 1]}, tmp_path / "usr_modes-0123456789ab.json")
    assert [path.name for path in tmp_path.iterdir()] == [one.record().name]


def test_a_study_that_was_run_is_kept_whatever_becomes_of_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(studies, "RECORDS", tmp_path / "records")
    one = study("usr_modes")
    quick = one.run(SEEDS, True)
    ran = Mock(return_value=quick)
    monkeypatch.setattr(command, "study", lambda name: replace(one, run=ran))
    (tmp_path / "usr_modes.png").mkdir()
    for _ in range(2):
        assert command.main(["usr_modes", "--seeds", "2", "--out", str(tmp_path)]) == 0
        said = capsys.readouterr().out
        assert "usr_modes.png cannot be written; Is a directory" in said
        assert json.loads(said.splitlines()[-1])["study"] == "usr_modes"
    assert ran.call_count == 1
    (tmp_path / one.record().name).write_text("{}")
    with pytest.raises(ConfigError, match="expected seeds in it"):
        command.main(["usr_modes", "--seeds", "2", "--out", str(tmp_path)])
    (tmp_path / one.record().name).write_text('{"seeds": [0, 1]}')
    with pytest.raises(ConfigError, match=r"expected what the study measures now, .*remove it"):
        command.main(["usr_modes", "--seeds", "2", "--out", str(tmp_path)])


def test_every_verdict_follows_its_figures() -> None:
    """Figures as the paper has them hold, and each that is turned round does not."""
    means = {
        "steering_success": 0.0,
        "small_residual_success": 0.5,
        "large_residual_success": 0.6,
        "both_success": 1.0,
        "large_residual_episodes_to_half": 150.0,
        "both_episodes_to_half": 80.0,
        "base_right_share": 0.5,
        "steered_right_share": 1.0,
        "steered_height_mm": 0.0,
        "refined_height_mm": 1.0,
    }

    def judged(**changes: float) -> list[bool]:
        found = {f"{name}_mean": value for name, value in {**means, **changes}.items()}
        found |= {f"{name}_half_width_95": 0.1 for name in means}
        found |= {f"{name}_seeds": [means[name]] * 2 for name in means}
        return [verdict.holds for verdict in usr_modes.judge(found)]

    assert judged() == [True, True]
    assert judged(steering_success=0.5) == [False, True]
    assert judged(small_residual_success=0.9) == [False, True]
    assert judged(both_success=0.5) == [False, True]
    assert judged(large_residual_success=0.98, large_residual_episodes_to_half=80.0) == [False, True]
    assert judged(steered_right_share=0.6) == [True, False]
    assert judged(refined_height_mm=0.1) == [True, False]


def test_smoother_is_said_of_what_the_seeds_can_tell_and_of_nothing_else() -> None:
    one = study("zprl_smoothness")
    data = json.loads(json.dumps(studies.rounded(one.run(SEEDS, True))))

    def judged(velocity: Sequence[float], acceleration: Sequence[float]) -> Verdict:
        """ZPRL's motion as shares of the residual per step's, a seed each."""
        for name, shares in (("velocity", velocity), ("acceleration", acceleration)):
            data[name] = {"per_step": [1.0] * 2, "constant": [1.0] * 2, "zprl": list(shares)}
        return one.judge(one.figures(data))[0]

    both = judged([0.71, 0.71], [0.61, 0.61])
    assert both.holds
    assert "not" not in both.because
    less = judged([0.9, 0.9], [0.61, 0.61])
    assert (less.word, "velocity is lower, and by less than half as much" in less.because) == ("holds in part", True)
    unsure = judged([0.8, 1.2], [0.61, 0.61])
    assert (unsure.word, "velocity is not lower, as far" in unsure.because) == ("holds in part", True)
    neither = judged([0.8, 1.2], [1.0, 1.1])
    assert (neither.word, "acceleration is not lower" in neither.because) == ("does not hold", True)


def test_a_residual_alone_that_gains_is_said_to_gain() -> None:
    one = study("decorator_ablation")
    data = json.loads(json.dumps(studies.rounded(one.run(SEEDS, True))))

    def judged(neither: float, progressive: float, both: float) -> Verdict:
        data["base_success"] = [0.3] * 2
        data["success"] = {
            way: [value] * 2
            for way, value in {"neither": neither, "progressive": progressive, "bounded": both, "both": both}.items()
        }
        return one.judge(one.figures(data))[0]

    assert judged(0.3, 0.3, 0.9).word == "holds"
    assert judged(0.5, 0.5, 0.9).word == "holds in part"
    assert "gains something too: 0.20 +- 0.00" in judged(0.5, 0.5, 0.9).because
    assert judged(0.3, 0.9, 0.9).because == "with progressive exploration no bound is needed"
    assert judged(0.3, 0.3, 0.3).because == "both together do not improve the policy"


def test_a_gate_is_said_to_add_where_the_seeds_can_tell() -> None:
    one = study("decorator_ablation")
    found = one.figures(json.loads(json.dumps(studies.rounded(one.run(SEEDS, True)))))

    def judged(both: float, bounded: float, half: float) -> Verdict:
        names = ("both_training_success", "bounded_training_success")
        changed = {f"{name}_mean": mean for name, mean in zip(names, (both, bounded), strict=True)}
        return one.judge({**found, **changed, **{f"{name}_half_width_95": half for name in names}})[1]

    assert judged(0.8, 0.7, 0.04).holds
    assert not judged(0.8, 0.7, 0.06).holds
    assert judged(0.8, 0.7, 0.06).because == "it is ahead by no more than seeds differ"
    assert "there is nothing to protect" in judged(0.6, 0.7, 0.04).because


def test_a_larger_delta_is_said_to_buy_reward_where_the_seeds_can_tell() -> None:
    one = study("lpds_modes")
    found = one.figures(json.loads(json.dumps(studies.rounded(one.run(SEEDS[:1], True)))))

    def judged(small: float, large: float, half: float) -> Verdict:
        changed = {"base_success": 0.45, "lpds_001_success": small, "lpds_010_success": large}
        means = {f"{name}_mean": mean for name, mean in changed.items()}
        return one.judge({**found, **means, **{f"{name}_half_width_95": half for name in changed}})[2]

    assert judged(0.45, 0.49, 0.01).holds
    assert not judged(0.45, 0.49, 0.03).holds
    assert not judged(0.40, 0.45, 0.01).holds  # above the small one, and not above the frozen policy
    assert "some deltas gain something" in judged(0.47, 0.48, 0.01).because


def test_seeds_that_are_shown_are_the_seeds_each_time_they_are_gone_through() -> None:
    text = io.StringIO()
    with ShownSeeds(range(3), Console(file=text, force_terminal=True, width=80)) as seeds:
        assert [list(seeds), list(seeds)] == [[0, 1, 2], [0, 1, 2]]
        assert (len(seeds), seeds[1], list(seeds[:2])) == (3, 1, [0, 1])
    assert "seeds, round 2" in text.getvalue()
    assert "3/3" in text.getvalue()


def test_what_a_seed_never_reached_has_no_mean() -> None:
    found = studies.figures_of("to_half", [115, 161, 150, 161])
    assert studies.reached(found, "to_half", 160) == "in 2 of 4 seeds, after 115, 150"
    assert studies.reached(studies.figures_of("to_half", [161, 161]), "to_half", 160) == "never in 160"
    assert studies.reached(studies.figures_of("to_half", [80, 90]), "to_half", 160) == "85 +- 64"


def test_a_claim_may_hold_in_part() -> None:
    said = [Verdict("c", "m", holds, "b", part).word for holds, part in ((True, False), (False, True), (False, False))]
    assert said == ["holds", "holds in part", "does not hold"]


def test_an_unknown_study_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'usr_modes'"):
        study("usr_mode")


def test_a_digest_is_of_what_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({digest.study_digest(name) for name in NAMES}) == len(NAMES)
    source = "X = 1\n\n\ndef run():\n    return X\n\n\ndef draw():\n    return 2\n\n\nSTUDY = run, draw\n"
    assert digest.computing(source) == digest.computing(source.replace("return 2", "return 3"))
    assert digest.computing(source) != digest.computing(source.replace("X = 1", "X = 2"))
    named = {path.name for path in digest.study_files("usr_modes")}
    assert {"two_modes.py", "lockstep.py", "usr_modes.py"} == named


def test_a_spread_is_students_interval() -> None:
    found = spread([0.4, 0.6])
    assert found["mean"] == pytest.approx(0.5)
    assert found["half_width_95"] == pytest.approx(12.706 * 0.1, abs=1e-3)
    assert spread([0.5])["half_width_95"] == 0


def test_a_level_is_reached_by_a_whole_window() -> None:
    curve = [1, 0, 0, 1, 1, 1, 0]
    assert first_reached(curve, 1.0, 3) == 6
    assert first_reached(curve, 1.0, 4) == len(curve) + 1


def test_modes_are_counted_by_entropy() -> None:
    assert lpds_modes._modes([0.25] * 4) == pytest.approx(4)
    assert lpds_modes._modes([1.0, 0.0, 0.0, 0.0]) == pytest.approx(1)
    assert 1 < lpds_modes._modes([0.9, 0.1, 0.0, 0.0]) < 2


def test_what_is_executed_lies_in_the_action_space() -> None:
    far = np.array([[1.0, -1.0, 0.04]] * plane.T, np.float32)
    assert clipped(far, plane.SPACE)[0].tolist() == pytest.approx([plane.FASTEST_M, -plane.FASTEST_M, 0.04])


def test_an_episode_ends_at_the_goal_or_at_its_limit() -> None:
    world = plane.reach(True, error_m=(0.0, 0.0), radius_m=0.02)
    at_goal = plane.State(np.array([0.01, 0.0]), np.zeros(2))
    assert world.outcome(at_goal) is True
    away = plane.State(np.array([0.1, 0.0]), np.zeros(2))
    assert world.outcome(away) is None
    there = world.step(away, np.array([[-0.02, 0.0, 0.04]] * plane.T, np.float32))
    assert there.point.tolist() == pytest.approx([0.02, 0.0])
    assert there.steps == plane.T
    assert world.outcome(plane.State(away.point, away.bin, world.max_steps)) is False


def test_the_same_seed_is_the_same_episode_and_transitions_say_what_was_done() -> None:
    world = plane.four_goals(True)
    adapter = base_adapter(world)
    one, other = (play(world, adapter, np.random.default_rng(3), explore=True, number=4) for _ in range(2))
    assert np.array_equal(one.executed, other.executed)
    assert [transition.index for transition in one.transitions] == list(range(len(one.transitions)))
    assert one.transitions[-1].terminal is one.success
    assert one.transitions[-1].truncated is not one.success
    assert all(
        np.array_equal(a.next_features, b.features) for a, b in zip(one.transitions, one.transitions[1:], strict=False)
    )
    assert math.isclose(success_rate(trials(world, adapter, 3, 0)), success_rate(trials(world, adapter, 3, 0)))


def test_a_decision_is_told_of_the_one_before_it_in_the_same_episode() -> None:
    world = plane.four_goals(True)
    for seed in (0, 1):
        watched = Mock(wraps=base_adapter(world))
        played = play(world, watched, np.random.default_rng(seed), explore=True)
        first, *told = (call.kwargs["previous"] for call in watched.steer.call_args_list)
        assert first is None
        assert told
        assert all(one.steer is did.steer for one, did in zip(told, played.transitions[:-1], strict=True))


class TestTwoModesPolicy(FrozenPolicyConformance):
    @pytest.fixture
    def policy(self) -> two_modes.TwoModesPolicy:
        return two_modes.TwoModesPolicy()

    @pytest.fixture
    def observations(self) -> Sequence[Observation]:
        world, rng = two_modes.TwoModes(), np.random.default_rng(0)
        return [world.observe(world.start(rng)) for _ in range(3)]
