"""`robot-rl serve-policy` and `robot-rl keys`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from robot_rl.compositions.plan import checkpoint_path
from robot_rl.errors import ConfigError, nearest
from robot_rl.serve.__main__ import main
from robot_rl.task_files import load_task, task_names, task_path
from robot_rl.wire.keys import ServerKeys, add_client, new_server_keys, read_keys, write_keys


def serve(policy: str, endpoint: str, keys: Path | None, *, allow_remote: bool, jpeg: bool = False) -> int:
    """Serve `policy` (a task's own, by the task's name; else as `robot_rl.serve` takes it) until told to stop."""
    if policy in task_names():
        policy = str(checkpoint_path(load_task(policy), task_path(policy)))
    arguments = [policy, "--endpoint", endpoint]
    arguments += ["--keys", str(keys)] if keys is not None else []
    arguments += ["--allow-remote"] if allow_remote else []
    arguments += ["--jpeg"] if jpeg else []
    return main(arguments, prog="robot-rl serve-policy")


def make_keys(folder: Path, console: Console) -> None:
    """server.key and robot.key in `folder`. Raises `ConfigError` where one is there already."""
    server, client = add_client(new_server_keys(), "robot")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {folder}: {error.strerror or error}") from error
    if there := [path for name in ("server.key", "robot.key") if (path := folder / name).exists()]:
        raise ConfigError(f"{there[0]} is there already: keys are never overwritten; choose another folder")
    write_keys(folder / "server.key", server)
    write_keys(folder / "robot.key", client)
    console.print(f"for the server: {escape(str(folder / 'server.key'))}  (robot-rl serve-policy ... --keys)")
    console.print(f"for the robot:  {escape(str(folder / 'robot.key'))}  (robot-rl run ... --policy-keys)")


def add_client_key(path: Path, name: str, console: Console) -> None:
    """NAME.key beside the server's file, which lets it in. Raises `ConfigError`."""
    if not name.isidentifier():
        raise ConfigError(f"client {name!r}: expected a name of letters, digits and _")
    server, client = add_client(read_keys(path, ServerKeys), name)
    write_keys(path.with_name(f"{name}.key"), client)
    write_keys(path, server, replace=True)
    console.print(f"for the new client: {escape(str(path.with_name(f'{name}.key')))}; start the server again")


def remove_client_key(path: Path, name: str, console: Console) -> None:
    """The server's file without the client. Raises `ConfigError` with the clients that there are."""
    server = read_keys(path, ServerKeys)
    if name not in server.clients:
        raise ConfigError(f"{path} lets no client {name!r} in{nearest(name, server.clients)}")
    clients = {known: public for known, public in server.clients.items() if known != name}
    write_keys(path, replace(server, clients=clients), replace=True)
    console.print(f"{escape(name)} is let in no more; start the server again")
