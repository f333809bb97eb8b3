"""The diversity benchmark: where two methods succeed alike, by made-up paths; a real run judged on its way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import cells, diversity, results
from benchmarks.cells import Cell
from benchmarks.diversity import Point, alike, draw, path_of, recorded, table
from robot_rl.config import load_task
from robot_rl.errors import ConfigError

ENDS: dict[int, Point] = {
    0: {"success": 0.70, "action_entropy": -60.0},
    1: {"success": 0.80, "action_entropy": -70.0},
}


def way(*points: tuple[float, float]) -> list[Point]:
    """Of (success, entropy), twenty episodes apart."""
    return [
        {"episodes": 20.0 * i, "success": success, "action_entropy": entropy}
        for i, (success, entropy) in enumerate(points, 1)
    ]


PATHS = {0: way((0.4, -50.0), (0.9, -80.0), (0.95, -99.0)), 1: way((0.5, -50.0), (0.62, -84.0), (0.9, -120.0))}


def test_they_are_compared_where_the_means_over_seeds_first_come_together() -> None:
    found = alike("lid_opening", "dsrl-sac", ENDS, PATHS)
    assert (found.success, found.entropy, found.at) == (0.75, -65.0, 1)  # 0.45, then 0.76; not at the end
    assert found.path[1] == {"episodes": 40.0, "success": 0.76, "action_entropy": -82.0}
    assert found.more is not None
    mean, half = found.more
    assert mean == 17.0  # 20 and 14, paired by seed
    assert half is not None
    assert half == pytest.approx(3.0 * 12.706, rel=1e-3)  # t of one degree of freedom
    assert "17 +- 38, no different, as far as can be told" in str(found)
    assert found.figures["lid_opening_dsrl_sac_episodes_at_equal_success"] == 40.0
    assert found.figures["lid_opening_dsrl_sac_more_entropy_of_lp_ds"] == 17.0


def test_only_seeds_that_both_have_count() -> None:
    found = alike("lid_opening", "dsrl-sac", ENDS, {0: PATHS[0]})
    assert (found.success, found.at, found.more) == (0.70, 1, (20.0, None))
    assert str(found).endswith("with -80 nats: +20, of one seed")
    with pytest.raises(ConfigError, match="no seed in common"):
        alike("lid_opening", "dsrl-sac", ENDS, {7: PATHS[0]})


def test_a_method_that_never_gets_there_is_said_to() -> None:
    found = alike("lid_opening", "dsrl-na", ENDS, {0: way((0.4, -50.0)), 1: way((0.5, -55.0))})
    assert (found.at, found.more) == (None, None)
    assert "does not come to that success (0.45 at its end" in str(found)
    assert found.figures["lid_opening_dsrl_na_more_entropy_of_lp_ds"] is None


def test_table_picture_and_page_come_of_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "RECORDS", tmp_path)
    assert results._diversity(tmp_path) == []
    protocol = load_task("lid_opening").protocol
    (tmp_path / "diversity").mkdir()
    (tmp_path / "images").mkdir()
    for seed, path in PATHS.items():
        cell = Cell("lid_opening", "dsrl-sac", seed, protocol.episodes, protocol.trials)
        digest = cell.name.removeprefix(cell.kind) if seed else "-" + "0" * 12
        (tmp_path / "diversity" / f"{cell.kind}{digest}.json").write_text(json.dumps({"path": path}))
        end = Cell("lid_opening", "lp-ds", seed, protocol.episodes, protocol.trials)
        (tmp_path / f"{end.name}.json").write_text(json.dumps(ENDS[seed]))
    assert {seed: present for seed, (present, _) in recorded()["lid_opening"]["dsrl-sac"].items()} == {
        0: False,
        1: True,
    }
    page = "\n".join(results._diversity(tmp_path))
    assert "`dsrl-sac` first comes to it after 40 episodes (success 0.76), with -82 nats: +17 +- 38" in page
    assert "not again since: `lid_opening` `dsrl-sac` seed 0." in page
    assert (tmp_path / "images" / "results_diversity.png").read_bytes().startswith(b"\x89PNG")
    found = alike("lid_opening", "dsrl-sac", ENDS, PATHS)
    assert len(results.markdown(table([found]))) == 2 + 3
    draw([found], tmp_path / "alike.png")


def test_a_run_is_judged_at_every_mark_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "RECORDS", tmp_path / "records")
    (tmp_path / "records").mkdir()
    monkeypatch.setattr(diversity, "MARKS", (0.5, 1.0))
    monkeypatch.setattr(diversity, "TRIALS", 2)
    cell = Cell("lid_opening", "dsrl-sac", 100, 4, 2)
    path = path_of(cell, tmp_path / "out", record=True)
    assert [point["episodes"] for point in path] == [2, 4]
    assert all(0 <= point["success"] <= 1 and point["action_entropy"] < 0 for point in path)
    monkeypatch.setattr(diversity, "_judge", pytest.fail)
    assert path_of(cell, tmp_path / "elsewhere") == path  # from the record
    monkeypatch.undo()
    monkeypatch.setattr(diversity, "MARKS", (0.125,))
    with pytest.raises(ConfigError, match="no adapter after episode 0"):
        diversity._judge(cell, tmp_path / "out")
