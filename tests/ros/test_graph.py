"""The graph of nodes, on real rclpy, as real processes: a run from its beginning to its end, seen by another node."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from robot_rl.compositions.adapter_source import published
from robot_rl.compositions.machine import mapped
from robot_rl.store.episode import read_messages
from robot_rl.store.records import encode
from robot_rl.store.ros import type_of
from tests.realtime_run import alive, labels, short_task, state, wait_for
from tests.recorded_shape import require_shape
from tests.ros.graph import ROOT, Heard, environment, listening, logs, up

pytest.importorskip("rclpy", reason="ROS 2's Python is not installed: pip install 'robot-rl[ros]'")

from robot_rl_ros.own import LATCHED as OWN_LATCHED
from robot_rl_ros.own import TYPES as OWN_TYPES
from std_msgs.msg import String

DIAGNOSTICS = importlib.util.find_spec("diagnostic_msgs") is not None
NODES = ("recorder", "robot", "learner", "camera", "console", "actor")
TOPICS = (
    "/joint_states", "/tcp_pose", "/command", "/steps", "/state", "/safety", "/learner_status", "/camera/side",
)  # fmt: skip
LATCHED = ("/cell_1/state", "/cell_1/safety", "/cell_1/learner_status")
OWN = importlib.util.find_spec("robot_rl_msgs") is not None
"""Whether the messages of our own are built: their topics are there then, and all else is as without them."""


@pytest.mark.timeout(120)
def test_a_run_is_a_graph_of_nodes_that_is_stopped_goes_on_later_learns_and_ends_clean(tmp_path: Path) -> None:
    env, begin = environment(tmp_path), [str(short_task(tmp_path, cameras=["side"])), "--out", str(tmp_path / "run")]
    before = shared_memory()
    topics = {f"/cell_1{topic}": type_of(topic) for topic in TOPICS}
    topics |= {f"/cell_1/{topic}": f"robot_rl_msgs/msg/{kind}" for topic, kind in OWN_TYPES.items() if OWN}
    topics |= {"/diagnostics": "diagnostic_msgs/msg/DiagnosticArray"} if DIAGNOSTICS else {}
    latched = [*LATCHED, *(f"/cell_1/{topic}" for topic in OWN_LATCHED)]
    with listening(topics, env, latched) as listener:
        heard: list[Heard] = []

        def diagnosed() -> bool:
            """Whether anybody was told of the STOP on /diagnostics, which speaks once a second."""
            heard.extend(listener.hear(10_000, timeout_s=0.1))
            return not DIAGNOSTICS or any("STOP: operator_stop" in said.text for said in heard)

        with up(tmp_path / "run", env, *begin) as graph:
            wait_for(lambda: graph.run.labels.exists() and labels(graph.run), "the first label", 40)
            stopped = graph.pids()
            assert call("/cell_1/robot/stop", env).startswith("STOP, epoch")
            os.kill(graph.process.pid, signal.SIGINT)
            status, output = graph.finish(20)
            assert status == 130
            assert "operator's page: http://localhost:" in output
            assert not [name for name, pid in stopped.items() if alive(pid)]
        done, again_ns = len(labels(graph.run)), time.monotonic_ns()
        with up(graph.run.path, env, "--resume", str(graph.run.path), "--episodes", str(done + 1)) as graph:
            wait_for(lambda: graph.pids().keys() == set(NODES), "the nodes")
            children, actor = graph.pids(), graph.actor()
            wait_for(lambda: state(actor) == "STOPPED", "the STOP, which is latched")
            wait_for(diagnosed, "the STOP on /diagnostics")
            assert call("/cell_1/actor/clear", env) == "PAUSED"
            assert call("/cell_1/actor/run", env) == "RUNNING"
            actor.close()
            status, output = graph.finish(40)
            assert status == 0, output + logs(graph.run)
            assert not [name for name, pid in children.items() if alive(pid)]
        while late := listener.hear(10_000, timeout_s=0.5):  # a busy machine puts into words late what came in time
            heard.extend(late)
    assert left_behind(before) == set()
    assert stopped.keys() == children.keys()
    labelled = labels(graph.run)
    assert len(labelled) == done + 1
    require_shape(graph.run, ["side"])
    assert max(published(graph.run.adapters)) == max(labelled)  # the learner knows the last one too
    by_topic = {topic.removeprefix("/cell_1"): [m.text for m in heard if m.topic == topic] for topic in topics}
    print(f"{done + 1} episodes; messages heard: { {topic: len(texts) for topic, texts in by_topic.items()} }")
    recorded = [
        repr(String(data=encode(step.body, "").decode()))
        for episode in graph.run.closed_episodes()
        for step in read_messages(graph.run.episode(episode), "/steps")
    ]
    assert set(by_topic["/steps"]) & set(recorded)  # not all of them: the run does not wait until it is heard
    assert len(by_topic["/command"]) == len(by_topic["/steps"])
    assert len(by_topic["/joint_states"]) > len(by_topic["/steps"])
    assert any("STOPPED" in text for text in by_topic["/state"])
    assert "FINISHED" in by_topic["/state"][-1]
    assert any("operator_stop" in text for text in by_topic["/safety"])
    assert by_topic["/learner_status"]
    assert all("format='jpeg'" in text for text in by_topic["/camera/side"])
    assert by_topic["/camera/side"]
    if DIAGNOSTICS:
        said = {text.split("name='cell_1/")[1].split("'")[0] for text in by_topic["/diagnostics"]}
        assert said == set(NODES) - {"console"}
    if OWN:
        steps = [m for m in heard if m.topic == "/cell_1/steps"]
        for begun in (False, True):
            chunks = list(dict.fromkeys(chunk_of(m) for m in steps if (m.at_ns > again_ns) is begun))
            # Who listens finds each topic by itself: that of chunks, maybe, only after a first one was said.
            assert set(chunks[1:]) <= {text.split(" id=")[1].split(",")[0] for text in by_topic["/chunks"]}
            assert begun or len(chunks) > 1
        assert "state='FINISHED'" in by_topic["/episode_state"][-1]
        assert len(by_topic["/labels"]) >= done
        assert f"through_episode={max(labelled)}" in by_topic["/adapter"][-1]
    else:
        assert "robot_rl_msgs are left out" in logs(graph.run)


def chunk_of(step: Heard) -> str:
    """Id of the chunk that a step is of."""
    return step.text.split('"chunk":')[1].split(",")[0]


def shared_memory() -> set[str]:
    """Fast DDS's segments on this machine."""
    return {path.name for path in Path("/dev/shm").glob("*fastrtps_*")}


def left_behind(before: set[str]) -> set[str]:
    """What came since `before`, but for segments that a process has mapped: others on this machine have their own."""
    used = {Path(path).name for path in mapped()}
    new = shared_memory() - before
    return {name for name in new if name.removeprefix("sem.").removesuffix("_mutex").removesuffix("_el") not in used}


def call(service: str, env: Mapping[str, str]) -> str:
    """What a Trigger answers to a node of its own."""
    command = [sys.executable, "-m", "tests.ros.stopper", service]
    done = subprocess.run(command, cwd=ROOT, env=dict(env), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]  # before it Fast DDS may complain of what others left in shared memory
