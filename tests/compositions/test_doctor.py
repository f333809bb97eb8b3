"""Each verdict on a machine that was made up, and the probes on this one."""

from __future__ import annotations

import io
import json
import mmap
import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from robot_rl.compositions import machine as probes
from robot_rl.compositions.doctor import doctor
from robot_rl.compositions.machine_checks import (
    CHECKS,
    DOMAINS,
    GIB,
    MODULES,
    ROS_MODULES,
    ROS_OPTIONAL,
    Machine,
    Row,
    Wanted,
    checked,
)
from robot_rl.errors import ConfigError
from robot_rl.twins import HARDWARE

LOCAL = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
WELL = Machine(
    python=(3, 12, 3),
    modules=frozenset({*ROS_MODULES, *ROS_OPTIONAL, *(name for _, names in MODULES.values() for name in names)}),
    environment=LOCAL,
    profile_fault="",
    own_profile="/somewhere/fast_dds.xml",
    litter=(),
    shared_free=GIB,
    disk_free=100 * GIB,
    port_free=True,
    clock_synchronised=True,
    lowest_nice=-20,
    rt_priority=99,
    rt_kernel=True,
    processors=8,
    gpu=True,
    opengl="egl",
    chromium=True,
)
TWIN, UP, FRANKA = Wanted("twin"), Wanted("twin", ros=True), Wanted("franka")


def row(name: str, wanted: Wanted, changes: Mapping[str, Any]) -> Row:
    (found,) = (row for row in checked(replace(WELL, **changes), wanted) if row.check == name)
    return found


def without(*names: str) -> dict[str, Any]:
    return {"modules": WELL.modules - set(names)}


@pytest.mark.parametrize("hw", [name for name, robot in HARDWARE.items() if not robot.missing])
def test_a_machine_that_has_all_of_it_is_well(hw: str) -> None:
    rows = checked(WELL, Wanted(hw, ros=True))
    assert [(row.verdict, row.do) for row in rows] == [("ok", "")] * len(CHECKS)
    assert len({row.check for row in rows}) == len(CHECKS)


@pytest.mark.parametrize(
    ("check", "wanted", "changes", "verdict", "do"),
    [
        ("Python", TWIN, {"python": (3, 9, 18)}, "no", "3.10 or newer"),
        ("robot", FRANKA, {}, "no", "--hw protocol_twin"),
        ("packages", TWIN, without("mujoco"), "no", "pip install 'robot-rl[run]'"),
        ("packages", TWIN, without("torch"), "look", "--no-learner"),
        ("packages", TWIN, without("franky"), "ok", ""),
        ("packages", Wanted("protocol_twin"), without("franky"), "no", "pip install 'robot-rl[run,franka]'"),
        ("ROS 2", TWIN, without("rclpy"), "look", "robot-rl[ros]"),
        ("ROS 2", UP, without("rclpy"), "no", "robot-rl[ros]"),
        ("ROS 2", UP, without("robot_rl_msgs"), "look", "make msgs"),
        ("ROS 2", UP, without("diagnostic_msgs"), "look", "robot-rl[ros]"),
        ("DDS", UP, {"environment": {}}, "look", "ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"),
        ("DDS", UP, {"environment": {"ROS_LOCALHOST_ONLY": "1"}}, "ok", ""),
        ("DDS", UP, {"environment": LOCAL | {"ROS_DOMAIN_ID": str(DOMAINS)}}, "ok", ""),
        ("DDS", UP, {"environment": LOCAL | {"ROS_DOMAIN_ID": str(DOMAINS + 1)}}, "no", f"0 to {DOMAINS}"),
        ("DDS", TWIN, {"environment": LOCAL | {"ROS_DOMAIN_ID": "one"}}, "look", f"0 to {DOMAINS}"),
        ("DDS", UP, {"environment": LOCAL | {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}}, "look", "rmw_fastrtps_cpp"),
        (
            *("DDS", UP),
            {"environment": {"FASTRTPS_DEFAULT_PROFILES_FILE": "/x"}, "profile_fault": "no such file"},
            *("no", "unset FASTRTPS_DEFAULT_PROFILES_FILE"),
        ),
        ("shared memory", UP, {"shared_free": 2**20}, "no", "--shm-size"),
        ("shared memory", TWIN, {"shared_free": 2**20}, "look", "--shm-size"),
        ("shared memory", UP, {"litter": ("fastrtps_1",)}, "look", "rm /dev/shm/"),
        ("disk", TWIN, {"disk_free": GIB // 5}, "no", "free space"),
        ("disk", TWIN, {"disk_free": 2 * GIB}, "look", "--out"),
        ("page's port", TWIN, {"port_free": False}, "look", "--port"),
        ("clock", TWIN, {"clock_synchronised": False}, "look", "set-ntp"),
        ("clock", TWIN, {"clock_synchronised": None}, "look", "timedatectl"),
        ("priority", TWIN, {"lowest_nice": 0}, "look", "limits.d"),
        ("real time", TWIN, {"rt_kernel": False, "rt_priority": 0}, "ok", ""),
        ("real time", FRANKA, {"rt_kernel": False}, "no", "PREEMPT_RT"),
        ("real time", FRANKA, {"rt_priority": 0}, "no", "rtprio"),
        ("processors", TWIN, {"processors": 1}, "look", "utd"),
        ("GPU", TWIN, {"gpu": False}, "ok", ""),
        ("OpenGL", TWIN, {"opengl": "no libEGL"}, "look", "--no-console"),
        ("OpenGL", TWIN, {"opengl": "osmesa"}, "ok", ""),
        ("OpenGL", FRANKA, {"opengl": "no libEGL"}, "ok", ""),
        ("browser", TWIN, {"chromium": False}, "look", "browser"),
    ],
)
def test_what_is_missing_is_a_verdict_and_what_to_do(
    check: str, wanted: Wanted, changes: Mapping[str, Any], verdict: str, do: str
) -> None:
    found = row(check, wanted, changes)
    assert found.verdict == verdict, found
    assert do in found.do
    assert bool(found.do) == (verdict != "ok")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "profile: /somewhere/fast_dds.xml (of the camera node"),
        ({"own_profile": ""}, "profile: its defaults"),
        ({"environment": LOCAL | {"FASTRTPS_DEFAULT_PROFILES_FILE": "/mine.xml"}}, "profile: /mine.xml"),
        ({"environment": LOCAL | {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}}, "without the profile for images"),
    ],
)
def test_the_settings_that_the_nodes_will_have_are_named(changes: Mapping[str, Any], words: str) -> None:
    found = row("DDS", UP, changes)
    assert (found.verdict, found.do) == ("ok", "")
    assert words in found.found


def test_the_exit_status_follows_what_the_robot_needs(tmp_path: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, width=200)
    bare = replace(WELL, modules=WELL.modules - {"franky"}, environment={})
    assert doctor(TWIN, tmp_path, console, lambda *_: bare)
    assert not doctor(Wanted("protocol_twin"), tmp_path, console, lambda *_: bare)
    last = json.loads(out.getvalue().splitlines()[-1])
    assert last["passed"] is False
    assert [row["check"] for row in last["rows"] if row["verdict"] == "no"] == ["packages"]
    assert "missing: franky" in out.getvalue()
    with pytest.raises(ConfigError, match="did you mean 'protocol_twin'"):
        doctor(Wanted("protocol-twin"), tmp_path, console, lambda *_: bare)


def test_this_machine_is_looked_at_without_a_change_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "opengl", lambda: "egl")  # it starts a process; what it finds, the cameras' tests show
    found = probes.look(TWIN, tmp_path / "runs")
    assert {"mcap", "mujoco"} <= found.modules
    assert found.disk_free > 0
    assert not (tmp_path / "runs").exists()
    assert found.processors >= 1
    assert Path(found.own_profile).name == "fast_dds.xml"
    assert -20 <= found.lowest_nice <= 20


def test_litter_is_what_is_ours_and_no_process_has_mapped(tmp_path: Path) -> None:
    for name in ("fastrtps_a", "fastrtps_a_el", "sem.fastrtps_port7000_mutex", "other"):
        (tmp_path / name).touch()
    assert probes.litter(tmp_path, set()) == ["fastrtps_a"]
    assert probes.litter(tmp_path, {str(tmp_path / "fastrtps_a")}) == []


def test_what_a_process_has_mapped_is_seen() -> None:
    path = probes.SHARED_MEMORY / f"robot_rl-test-{os.getpid()}"
    with path.open("w+b") as file:
        try:
            file.truncate(mmap.PAGESIZE)
            assert str(path) not in probes.mapped()
            with mmap.mmap(file.fileno(), mmap.PAGESIZE):
                assert str(path) in probes.mapped()
        finally:
            path.unlink()


def test_a_profile_that_cannot_be_read_is_said_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "profile.xml"
    named = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(path)}
    assert probes.profile_fault({}) == ""
    assert f"FASTRTPS_DEFAULT_PROFILES_FILE={path}: " in probes.profile_fault(named)
    path.write_text("<dds>")
    assert "no element found" in probes.profile_fault(named) or "unclosed" in probes.profile_fault(named)
    path.write_text("<dds/>")
    assert probes.profile_fault(named) == ""


def test_a_port_that_something_listens_on_is_taken() -> None:
    with socket.socket() as listening:
        listening.bind((probes.LOOPBACK, 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert not probes.port_free(port)
    assert probes.port_free(port)
