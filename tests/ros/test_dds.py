"""The Fast DDS profile of the package: who is given it, and that images get through with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from robot_rl_ros.dds import OVER_UDP, OWN_PROFILE, THIS_MACHINE, dds_environment

from benchmarks.ros_graph import WITH, Block, looked
from robot_rl.compositions.machine_checks import PROFILE, TRANSPORTS
from tests.ros.graph import ROOT, environment, listening

MARGIN = 8
"""Raw frames of a camera that have to have room."""
FRAME_BYTES = 640 * 480 * 3


def test_the_profile_has_room_for_raw_images_and_keeps_the_network() -> None:
    names = {"r": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    tree = ElementTree.parse(OWN_PROFILE)
    made = {
        part.findtext("r:transport_id", "", names): part for part in tree.iterfind(".//r:transport_descriptor", names)
    }
    used = [element.text for element in tree.iterfind(".//r:userTransports/r:transport_id", names)]
    assert set(used) == set(made)
    kinds = {str(part.findtext("r:type", "", names)): part for part in made.values()}
    assert kinds.keys() == {"SHM", "UDPv4"}
    assert int(kinds["SHM"].findtext("r:segment_size", "0", names)) > MARGIN * FRAME_BYTES
    assert int(kinds["SHM"].findtext("r:maxMessageSize", "0", names)) > FRAME_BYTES


def test_a_person_s_own_settings_stand() -> None:
    assert dds_environment({}, images=True) == {PROFILE: str(OWN_PROFILE)}
    for images in (True, False):
        for name in (PROFILE, TRANSPORTS, "RMW_IMPLEMENTATION"):
            assert dds_environment({name: "mine"}, images=images) == {}


LOCAL = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


@pytest.mark.parametrize(
    ("environment", "images", "alone"),
    [
        (LOCAL, False, True),
        (LOCAL | {TRANSPORTS: "UDPv4"}, False, True),
        (LOCAL | {TRANSPORTS: "UDPv4"}, True, True),
        ({}, False, False),
        (LOCAL | {"ROS_STATIC_PEERS": "192.168.1.7"}, False, False),
        (LOCAL | {"ROS_LOCALHOST_ONLY": "1"}, False, False),
    ],
)
def test_who_publishes_no_images_has_no_shared_memory(environment: dict[str, str], images: bool, alone: bool) -> None:
    made = dds_environment(environment, images=images)
    if alone:
        assert made == {PROFILE: str(THIS_MACHINE), "ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT"}
        assert "SHM" not in THIS_MACHINE.read_text()
    else:
        assert made == {TRANSPORTS: "UDPv4", PROFILE: str(OVER_UDP)}


def page_faults(pid: int) -> int:
    """Of a process, without those that the disk was asked for."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


def heard(folder: Path, settings: dict[str, str]) -> tuple[float, float]:
    """Of a second of raw images of three cameras: the share that a best-effort subscriber lost, and its page faults.

    These are a frame's, after the first ones.
    """
    env = {name: value for name, value in environment(folder).items() if name != TRANSPORTS} | settings
    processes = []
    for role in ("listen", "publish"):
        command = [sys.executable, "-m", "benchmarks.image_streams", role, "ros", "-"]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
    listener, publisher = processes
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        time.sleep(0.7)
        before = page_faults(listener.pid)
        time.sleep(1.0)
        faults = page_faults(listener.pid) - before
        said = [json.loads(process.communicate(timeout=20)[0]) for process in (publisher, listener)]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    frames = said[1]["frames"]
    began, ended = frames[0][2], frames[-1][2]
    ages, lost = looked(frames, [Block(WITH, began, ended)], WITH)
    each, old_ms = faults / (len(frames) / 1.7), np.median(ages)
    print(
        f"{said[0]['published']} published, {len(ages)} heard, {lost} lost, {old_ms:.1f} ms old, {each:.0f} faults each"
    )
    return float(lost / (len(ages) + lost)), each


@pytest.mark.skipif(os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") != "rmw_fastrtps_cpp", reason="Fast DDS's")
def test_raw_images_get_through_with_the_profile(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS 2's Python is not installed: pip install 'robot-rl[ros]'")
    lost, faults = heard(tmp_path, dds_environment({}, images=True))
    assert lost < 0.25  # without it half of them are lost and more; a busy machine loses a few with it
    assert faults < 100  # a frame has 225 pages, and is copied three times: memory is taken once, and kept


def heard_in_time(env: dict[str, str]) -> bool:
    """Whether a node knows within `PARTING_S` that a listener heard 50 words which it has just said."""
    node = (
        "import time\n"
        "from rclpy.duration import Duration\n"
        "from robot_rl_ros.node import PARTING_S, ros_node\n"
        "from robot_rl_ros.topics import event_qos\n"
        "from std_msgs.msg import String\n"
        "with ros_node('parting') as node:\n"
        "    publisher = node.create_publisher(String, 'words', event_qos())\n"
        "    while not publisher.get_subscription_count():\n"
        "        time.sleep(0.01)\n"
        "    time.sleep(0.3)\n"
        "    for number in range(50):\n"
        "        publisher.publish(String(data=str(number)))\n"
        "        time.sleep(0.01)\n"
        "    print(publisher.wait_for_all_acked(Duration(seconds=PARTING_S)))\n"
    )
    with listening({"/words": "std_msgs/msg/String"}, env) as listener:
        said = subprocess.run([sys.executable, "-c", node], env=env, capture_output=True, text=True, timeout=30)
        assert said.returncode == 0, said.stderr
        assert len(listener.hear(50)) == 50
    return said.stdout == "True\n"


@pytest.mark.skipif(os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") != "rmw_fastrtps_cpp", reason="Fast DDS's")
@pytest.mark.parametrize(
    ("found", "images"), [(LOCAL, False), ({}, False), ({}, True)], ids=["this machine", "over UDP", "images"]
)
def test_a_node_that_ends_knows_in_time_that_its_last_words_were_heard(
    tmp_path: Path, found: dict[str, str], images: bool
) -> None:
    """Without the profiles it does not: Fast DDS's own heartbeat comes 2.5 s after these words."""
    pytest.importorskip("rclpy", reason="ROS 2's Python is not installed: pip install 'robot-rl[ros]'")
    env = {name: value for name, value in environment(tmp_path).items() if name not in (TRANSPORTS, *LOCAL)} | found
    assert heard_in_time(env | dds_environment(found, images=images))
    assert not heard_in_time(env | {TRANSPORTS: "UDPv4"})
