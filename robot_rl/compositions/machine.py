"""What this machine has: the probes behind `robot-rl doctor`. None changes anything, and none raises."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import resource
import shutil
import socket
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from robot_rl.compositions.machine_checks import MODULES, PROFILE, ROS_MODULES, ROS_OPTIONAL, Machine, Wanted
from robot_rl.console.access import LOOPBACK

SHARED_MEMORY = Path("/dev/shm")
SEGMENTS = "fastrtps_*"
ROS_SIDE, OWN_PROFILE = "robot_rl_ros", "fast_dds.xml"
"""A package that is looked for and not imported, and the profile in it."""
TIME_ERROR = 5
"""adjtimex: the clock is not synchronised."""
TIMEX_BYTES = 256
"""At least the size of a struct timex, 208 on 64 bits."""
DRAW = "import mujoco; mujoco.GLContext(8, 8).make_current()"
DRAW_S = 20.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def look(wanted: Wanted, runs: Path) -> Machine:
    """This machine as it is now; `runs` is where runs are written."""
    asked = {*ROS_OPTIONAL, *ROS_MODULES, *(name for _, names in MODULES.values() for name in names)}
    root = os.geteuid() == 0
    return Machine(
        python=sys.version_info[:3],
        modules=frozenset(name for name in asked if importlib.util.find_spec(name) is not None),
        environment=dict(os.environ),
        profile_fault=profile_fault(os.environ),
        own_profile=own_profile(),
        litter=litter(SHARED_MEMORY, mapped()),
        shared_free=free_bytes(SHARED_MEMORY),
        disk_free=free_bytes(runs),
        port_free=port_free(wanted.port),
        clock_synchronised=clock_synchronised(),
        lowest_nice=-20 if root else 20 - resource.getrlimit(resource.RLIMIT_NICE)[0],
        rt_priority=99 if root else resource.getrlimit(resource.RLIMIT_RTPRIO)[0],
        rt_kernel=Path("/sys/kernel/realtime").is_file(),
        processors=len(os.sched_getaffinity(0)),
        gpu=Path("/proc/driver/nvidia/version").is_file(),
        opengl=opengl(),
        chromium=any(shutil.which(name) for name in BROWSERS),
    )


def profile_fault(environment: Mapping[str, str]) -> str:
    """Why the profile that the environment names cannot be used; empty: it can, or none is named."""
    path = environment.get(PROFILE)
    if not path:
        return ""
    try:
        ElementTree.parse(path)
    except (OSError, ElementTree.ParseError) as error:
        return f"{PROFILE}={path}: {error}"
    return ""


def own_profile() -> str:
    """Path of the Fast DDS profile that comes with the ROS side; empty where that is not installed."""
    spec = importlib.util.find_spec(ROS_SIDE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return next((str(path) for place in places if (path := Path(place) / OWN_PROFILE).is_file()), "")


def litter(folder: Path, used: Iterable[str]) -> Sequence[str]:
    """Names of this user's segments in `folder` that are not among the paths `used`."""
    known = set(used)
    return sorted(
        path.name
        for path in folder.glob(SEGMENTS)
        if not path.name.endswith("_el") and str(path) not in known and _mine(path)
    )


def mapped() -> set[str]:
    """Paths in /dev/shm that processes which this user may look at have mapped."""
    found = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            lines = maps.read_text(errors="replace").splitlines()
        except OSError:  # another user's, or one that has just ended
            continue
        found |= {line.split(maxsplit=5)[5] for line in lines if str(SHARED_MEMORY) in line}
    return found


def free_bytes(folder: Path) -> int:
    """Of the file system of `folder`, or of the nearest folder above it that is there; 0 if that cannot be told."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder.absolute()).free
    except OSError:
        return 0


def port_free(port: int) -> bool:
    """Whether this user may listen on it, on the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def clock_synchronised() -> bool | None:
    """As the kernel has it; None where it cannot be asked."""
    try:
        state: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != TIME_ERROR


def opengl() -> str:
    """What draws without a display: "egl", "osmesa", or the reason why neither does."""
    reason = ""
    for name in ("egl", "osmesa"):
        try:
            drawn = subprocess.run(
                [sys.executable, "-c", DRAW], env={**os.environ, "MUJOCO_GL": name}, timeout=DRAW_S,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            reason = f"{name} did not answer within {DRAW_S:g} s"
            continue
        if drawn.returncode == 0:
            return name
        reason = next(iter(drawn.stderr.strip().splitlines()[-1:]), f"{name} ended with status {drawn.returncode}")
    return reason


def _mine(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.getuid()
    except OSError:
        return False
