"""Evaluation at places in order, for policy and adapter alike: as in the USR paper (section 5.5) ten, two trials each.

The LP-DS paper's (appendix G) is `--columns 4 --repeats 5`: a grid of 2 x 4, five trials each.

In the twin, which puts the bin itself. On a page (`--port`) the places are a grid over the pictures of the cameras that
stand still, and the one that is due is marked: what a person beside a robot goes by.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import TaskID
from rich.table import Table

from robot_rl.adapters.acting import load_adapter
from robot_rl.clock import SteppedClock
from robot_rl.compositions.evaluate import Page, frozen, no_page, outcomes_in
from robot_rl.compositions.lockstep_page import lockstep_page
from robot_rl.compositions.operator_page import free_port
from robot_rl.compositions.page_access import announce_page
from robot_rl.compositions.plan import open_run
from robot_rl.compositions.report import chosen_version
from robot_rl.compositions.results import Rate, write_json_results
from robot_rl.compositions.terminal import progress_bar
from robot_rl.config import TaskConfig
from robot_rl.console.access import Access
from robot_rl.control.actor import Actor, RunView
from robot_rl.processes import Children
from robot_rl.protocols import Adapter
from robot_rl.safety.guard import Guard
from robot_rl.store.run import RunDirectory
from robot_rl.twins import Place, PlacedCell, Placing, Split, TwinRobot, load_placing, load_twin, place_of

REPEATS, COLUMNS = 2, 5
"""The USR paper's: of the trials at a place, and of the grid."""


@dataclass(frozen=True)
class PlacedRequest:
    """What `robot-rl eval --positions` was asked for."""

    seed: int
    version: int | None
    """None: the newest."""
    world: str | None = None
    """None: the run's own."""
    port: int | None = None
    """TCP port of a page to watch it on, 0 for a free one, None for no page."""
    columns: int = COLUMNS
    """Along y; the rows along x are two."""
    repeats: int = REPEATS
    """Trials at each place."""


def evaluate_places(path: Path, request: PlacedRequest, console: Console) -> None:
    """Table, file and one last line of JSON. Raises as `open_run`, and `ConfigError` for a twin without places."""
    run, info, task, policy = open_run(path)
    version = chosen_version(run, request.version)
    world, repeats = request.world or info.world, request.repeats
    placing = load_placing(task, request.columns)
    places = placing.places()
    candidates: dict[str, Adapter] = {
        "frozen policy": frozen(policy),
        f"adapter v{version}": load_adapter(run.adapters, version, policy.spec),
    }
    port = None if request.port is None else free_port(request.port)
    found: dict[str, list[int]] = {}
    with progress_bar(console) as bar:
        for name, candidate in candidates.items():
            row = bar.add_task(f"evaluating the {name}", total=repeats * len(places), note="")

            def advance(done: int, row: TaskID = row) -> None:
                bar.update(row, completed=done)

            clock = SteppedClock()
            twin = load_twin(task, world, clock)
            found[name] = outcomes_in(
                twin, clock, task, info.method, policy, candidate, repeats * len(places), request.seed,
                Split.EVALUATE, advance,
                PlacedCell(twin, request.seed, Split.EVALUATE, placing=placing, repeats=repeats),
                view_of(task, name, placing, repeats),
                no_page if port is None else page_on(port, run, twin, clock, console),
            )  # fmt: skip
    show(task, places, found, repeats, console)
    results: dict[str, Any] = {
        "task": task.name,
        "method": info.method,
        "run_seed": info.seed,
        "evaluation_seed": request.seed,
        "world": world,
        "adapter_version": version,
        "repeats": repeats,
        "places": [{"x": place.x, "y": place.y, "yaw": place.yaw} for place in places],
        "base": found["frozen policy"],
        "adapter": found[f"adapter v{version}"],
    }
    grid = "positions" if (request.columns, repeats) == (COLUMNS, REPEATS) else f"positions-{len(places)}x{repeats}"
    write_json_results(run.results / f"{grid}-{world}-{request.seed}-v{version}.json", results)
    totals = {f"{side}_successes": sum(results[side]) for side in ("base", "adapter")}
    console.file.write(json.dumps({**results, **totals, "trials": repeats * len(places)}) + "\n")


def view_of(task: TaskConfig, name: str, placing: Placing, repeats: int = REPEATS) -> RunView:
    """What a page shows of such an evaluation."""
    places = placing.places()
    marks = placing.marks(places)
    shown = [{"x": place.x, "y": place.y} for place in places]

    def place(episode: int) -> Mapping[str, Any]:
        index = place_of(episode, repeats, len(places))
        repeat = (episode - 1) % repeats + 1
        return {"index": index, "repeat": repeat, "repeats": repeats, "places": shown, "marks": marks}

    cameras = list(task.scene.get("cameras", {}))
    return RunView(f"evaluation of the {name}", "lockstep", auto_label=True, cameras=cameras, place=place)


def page_on(port: int, run: RunDirectory, twin: TwinRobot, clock: SteppedClock, console: Console) -> Page:
    """The operator's page, on this machine alone."""

    @contextmanager
    def page(actor: Actor, guard: Guard) -> Iterator[Callable[[], None]]:
        children, access = Children(run.path / "logs"), Access()
        try:
            with lockstep_page(
                children, port, access, run.task_yaml, actor=actor, guard=guard, twin=twin, clock=clock,
                announce=lambda url: announce_page(url, access, console),
            ) as offer:  # fmt: skip

                def tend() -> None:
                    children.tend()
                    offer()

                yield tend
        finally:
            children.stop()

    return page


def show(
    task: TaskConfig, places: Sequence[Place], found: Mapping[str, Sequence[int]], repeats: int, console: Console
) -> None:
    """The table: a row for each place, and the totals with their intervals."""
    table = Table("place", "x, m", "y, m", *found, title=f"{task.title}: {len(places)} places, {repeats} trials each")
    for index, place in enumerate(places):
        trials = [outcomes[index * repeats : (index + 1) * repeats] for outcomes in found.values()]
        marks = [" ".join("✓" if trial else "✕" for trial in each) for each in trials]
        table.add_row(f"{index + 1}", f"{place.x:.3f}", f"{place.y:.3f}", *marks)
    table.add_row("all", "", "", *(str(Rate(sum(outcomes), len(outcomes))) for outcomes in found.values()))
    console.print(table)
