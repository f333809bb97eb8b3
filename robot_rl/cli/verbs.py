"""`robot-rl <verb>`: the commands of a person; each prints its results as a table and leaves them as files."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from robot_rl.config import MAX_SEED, load_task, task_names
from robot_rl.console.access import Access
from robot_rl.errors import ConfigError, RobotRLError, nearest
from robot_rl.methods import METHODS
from robot_rl.twins import HARDWARE, TWIN
from robot_rl.types import LabelValue

app = typer.Typer(
    name="robot-rl",
    help="Make a frozen robot policy succeed: a small adapter learns online from one 0/1 per episode.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)

FULL = (errno.ENOSPC, errno.EDQUOT)
"""No space, or none that this user may have."""
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""The system does not let this user, or nobody."""
EpisodeOption = Annotated[Path, typer.Argument(help="an episode's directory, RUN/episodes/000012", show_default=False)]
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
RunOption = Annotated[Path, typer.Argument(help="a run's directory", show_default=False)]


@app.command()
def run(
    task: Annotated[
        str | None, typer.Argument(help="a task's name, or the path of a .yaml file  [default: lid_opening]")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(METHODS)}: those, or variants, that the task has settings for  [default: usr]"),
    ] = None,
    episodes: Annotated[int | None, typer.Option(help="labelled episodes  [default: the task's]", min=1)] = None,
    seed: Annotated[
        int | None, typer.Option(help="of starts, noise and learner  [default: 0]", min=0, max=MAX_SEED)
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="auto: the twin's truth labels; human: you do, on the page  [default: auto]")
    ] = None,
    pace: Annotated[
        str | None,
        typer.Option(help="lockstep (fast, reproducible), real-time, or auto: as --label needs  [default: auto]"),
    ] = None,
    hw: Annotated[str | None, typer.Option(help=f"what moves: {', '.join(HARDWARE)}  [default: {TWIN}]")] = None,
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
    out: Annotated[Path | None, typer.Option(help="the run's directory  [default: runs/TASK-METHOD-SEED-TIME]")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="go on with this run, with the settings it was begun with")
    ] = None,
    no_console: Annotated[bool, typer.Option("--no-console", help="no operator's page")] = False,
    no_learner: Annotated[
        bool, typer.Option("--no-learner", help="learn elsewhere or not at all: this machine has no torch")
    ] = False,
    port: Annotated[
        int, typer.Option(help="TCP port of the page; another one if it is taken", min=0, max=65535)
    ] = 8000,
    host: HostOption = "127.0.0.1",
    token: TokenOption = False,
    insecure: InsecureOption = False,
    trials: Annotated[
        int,
        typer.Option(
            help="evaluation trials of policy and adapter at the end; 0 for none, nor of the policy before a run with "
            "a page",
            min=0,
        ),
    ] = 100,
) -> None:
    """Run a task: the frozen policy acts, the adapter learns from one label per episode."""
    from robot_rl.compositions.running import RunRequest, run_task

    choose("--label", label, ("auto", "human"))
    choose("--pace", pace, ("auto", "lockstep", "real-time"))
    choose("--overlap", overlap, ("auto", "off"))
    run_task(
        RunRequest(
            task=task, method=method, episodes=episodes, seed=seed, label=label, pace=pace, hw=hw,
            policy=policy, policy_keys=policy_keys, overlap=overlap, out=out, resume=resume,
            console_port=None if no_console else port, access=Access(host, token, insecure),
            trials=trials, learner=not no_learner,
        ),
        console,
    )  # fmt: skip


@app.command()
def up(
    task: Annotated[
        str | None, typer.Argument(help="a task's name, or the path of a .yaml file  [default: lid_opening]")
    ] = None,
    method: Annotated[str | None, typer.Option(help="as of `run`  [default: usr]")] = None,
    episodes: Annotated[int | None, typer.Option(help="labelled episodes  [default: the task's]", min=1)] = None,
    seed: Annotated[
        int | None, typer.Option(help="of starts, noise and learner  [default: 0]", min=0, max=MAX_SEED)
    ] = None,
    label: Annotated[str | None, typer.Option(help="auto, or human: you do, on the page  [default: auto]")] = None,
    hw: Annotated[str | None, typer.Option(help=f"what moves: {', '.join(HARDWARE)}  [default: {TWIN}]")] = None,
    policy: Annotated[
        str | None, typer.Option(help="endpoint of a policy server, tcp://HOST:PORT  [default: local, in the actor]")
    ] = None,
    policy_keys: Annotated[
        Path | None, typer.Option(help="this client's key file, for a policy server with keys")
    ] = None,
    namespace: Annotated[str, typer.Option(help="what the nodes and topics are below, e.g. /cell_1")] = "/",
    config: Annotated[Path | None, typer.Option(help="parameters of the nodes, a .yaml file of ROS 2's form")] = None,
    out: Annotated[Path | None, typer.Option(help="the run's directory  [default: runs/TASK-METHOD-SEED-TIME]")] = None,
    resume: Annotated[Path | None, typer.Option(help="go on with this run, which `up` began")] = None,
    no_console: Annotated[bool, typer.Option("--no-console", help="neither operator's page nor cameras")] = False,
    port: Annotated[
        int, typer.Option(help="TCP port of the page; another one if it is taken", min=0, max=65535)
    ] = 8000,
    host: HostOption = "127.0.0.1",
    token: TokenOption = False,
    insecure: InsecureOption = False,
    trials: Annotated[
        int,
        typer.Option(
            help="evaluation trials of policy and adapter at the end; 0 for none, nor of the policy before a run with "
            "a page",
            min=0,
        ),
    ] = 100,
) -> None:
    """Run a task at real-time pace as a graph of ROS 2 nodes, a process each."""
    from robot_rl.compositions.running import RunRequest
    from robot_rl.compositions.up import up

    choose("--label", label, ("auto", "human"))
    up(
        RunRequest(
            task=task, method=method, episodes=episodes, seed=seed, label=label, pace="real-time", hw=hw,
            policy=policy, policy_keys=policy_keys, out=out, resume=resume,
            console_port=None if no_console else port, access=Access(host, token, insecure), trials=trials,
        ),
        namespace,
        config,
        console,
    )  # fmt: skip


@app.command("eval")
def evaluate_run(
    run: RunOption,
    trials: Annotated[int, typer.Option(help="episodes of each, on the same starts", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="of the evaluation starts", min=0, max=MAX_SEED)] = 0,
    version: Annotated[int | None, typer.Option(help="adapter version  [default: the newest]", min=1)] = None,
    world: Annotated[str, typer.Option(help="the task's world: twin, or real (its perturbed copy)")] = "twin",
    positions: Annotated[
        bool, typer.Option("--positions", help="at ten places in order, two trials at each, in place of random starts")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(help="with --positions: TCP port of a page to watch it on; 0 picks one", min=0, max=65535),
    ] = None,
) -> None:
    """Evaluate a run's frozen policy and its adapter on starts that were never trained on; ends with a line of JSON."""
    if positions:
        from robot_rl.compositions.placed import PlacedRequest, evaluate_places

        evaluate_places(run, PlacedRequest(seed, version, world, port), console)
        return
    if port is not None:
        raise ConfigError("--port: there is a page with --positions alone")
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
    table = Table("task", "title", "methods", "episodes")
    for name in task_names():
        config = load_task(name)
        table.add_row(name, config.title, ", ".join(config.methods), str(config.protocol.episodes))
    console.print(table)


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
    method: Annotated[str | None, typer.Option(help="any that the task has  [default: the first run's]")] = None,
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
    episode: Annotated[Path, typer.Argument(help="an episode's directory, RUN/episodes/000012", show_default=False)],
    world: Annotated[str, typer.Option(help="the task's world: twin, or real (its perturbed copy)")] = "twin",
) -> None:
    """Send an episode's recorded commands through guard and twin again; ends with a line of JSON."""
    from robot_rl.compositions.rerun import rerun_and_show

    rerun_and_show(episode, world, console)


@app.command("replay")
def replay_command(
    episode: Annotated[Path, typer.Argument(help="an episode's directory, RUN/episodes/000012", show_default=False)],
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


@app.command("console")
def console_command(
    url: Annotated[bool, typer.Option("--url", help="a one-time link to each, for a browser or a script")] = False,
) -> None:
    """The operator's pages of this machine that open by a one-time link."""
    from robot_rl.compositions.page_access import show_consoles

    show_consoles(console, links=url)


@app.command()
def cert(
    name: Annotated[
        list[str] | None, typer.Option(help="another host name or address it is reached by; may be given again")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="in place of the one that is there, which browsers may trust")
    ] = False,
) -> None:
    """Make this installation's key and certificate, with which the operator's page is served to other machines."""
    from robot_rl.compositions.page_access import make_and_show_certificate

    make_and_show_certificate(name or [], replace, console)


@app.command("serve-policy")
def serve_policy(
    policy: Annotated[
        str,
        typer.Argument(
            help="a task's name, a checkpoint (.safetensors), lerobot:FOLDER, openpi:SETTINGS.json, or module:factory",
            show_default=False,
        ),
    ],
    endpoint: Annotated[str, typer.Option(help="where to listen, tcp://HOST:PORT")] = "tcp://127.0.0.1:5601",
    keys: Annotated[Path | None, typer.Option(help="the server's key file: only clients that it names come in")] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="let other machines connect without keys; nobody is authenticated")
    ] = False,
    jpeg: Annotated[
        bool, typer.Option("--jpeg", help="let clients send pictures as JPEG (`--policy tcp://...?jpeg=90`)")
    ] = False,
) -> None:
    """Serve a frozen policy; `python -m robot_rl.serve` is the same in an environment without this command line."""
    from robot_rl.compositions.policy_serving import serve

    raise typer.Exit(serve(policy, endpoint, keys, allow_remote=allow_remote, jpeg=jpeg))


@app.command("preflight")
def preflight_command(
    task: Annotated[str, typer.Argument(help="a task's name, or the path of a .yaml file")] = "lid_opening",
    policy: Annotated[
        str | None, typer.Option(help="endpoint of a policy server  [default: the task's own, in this process]")
    ] = None,
    policy_keys: Annotated[Path | None, typer.Option(help="this client's key file, for a server with keys")] = None,
    trials: Annotated[
        int, typer.Option(help="twin episodes of the frozen policy under each noise layout; 0 for none", min=0)
    ] = 20,
) -> None:
    """Check task, robot, cameras, policy and adapters against each other; exit status 1 if a run would be refused."""
    from robot_rl.compositions.preflight import preflight

    raise typer.Exit(0 if preflight(task, policy, policy_keys, console, trials=trials) else 1)


@app.command("doctor")
def doctor_command(
    hw: Annotated[str, typer.Option(help=f"what is to move: {', '.join(HARDWARE)}")] = TWIN,
    ros: Annotated[bool, typer.Option("--ros", help="ROS 2 is needed too: for `up`")] = False,
    port: Annotated[int, typer.Option(help="TCP port of the page", min=1, max=65535)] = 8000,
    out: Annotated[Path, typer.Option(help="where runs are written")] = Path("runs"),
) -> None:
    """Check this machine, and say what to do; exit status 1 if something is missing that --hw needs."""
    from robot_rl.compositions.doctor import doctor
    from robot_rl.compositions.machine_checks import Wanted

    raise typer.Exit(0 if doctor(Wanted(hw, ros, port), out, console) else 1)


keys = typer.Typer(help="Who may talk to a policy server on another machine.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command("new")
def keys_new(folder: Annotated[Path, typer.Argument(help="where server.key and robot.key are written")]) -> None:
    """Make the keys of a server and of its first client; give each machine its own file, and nobody the other's."""
    from robot_rl.compositions.policy_serving import make_keys

    make_keys(folder, console)


@keys.command("add")
def keys_add(
    server: Annotated[Path, typer.Argument(help="the server's key file", show_default=False)],
    name: Annotated[str, typer.Argument(help="what to call the new client", show_default=False)],
) -> None:
    """Let one more client in: writes NAME.key beside the server's file. The server must be started again."""
    from robot_rl.compositions.policy_serving import add_client_key

    add_client_key(server, name, console)


@keys.command("remove")
def keys_remove(
    server: Annotated[Path, typer.Argument(help="the server's key file", show_default=False)],
    name: Annotated[str, typer.Argument(help="which client", show_default=False)],
) -> None:
    """Let a client in no more. The server must be started again."""
    from robot_rl.compositions.policy_serving import remove_client_key

    remove_client_key(server, name, console)


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


def choose(option: str, value: str | None, valid: tuple[str, ...]) -> None:
    """Raises `ConfigError` naming the nearest valid value."""
    if value is not None and value not in valid:
        raise ConfigError(f"{option}: {value!r} is not a choice{nearest(value, valid)}")


def run_app() -> None:
    """What goes wrong on purpose is one line, without a traceback, and exit status 2."""
    try:
        app()
    except RobotRLError as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        if error.errno in FULL:
            words = f"the disk is full: {error}; what was written before is intact. Free space, then go on (--resume)"
        elif error.errno in REFUSED and error.filename is not None:
            words = f"{error.filename}: {error.strerror}; expected a place that this user may read and write"
        else:
            raise
        console.print(f"[red]error:[/red] {escape(words)}", soft_wrap=True)
        sys.exit(2)
