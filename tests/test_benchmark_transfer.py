"""The transfer benchmark: its arithmetic on made-up cells, that a cell is done once, and what the page says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cells, results, transfer
from benchmarks.cells import Cell
from benchmarks.transfer import (
    SEEDS,
    TransferCell,
    cells_of,
    difference,
    draw,
    pooled,
    recorded,
    run_transfer,
    sentences,
    summarise,
    table,
)
from robot_rl.errors import ConfigError
from robot_rl.task_files import load_task
from robot_rl.twins import load_placing

PLACES = [
    {"x": place.x, "y": place.y, "yaw": place.yaw} for place in load_placing(load_task("lid_opening"), 4).places()
]


def outcomes(won: int) -> list[int]:
    """The first `won` of 40."""
    return [1] * won + [0] * (40 - won)


def made_up(frozen: int, unchanged: int, continued: int, seed: int = 0, method: str = "lp-ds") -> dict[str, Any]:
    return {
        "task": "lid_opening", "method": method, "seed": seed, "episodes": 100, "more": 20, "places": PLACES,
        "repeats": 5, "frozen": outcomes(frozen), "unchanged": outcomes(unchanged), "continued": outcomes(continued),
        "twin_frozen": outcomes(frozen), "twin": outcomes(39), "curve": [[1, 0], [2, 1]], "updates": 700,
        "utd_reached": 5.0,
    }  # fmt: skip


def of(*those: dict[str, Any]) -> dict[TransferCell, dict[str, Any]]:
    return {TransferCell(Cell("lid_opening", one["method"], one["seed"], 100, 100)): one for one in those}


FOUND = of(made_up(18, 33, 34), made_up(16, 30, 12, seed=1), made_up(10, 11, 40, method="usr"))


def test_rates_are_pooled_over_seeds_and_each_seed_is_named() -> None:
    summary = summarise(FOUND)
    assert summary["lp_ds_frozen"] == 34 / 80
    assert summary["lp_ds_unchanged_seeds"] == [33, 30]
    assert (summary["lp_ds_seeds"], summary["lp_ds_trials"], summary["usr_trials"]) == ([0, 1], 80, 40)
    low, high = summary["lp_ds_frozen_interval"]
    assert (low, high) == pytest.approx((0.323, 0.534), abs=0.001)  # Wilson, 34 of 80
    assert summary["lp_ds_unchanged_to_continued"]["gained"] == 1
    assert summary["lp_ds_unchanged_to_continued"]["lost"] == 18
    assert summary["lp_ds_while_continuing"] == 0.5


def test_conditions_are_compared_trial_by_trial() -> None:
    one, other = made_up(18, 33, 34), made_up(20, 20, 20) | {"unchanged": outcomes(40)[::-1], "frozen": outcomes(20)}
    assert (difference([one], "frozen", "unchanged").gained, difference([one], "frozen", "unchanged").lost) == (15, 0)
    assert difference([one], "frozen", "frozen").p == 1.0
    assert difference([other], "frozen", "unchanged").gained == 20
    swapped = one | {"frozen": [1, 0] * 20, "unchanged": [0, 1] * 20}
    assert (difference([swapped], "frozen", "unchanged").gained, pooled([swapped], "frozen").successes) == (20, 20)
    assert difference([swapped], "frozen", "unchanged").p == 1.0


def test_the_sentences_say_what_came_of_it_and_not_what_was_hoped_for() -> None:
    first, second = sentences(FOUND)
    assert first.startswith("`lp-ds`, 2 seeds: 34/80 -> 63/80 -> 46/80.")
    assert "beside the frozen policy: better (29 trials gained, 0 lost; sign test p = " in first
    assert "beside itself unchanged: worse (1 trials gained, 18 lost; sign test p = " in first
    assert "frozen policy: no different, as far as can be told (1 trials gained, 0 lost; sign test p = 1)." in second


def test_the_cells_are_those_that_were_fixed_beforehand() -> None:
    wanted = cells_of("lid_opening", ["lp-ds", "usr"], None, quick=False)
    assert [(c.nominal.method, c.nominal.seed) for c in wanted] == [(m, s) for m in ("lp-ds", "usr") for s in SEEDS]
    assert {(c.nominal.episodes, c.more, c.columns, c.repeats) for c in wanted} == {(100, 20, 4, 5)}
    quick = cells_of("lid_opening", ["lp-ds"], None, quick=True)
    assert [cell.nominal.seed for cell in quick] == [load_task("lid_opening").protocol.tuning_seeds[0]]
    assert quick[0].nominal.episodes > load_task("lid_opening").method("lp-ds").warmup_episodes
    with pytest.raises(ConfigError, match="did you mean 'lp-ds'"):
        cells_of("lid_opening", ["lp-dss"], None, quick=False)


def test_a_cell_that_is_done_is_read_and_can_be_put_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "RECORDS", tmp_path / "records")
    (tmp_path / "records").mkdir()
    (cell, one), *_ = FOUND.items()
    folder = tmp_path / "out" / f"transfer-{cell.name}"
    folder.mkdir(parents=True)
    (folder / "cell.json").write_text(json.dumps(one))
    assert run_transfer(cell, tmp_path / "out", record=True) == one
    assert run_transfer(cell, tmp_path / "elsewhere") == one
    assert recorded() == {cell: one}


def test_table_picture_and_page_have_every_method_and_condition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(FOUND, tmp_path / "transfer.png")
    assert (tmp_path / "transfer.png").read_bytes().startswith(b"\x89PNG")
    lines = results.markdown(table(FOUND))
    assert len(lines) == 4
    assert "0.42 [0.32, 0.53] (34/80); by seed 18 16" in lines[2]
    monkeypatch.setattr(cells, "RECORDS", tmp_path / "none")
    assert results._transfer(tmp_path) == []
    folder = tmp_path / "none" / "transfer"
    folder.mkdir(parents=True)
    names = [f"{cell.kind}-0123456789ab" for cell in FOUND]
    for name, one in zip(names, FOUND.values(), strict=True):
        (folder / f"{name}.json").write_text(json.dumps(one))
    (tmp_path / "images").mkdir()
    page = "\n".join(results._transfer(tmp_path))
    assert "8 places, 5 trials each; per seed 100 episodes" in page
    assert "18/40 to 33/40" in page
    assert (
        "by other code or settings than are here now, and not again since: `lp-ds` seed 0, `lp-ds` seed 1, `usr` seed 0"
        in page
    )
    assert transfer.sentences(FOUND)[1] in page
    assert "not run yet: `lp-ds` seed 2, `usr` seed 1, `usr` seed 2.\n" in page
    strict = {**made_up(1, 2, 3), "task": "lid_opening_strict", "episodes": 150}
    (folder / f"lid_opening_strict-lp_ds-0-150x20x8x5-{'0' * 12}.json").write_text(json.dumps(strict))
    (folder / f"lid_opening-usr-77-100x20x8x5-{'0' * 12}.json").write_text(json.dumps({**one, "seed": 77}))
    both = "\n".join(results._transfer(tmp_path))
    assert "`lp-ds`, 2 seeds: 34/80 -> 63/80 -> 46/80." in both  # as before: another task is no further seed of it
    assert "`lp-ds`, one seed: 1/40 -> 2/40 -> 3/40." in both
    assert "`usr`, one seed:" in both  # nor is a seed that was not fixed beforehand one
    (folder / f"lid_opening-usr-2-100x20x8x5-{'0' * 12}.json").write_text(json.dumps(one))
    with pytest.raises(ConfigError, match="it says that it is lid_opening-usr-0"):
        recorded()
    (folder / f"lid_opening-usr-2-100x20x8x5-{'0' * 12}.json").unlink()
    (folder / f"{names[0].rpartition('-')[0]}-{'1' * 12}.json").write_text(json.dumps(made_up(40, 40, 40)))
    with pytest.raises(ConfigError, match="expected one record of lid_opening-lp_ds-0-100x20x8x5, got "):
        recorded()
    ours = next(iter(FOUND))
    (folder / f"{ours.name}.json").write_text(json.dumps(FOUND[ours]))
    assert recorded()[ours] == FOUND[ours]  # of several, that of this code


def test_a_cell_of_another_run_is_not_believed(tmp_path: Path) -> None:
    (cell, one), *_ = FOUND.items()
    folder = tmp_path / f"transfer-{cell.name}"
    folder.mkdir()
    for wrong in ({**one, "method": "zprl"}, {**one, "seed": 9}, {**one, "more": 1}, {**one, "repeats": 1}, {}):
        (folder / "cell.json").write_text(json.dumps(wrong))
        with pytest.raises(ConfigError, match=r"cell\.json is no result of a cell"):
            run_transfer(cell, tmp_path)


def test_seeds_on_record_are_those_that_were_fixed_beforehand(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        transfer.main(["--seeds", "77", "--record"])
    assert "--record: not with seed 77" in capsys.readouterr().err
