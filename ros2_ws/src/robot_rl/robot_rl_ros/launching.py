"""What the launch file's arguments mean; it holds the rest, which needs ROS 2's `launch`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robot_rl.compositions.plan import LOCKSTEP, REAL_TIME
from robot_rl.compositions.running import RunRequest
from robot_rl.console.access import LOOPBACK, Access
from robot_rl.errors import ConfigError, nearest
from robot_rl.twins import HARDWARE, hardware

ARGUMENTS: Mapping[str, tuple[str, str]] = {
    "hw": ("twin", f"what moves: {'; '.join(f'{name}, {robot.words}' for name, robot in HARDWARE.items())}"),
    "task": ("lid_opening", "a task's name, or the path of a .yaml file"),
    "method": ("", "the adapter's method, one that the task has settings for; empty: usr"),
    "policy": ("", "endpoint of a policy server, tcp://HOST:PORT or ipc://PATH; empty: the task's own policy"),
    "policy_keys": ("", "this client's key file, for a policy server with keys (`robot-rl keys`)"),
    "episodes": ("", "labelled episodes that the run is to have in the end; empty: the task's"),
    "seed": ("", "of starts, noise and learner; empty: 0"),
    "pace": (
        "",
        "real-time: by the clock on the wall; lockstep: by a simulated one on /clock, which waits for whoever is late, "
        "so that a seed is a run, bit for bit; empty: real-time, or what the resumed run has",
    ),
    "label": ("", "auto: the twin's truth labels; human: you do, on the page; empty: auto"),
    "world": ("", "the task's world: twin, or real (its perturbed copy); empty: twin"),
    "from": (
        "",
        "a run with whose adapter the new one begins; task and method are then its own, where left as they are",
    ),
    "out": ("", "the run's directory; empty: runs/TASK-METHOD-SEED-TIME where the launch is started"),
    "resume": ("", "the directory of a run to go on with"),
    "console_port": ("8000", "TCP port of the operator's page, another one if it is taken; empty: no page, no cameras"),
    "console_host": (
        LOOPBACK,
        "address that the page is served on, 0.0.0.0: all; others than loopback need TLS and a link",
    ),
    "console_token": ("false", "true: the page opens by a one-time link alone (`robot-rl console --url`), here too"),
    "console_insecure": ("false", "true: other machines without TLS or link; who reaches the port commands the robot"),
    "config": ("", "a .yaml file of parameters for the nodes, as config/robot_rl.yaml is; empty: their defaults"),
    "namespace": ("/", "what the nodes and topics are below, e.g. /cell_1"),
}
"""Name -> (default, what it is). An empty one is not said."""
PACES = (REAL_TIME, LOCKSTEP)


def request_of(given: Mapping[str, str]) -> RunRequest:
    """The run that the arguments ask for. Raises `ConfigError`."""
    hardware(given["hw"])
    if given["pace"] not in ("", *PACES):
        raise ConfigError(f"pace: there is no {given['pace']!r}{nearest(given['pace'], PACES)}")
    path = {name: Path(given[name]) if given[name] else None for name in ("out", "resume", "policy_keys", "from")}
    number = {name: _number(name, given[name]) for name in ("episodes", "seed", "console_port")}
    own_task = given["resume"] or (given["from"] and given["task"] == ARGUMENTS["task"][0])
    return RunRequest(
        task=None if own_task else given["task"],
        method=given["method"] or None,
        episodes=number["episodes"],
        seed=number["seed"],
        label=given["label"] or None,
        pace=given["pace"] or (None if given["resume"] else REAL_TIME),
        hw=None if given["resume"] else given["hw"],
        policy=given["policy"] or None,
        policy_keys=path["policy_keys"],
        world=given["world"] or None,
        begin_from=path["from"],
        out=path["out"],
        resume=path["resume"],
        console_port=number["console_port"],
        access=Access(given["console_host"], _flag("console_token", given), _flag("console_insecure", given)),
    )


def _flag(name: str, given: Mapping[str, str]) -> bool:
    if given[name] not in ("true", "false"):
        raise ConfigError(f"{name}: expected true or false, got {given[name]!r}")
    return given[name] == "true"


def _number(name: str, text: str) -> int | None:
    if text and not text.isdigit():
        raise ConfigError(f"{name}: expected a whole number, got {text!r}")
    return int(text) if text else None
