"""The paper's protocol: ten places, two trials at each, in order, as a table and on the page."""

from __future__ import annotations

import io
import json
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from robot_rl.adapters.files import write_weights
from robot_rl.cli.judging import evaluate_run
from robot_rl.compositions.placed import PlacedRequest, evaluate_places
from robot_rl.compositions.plan import new_run, open_run
from robot_rl.errors import ConfigError
from robot_rl.learn.run_learner import learner_of
from robot_rl.store.run import RunDirectory
from robot_rl.twins import load_placing
from tests.small_task import write_small_task


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    new_run(tmp_path / "run", str(write_small_task(tmp_path, max_steps=16)), "usr", 0, {})
    made, _, task, _ = open_run(tmp_path / "run")
    learner = learner_of(made, task)
    write_weights(made.adapters, 1, learner.actor_arrays(), {**learner.manifest(), "version": 1})
    return made


def look(output: io.StringIO, seen: list[dict[str, Any]], over: threading.Event) -> None:
    """Whatever the page is told until the evaluation is over."""
    while not over.wait(0.05):
        found = re.search(r"http://\S+", output.getvalue())
        if found:
            try:
                with urllib.request.urlopen(found[0].rstrip("/") + "/api/snapshot", timeout=1) as answer:
                    seen.append(json.loads(answer.read()))
            except (OSError, urllib.error.URLError):
                continue


def test_every_place_is_tried_twice_in_order_and_the_page_shows_which_one_is_due(run: RunDirectory) -> None:
    output, seen, over = io.StringIO(), list[dict[str, Any]](), threading.Event()
    looking = threading.Thread(target=look, args=(output, seen, over))
    looking.start()
    try:
        evaluate_places(run.path, PlacedRequest(3, None, "twin", port=0), Console(file=output, width=120))
    finally:
        over.set()
        looking.join(10)
    printed = output.getvalue()
    results = json.loads(printed.splitlines()[-1])
    assert (results["trials"], results["adapter_version"], results["repeats"]) == (20, 1, 2)
    assert len(results["base"]) == len(results["adapter"]) == 20
    places = load_placing(open_run(run.path)[2]).places()
    assert [(place["x"], place["y"]) for place in results["places"]] == [(place.x, place.y) for place in places]
    kept = json.loads((run.results / "positions-twin-3-v1.json").read_text())
    assert kept.items() <= results.items()
    rows = re.findall(r"│ (\d+) +│ 0\.\d{3} │ -?0\.\d{3} +│ [✓✕] [✓✕] +│ [✓✕] [✓✕] +│", printed)
    assert rows == [str(number) for number in range(1, 11)]
    shown = [snapshot["place"] for snapshot in seen]
    assert shown, "the page was up before it was over"
    for snapshot, place in zip(seen, shown, strict=True):
        following = snapshot["episode"] + (snapshot["state"] == "AWAIT_RESET")
        assert place["index"] * 2 + place["repeat"] == (following - 1) % 20 + 1
        assert set(place["marks"]) == {"front", "side"}
        assert len(place["marks"]["front"]) == len(place["places"]) == 10
    assert seen[-1]["run"].startswith("evaluation of the")


def test_a_twin_without_places_is_refused(run: RunDirectory) -> None:
    task = open_run(run.path)[2].model_copy(update={"twin": "json:JSONDecoder"})
    with pytest.raises(ConfigError, match=r"json\.placing"):
        load_placing(task)


def test_another_grid_is_asked_for_in_the_runs_own_world(run: RunDirectory) -> None:
    output = io.StringIO()
    evaluate_places(run.path, PlacedRequest(3, None, columns=1, repeats=1), Console(file=output, width=120))
    results = json.loads(output.getvalue().splitlines()[-1])
    assert (results["world"], results["repeats"], results["trials"]) == ("twin", 1, 2)
    assert [place["y"] for place in results["places"]] == pytest.approx([0, 0])
    assert (run.results / "positions-2x1-twin-3-v1.json").exists(), "the paper's own grid keeps its name to itself"


@pytest.mark.parametrize("said", [{"port": 0}, {"columns": 4}, {"repeats": 5}])
def test_what_is_about_places_is_refused_without_them(tmp_path: Path, said: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"--{next(iter(said))}: expected with --positions alone"):
        evaluate_run(tmp_path, **said)  # type: ignore[arg-type]
