"""The nodes of a run's graph: the one table that the launch file and `robot-rl up` start processes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from robot_rl.compositions.plan import LOCKSTEP, RunPlan
from robot_rl.errors import ConfigError
from robot_rl.services.sight import cameras_of

PACKAGE = "robot_rl"
ENDS = ("store", "guard", "actor", "states", "frames")
"""What has a socket of its own between the processes of one run."""
SIMULATED = "use_sim_time"
"""ROS's own parameter of every node."""
Value = str | int | float | bool


@dataclass(frozen=True)
class NodeSpec:
    """One process, which is one node."""

    name: str
    """In the graph, below its namespace."""
    parameters: Mapping[str, Value]
    restart: bool = True
    """It is started again when it ends by itself."""
    finishes: bool = False
    """It ends with status 0 when the run is done."""
    images: bool = False
    """It publishes images on topics, and has a `dds_environment` for that."""

    @property
    def executable(self) -> str:
        """In lib/robot_rl, for ROS 2's tools; its module in `robot_rl_ros` has the same name."""
        return f"{self.name}_node"


def nodes_of(plan: RunPlan, ends: Mapping[str, str], port: int | None) -> list[NodeSpec]:
    """In the order in which they are started; `ends` are the endpoints of `ENDS`, `port` is the page's TCP port.

    In lockstep what the cameras show is for the page alone: it is drawn in its own time. Raises `ConfigError` for a
    policy that would have to wait for it.
    """
    run, lockstep = str(plan.run.path.absolute()), plan.pace == LOCKSTEP
    acted_on = bool(cameras_of(plan.policy.spec))
    if acted_on and lockstep:
        raise ConfigError(
            f"pace {LOCKSTEP}: expected a policy that reads no camera, this one reads "
            f"{', '.join(cameras_of(plan.policy.spec))}, and the graph's cameras show what they see in their own time; "
            f"go on without a graph: `robot-rl run --resume {run}`"
        )
    looked_at, seen = acted_on or port is not None, []
    frames = ends["frames"] if looked_at and not lockstep else ""
    if looked_at:
        drawing = {name: ends[name] for name in ("states", "frames")}
        seen.append(NodeSpec("camera", {"run": run, **drawing, "acted_on": acted_on}, images=True))
    if port is not None:
        asked = {name: ends[name] for name in ("actor", "guard", "frames")}
        seen.append(NodeSpec("console", {"port": port, **asdict(plan.access), **asked}))
    acting: dict[str, Value] = {
        "run": run,
        "store": ends["store"],
        "guard": ends["guard"],
        "actor": ends["actor"],
        "frames": frames,
        "episodes": plan.episodes,
        "auto_label": plan.auto_label,
        "page": port is not None,
        "base_success": -1.0 if plan.base_success is None else plan.base_success,
        "base_trials": plan.base_trials or 0,
        "policy": plan.policy_endpoint,
        "policy_keys": plan.policy_keys,
        "lockstep": lockstep,
    }
    guarding: dict[str, Value] = {"run": run, "guard": ends["guard"], "states": ends["states"], "lockstep": lockstep}
    specs = [
        NodeSpec("recorder", {"run": run, "store": ends["store"], "frames": frames}, restart=False),
        NodeSpec("robot", guarding, restart=False),
        NodeSpec("learner", {"run": run, "ordered": lockstep}),
        *seen,
        NodeSpec("actor", acting, restart=False, finishes=True),
    ]
    return [replace(spec, parameters={**spec.parameters, SIMULATED: True}) for spec in specs] if lockstep else specs


def remappings(spec: NodeSpec, namespace: str) -> Sequence[tuple[str, str]]:
    """Names that are not below the namespace by themselves, and are to be: two graphs have two simulated times."""
    return [("/clock", f"{namespace.rstrip('/')}/clock")] if SIMULATED in spec.parameters else []


def ros_arguments(spec: NodeSpec, namespace: str, parameter_files: Sequence[Path]) -> Sequence[str]:
    """What a node's process is started with; of two files that say a parameter, the later one counts."""
    pairs = [("__node", spec.name), ("__ns", namespace), *remappings(spec, namespace)]
    names = [word for name, place in pairs for word in ("-r", f"{name}:={place}")]
    files = [word for path in parameter_files for word in ("--params-file", str(path))]
    return ["--ros-args", *names, *files]
