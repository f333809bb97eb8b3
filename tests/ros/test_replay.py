"""An episode on ROS 2's topics, as a node in another process hears it: everything, in order, at its pace."""

from __future__ import annotations

import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from robot_rl.clock import MS, SECOND
from robot_rl.compositions.replay_to_ros import replay_to_ros
from robot_rl.errors import ConfigError, StoreError
from robot_rl.store.episode import EpisodeWriter
from robot_rl.store.ros import type_of
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.store.streams import read_streams
from tests.console.recorded import step
from tests.ros.graph import Heard, command_line, environment, listening
from tests.store.examples import SUCCESS, header

STEPS, PERIOD_NS = 20, 50 * MS
STREAMS = ("/steps", "/joint_states", "/tcp_pose", "/gripper_width", "/command")
TOPICS = (*STREAMS, "/camera/front", "/safety")
JPEG = b"\xff\xd8\xff\xe0 not really \xff\xd9"
STAMPS = [3 * SECOND + PERIOD_NS * i for i in range(STEPS)]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """One episode of a second, with a picture at every fourth step."""
    run = RunDirectory.create(tmp_path / "run", RunInfo("lid_opening", "usr", 3, "ab" * 32, "0.1.0"))
    writer = EpisodeWriter(run, header(1))
    for i, stamp_ns in enumerate(STAMPS):
        writer.write("/steps", stamp_ns, step(i))
        if i % 4 == 0:
            writer.write_image("front", stamp_ns, JPEG + bytes([i]))
    writer.write("/safety", STAMPS[7], {"level": "HOLD", "epoch": 1, "causes": []})
    writer.close(SUCCESS)
    return run


def expected(topic: str) -> list[str]:
    """The messages of a topic, made by ROS 2's own classes."""
    from builtin_interfaces.msg import Time
    from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
    from sensor_msgs.msg import CompressedImage, JointState
    from std_msgs.msg import Float64, Float64MultiArray, Header, MultiArrayDimension, MultiArrayLayout, String

    def head(stamp_ns: int, frame: str) -> Any:
        return Header(stamp=Time(sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND), frame_id=frame)

    messages: list[Any] = []
    for i, stamp_ns in enumerate(STAMPS):
        body = step(i)
        x, y, z, qx, qy, qz, qw = (float(entry) for entry in body["tcp_pose"])
        names = [f"joint{n}" for n in range(1, 8)]
        layout = MultiArrayLayout(dim=[MultiArrayDimension(label="action", size=4, stride=4)])
        image = CompressedImage(header=head(stamp_ns, "front"), format="jpeg", data=JPEG + bytes([i]))
        messages += {
            "/steps": [String(data=json.dumps(body, separators=(",", ":")))],
            "/joint_states": [JointState(header=head(stamp_ns, "base"), name=names, position=body["q"])],
            "/tcp_pose": [
                PoseStamped(
                    header=head(stamp_ns, "base"),
                    pose=Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw)),
                )
            ],
            "/gripper_width": [Float64(data=body["gripper_width"])],
            "/command": [Float64MultiArray(layout=layout, data=body["sent"])],
            "/camera/front": [image] if i % 4 == 0 else [],
            "/safety": [String(data='{"level":"HOLD","epoch":1,"causes":[]}')] if i == 7 else [],
        }[topic]
    return [repr(message) for message in messages]


def spacing_error_ms(heard: list[Heard], rate: float) -> float:
    """Median distance of the steps' arrival from when they were due, in ms.

    All of them set the clock: the first message of a publisher may be late by what it takes to be discovered.
    """
    late = np.array([message.at_ns for message in heard]) - np.array(STAMPS) / rate
    return float(np.median(np.abs(late - np.median(late)))) / MS


@pytest.mark.timeout(60)
def test_another_process_hears_all_of_it_in_order_and_at_its_pace(run: RunDirectory, tmp_path: Path) -> None:
    """Two replays at once, in real time and ten times as fast, below a namespace each."""
    pytest.importorskip("rclpy", reason="ROS 2's Python is not installed: pip install 'robot-rl[ros]'")
    env, count = environment(tmp_path), 5 * STEPS + STEPS // 4 + 1
    rates = {"cell_1": 1.0, "cell_2": 10.0}
    command = ["replay", str(run.episode(1)), "--to-ros"]
    topics = {f"/{cell}{topic}": type_of(topic) for cell in rates for topic in TOPICS}
    with listening(topics, env) as listener, ThreadPoolExecutor() as pool:
        replays = [
            pool.submit(command_line, [*command, "--namespace", cell, "--rate", str(rate)], env, 25.0)
            for cell, rate in rates.items()
        ]
        for replayed in replays:
            assert replayed.result().returncode == 0, replayed.result().stderr
            assert f"{count} messages of 0.95 s" in replayed.result().stdout
        everything = listener.hear(2 * count + 1, timeout_s=0.5)
    assert len(everything) == 2 * count
    for cell, rate in rates.items():
        for topic in TOPICS:
            assert [m.text for m in everything if m.topic == f"/{cell}{topic}"] == expected(topic), topic
        error = spacing_error_ms([m for m in everything if m.topic == f"/{cell}/steps"], rate)
        print(f"rate {rate:g}: median distance from the due time {error:.1f} ms")
        assert error < 15.0


def test_names_that_ros_does_not_allow_are_refused(run: RunDirectory) -> None:
    pytest.importorskip("rclpy", reason="ROS 2's Python is not installed: pip install 'robot-rl[ros]'")
    with pytest.raises(ConfigError, match="namespace '1st'"):
        replay_to_ros(run.episode(1), 1.0, "1st", Console(file=io.StringIO()))


def test_without_ros_the_error_says_what_to_install(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "robot_rl_ros"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("rclpy", "rclpy.duration"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"pip install 'robot-rl\[ros\]'"):
        replay_to_ros(run.episode(1), 1.0, "/", Console(file=io.StringIO()))


def test_what_is_no_episode_is_refused(run: RunDirectory) -> None:
    pytest.importorskip("rclpy", reason="ROS 2's Python is not installed: pip install 'robot-rl[ros]'")
    with pytest.raises(StoreError, match="cannot read"):
        replay_to_ros(run.path, 1.0, "/", Console(file=io.StringIO()))


@pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")  # rclpy's own
def test_what_nobody_listens_to_is_not_said_to_be_published(run: RunDirectory) -> None:
    pytest.importorskip("rclpy", reason="ROS 2's Python is not installed: pip install 'robot-rl[ros]'")
    from robot_rl_ros.replay import publish_recording

    with pytest.raises(ConfigError, match=r"nobody listened to any of its topics below /lonely for 0.1 s"):
        publish_recording(read_streams(run.episode(1)), namespace="/lonely", patience_s=0.1)
    with pytest.raises(ConfigError, match="--rate: expected a finite number, got inf"):
        replay_to_ros(run.episode(1), float("inf"), "/", Console(file=io.StringIO()))
