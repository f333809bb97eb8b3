"""Verbs about what was recorded: to list, check, mend, label, learn from and watch it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robot_rl.cli.app import MAX_SEED, EpisodeOption, RunOption, app, choose, console, method_name
from robot_rl.types import LabelValue


@app.command()
def runs(folder: Annotated[Path, typer.Argument(help="where runs are, or a run's directory")] = Path("runs")) -> None:
    """The runs in a directory: episodes, success, size; and adapters that were trained on labels corrected since.

    Exit status 1 if a run cannot be read.
    """
    from robot_rl.compositions.runs import show_runs

    raise typer.Exit(0 if show_runs(folder, console) else 1)


@app.command()
def verify(run: RunOption) -> None:
    """Check every byte, number, stamp, label and weight of a run; exit status 1 if anything is wrong."""
    from robot_rl.compositions.housekeeping import verify_run

    raise typer.Exit(0 if verify_run(run, console) else 1)


@app.command()
def repair(episode: EpisodeOption) -> None:
    """Read what can be read of a damaged or cut episode into a copy; exit status 3 if something is lost."""
    from robot_rl.compositions.housekeeping import repair_episode

    raise typer.Exit(0 if repair_episode(episode, console) else 3)


@app.command()
def label(
    episode: EpisodeOption,
    value: Annotated[str, typer.Argument(help="success, failure or discard (never train on it)")],
    author: Annotated[str | None, typer.Option(help="who says so  [default: the user's name]")] = None,
    revision: Annotated[
        int | None, typer.Option(help="the label that this one corrects  [default: the present one]", min=0)
    ] = None,
) -> None:
    """Label a closed episode, or correct its label; also while its run goes on."""
    from robot_rl.compositions.housekeeping import label_episode

    choose("label", value, tuple(known.value for known in LabelValue))
    label_episode(episode, LabelValue(value), author, revision, console)


@app.command("train-offline")
def train_offline_command(
    runs: Annotated[
        list[Path], typer.Argument(help="runs whose labelled episodes are learnt from", show_default=False)
    ],
    method: Annotated[
        str | None, typer.Option(callback=method_name, help="any that the task has  [default: the first run's]")
    ] = None,
    updates: Annotated[int | None, typer.Option(help="gradient updates  [default: the method's UTD]", min=1)] = None,
    demos: Annotated[Path | None, typer.Option(help="demonstrations too: what `demos` wrote")] = None,
    seed: Annotated[int, typer.Option(help="of the learner", min=0, max=MAX_SEED)] = 0,
    out: Annotated[
        Path | None, typer.Option(help="the new run's directory  [default: runs/TASK-METHOD-SEED-offline-TIME]")
    ] = None,
) -> None:
    """Train an adapter from recorded episodes alone, as a run that goes on online; ends with a line of JSON."""
    from robot_rl.compositions.train_offline import OfflineRequest, train_offline

    train_offline(OfflineRequest(runs, method, updates, demos, seed, out), console)


@app.command("rerun")
def rerun_command(
    episode: EpisodeOption,
    world: Annotated[
        str | None, typer.Option(help="the task's world: twin, or real (its perturbed copy)  [default: the run's]")
    ] = None,
) -> None:
    """Send an episode's recorded commands through guard and twin again; ends with a line of JSON."""
    from robot_rl.compositions.rerun import rerun_and_show

    rerun_and_show(episode, world, console)


@app.command("replay")
def replay_command(
    episode: EpisodeOption,
    port: Annotated[int, typer.Option(help="TCP port of the page; 0 picks a free one", min=0, max=65535)] = 0,
    to_ros: Annotated[
        bool, typer.Option("--to-ros", help="publish it on the topics of the live ROS 2 graph instead")
    ] = False,
    rate: Annotated[float, typer.Option(help="with --to-ros: times as fast as it was recorded", min=0.01)] = 1.0,
    namespace: Annotated[str, typer.Option(help="with --to-ros: what the topics are below, e.g. /cell_1")] = "/",
) -> None:
    """Show an episode in the browser: cameras, chunks, commands and verdicts on one time axis."""
    if to_ros:
        from robot_rl.compositions.replay_to_ros import replay_to_ros

        replay_to_ros(episode, rate, namespace, console)
        return
    from robot_rl.compositions.replay import replay

    replay(episode, port, console)


export = typer.Typer(help="A run's episodes in the formats of others.", no_args_is_help=True)
app.add_typer(export, name="export")


@export.command("lerobot")
def export_lerobot(
    run: RunOption,
    out: Annotated[Path, typer.Argument(help="the dataset's directory, a new one", show_default=False)],
    fps: Annotated[int | None, typer.Option(help="frames per second  [default: the control rate]", min=1)] = None,
    images: Annotated[
        bool | None,
        typer.Option(
            "--images/--no-images",
            help="cameras without loss, as their recorded JPEG files, or not at all  [default: as video]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the labelled episodes of a run as a LeRobotDataset v3.0; ends with a line of JSON."""
    from robot_rl.compositions.export_lerobot import export_and_show

    export_and_show(run, out, fps, images, console)
