"""What a machine must have for a run, as verdicts on what was found there: pure functions of `Machine` and `Wanted`.

Verdicts are those of `preflight`: `ok`, `look` (it works, but a person should read it) or `no` (a run with what is
wanted would be refused, or would be of no use). Each that is not `ok` says what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from robot_rl.twins import HARDWARE

PYTHON = (3, 10)
ACTING = ("mcap", "safetensors", "fastapi", "uvicorn")
MODULES: Mapping[str, tuple[str, Sequence[str]]] = {
    "twin": ("run", (*ACTING, "torch", "mujoco", "mink", "daqp")),
    "protocol_twin": ("run,franka", (*ACTING, "torch", "mujoco", "franky", "franky_sim")),
    "franka": ("robot,franka", (*ACTING, "franky")),
}
"""hw -> (the extras of robot-rl that bring them, modules that a run imports)."""
ROS_MODULES = ("rclpy", "rmw_fastrtps_cpp", "sensor_msgs", "geometry_msgs", "std_msgs", "std_srvs")
ROS_OPTIONAL: Mapping[str, str] = {
    "robot_rl_msgs": "make msgs",
    "diagnostic_msgs": "pip install 'robot-rl[ros]'",
}
"""What some topics and services need -> how it is got."""
FAST_DDS = "rmw_fastrtps_cpp"
DOMAINS = 101
"""Above it, a domain's ports are among those that Linux gives to others."""
PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"
"""The variable that names a file of profiles to Fast DDS 2, Jazzy's; what 3 calls it, 2 does not read."""
TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"
"""The variable that chooses among Fast DDS's own transports."""
GIB = 2**30
RUN_BYTES, LEAST_BYTES = 5 * GIB, GIB // 4
"""Of disk: what a run with cameras comes to, and what a short one without any does."""
SHARED_BYTES = 64 * 2**20
"""Of /dev/shm: Fast DDS takes segments of half a MiB, and more for images."""
GUARD_NICE = -10
"""Niceness that the guard chooses where it may."""
RT_PRIORITY = 80
"""What libfranka's control thread asks for, at least."""


@dataclass(frozen=True)
class Wanted:
    """What the machine is to do."""

    hw: str
    """A name of `robot_rl.twins.HARDWARE`."""
    ros: bool = False
    """As a graph of ROS 2 nodes: `robot-rl up`."""
    port: int = 8000
    """TCP, of the page."""


@dataclass(frozen=True)
class Machine:
    """What was found."""

    python: tuple[int, int, int]
    modules: frozenset[str]
    """Those that can be imported, of all that any check asks for."""
    environment: Mapping[str, str]
    profile_fault: str
    """Why the Fast DDS profile that the environment names cannot be read; empty: it can, or none is named."""
    own_profile: str
    """Path of the profile for images that the launchers set where the environment names none; empty: there is none."""
    litter: Sequence[str]
    """Segments in /dev/shm that Fast DDS made for this user, and that no process which can be seen has mapped."""
    shared_free: int
    """Bytes of /dev/shm."""
    disk_free: int
    """Bytes, where runs are written."""
    port_free: bool
    clock_synchronised: bool | None
    """By NTP or PTP; None: cannot be told."""
    lowest_nice: int
    """-20 to 19: the lowest niceness that this user may choose."""
    rt_priority: int
    """The highest real-time priority that this user may choose, 0: none."""
    rt_kernel: bool
    """PREEMPT_RT."""
    processors: int
    gpu: bool
    """An NVIDIA driver is loaded."""
    opengl: str
    """What draws without a display: "egl" or "osmesa"; else the reason why nothing does."""
    chromium: bool


@dataclass(frozen=True)
class Row:
    """One check."""

    check: str
    verdict: str
    """ok, look or no."""
    found: str
    do: str = ""
    """What to do about it; empty for `ok`."""


Check = Callable[[Machine, Wanted], Row]


def python(machine: Machine, wanted: Wanted) -> Row:
    """The interpreter that this runs in."""
    version = ".".join(map(str, machine.python))
    if machine.python[:2] < PYTHON:
        return Row("Python", "no", version, "make an environment of Python 3.10 or newer")
    return Row("Python", "ok", version)


def robot(machine: Machine, wanted: Wanted) -> Row:
    """Whether what is to move can be used yet."""
    missing = HARDWARE[wanted.hw].missing
    if missing:
        return Row("robot", "no", f"{wanted.hw}: {missing}", "run with --hw protocol_twin")
    return Row("robot", "ok", f"{wanted.hw}: {HARDWARE[wanted.hw].words}")


def packages(machine: Machine, wanted: Wanted) -> Row:
    """What a run imports."""
    extras, modules = MODULES[wanted.hw]
    missing = [name for name in modules if name not in machine.modules]
    if not missing:
        return Row("packages", "ok", ", ".join(modules))
    if missing == ["torch"]:
        words = f"pip install 'robot-rl[{extras}]', or run with --no-learner"
        return Row("packages", "look", "no torch: nothing learns on this machine", words)
    return Row("packages", "no", f"missing: {', '.join(missing)}", f"pip install 'robot-rl[{extras}]'")


def ros(machine: Machine, wanted: Wanted) -> Row:
    """ROS 2's Python packages; without those in `ROS_OPTIONAL` the graph leaves some topics out."""
    missing = [name for name in ROS_MODULES if name not in machine.modules]
    wanting = {name: how for name, how in ROS_OPTIONAL.items() if name not in machine.modules}
    if not missing and wanting:
        return Row("ROS 2", "look", f"topics of {', '.join(wanting)} are left out", "; ".join(wanting.values()))
    if not missing:
        return Row("ROS 2", "ok", "rclpy and all messages")
    what = "pip install 'robot-rl[ros]', or source a ROS 2 Jazzy in whose Python robot-rl is installed"
    return Row("ROS 2", "no" if wanted.ros else "look", f"missing: {', '.join(missing)}; `up` needs it", what)


def dds(machine: Machine, wanted: Wanted) -> Row:
    """Fast DDS's settings: a wrong one makes nodes that do not find each other, without a word."""
    said, bad = machine.environment, "no" if wanted.ros else "look"
    rmw, domain = said.get("RMW_IMPLEMENTATION", FAST_DDS), said.get("ROS_DOMAIN_ID") or "0"
    if machine.profile_fault:
        return Row("DDS", bad, machine.profile_fault, f"mend the file, or unset {PROFILE}")
    if rmw != FAST_DDS:
        return Row("DDS", "look", f"RMW_IMPLEMENTATION={rmw}: not tried", f"unset it, or set it to {FAST_DDS}")
    if not domain.isdigit() or int(domain) > DOMAINS:
        return Row("DDS", bad, f"ROS_DOMAIN_ID={domain}", f"set it to a number from 0 to {DOMAINS}")
    if said.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET") not in ("LOCALHOST", "OFF") and (
        said.get("ROS_LOCALHOST_ONLY") != "1"
    ):
        found = f"domain {domain}; the whole subnet hears the topics, and may call the services"
        return Row("DDS", "look", found, "export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST unless that is meant")
    return Row("DDS", "ok", f"domain {domain}, this machine alone, {_settings(machine)}")


def _settings(machine: Machine) -> str:
    """Which of Fast DDS's settings the nodes of a graph will have."""
    said = machine.environment
    if said.get(PROFILE):
        return f"profile: {said[PROFILE]}"
    if said.get(TRANSPORTS):
        return f"{TRANSPORTS}={said[TRANSPORTS]}, so without the profile for images"
    if not machine.own_profile:
        return "profile: its defaults"
    return f"profile: {machine.own_profile} (of the camera node; of others with images: export {PROFILE}=it), else UDP"


def shared_memory(machine: Machine, wanted: Wanted) -> Row:
    """Room for Fast DDS, and what killed processes have left there."""
    mib = f"{machine.shared_free / 2**20:.0f} MiB free in /dev/shm"
    if machine.shared_free < SHARED_BYTES:
        what = "give it more (docker run --shm-size=1g), or export FASTDDS_BUILTIN_TRANSPORTS=UDPv4"
        return Row("shared memory", "no" if wanted.ros else "look", mib, what)
    if machine.litter:
        found = f"{mib}; {len(machine.litter)} segments that no process uses, e.g. {machine.litter[0]}"
        return Row("shared memory", "look", found, "while no ROS 2 runs: rm /dev/shm/*fastrtps_*")
    return Row("shared memory", "ok", mib)


def disk(machine: Machine, wanted: Wanted) -> Row:
    """Room for episodes."""
    found = f"{machine.disk_free / GIB:.1f} GiB free where runs are written"
    if machine.disk_free < LEAST_BYTES:
        return Row("disk", "no", found, "free space; a full disk pauses a run")
    if machine.disk_free < RUN_BYTES:
        return Row("disk", "look", found, f"a run with cameras may take {RUN_BYTES // GIB} GiB: free space, or --out")
    return Row("disk", "ok", found)


def port(machine: Machine, wanted: Wanted) -> Row:
    """The operator's page's."""
    if machine.port_free:
        return Row("page's port", "ok", f"{wanted.port} is free on the loopback")
    return Row("page's port", "look", f"{wanted.port} is taken", "another one is chosen and said; --port names yours")


def clock(machine: Machine, wanted: Wanted) -> Row:
    """Wall time; within a run all stamps are monotonic."""
    if machine.clock_synchronised is None:
        return Row("clock", "look", "cannot be told whether it is synchronised", "look at `timedatectl`")
    if machine.clock_synchronised:
        return Row("clock", "ok", "synchronised")
    words = "timedatectl set-ntp true"
    if wanted.ros:
        words += (
            ", before nodes run: when the clock is set, Fast DDS's shared memory (images) may go deaf: docs/ros2.md"
        )
    return Row("clock", "look", "not synchronised: labels and episodes carry its wall time", words)


def priority(machine: Machine, wanted: Wanted) -> Row:
    """Whether the guard may go before other processes."""
    found = f"niceness down to {machine.lowest_nice}"
    if machine.lowest_nice <= GUARD_NICE:
        return Row("priority", "ok", found)
    limit = f"'@users - nice {GUARD_NICE}' in /etc/security/limits.d/robot_rl.conf, then log in anew"
    return Row("priority", "look", f"{found}: the guard cannot go before other processes", limit)


def real_time(machine: Machine, wanted: Wanted) -> Row:
    """What libfranka's 1 kHz loop needs."""
    kernel = "a real-time kernel" if machine.rt_kernel else "no real-time kernel"
    found = f"{kernel}; real-time priority up to {machine.rt_priority}"
    if wanted.hw != "franka" or (machine.rt_kernel and machine.rt_priority >= RT_PRIORITY):
        return Row("real time", "ok", found if wanted.hw == "franka" else f"{found}; {wanted.hw} needs neither")
    if not machine.rt_kernel:
        return Row("real time", "no", found, "install PREEMPT_RT (Ubuntu: pro enable realtime-kernel)")
    limit = "'@realtime - rtprio 99' in /etc/security/limits.d/robot_rl.conf, be of that group, and log in anew"
    return Row("real time", "no", found, limit)


def processors(machine: Machine, wanted: Wanted) -> Row:
    """One for the robot and one for the learner are wanted."""
    if machine.processors < 2:
        return Row("processors", "look", "one", "robot and learner share it: lower the method's utd, or --no-learner")
    return Row("processors", "ok", str(machine.processors))


def gpu(machine: Machine, wanted: Wanted) -> Row:
    """For information: small adapters are learnt as fast without."""
    return Row("GPU", "ok", "NVIDIA's driver is loaded" if machine.gpu else "none; none is needed")


def opengl(machine: Machine, wanted: Wanted) -> Row:
    """What draws a twin's cameras."""
    if machine.opengl in ("egl", "osmesa"):
        return Row("OpenGL", "ok", machine.opengl)
    if wanted.hw == "franka":
        return Row("OpenGL", "ok", "none; its cameras are not drawn")
    words = "apt install libegl1 libgl1 libosmesa6; without it a run needs --no-console"
    return Row("OpenGL", "look", f"the twin's cameras cannot be drawn: {machine.opengl}", words)


def browser(machine: Machine, wanted: Wanted) -> Row:
    """What shows the page."""
    if machine.chromium:
        return Row("browser", "ok", "Chromium")
    return Row(
        "browser", "look", "no Chromium", "the page needs a browser, here or (ssh -L) elsewhere; so do its tests"
    )


CHECKS: Sequence[Check] = (
    *(robot, python, packages, ros, dds, shared_memory, disk, port, clock),
    *(priority, real_time, processors, gpu, opengl, browser),
)


def checked(machine: Machine, wanted: Wanted) -> list[Row]:
    """All of `CHECKS`, in their order."""
    return [check(machine, wanted) for check in CHECKS]
