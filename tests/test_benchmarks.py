"""The learning benchmark: its arithmetic on made-up cells, and that a cell is done once."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import cells, digest, ending, readme
from benchmarks.cells import Cell, run_ceilings, run_cell
from benchmarks.digest import ceilings_digest, cell_digest
from benchmarks.lid_opening import cells_of
from benchmarks.results import recorded_cells, table_summary
from benchmarks.summary import summarise, table
from benchmarks.verdicts import sentences
from robot_rl.errors import ConfigError
from robot_rl.methods import METHODS
from robot_rl.task_files import load_task

ROOT = Path(__file__).parent.parent


def made_up(successes: dict[str, list[float]]) -> dict[Cell, dict[str, Any]]:
    return {
        Cell("lid_opening", method, seed, 100, 100): {
            "success": value,
            "base_success": 0.4,
            "action_entropy": -50.0 - seed,
            "base_action_entropy": -40.0,
            "log": {"actor_value": 0.9} | ({"shift_squared": 1.0 + seed} if method == "lp-ds" else {}),
        }
        for method, values in successes.items()
        for seed, value in enumerate(values)
    }


def test_the_summary_is_means_worst_seeds_and_intervals_over_seeds() -> None:
    summary = summarise(made_up({"usr": [0.9, 0.8, 1.0], "dsrl-na": [0.6, 0.7, 0.5]}))
    assert summary["lid_opening_usr_mean"] == pytest.approx(0.9)
    assert summary["lid_opening_usr_min"] == 0.8
    assert summary["lid_opening_base"] == pytest.approx(0.4)
    low, high = summary["lid_opening_usr_interval"]
    half = 4.303 * 0.1 / 3**0.5  # Student's t over three seeds; Wilson, 270 of 300, has 0.86 to 0.93
    assert low == pytest.approx(0.9 - half, abs=1e-3)
    assert high == 1.0
    low, high = summarise(made_up({"usr": [0.9, 0.9, 0.9]}))["lid_opening_usr_interval"]
    assert 0.85 < low < 0.87  # where seeds agree, that of the trials
    assert 0.92 < high < 0.94


def test_methods_are_compared_seed_by_seed() -> None:
    even = summarise(made_up({"usr": [0.9, 0.8, 0.7], "dsrl-na": [0.6, 0.5, 0.4]}))
    assert even["lid_opening_usr_minus_dsrl_na"] == pytest.approx(0.3)
    assert even["lid_opening_usr_minus_dsrl_na_lower_95"] == pytest.approx(0.3)
    uneven = summarise(made_up({"usr": [0.9, 0.5, 0.7], "dsrl-na": [0.4, 0.6, 0.5]}))
    assert uneven["lid_opening_usr_minus_dsrl_na"] == pytest.approx(0.2)
    assert uneven["lid_opening_usr_minus_dsrl_na_lower_95"] < 0
    unfinished = summarise(made_up({"usr": [0.9, 0.5, 0.7], "dsrl-na": [0.4, 0.6]}))
    assert unfinished["lid_opening_usr_minus_dsrl_na"] == pytest.approx(0.2)  # over the seeds that both have


@pytest.mark.parametrize("task", ["lid_opening", "lid_opening_strict"])
def test_seeds_for_choosing_and_for_the_table_are_disjoint(task: str) -> None:
    protocol = load_task(task).protocol
    assert not set(protocol.seeds) & set(protocol.tuning_seeds)
    assert {cell.seed for cell in cells_of([task], ["usr"], short=False)} == set(protocol.seeds)
    assert {cell.seed for cell in cells_of([task], ["usr"], short=True)} <= set(protocol.tuning_seeds)


def test_every_entry_of_a_task_file_has_its_cells() -> None:
    cells = cells_of(["lid_opening"], None, short=False)
    task = load_task("lid_opening")
    assert {(cell.method, cell.seed) for cell in cells} == {(m, s) for m in task.methods for s in task.protocol.seeds}
    assert len({cell.name for cell in cells}) == len(cells)
    assert not any(":" in cell.kind for cell in cells)


def test_a_method_without_settings_is_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="did you mean 'dsrl-na'"):
        cells_of(["lid_opening"], ["usr", "dsrl-nb"], short=False)


def refuses() -> int:
    raise ConfigError("expected this, got that")


def interrupted() -> int:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (lambda: 1, 1, ""),
        (refuses, 2, "error: expected this, got that"),
        (interrupted, 130, "the same command goes on"),
    ],
)
def test_what_a_benchmark_refuses_is_one_line(
    body: Callable[[], int], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending.in_words(body) == status
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == bool(words)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (("transfer", "--method", "ppo"), "ppo"),
        (("transfer", "--seeds", "-1"), "expected 0 or more"),
        (("transfer", "--quick", "--seeds", "5"), "--quick: not with --seeds"),
        (("lid_opening", "--jobs", "0"), "expected a whole number from 1 to 1000000"),
        (("tuning", "usr", "--seed", "0"), "the table's seeds choose nothing"),
        (("results", "--readme", "/nowhere/README.md"), "expected a README.md"),
        (
            ("studies.__main__", "usr_modes", "--quick", "--out", "/proc/nowhere"),
            "expected a folder that can be written to",
        ),
    ],
)
def test_a_benchmark_that_is_asked_for_what_is_not_says_so(
    wanted: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = importlib.import_module(f"benchmarks.{wanted[0]}").main
    try:
        status = ending.in_words(lambda: int(command(wanted[1:])))
    except SystemExit as error:  # argparse's own
        status = int(error.code or 0)
    assert status == 2
    assert words in capsys.readouterr().err


def test_the_starts_of_the_frozen_policy_are_counted_once() -> None:
    one = summarise(made_up({"usr": [0.9, 0.8]}))
    two = summarise(made_up({"usr": [0.9, 0.8], "lp-ds:paper": [0.6, 0.7]}))
    assert one["lid_opening_base_interval"] == two["lid_opening_base_interval"]
    assert two["lid_opening_lp_ds_paper_mean"] == pytest.approx(0.65)
    assert two["lid_opening_usr_minus_lp_ds_paper"] == pytest.approx(0.2)


def test_diversity_diagnostics_and_ceilings_stand_beside_the_success() -> None:
    results = made_up({"usr": [0.9, 0.8], "lp-ds": [0.6, 0.7]})
    ceiling = {"success": 0.8, "interval": [0.7, 0.9], "oracle": "noise shift, blind", "seeing": 0.93}
    ceilings = {"lid_opening": {"lp-ds": ceiling}}
    summary = summarise(results, ceilings)
    assert summary["lid_opening_lp_ds_action_entropy"] == -50.5
    assert summary["lid_opening_base_action_entropy"] == -40
    assert summary["lid_opening_lp_ds_shift_squared"] == 1.5
    assert "lid_opening_usr_shift_squared" not in summary
    assert summary["lid_opening_lp_ds_ceiling"] == 0.8
    assert "lid_opening_usr_ceiling" not in summary
    console = Console(width=300, file=io.StringIO())
    console.print(table(results, summary))
    text = console.file.getvalue()
    assert "noise shift, blind" in text
    assert "0.93" in text
    assert "-50" in text


def said(successes: dict[str, list[float]], ceilings: dict[str, float], task: str = "lid_opening") -> str:
    results = {replace(cell, task=task): result for cell, result in made_up(successes).items()}
    found = {method: {"success": value, "interval": [0, 1], "oracle": "sees"} for method, value in ceilings.items()}
    return "\n".join(sentences(task, list(successes), summarise(results, {task: found})))


def test_what_the_table_says_follows_from_its_figures() -> None:
    good = said({"usr": [0.9, 0.9], "zprl": [0.8, 0.84], "lp-ds": [0.42, 0.44]}, {"usr": 1.0, "zprl": 0.98})
    assert "intervals apart: `usr`, `zprl`; not: `lp-ds`." in good
    assert "points below its ceiling: `usr`; further below: `zprl` (0.82 of 0.98; its critic expects 0.90)." in good
    assert "Highest mean: `usr`; with intervals that overlap its own: `zprl`." in good
    other = said({"usr": [0.7, 0.7], "zprl": [0.95, 0.95]}, {})
    assert "Highest mean: `zprl`; with intervals that overlap its own: none." in other
    assert "its ceiling" not in other


def test_what_diversity_costs_and_what_both_parts_are_worth_is_said_either_way() -> None:
    assert "`lp-ds` keeps less k-NN entropy" in said({"lp-ds": [0.7, 0.7], "dsrl-na": [0.9, 0.9]}, {})
    assert "at success 0.70 and 0.90, intervals apart" in said({"lp-ds": [0.7, 0.7], "dsrl-na": [0.9, 0.9]}, {})
    assert "intervals overlapping" in said({"lp-ds": [0.7, 0.7], "dsrl-na": [0.7, 0.75]}, {})
    strict = "lid_opening_strict"
    assert "+0.20" in said({"usr": [0.8, 0.8], "policy-decorator": [0.6, 0.6]}, {}, strict)
    assert ": less than the margin of 0.15" in said({"usr": [0.7, 0.7], "policy-decorator": [0.6, 0.6]}, {}, strict)


def test_a_run_that_waits_for_a_person_is_judged_by_what_it_had_learnt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def answered(arguments: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if "eval" in arguments:
            return subprocess.CompletedProcess(arguments, 0, json.dumps({"success": 0.1, "base_success": 0.4}), "")
        Path(arguments[arguments.index("--out") + 1]).mkdir()
        words = "error: STOPPED: operator_stop: 3 episodes in a row\nended as faults. Only a person clears this, on"
        return subprocess.CompletedProcess(arguments, 2, words, "")

    monkeypatch.setattr(subprocess, "run", answered)
    monkeypatch.setattr(cells, "learning_of", lambda folder: {"curve": [[1, 0]]})
    monkeypatch.setattr(cells, "_log", lambda folder: {})
    cell = Cell("lid_opening", "usr", 99, 100, 100)
    result = run_cell(cell, tmp_path)
    assert result["latched"] == "STOPPED: operator_stop: 3 episodes in a row\nended as faults"
    assert result["success"] == 0.1
    results = made_up({"usr": [0.9, 0.8]})
    next(iter(results.values())).update(latched=result["latched"], curve=[[1, 0], [2, 1]])
    assert "what was learnt until then: `usr` seed 0 after 2." in "\n".join(
        sentences("lid_opening", ["usr"], summarise(results))
    )


def test_the_readme_has_the_table_of_what_is_on_record() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    made = readme.section(table_summary())
    assert readme.placed(text, made) == text, "run `python -m benchmarks.results`"
    assert made[2].startswith("| frozen policy | 0.")
    assert len(made) > 10
    with pytest.raises(ConfigError, match=r"expected <!-- python -m benchmarks\.results: begin -->"):
        readme.placed("# robot_rl", made)


def test_the_readme_s_table_has_the_best_first_and_says_where_seeds_are_missing() -> None:
    ceilings = {"lid_opening": {"usr": {"success": 0.99, "interval": [0.9, 1.0], "oracle": "noise"}}}
    rows = readme.table(summarise(made_up({"zprl": [0.3, 0.4], "usr": [0.9, 0.8]}), ceilings))
    assert [row.split(" | ")[0] for row in rows[3:]] == ["| USR", "| ZPRL (four latent axes)"]
    assert rows[3].split(" | ")[1:4] == ["0.85 (2 seeds)", "0.21 to 1.00", "0.99"]
    assert rows[4].split(" | ")[3:] == ["", "", "", " |"]


def test_a_ceiling_depends_on_the_interfaces_and_not_on_how_anybody_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task("lid_opening")
    before = ceilings_digest("lid_opening")

    def digest_with(**settings: object) -> str:
        changed = {**task.methods, "lp-ds": task.method("lp-ds").model_copy(update=settings)}
        monkeypatch.setattr(digest, "load_task", lambda name: task.model_copy(update={"methods": changed}))
        return ceilings_digest("lid_opening")

    assert digest_with(td_steps=7, learning_rate=0.1) == before
    assert len({before, digest_with(trust_region=9.0), digest_with(noise_layout="full")}) == 3
    monkeypatch.setattr(digest, "entry_of", lambda name: METHODS["usr"])  # all of one kind
    assert digest_with() != before
    assert "robot_rl/learn/replay.py" not in {p.relative_to(ROOT).as_posix() for p in digest.files(digest.JUDGING)}


def test_a_ceiling_is_of_as_many_trials_as_a_row_of_the_table() -> None:
    assert cells.ceiling_trials("lid_opening") == 5 * 100


def test_ceilings_are_read_and_not_measured_again(tmp_path: Path) -> None:
    folder = tmp_path / f"lid_opening-ceilings-100-{ceilings_digest('lid_opening')}"
    folder.mkdir()
    rate = {"success": 0.7, "interval": [0.6, 0.8], "trials": 100}
    interfaces = [
        {"interface": "noise repeat", "methods": ["usr", "dsrl-na"], "oracles": {"sees": rate}},
        {
            "interface": "noise shift",
            "methods": ["lp-ds"],
            "oracles": {"sees": {**rate, "success": 0.9}, "blind": rate},
        },
        {"interface": "noise full", "methods": [], "oracles": {"sees": rate}},
    ]
    (folder / "authority.json").write_text(json.dumps({"interfaces": interfaces}))
    found = run_ceilings("lid_opening", 100, tmp_path)
    assert {method: one["oracle"] for method, one in found.items()} == {
        "usr": "noise repeat",
        "dsrl-na": "noise repeat",
        "lp-ds": "noise shift, blind",
    }
    assert (found["lp-ds"]["success"], found["lp-ds"]["seeing"]) == (0.7, 0.9)
    assert "seeing" not in found["usr"]


USR = Cell("lid_opening", "usr", 0, 100, 100)
DONE = {
    **dict.fromkeys(cells.FIGURES, 0.0),
    "success": 0.5,
    "interval": [0.4, 0.6],
    "base_interval": [0.0, 0.1],
    "curve": [],
    "log": {},
    "method": "usr",
    "seed": 0,
    "trials": 100,
}
"""What a cell gave."""


def test_a_cell_that_is_done_is_read_and_not_run(tmp_path: Path) -> None:
    assert USR.name.endswith(cell_digest("lid_opening", "usr"))
    (tmp_path / USR.name).mkdir()
    (tmp_path / USR.name / "cell.json").write_text(json.dumps(DONE))
    assert run_cell(USR, tmp_path) == DONE


@pytest.mark.parametrize(
    "wrong", [{"seed": 1}, {"method": "zprl"}, {"trials": 5}, {"success": 7.5}, {"success": "many"}]
)
def test_what_is_there_and_is_no_result_of_the_cell_is_not_believed(tmp_path: Path, wrong: dict[str, Any]) -> None:
    (tmp_path / USR.name).mkdir()
    (tmp_path / USR.name / "cell.json").write_text(json.dumps(DONE | wrong))
    with pytest.raises(ConfigError, match=r"cell\.json is no result of a cell .*remove it"):
        run_cell(USR, tmp_path)


def test_a_record_is_of_what_its_name_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "RECORDS", tmp_path)
    (tmp_path / f"{USR.name}.json").write_text(json.dumps(DONE))
    other = Cell("lid_opening", "usr", 77, 100, 100)  # no seed of the protocol
    (tmp_path / f"{other.name}.json").write_text(json.dumps({**DONE, "seed": 77}))
    assert recorded_cells() == {"lid_opening": {USR: DONE}}
    for wrong in ({"method": "zprl"}, {"seed": 9}, {"trials": 5}):
        (tmp_path / f"{USR.name}.json").write_text(json.dumps(DONE | wrong))
        with pytest.raises(ConfigError, match="the record of lid_opening-usr-0-100x100 is not of"):
            recorded_cells()


def test_a_cell_on_record_is_read_and_takes_the_place_of_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = tmp_path / "records"
    monkeypatch.setattr(cells, "RECORDS", records)
    cell, other = USR, Cell("lid_opening", "usr-sac", 0, 100, 100)
    records.mkdir()
    for stale in (f"{cell.kind}-0123456789ab.json", f"{other.kind}-0123456789ab.json"):
        (records / stale).write_text("{}")
    (tmp_path / "out" / cell.name).mkdir(parents=True)
    (tmp_path / "out" / cell.name / "cell.json").write_text(json.dumps(DONE))
    assert run_cell(cell, tmp_path / "out", record=True) == DONE
    assert {path.name for path in records.iterdir()} == {f"{cell.name}.json", f"{other.kind}-0123456789ab.json"}
    assert run_cell(cell, tmp_path / "elsewhere") == DONE
    assert not (tmp_path / "elsewhere").exists()


def test_a_digest_tells_methods_tasks_and_settings_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task("lid_opening")
    before = {method: cell_digest("lid_opening", method) for method in task.methods}
    assert len({*before.values(), cell_digest("lid_opening_strict", "usr")}) == len(before) + 1
    changed = {**task.methods, "zprl": task.methods["zprl"].model_copy(update={"latent_scale": 0.9})}
    monkeypatch.setattr(digest, "load_task", lambda name: task.model_copy(update={"methods": changed}))
    after = {method: cell_digest("lid_opening", method) for method in task.methods}
    assert {method for method in before if before[method] != after[method]} == {"zprl"}


def test_words_do_not_count_and_code_does() -> None:
    code = (
        'def f(x):\n    """Doubles."""\n    y = "# no comment"  # a comment\n    """Of y."""\n\n    return 2 * x, y\n'
    )
    bare = 'def f(x):\n    y = "# no comment"\n    return 2 * x, y'
    assert digest.without_words(code) == bare == digest.without_words(bare)
    assert digest.without_words(code.replace("2 *", "3 *")) != bare


def test_a_backbone_counts_for_the_tasks_that_have_one() -> None:
    unet = ROOT / "robot_rl" / "policy" / "backbones" / "unet.py"
    for name, counts in (("lid_opening", False), ("lid_opening_visual", True)):
        assert (unet in digest.files(digest.deciding(load_task(name)))) is counts


@pytest.mark.parametrize(
    ("name", "counts"),
    [("learn/sac.py", True), ("safety/filter.py", True), ("learn/process.py", False), ("console/app.py", False)],
)
def test_code_that_decides_nothing_does_not_count(name: str, counts: bool) -> None:
    assert (
        f"robot_rl/{name}" in {path.relative_to(ROOT).as_posix() for path in digest.files(digest.DECIDING)}
    ) is counts
