"""Verbs that make and judge policies and adapters in the twin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from robot_rl.cli.app import MAX_SEED, RunOption, app, console
from robot_rl.errors import ConfigError


@app.command("eval")
def evaluate_run(
    run: RunOption,
    trials: Annotated[int, typer.Option(help="episodes of each, on the same starts", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="of the evaluation starts", min=0, max=MAX_SEED)] = 0,
    version: Annotated[int | None, typer.Option(help="adapter version  [default: the newest]", min=1)] = None,
    world: Annotated[
        str | None, typer.Option(help="the task's world: twin, or real (its perturbed copy)  [default: the run's]")
    ] = None,
    positions: Annotated[
        bool, typer.Option("--positions", help="at ten places in order, two trials at each, in place of random starts")
    ] = False,
    columns: Annotated[
        int | None, typer.Option(help="with --positions: of the grid, two rows of them  [default: 5]", min=1)
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(help="with --positions: trials at each place  [default: 2]", min=1)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="with --positions: TCP port of a page to watch it on; 0 picks one", min=0, max=65535),
    ] = None,
) -> None:
    """Evaluate a run's frozen policy and its adapter on starts that were never trained on; ends with a line of JSON."""
    if positions:
        from robot_rl.compositions.placed import COLUMNS, REPEATS, PlacedRequest, evaluate_places

        request = PlacedRequest(seed, version, world, port, columns or COLUMNS, repeats or REPEATS)
        evaluate_places(run, request, console)
        return
    for option, said in (("--port", port), ("--columns", columns), ("--repeats", repeats)):
        if said is not None:
            raise ConfigError(f"{option}: expected with --positions alone, where places are gone through in order")
    from robot_rl.compositions.report import evaluate_and_show

    evaluate_and_show(run, trials=trials, seed=seed, version=version, world=world, console=console)


@app.command()
def authority(
    task: Annotated[str, typer.Argument(help="a task's name, or the path of a .yaml file")] = "lid_opening",
    trials: Annotated[int, typer.Option(help="episodes of each controller that knows the answer", min=1)] = 100,
    states: Annotated[int, typer.Option(help="states at which the reach is measured", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="of starts and draws", min=0, max=MAX_SEED)] = 0,
    out: Annotated[Path | None, typer.Option(help="where the files go  [default: runs/authority-TASK]")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="little of everything: shows that it runs")] = False,
) -> None:
    """What each method can hope for before any learning: reach, ceilings, where to start; ends with a line of JSON."""
    from robot_rl.compositions.authority import Effort, report_authority

    effort = Effort(trials, states)
    report_authority(task, effort.quick if quick else effort, seed, out, console)


@app.command()
def critics(
    run: RunOption,
    episodes: Annotated[int, typer.Option(help="of the newest labelled ones", min=1)] = 40,
) -> None:
    """Check a run's two critics against each other and against what the twin knows; ends with a line of JSON."""
    from robot_rl.compositions.critic_check import check_run

    check_run(run, episodes, console)


@app.command()
def demos(
    task: Annotated[str, typer.Argument(help="a task's name, or the path of a .yaml file")] = "lid_opening",
    out: Annotated[Path, typer.Option(help="file to write (.npz)")] = Path("demos.npz"),
    count: Annotated[int | None, typer.Option(help="demonstrations  [default: the task's]", min=1)] = None,
    seed: Annotated[int, typer.Option(help="of starts and of the expert's imperfections", min=0, max=MAX_SEED)] = 0,
) -> None:
    """Record the task's scripted expert in the twin."""
    from robot_rl.compositions.pretraining import save_demonstrations
    from robot_rl.task_files import load_task

    save_demonstrations(load_task(task), out, count, seed, console)


@app.command()
def pretrain(
    task: Annotated[str, typer.Argument(help="a task's name, or the path of a .yaml file")] = "lid_opening",
    demonstrations: Annotated[Path | None, typer.Option(help="what `demos` wrote  [default: recorded now]")] = None,
    out: Annotated[Path | None, typer.Option(help="checkpoint to write  [default: the task's own]")] = None,
    steps: Annotated[
        int | None, typer.Option(help="training steps, for a first look  [default: the task's]", min=1)
    ] = None,
) -> None:
    """Clone the frozen policy from demonstrations: minutes on the CPU, with pictures up to two hours.

    A backbone (`policy.backbone` of the task) that was interrupted goes on where it was, by the same command.
    """
    from robot_rl.compositions.pretraining import clone_policy

    clone_policy(task, demonstrations, out, steps, console)


@app.command()
def tasks() -> None:
    """The tasks that ship with the package."""
    from robot_rl.task_files import load_task, task_names

    table = Table("task", "title", "methods", "episodes")
    for name in task_names():
        config = load_task(name)
        table.add_row(name, config.title, ", ".join(config.methods), str(config.protocol.episodes))
    console.print(table)
