"""Verbs about what stands around a run: pages, certificates, policy servers, keys, and the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robot_rl.cli.app import app, console
from robot_rl.twins import HARDWARE, TWIN


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
