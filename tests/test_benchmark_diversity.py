"""The diversity benchmark: where two methods succeed alike, by made-up paths; a real run judged on its way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import cells, diversity, results
from benchmarks.cells import Cell
from benchmarks.diversity import Point, alike, cell_of, draw, path_of, recorded, table
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


PATHS = {0: way((0.4, -50.0), (0.9, -80.0), (0.95, -99.0)), 1: way((0.6, -50.0), (0.9, -90.0), (0.9, -120.0))}


def test_they_are_compared_where_the_mean_of_the_one_comes_to_that_of_the_other() -> None:
    found = alike("lid_opening", "dsrl-sac", ENDS, PATHS)
    assert (found.success, found.entropy) == (0.75, -65.0)
    assert found.path[1] == {"episodes": 40.0, "success": 0.9, "action_entropy": -85.0}
    assert found.there is not None  # 0.5, then 0.9: 0.75 lies at 5/8 of the way
    assert found.there == pytest.approx({"episodes": 32.5, "success": 0.75, "action_entropy": -71.875})
    assert found.more is not None
    mean, half = found.more
    assert mean == pytest.approx(-65.0 + 71.875)
    assert half == pytest.approx(12.706 * 1.875, rel=1e-3)  # of 8.75 and 5; t of one degree of freedom
    assert str(found).endswith("about 32 episodes, has -72 nats there: +7 +- 24, no different, as far as can be told")
    assert found.figures["lid_opening_dsrl_sac_episodes_at_equal_success"] == pytest.approx(32.5)
    assert found.figures["lid_opening_dsrl_sac_more_entropy_of_lp_ds"] == pytest.approx(6.875)


def test_only_seeds_that_both_have_count() -> None:
    found = alike("lid_opening", "dsrl-sac", ENDS, {0: PATHS[0]})
    assert (found.seeds, found.success, found.more) == ([0], 0.70, (pytest.approx(8.0), None))
    assert str(found).endswith("has -68 nats there: +8, of one seed")
    with pytest.raises(ConfigError, match="no seed in common"):
        alike("lid_opening", "dsrl-sac", ENDS, {7: PATHS[0]})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (way((0.4, -50.0), (0.5, -90.0)), "never comes to it (0.50 at its end): no comparison"),
        (way((0.8, -50.0), (0.9, -90.0)), "is above that from the first mark on (0.90 at its end): no comparison"),
    ],
)
def test_without_a_crossing_nothing_is_compared(path: list[Point], words: str) -> None:
    found = alike("lid_opening", "dsrl-na", ENDS, {0: path, 1: path})
    assert (found.there, found.more) == (None, None)
    assert words in str(found)
    assert found.figures["lid_opening_dsrl_na_more_entropy_of_lp_ds"] is None


def test_table_picture_and_page_come_of_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "RECORDS", tmp_path)
    assert results._diversity(tmp_path) == []
    (tmp_path / "diversity").mkdir()
    (tmp_path / "images").mkdir()

    def put(cell: Cell, digest: str, marks: tuple[float, ...] = diversity.MARKS) -> None:
        made = {"marks": list(marks), "path": PATHS[cell.seed]}
        (tmp_path / "diversity" / f"{cell.kind}-{digest}.json").write_text(json.dumps(made))

    for seed in PATHS:
        cell = cell_of("lid_opening", "dsrl-sac", seed)
        put(cell, cell.name.rpartition("-")[2] if seed else "0" * 12)
        end = cell_of("lid_opening", "lp-ds", seed)
        there = {**dict.fromkeys(cells.FIGURES, 0.0), **end.said, **ENDS[seed]}
        (tmp_path / f"{end.name}.json").write_text(json.dumps(there))
    put(cell_of("lid_opening", "dsrl-na", 0), "0" * 12, marks=(0.3, 1.0))  # judged at other marks: not these
    assert [cell.seed for cell in recorded()["lid_opening"]["dsrl-sac"]] == [0, 1]
    assert "dsrl-na" not in recorded()["lid_opening"]
    page = "\n".join(results._diversity(tmp_path))
    assert "after about 32 episodes, has -72 nats there: +7 +- 24" in page
    assert "not again since: `lid_opening` `dsrl-sac` seed 0." in page
    assert (tmp_path / "images" / "results_diversity.png").read_bytes().startswith(b"\x89PNG")
    found = alike("lid_opening", "dsrl-sac", ENDS, PATHS)
    assert len(results.markdown(table([found]))) == 2 + 3 + 1
    draw([found], tmp_path / "alike.png")


def test_a_run_is_judged_at_every_mark_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "RECORDS", tmp_path / "records")
    (tmp_path / "records").mkdir()
    monkeypatch.setattr(diversity, "MARKS", (0.5, 1.0))
    cell = Cell("lid_opening", "dsrl-sac", 100, 4, 2)
    path = path_of(cell, tmp_path / "out", record=True)
    assert [point["episodes"] for point in path] == [2, 4]
    assert all(0 <= point["success"] <= 1 and point["action_entropy"] < 0 for point in path)
    with monkeypatch.context() as patched:
        patched.setattr(diversity, "_judge", pytest.fail)
        assert path_of(cell, tmp_path / "elsewhere") == path  # from the record
    monkeypatch.setattr(diversity, "MARKS", (0.125,))
    with pytest.raises(ConfigError, match="no adapter from before episode 0"):
        path_of(cell, tmp_path / "out")  # what is there is of other marks
