"""The page's port and its announcement; the page itself is tested in tests/console."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from robot_rl.compositions.operator_page import ANNOUNCEMENT, OperatorPage, free_port, start_cameras
from robot_rl.console.access import LOOPBACK, Access
from robot_rl.processes import Children


class Noted(Children):
    """Starts nothing, and notes what it should start."""

    def __init__(self, logs: Path) -> None:
        super().__init__(logs)
        self.started: dict[str, tuple[str, list[str]]] = {}

    def start(self, name: str, module: str, arguments: Sequence[str], *, restart: bool = True) -> None:
        assert restart
        self.started[name] = module, list(arguments)

    def log_tail(self, name: str, lines: int = 12) -> str:
        path = self._logs / f"{name}.log"
        return path.read_text() if path.exists() else ""


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_a_free_port_is_the_one_that_was_wanted() -> None:
    port = free_port(0)
    assert 0 < port < 65536
    assert free_port(port) == port


def test_where_something_listens_already_another_is_chosen() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        busy = taken.getsockname()[1]
        assert free_port(busy) not in (0, busy)


def page(children: Children) -> OperatorPage:
    return OperatorPage(children, 0, actor="ipc:///a", guard="ipc:///g", frames="ipc:///f")


def test_both_processes_are_told_where_to_look(tmp_path: Path) -> None:
    children = Noted(tmp_path)
    page(children)
    start_cameras(children, "sim_twin.camera_process", Path("task.yaml"), states="ipc:///s", frames="ipc:///f")
    module, arguments = children.started["console"]
    assert module == "robot_rl.console"
    assert [option(arguments, name) for name in ("--actor", "--guard", "--frames")] == [
        "ipc:///a",
        "ipc:///g",
        "ipc:///f",
    ]
    assert int(option(arguments, "--port")) > 0, "one that is started again has the same address"
    module, arguments = children.started["cameras"]
    assert module == "sim_twin.camera_process"
    assert [option(arguments, name) for name in ("--task", "--states")] == ["task.yaml", "ipc:///s"]
    assert "--acted-on" not in arguments
    start_cameras(children, module, Path("task.yaml"), states="ipc:///s", frames="ipc:///f", acted_on=True)
    assert "--acted-on" in children.started["cameras"][1]


def test_the_console_is_told_who_may_reach_it(tmp_path: Path) -> None:
    children = Noted(tmp_path)
    access = Access(LOOPBACK, token=True, insecure=True)
    OperatorPage(children, 0, access, actor="ipc:///a", guard="ipc:///g", frames="ipc:///f")
    assert children.started["console"][1][-4:] == ["--host", LOOPBACK, "--token", "--insecure"]
    assert "--run" not in children.started["console"][1]


def test_the_console_is_told_which_runs_episodes_can_be_looked_at_again(tmp_path: Path) -> None:
    children = Noted(tmp_path)
    OperatorPage(children, 0, actor="ipc:///a", guard="ipc:///g", frames="ipc:///f", run=tmp_path)
    assert option(children.started["console"][1], "--run") == str(tmp_path)


def test_the_address_is_news_once(tmp_path: Path) -> None:
    subject = page(Noted(tmp_path))
    assert subject.news() is None
    (tmp_path / "console.log").write_text(f"starting\n{ANNOUNCEMENT}http://127.0.0.1:8000\n")
    assert subject.news() == "http://127.0.0.1:8000"
    assert subject.news() is None
