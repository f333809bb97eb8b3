"""Lockstep over ROS: a graph of real processes with a simulated clock is the run of one process, bit for bit."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from robot_rl.clock import SECOND
from robot_rl.compositions.lockstep import run_lockstep
from robot_rl.compositions.plan import RunPlan, new_run, open_run
from robot_rl.store.streams import read_streams
from tests.compositions.test_lockstep import fingerprint
from tests.realtime_run import labels, wait_for
from tests.ros.graph import Heard, environment, listening, logs, up
from tests.small_task import write_small_task

pytest.importorskip("rclpy", reason="ROS 2's Python is not installed: pip install 'robot-rl[ros]'")

EPISODES, SEED, STEPS = 3, 7, 20
PERIOD_NS = SECOND // 20
CLOCK = "/cell_1/clock"
TOPICS = {CLOCK: "rosgraph_msgs/msg/Clock", "/cell_1/joint_states": "sensor_msgs/msg/JointState"}
STILL = 20
"""Messages, of which there are 20 a second while the time stands still."""
WAITING = "waiting for the learner"


def quick_task(folder: Path) -> Path:
    """What is learnt of the first episode acts in the third one: a version later than it might."""
    path = write_small_task(folder, max_steps=STEPS)
    task = yaml.safe_load(path.read_text())
    task["methods"]["usr"] |= {"warmup_episodes": 1}
    path.write_text(yaml.safe_dump(task))
    return path


def in_one_process(folder: Path, task: Path) -> None:
    new_run(folder, str(task), "usr", SEED, {})
    run, info, config, policy = open_run(folder)
    run_lockstep(RunPlan(run, info, config, policy, EPISODES, True, None), lambda actor: None, lambda url: None)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process gets no time at all until the end of the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def times_ns(heard: list[Heard], topic: str) -> list[int]:
    """The first stamp in each message of a topic."""
    found = [re.search(r"sec=(\d+), nanosec=(\d+)", said.text) for said in heard if said.topic == topic]
    return [int(match[1]) * SECOND + int(match[2]) for match in found if match]


@pytest.mark.timeout(120)
def test_over_ros_and_in_one_process_a_seed_is_one_run_whoever_is_late(tmp_path: Path) -> None:
    task, env = quick_task(tmp_path), environment(tmp_path)
    asked = ["--pace", "lockstep", "--no-console", "--seed", str(SEED), "--episodes", str(EPISODES)]
    with listening(TOPICS, env) as listener:
        with up(tmp_path / "ros", env, str(task), "--out", str(tmp_path / "ros"), *asked) as graph:
            learner = wait_for(lambda: graph.pids().get("learner"), "the learner")
            with stopped(learner):  # it has not even begun: nothing can be learnt, and nothing may be done without it
                in_one_process(tmp_path / "alone", task)
                wait_for(lambda: graph.run.labels.exists() and len(labels(graph.run)) == 2, "episodes 1 and 2", 60)
                actor = graph.actor()
                wait_for(lambda: actor.call("snapshot", timeout_s=5.0)[0]["why"] == WAITING, "the actor that waits")
                actor.close()
                heard = listener.hear(100_000, timeout_s=0.1)
                still = listener.hear(STILL)
                assert graph.run.closed_episodes() == [1, 2]
            status, output = graph.finish(60)
            assert status == 0, output + logs(graph.run)
        heard += still + listener.hear(100_000, timeout_s=0.5)
    assert fingerprint(tmp_path / "ros") == fingerprint(tmp_path / "alone")
    assert fingerprint(tmp_path / "ros")["versions"] == [0, 0, 1]
    for episode in range(1, EPISODES + 1):  # all that was recorded: the stamps too, for both clocks begin with the run
        assert read_streams(graph.run.episode(episode)) == read_streams(tmp_path / f"alone/episodes/{episode:06d}")
    clock, waited = times_ns(heard, CLOCK), times_ns(still, CLOCK)
    assert clock == sorted(clock)
    assert len(waited) > STILL // 2  # it is told again while it stands still (what came first may have been late) ...
    assert len(set(waited[-STILL // 2 :])) == 1  # ... and nothing moves it
    last = read_streams(graph.run.episode(EPISODES))[-1].stamp_ns
    assert clock[-1] >= last
    sensed = times_ns(heard, "/cell_1/joint_states")
    assert sensed
    assert all(stamp % PERIOD_NS == 0 and stamp <= clock[-1] for stamp in sensed)  # stamped by the simulated time
    print(f"{len(set(clock))} control periods, {len(clock)} messages on /clock")
