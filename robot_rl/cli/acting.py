"""Verbs that make a robot or its twin move and learn: in this process and its children, or as a ROS 2 graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robot_rl.cli.app import MAX_SEED, app, choose, console, method_name
from robot_rl.console.access import Access
from robot_rl.methods import METHODS
from robot_rl.twins import HARDWARE, TWIN

TaskOption = Annotated[
    str | None, typer.Argument(help="a task's name, or the path of a .yaml file  [default: lid_opening]")
]
EpisodesOption = Annotated[int | None, typer.Option(help="labelled episodes  [default: the task's]", min=1)]
SeedOption = Annotated[int | None, typer.Option(help="of starts, noise and learner  [default: 0]", min=0, max=MAX_SEED)]
HwOption = Annotated[str | None, typer.Option(help=f"what moves: {', '.join(HARDWARE)}  [default: {TWIN}]")]
WorldOption = Annotated[
    str | None, typer.Option(help="the task's world: twin, or real (its perturbed copy)  [default: twin]")
]
FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="begin with the adapter that this run learnt, and all that learning goes on with; task and method are "
        "its own where they are not said",
    ),
]
OutOption = Annotated[Path | None, typer.Option(help="the run's directory  [default: runs/TASK-METHOD-SEED-TIME]")]
PortOption = Annotated[int, typer.Option(help="TCP port of the page; another one if it is taken", min=0, max=65535)]
TrialsOption = Annotated[
    int,
    typer.Option(
        help="evaluation trials of policy and adapter at the end; 0 for none, nor of the policy before a run with "
        "a page",
        min=0,
    ),
]
HostOption = Annotated[
    str,
    typer.Option(
        help="address the page is served on, 0.0.0.0: all; other than loopback with TLS (`robot-rl cert`) and link"
    ),
]
TokenOption = Annotated[
    bool, typer.Option("--token", help="the page opens by a one-time link alone (`robot-rl console --url`), here too")
]
InsecureOption = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="with --host: no TLS and, without --token, no link. Whoever reaches the port commands the robot, and "
        "whoever is on the way reads and changes what is said; there is no VR",
    ),
]


@app.command()
def run(
    task: TaskOption = None,
    method: Annotated[
        str | None,
        typer.Option(
            callback=method_name,
            help=f"{', '.join(METHODS)}: those, or variants, that the task has settings for  [default: usr]",
        ),
    ] = None,
    episodes: EpisodesOption = None,
    seed: SeedOption = None,
    label: Annotated[
        str | None, typer.Option(help="auto: the twin's truth labels; human: you do, on the page  [default: auto]")
    ] = None,
    pace: Annotated[
        str | None,
        typer.Option(help="lockstep (fast, reproducible), real-time, or auto: as --label needs  [default: auto]"),
    ] = None,
    hw: HwOption = None,
    world: WorldOption = None,
    begin_from: FromOption = None,
    policy: Annotated[
        str | None, typer.Option(help="endpoint of a policy server, tcp://HOST:PORT  [default: local, in this process]")
    ] = None,
    policy_keys: Annotated[
        Path | None, typer.Option(help="this client's key file, for a policy server with keys (`robot-rl keys`)")
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            help="auto: a policy server infers the next chunk while the present one runs; off: the robot waits for it  "
            "[default: auto]"
        ),
    ] = None,
    out: OutOption = None,
    resume: Annotated[
        Path | None, typer.Option(help="go on with this run, with the settings it was begun with")
    ] = None,
    no_console: Annotated[bool, typer.Option("--no-console", help="no operator's page")] = False,
    no_learner: Annotated[
        bool, typer.Option("--no-learner", help="learn elsewhere or not at all: this machine has no torch")
    ] = False,
    port: PortOption = 8000,
    host: HostOption = "127.0.0.1",
    token: TokenOption = False,
    insecure: InsecureOption = False,
    trials: TrialsOption = 100,
) -> None:
    """Run a task: the frozen policy acts, the adapter learns from one label per episode."""
    from robot_rl.compositions.running import RunRequest, run_task

    choose("--label", label, ("auto", "human"))
    choose("--pace", pace, ("auto", "lockstep", "real-time"))
    choose("--overlap", overlap, ("auto", "off"))
    run_task(
        RunRequest(
            task=task, method=method, episodes=episodes, seed=seed, label=label, pace=pace, hw=hw,
            policy=policy, policy_keys=policy_keys, overlap=overlap, world=world, begin_from=begin_from,
            out=out, resume=resume,
            console_port=None if no_console else port, access=Access(host, token, insecure),
            trials=trials, learner=not no_learner,
        ),
        console,
    )  # fmt: skip


@app.command("adapt")
def adapt_command(
    task: TaskOption = None,
    method: Annotated[
        str | None, typer.Option(callback=method_name, help="as of `run`; lp-ds is the paper's  [default: usr]")
    ] = None,
    episodes: EpisodesOption = None,
    seed: SeedOption = None,
    workers: Annotated[
        int | None,
        typer.Option(help="processes, each with a twin of its own  [default: this machine's cores - 1]", min=1),
    ] = None,
    ranges: Annotated[
        Path | None, typer.Option(help="how far worlds are from the nominal one, a .yaml file  [default: the twin's]")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(help="of the frozen policy in randomised worlds, first; 0 for none  [default: the task's]", min=0),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="the run's directory  [default: runs/TASK-METHOD-SEED-adapt-TIME]")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="go on with this run, with the settings it was begun with")
    ] = None,
) -> None:
    """Train an adapter in many twins at once, before there is a robot: every episode is in another, randomised world.

    What comes of it is a run: `run --from` takes its adapter to a robot. Ends with a line of JSON.
    """
    from robot_rl.compositions.adapting import AdaptRequest, adapt

    adapt(
        AdaptRequest(
            task=task, method=method, episodes=episodes, seed=seed, workers=workers, ranges=ranges, trials=trials,
            out=out, resume=resume,
        ),
        console,
    )  # fmt: skip


@app.command()
def up(
    task: TaskOption = None,
    method: Annotated[str | None, typer.Option(callback=method_name, help="as of `run`  [default: usr]")] = None,
    episodes: EpisodesOption = None,
    seed: SeedOption = None,
    label: Annotated[str | None, typer.Option(help="auto, or human: you do, on the page  [default: auto]")] = None,
    pace: Annotated[
        str | None,
        typer.Option(help="real-time, or lockstep: a simulated clock on /clock waits for all  [default: real-time]"),
    ] = None,
    hw: HwOption = None,
    world: WorldOption = None,
    begin_from: FromOption = None,
    policy: Annotated[
        str | None, typer.Option(help="endpoint of a policy server, tcp://HOST:PORT  [default: local, in the actor]")
    ] = None,
    policy_keys: Annotated[
        Path | None, typer.Option(help="this client's key file, for a policy server with keys")
    ] = None,
    namespace: Annotated[str, typer.Option(help="what the nodes and topics are below, e.g. /cell_1")] = "/",
    config: Annotated[Path | None, typer.Option(help="parameters of the nodes, a .yaml file of ROS 2's form")] = None,
    out: OutOption = None,
    resume: Annotated[Path | None, typer.Option(help="go on with this run, which `up` began")] = None,
    no_console: Annotated[bool, typer.Option("--no-console", help="neither operator's page nor cameras")] = False,
    port: PortOption = 8000,
    host: HostOption = "127.0.0.1",
    token: TokenOption = False,
    insecure: InsecureOption = False,
    trials: TrialsOption = 100,
) -> None:
    """Run a task as a graph of ROS 2 nodes, a process each."""
    from robot_rl.compositions.running import RunRequest
    from robot_rl.compositions.up import up

    choose("--label", label, ("auto", "human"))
    choose("--pace", pace, ("real-time", "lockstep"))
    up(
        RunRequest(
            task=task, method=method, episodes=episodes, seed=seed, label=label, pace=pace, hw=hw,
            policy=policy, policy_keys=policy_keys, world=world, begin_from=begin_from, out=out, resume=resume,
            console_port=None if no_console else port, access=Access(host, token, insecure), trials=trials,
        ),
        namespace,
        config,
        console,
    )  # fmt: skip
