"""Faults of the fault table on the graph of ROS 2 nodes, with real processes stopped, killed and told wrong times.

One graph is hurt, /cell_1, and a person works it; beside it /cell_2 runs on the same machine with the same policy
server, and nothing of what happens in the other one may be seen there. After each fault the robot moves again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import yaml
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from robot_rl.compositions.adapter_source import published
from robot_rl.policy.backbones.demonstrations import SeenDemonstrations
from robot_rl.policy.backbones.training import train
from robot_rl.services.guard import GuardClient
from robot_rl.store.episode import read_messages
from robot_rl.types import SafetyLevel
from robot_rl.wire.rpc import RpcClient
from tests.faults.hurt import FAR, FAST, HASTY, LOST, NAN, REFLEX
from tests.policy.backbones.conftest import KINDS, pictures, small
from tests.policy.conftest import SPACE, make_demonstrations
from tests.realtime_run import alive, labels, short_task, tell, wait_for
from tests.ros.graph import ROOT, Up, environment, listening, logs, up

pytest.importorskip("rclpy", reason="ROS 2's Python is not installed: pip install 'robot-rl[ros]'")

pytestmark = pytest.mark.timeout(120)  # the first one waits for both graphs

HOUR_S = 3600
HOLD_S = 0.6
"""How long the robot may go on without an operator."""
BEAT_S = 0.1
HURT = "cell_1"
CELLS = {HURT: 4000, "cell_2": 40}
"""Control steps of an episode: the graph that is hurt is in one that goes on and on."""


class Tab:
    """A page that is in charge: it sends its heartbeat for as long as it is open."""

    def __init__(self, port: int) -> None:
        self._origin = f"http://localhost:{port}"
        self._socket: ClientConnection | None = None
        self._closed = threading.Event()
        self.shown: dict[str, Any] = {}
        """The newest snapshot."""

    def open(self) -> None:
        """Raises `OSError` while there is no page."""
        address = self._origin.replace("http", "ws") + "/ws/control"
        self._connected = connect(address, additional_headers={"Origin": self._origin}, proxy=None)
        self._socket = self._connected.__enter__()
        self._closed.clear()
        self.shown = {}
        for target in (self._beat, self._listen):
            threading.Thread(target=target, daemon=True).start()

    def close(self) -> None:
        """As a tab that is closed."""
        self._closed.set()
        if self._socket is not None:
            self._connected.__exit__(None, None, None)

    def _beat(self) -> None:
        with suppress(ConnectionClosed):
            while not self._closed.wait(BEAT_S) and self._socket is not None:
                self._socket.send(json.dumps({"type": "beat", "t": 1000 * time.monotonic()}))

    def _listen(self) -> None:
        with suppress(ConnectionClosed):
            for text in self._socket or ():
                message = json.loads(text)
                if message["type"] == "snapshot":
                    self.shown = message["snapshot"]


@dataclass
class Hurt:
    """The graph that is hurt, and everything by which it is."""

    graph: Up
    other: Up
    folder: Path
    tab: Tab
    server: subprocess.Popen[str]
    guard: GuardClient
    actor: RpcClient

    def word(self, who: str, word: str) -> None:
        """From now on what `who` reads says `word`."""
        path = self.folder / who
        path.with_suffix(".new").write_text(word)
        path.with_suffix(".new").replace(path)

    @property
    def shown(self) -> dict[str, Any]:
        """What the actor says of itself."""
        return self.actor.call("snapshot", timeout_s=5.0)[0]

    @property
    def passed(self) -> int:
        verdicts = self.shown["verdicts"]
        return int(verdicts["pass"] + verdicts["clipped"])

    def moves(self) -> bool:
        before = self.passed
        time.sleep(0.15)
        return self.passed > before

    def stands(self, seconds: float = 0.3) -> None:
        """Nothing is carried out."""
        before = self.passed
        time.sleep(seconds)
        assert self.passed == before

    def go_on(self) -> None:
        """Do what a person does about whatever it is that the session waits for, until the robot moves."""

        def moved() -> bool:
            shown = self.shown
            if shown["state"] in ("STOPPED", "FAULT"):
                for cause in shown["safety"]["causes"]:
                    if cause["clears"] == "operator":
                        tell(self.actor, "clear", cause_id=cause["id"])
            for state, command in (("DISARMED", "arm"), ("PAUSED", "run"), ("AWAIT_RESET", "reset_done")):
                if shown["state"] == state:
                    tell(self.actor, command)
            if shown["state"] == "AWAIT_LABEL":
                tell(self.actor, "label", episode=shown["episode"], value="failure", event_id=str(shown["episode"]))
            return shown["state"] == "RUNNING" and self.moves()

        try:
            wait_for(moved, "motion", 20)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.shown}, {self.guard.state()}\n{logs(self.graph.run)}") from None

    def says(self, words: str, seconds: float = 5.0) -> None:
        """The session says `words`, and soon."""
        wait_for(lambda: words in self.shown["why"], f"{words!r}", seconds)


def write_tasks(folder: Path) -> None:
    """CELL.yaml for each of `CELLS`, with a policy that reads two cameras: eyes.safetensors."""
    plain = make_demonstrations(2)
    frames = {camera: pictures(len(plain.episode), seed) for seed, camera in enumerate(("front", "wrist"))}
    seen = SeenDemonstrations(
        plain.tcp_pose, plain.gripper_width, plain.bin_pose, plain.action, plain.episode, frames=frames
    )
    train(seen, small(KINDS["visual flow, MLP"], train_steps=2, bottleneck_steps=2), SPACE, folder / "eyes.safetensors")
    task = yaml.safe_load(short_task(folder, cameras=["front", "wrist"]).read_text())
    task["twin"] = "tests.faults.hurt:HurtTwin"
    task["policy"]["checkpoint"] = str(folder / "eyes.safetensors")
    for camera in task["scene"]["cameras"].values():
        camera |= {"width": 40, "height": 40}
    for cell, max_steps in CELLS.items():
        (folder / f"{cell}.yaml").write_text(yaml.safe_dump(task | {"max_steps": max_steps}))


def serve(folder: Path, endpoint: str) -> subprocess.Popen[str]:
    """The policy server of both graphs; it serves."""
    env = {**os.environ, "HURT": str(folder / "server"), "CHECKPOINT": str(folder / "eyes.safetensors")}
    command = [sys.executable, "-m", "robot_rl.serve", "tests.faults.hurt:Moody", "--endpoint", endpoint]
    process = subprocess.Popen(command, cwd=ROOT, env=env | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("serving ")
    process.stdout.close()
    return process


def wall_clock(folder: Path) -> dict[str, str]:
    """Environment of processes whose wall clock `folder`/wall says; empty where there is no C compiler."""
    (folder / "wall").write_bytes(struct.pack("q", 0))
    compiler = shutil.which("cc")
    if compiler is None:
        return {}
    library = folder / "wall_clock.so"
    source = str(Path(__file__).parent / "wall_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "WALL_JUMP": str(folder / "wall")}


@pytest.fixture(scope="module")
def hurt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hurt]:
    folder = tmp_path_factory.mktemp("hurt")
    write_tasks(folder)
    env = environment(folder)
    with ExitStack() as stack:
        sockets = stack.enter_context(TemporaryDirectory())
        endpoint = f"ipc://{sockets}/policy"
        server = serve(folder, endpoint)
        graphs = []
        for cell, label in zip(CELLS, ("human", "auto"), strict=True):
            own = {**env, "HURT": str(folder / cell), **(wall_clock(folder) if cell == HURT else {})}
            options = [
                str(folder / f"{cell}.yaml"),
                "--label",
                label,
                "--policy",
                endpoint,
                "--out",
                str(folder / f"run_{cell}"),
            ]
            options += ["--no-console"] if label == "auto" else []
            graphs.append(stack.enter_context(up(folder / f"run_{cell}", own, *options, namespace=cell)))
        graph, other = graphs
        wait_for(lambda: {"actor", "console"} <= graph.pids().keys(), "the nodes", 40)
        ports = graph.parameters("console")
        tab = Tab(int(ports["port"]))
        actor, guard = graph.actor(), GuardClient(str(ports["guard"]), timeout_s=5.0)
        made = Hurt(graph, other, folder, tab, server, guard, actor)
        stack.callback(lambda: (made.server.send_signal(signal.SIGCONT), made.server.kill(), made.server.wait()))
        stack.callback(tab.close)
        wait_for(lambda: opened(tab), "the page")
        yield made
        for client in (actor, guard):
            client.close()
        running = [each.process for each in graphs if each.process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            process.communicate(timeout=30)


def opened(tab: Tab) -> bool:
    with suppress(OSError):
        tab.open()
        return True
    return False


@pytest.fixture
def cell(hurt: Hurt) -> Iterator[Hurt]:
    """The robot moves when a test begins, and again after it; the other graph has not noticed."""
    hurt.go_on()
    yield hurt
    for who in ("server", *CELLS):
        (hurt.folder / who).unlink(missing_ok=True)
    hurt.go_on()


CHUNK_S = 0.4
"""8 steps at 20 Hz."""


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_row_3_without_its_policy_server_the_robot_holds_within_a_chunk(cell: Hurt, number: int) -> None:
    pids, began = cell.graph.pids(), time.monotonic()
    cell.server.send_signal(number)
    cell.says("holding, the policy")
    assert time.monotonic() - began < CHUNK_S + 1.0
    cell.stands()
    if number == signal.SIGSTOP:
        cell.server.send_signal(signal.SIGCONT)
    else:
        cell.server.wait(10)
        cell.server = serve(cell.folder, str(cell.graph.parameters("actor")["policy"]))
    wait_for(cell.moves, "motion", 15)
    assert cell.graph.pids() == pids, "nothing else was started again"


@pytest.mark.parametrize(("word", "reason"), [(NAN, "finite"), (HASTY, "step of 0.5"), (FAR, "outside the workspace")])
def test_rows_4_and_19_a_chunk_that_no_robot_should_carry_out_is_rejected_whole(
    cell: Hurt, word: str, reason: str
) -> None:
    episode = cell.shown["episode"]
    cell.word("server", word)
    wait_for(lambda: ended(cell, episode) == "fault", "the end of the episode, after some such chunks", 10)
    folder = wait_for(lambda: kept(cell, episode), "the record")
    said = read_messages(folder, "/rejected")
    assert said
    assert all(reason in message.body["reason"] for message in said)
    sent = {step.body["chunk"] for step in read_messages(folder, "/steps") if step.body["verdict"] != "rejected"}
    assert not sent & {message.body["chunk"] for message in said}, "not a row of it was carried out"


def test_row_5_a_camera_that_freezes_holds_the_robot_until_it_shows_something(cell: Hurt) -> None:
    camera = cell.graph.pids()["camera"]
    os.kill(camera, signal.SIGSTOP)
    try:
        cell.says("its newest frame is older than")
        cell.stands()
    finally:
        os.kill(camera, signal.SIGCONT)
    wait_for(cell.moves, "motion", 10)


def test_row_6_the_wall_clock_jumps_by_an_hour_and_nothing_happens(cell: Hurt) -> None:
    if not (cell.folder / "wall_clock.so").exists():
        pytest.skip("there is no C compiler to build the clock with")
    for name, pid in cell.graph.pids().items():  # by that clock Fast DDS tells who is alive behind shared memory
        assert "/dev/shm/fastrtps" not in Path(f"/proc/{pid}/maps").read_text(), name
    before = cell.passed
    with listening({"/cell_1/tcp_pose": "geometry_msgs/msg/PoseStamped"}, environment(cell.folder)) as listener:
        for ahead_s in (HOUR_S, -HOUR_S):
            assert listener.hear(1)
            with (cell.folder / "wall").open("r+b") as file:
                file.write(struct.pack("q", ahead_s))
            time.sleep(0.3)
            stamps = [float(m.text.split("sec=")[1].split(",")[0]) for m in listener.hear(10_000, 0.2)]
            assert abs(stamps[-1] - time.time() - ahead_s) < 60, "the nodes have heard of it"
            shown = cell.shown
            assert (shown["state"], shown["safety"]["level"]) == ("RUNNING", "OK")
            with (cell.folder / "wall").open("r+b") as file:
                file.write(struct.pack("q", 0))
    assert cell.passed - before > 10


def test_row_7_without_its_page_the_robot_holds_and_goes_on_with_it(cell: Hurt) -> None:
    console, began = cell.graph.pids()["console"], time.monotonic()
    os.kill(console, signal.SIGSTOP)
    try:
        wait_for(lambda: cell.guard.state().level is SafetyLevel.HOLD, "the hold")
        assert time.monotonic() - began < HOLD_S + 0.2
        assert cell.guard.safety.causes[0].kind == "operator_silent"
        cell.stands()
    finally:
        os.kill(console, signal.SIGCONT)
    cell.go_on()


def test_row_7_a_tab_that_is_closed_holds_and_one_that_is_opened_shows_where_it_stands(cell: Hurt) -> None:
    cell.tab.close()
    try:
        wait_for(lambda: cell.guard.state().level is SafetyLevel.HOLD, "the hold", HOLD_S + 0.3)
        cell.stands()
    finally:
        cell.tab.open()
    wait_for(lambda: cell.tab.shown.get("episode") == cell.shown["episode"], "the view")


def test_row_7_a_page_that_is_killed_is_there_again(cell: Hurt) -> None:
    os.kill(cell.graph.pids()["console"], signal.SIGKILL)
    wait_for(lambda: cell.guard.state().level is SafetyLevel.HOLD, "the hold", HOLD_S + 0.3)
    cell.tab.close()
    wait_for(lambda: opened(cell.tab), "the page", 20)


@pytest.mark.parametrize(("word", "reason"), [(REFLEX, "cartesian_reflex"), (LOST, "does not answer any more")])
def test_row_17_a_fault_of_the_robot_is_latched_and_an_operator_clears_it(cell: Hurt, word: str, reason: str) -> None:
    episode = cell.shown["episode"]
    cell.word(HURT, word)
    wait_for(lambda: cell.shown["state"] == "FAULT", "FAULT", 5.0)
    assert reason in str(cell.guard.state().causes)
    (cell.folder / HURT).unlink()
    cell.stands()
    assert [cause.clears for cause in cell.guard.state().causes] == ["operator"]
    wait_for(lambda: ended(cell, episode) == "fault", "the end of the episode")


def ended(cell: Hurt, episode: int) -> str | None:
    """How an episode has ended, by the page's list."""
    return {row["episode"]: str(row["ended_by"]) for row in cell.shown["episodes"]}.get(episode)


def kept(cell: Hurt, episode: int) -> Path | None:
    """What is kept of an episode that was closed, be it one to be learnt from or not."""
    folders = cell.graph.run.episodes.glob(f"{episode:06d}*")
    return next((folder for folder in folders if (folder / "manifest.json").exists()), None)


def test_row_18_nothing_is_applied_between_an_acknowledged_stop_and_its_clearing(cell: Hurt) -> None:
    rng = np.random.default_rng(0)
    for _ in range(4):
        time.sleep(rng.uniform(0, 0.1))
        epoch = cell.guard.state().epoch
        stopped = cell.guard.stop("test", "a race")
        acknowledged_ns = time.monotonic_ns()
        assert stopped.epoch > epoch
        time.sleep(0.12)
        applied = np.fromfile(cell.folder / f"{HURT}.applied", np.int64)
        assert len(applied) > 10
        assert applied.max() < acknowledged_ns
        cell.go_on()


def test_row_19_what_is_too_fast_is_clipped_and_recorded_as_sent(cell: Hurt) -> None:
    episode = cell.shown["episode"]
    cell.word("server", FAST)
    before = cell.shown["verdicts"]["clipped"]
    wait_for(lambda: cell.shown["verdicts"]["clipped"] > before + 20, "a second of clipped steps", 10)
    tell(cell.actor, "end")
    cell.word("server", "")
    cell.go_on()
    steps = [message.body for message in read_messages(cell.graph.run.episode(episode), "/steps")]
    clipped = [step for step in steps if step["verdict"] == "clipped"]
    assert len(clipped) > 20
    assert max(abs(step["sent"][2]) for step in clipped) < 0.0221, "not what was asked for, but what was sent"


def test_a_starved_machine_is_no_fault(cell: Hurt) -> None:
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        time.sleep(0.6)
        shown = cell.shown
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert shown["safety"]["level"] in ("OK", "HOLD")
    wait_for(cell.moves, "motion", 10)


def test_the_other_graph_has_learnt_meanwhile_and_heard_of_nothing(hurt: Hurt) -> None:
    known = labels(hurt.other.run)
    assert len(known) > 2
    assert published(hurt.other.run.adapters)
    assert {event for event, _ in known.values()} == {f"auto-{episode}" for episode in known}
    assert json.loads(hurt.other.run.guard_json.read_text())["causes"] == []
    said = logs(hurt.other.run)
    for words in ("STOPPED", "FAULT", "operator_silent", "cartesian_reflex"):
        assert words not in said
    assert all("auto" not in event for event, _ in labels(hurt.graph.run).values())


def test_the_graph_that_was_hurt_ends_in_order_and_leaves_nothing(hurt: Hurt) -> None:
    children = hurt.graph.pids()
    os.kill(hurt.graph.process.pid, signal.SIGINT)
    status, output = hurt.graph.finish(20)
    assert status == 130, output
    assert not [name for name, pid in children.items() if alive(pid)]
