"""Children of a run: started, restarted, ended in order, and gone when their parent is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from robot_rl.errors import ProcessEnded
from robot_rl.processes import PARENT, RESTARTS, Children

PATIENCE_S = 20.0

MODULES = {
    "sleeper": "import time; print('sleeping', flush=True); time.sleep(60)",
    "faithful": (
        "import time; from robot_rl.processes import end_with_parent; end_with_parent(); "
        "print('watching', flush=True); time.sleep(60)"
    ),
    "failing": "import sys; print('line one'); print('out of luck'); sys.exit(3)",
    "stubborn": (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    ),
    "telling": (
        "import os, pathlib, signal, sys, time\n"
        "def end(*_):\n"
        "    with open(sys.argv[1], 'a') as said: said.write(sys.argv[2] + '\\n')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(60)"
    ),
    "waiting": (
        "from robot_rl.processes import stop_event; stopping = stop_event(); print('ready', flush=True); "
        "stopping.wait(30); print('ended', flush=True)"
    ),
    "surroundings": "import os; print(os.environ['OMP_NUM_THREADS'], os.getsid(0) == os.getpid())",
    "parent": (
        "import sys, time; from pathlib import Path; from robot_rl.processes import Children\n"
        "children = Children(Path(sys.argv[1])); children.start('child', 'faithful', [])\n"
        "while 'watching' not in children.log_tail('child'): time.sleep(0.01)\n"
        "print(children.pids['child'], flush=True); time.sleep(60)"
    ),
}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of small modules that `python -m` finds."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    root = Path(__file__).parent.parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(root)]))
    return tmp_path


@pytest.fixture
def children(modules: Path) -> Iterator[Children]:
    made = Children(modules / "logs")
    yield made
    for pid in made.pids.values():
        if running(pid):
            os.kill(pid, signal.SIGKILL)
    made.stop()


def running(pid: int) -> bool:
    """Whether process `pid` is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"{what} did not come in {PATIENCE_S:.0f} s"
        time.sleep(0.01)


def test_a_child_runs_and_its_output_is_kept(children: Children) -> None:
    children.start("one", "sleeper", [])
    wait_for(lambda: children.log_tail("one") == "sleeping", "its output")
    assert children.alive("one")
    assert running(children.pids["one"])
    assert children.last_words("one") is None
    children.tend()
    assert not children.alive("another")


def test_a_child_has_one_thread_and_a_session_of_its_own(children: Children) -> None:
    """Ctrl-C on the terminal reaches the parent alone."""
    children.start("one", "surroundings", [])
    wait_for(lambda: not children.alive("one"), "its end")
    assert children.log_tail("one") == "1 True"


def test_a_killed_child_is_started_again(children: Children) -> None:
    children.start("one", "sleeper", [])
    before = children.pids["one"]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: not children.alive("one"), "its end")
    children.tend()
    assert children.alive("one")
    assert children.pids["one"] != before


def test_a_child_that_finishes_has_done_its_work(children: Children) -> None:
    """With status 0, and not before; another status ends the run."""
    children.start("one", "surroundings", [], restart=False, finishes=True)
    children.start("two", "sleeper", [], finishes=True)
    wait_for(lambda: children.finished("one"), "its end")
    children.tend()
    assert not children.finished("two")
    children.start("three", "failing", [], restart=False, finishes=True)
    wait_for(lambda: not children.alive("three"), "its end")
    assert not children.finished("three")
    with pytest.raises(ProcessEnded, match="three ended with status"):
        children.tend()


def test_why_one_is_started_again_is_said(
    children: Children, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    children.start("one", "failing", [])
    children.start("two", "sleeper", [])
    wait_for(lambda: not children.alive("one"), "its end")
    assert children.troubles == []
    children.tend()
    words = f"one ended with status 3 (out of luck); started again, 1 of {RESTARTS} times"
    assert children.troubles == caplog.messages == [words]
    monkeypatch.setattr("robot_rl.processes.SETTLED_S", 0.0)
    assert children.troubles == []


def test_one_that_ends_again_and_again_ends_the_run_with_its_last_words(children: Children) -> None:
    children.start("one", "failing", [])
    for _ in range(RESTARTS):
        wait_for(lambda: not children.alive("one"), "its end")
        children.tend()
    wait_for(lambda: not children.alive("one"), "its end")
    with pytest.raises(ProcessEnded, match=r"one ended with status 3(.|\n)*out of luck"):
        children.tend()
    assert children.log_tail("one", 100).count("out of luck") == RESTARTS + 1


def test_one_that_may_not_be_restarted_ends_the_run_at_once(children: Children) -> None:
    children.start("guard", "failing", [], restart=False)
    wait_for(lambda: not children.alive("guard"), "its end")
    with pytest.raises(ProcessEnded, match="guard ended with status 3"):
        children.tend()
    assert children.log_tail("guard").count("out of luck") == 1


def test_the_last_words_are_the_last(children: Children) -> None:
    children.start("one", "failing", [])
    wait_for(lambda: not children.alive("one"), "its end")
    assert children.log_tail("one", 1) == "out of luck"


def test_stop_ends_the_last_one_started_first(children: Children, tmp_path: Path) -> None:
    said = tmp_path / "said"
    for name in ("first", "second"):
        children.start(name, "telling", [str(said), name])
        wait_for(lambda name=name: children.log_tail(name) == "ready", "its output")  # type: ignore[misc]
    terminated: list[int] = []
    for child in children._children.values():
        terminate = child.process.terminate

        def note(pid: int = child.process.pid, terminate: Callable[[], None] = terminate) -> None:
            terminated.append(pid)
            terminate()

        child.process.terminate = note  # type: ignore[method-assign]
    children.stop()
    assert terminated == [children.pids["second"], children.pids["first"]]
    assert sorted(said.read_text().split()) == ["first", "second"]
    assert not any(running(pid) for pid in children.pids.values())


def test_one_that_ignores_the_signal_is_killed(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robot_rl.processes.GRACE_S", 0.2)
    children.start("one", "stubborn", [])
    wait_for(lambda: children.log_tail("one") == "deaf", "its output")
    children.stop()
    assert not running(children.pids["one"])
    assert children.last_words("one") == f"one ended with status {-signal.SIGKILL}; its last words:\ndeaf"


# --- with the parent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_when_its_parent_is_killed(modules: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "parent", str(modules / "logs")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    child = 0
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert running(child)
        parent.send_signal(how)
        parent.wait(10)
        wait_for(lambda: not running(child), "the child's end")
    finally:
        for pid in (parent.pid, child):
            if pid and running(pid):
                os.kill(pid, signal.SIGKILL)
        parent.communicate(timeout=10)


def test_a_child_whose_parent_died_before_it_looked_ends_too(modules: Path) -> None:
    """The parent that it was told of is not the one it has: it was orphaned while its imports ran."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(10)
    orphan = subprocess.run(
        [sys.executable, "-m", "faithful"],
        env={**os.environ, PARENT: str(gone.pid)},
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert orphan.returncode == -signal.SIGTERM
    assert b"watching" not in orphan.stdout


def test_any_number_of_signals_at_once_end_a_service(children: Children) -> None:
    """A handler that takes a lock deadlocks when it interrupts itself: one burst in some dozens did."""
    for round_ in range(15):
        name = f"waiting {round_}"
        children.start(name, "waiting", [], restart=False)
        wait_for(lambda name=name: children.log_tail(name) == "ready", "its start")  # type: ignore[misc]
        for _ in range(12):
            os.kill(children.pids[name], signal.SIGTERM)
        wait_for(lambda name=name: not children.alive(name), "its end")  # type: ignore[misc]
        assert children.log_tail(name) == "ready\nended"


def test_what_an_earlier_run_left_in_a_log_is_not_told_again(modules: Path) -> None:
    for _ in range(2):
        children = Children(modules / "logs")
        children.start("one", "sleeper", [])
        wait_for(lambda: children.log_tail("one") != "", "its output")  # noqa: B023
        assert children.log_tail("one") == "sleeping"
        children.stop()
    assert (modules / "logs" / "one.log").read_text() == "sleeping\nsleeping\n"
