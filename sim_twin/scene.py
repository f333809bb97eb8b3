"""The scene: an FR3 on a pedestal, a table, and a free-standing bin with a hinged lid, as one MuJoCo model.

The arm is the FR3 of the MuJoCo Menagerie with the Franka hand, as shipped (Apache-2.0) in the wheel of `franky-sim`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from robot_rl.errors import ConfigError
from sim_twin.config import BinConfig, CameraConfig, SceneConfig, WorldConfig

TCP_OFFSET = 0.1034
"""m from the hand's frame to the point between the fingertips (libfranka's NE_T_EE)."""
ARM_JOINTS = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_JOINTS = ("finger_joint1", "finger_joint2")
READY = (0.0, -0.35, 0.0, -2.35, 0.0, 3.55, 0.7854)
"""rad: the hand horizontal, pointing along +x; the posture that inverse kinematics stays near."""

ARM_WHITE = (0.90, 0.91, 0.92, 1.0)
FINGER_GREY = (0.25, 0.26, 0.28, 1.0)
"""What the collision meshes look like where they stand for the arm in live pictures."""
SKIRT_M = 0.004
"""m: thickness of the lid's front skirt, which bears the ears."""

VISUAL_GROUP = 2
"""The fine meshes, for pictures."""
COLLISION_GROUP = 3
"""The collision meshes: few vertices, for live cameras without a GPU."""
PROP_GROUP = 0
"""Table, floor and bin: in every picture."""


def fr3_assets() -> Path:
    """Folder of the FR3 model inside the installed `franky-sim`; found without importing it."""
    found = importlib.util.find_spec("franky_sim")
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            "the FR3 model comes with the package franky-sim, which is not installed: pip install 'robot-rl[twin]'"
        )
    return Path(found.submodule_search_locations[0]) / "assets"


def build_scene(config: SceneConfig, world: WorldConfig, rng: np.random.Generator | None = None) -> mujoco.MjModel:
    """Compile the scene; `rng` randomises the camera poses by their `jitter`. Raises `ConfigError`."""
    assets = fr3_assets()
    spec = mujoco.MjSpec.from_file(str(assets / "fr3.xml"))
    spec.meshdir = str(assets / "meshes")
    spec.option.timestep = world.timestep
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    _arm(spec, world)
    _room(spec, config)
    _bin(spec, config.bin, config.table_height, world)
    for name, camera in config.cameras.items():
        _camera(spec, name, camera, rng)
    try:
        return spec.compile()
    except ValueError as error:
        raise ConfigError(f"scene: MuJoCo cannot build it: {error}; see the sizes in the task file") from error


def _arm(spec: Any, world: WorldConfig) -> None:
    """Gravity is compensated as by the robot's own controller; only the hand touches things."""
    for body in spec.bodies:
        if body.name.startswith("fr3_link") or body.name in ("hand", "left_finger", "right_finger"):
            body.gravcomp = 1.0
        if body.name.startswith("fr3_link"):
            for geom in body.geoms:
                geom.contype = geom.conaffinity = 0
        for geom in body.geoms:
            if geom.group == COLLISION_GROUP:
                geom.rgba = FINGER_GREY if "finger" in body.name else ARM_WHITE
    for actuator in spec.actuators:
        if actuator.name in ARM_JOINTS:
            actuator.gainprm[0] *= world.gain
            actuator.biasprm[1] *= world.gain
            actuator.biasprm[2] *= world.damping
    for name in FINGER_JOINTS:
        spec.joint(name).frictionloss = 0.0  # inherited from the arm's hinges: about as much as the hand's servo gives
    hand = spec.body("hand")
    for body in (hand, spec.body("left_finger"), spec.body("right_finger")):
        for geom in body.geoms:
            if geom.contype:
                geom.friction[0] = world.friction
    hand.add_site(name="tcp", pos=[0.0, 0.0, TCP_OFFSET], group=4)


def _room(spec: Any, config: SceneConfig) -> None:
    """Table, pedestal, floor, light: a quiet laboratory."""
    world = spec.worldbody
    top = config.table_height
    spec.visual.headlight.ambient = [0.32, 0.32, 0.34]
    spec.visual.headlight.diffuse = [0.28, 0.28, 0.28]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.visual.quality.shadowsize = 1024
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960
    spec.visual.map.znear = 0.01
    spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.86, 0.88, 0.90], rgb2=[0.55, 0.58, 0.62], width=128, height=128,
    )  # fmt: skip
    spec.add_texture(
        name="tiles", type=mujoco.mjtTexture.mjTEXTURE_2D, builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        rgb1=[0.60, 0.61, 0.62], rgb2=[0.56, 0.57, 0.58], width=256, height=256,
    )  # fmt: skip
    floor = spec.add_material(name="floor", texrepeat=[6, 6], reflectance=0.0)
    floor.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "tiles"
    spec.add_material(name="wood", rgba=[0.78, 0.66, 0.52, 1], specular=0.1, shininess=0.2)
    spec.add_material(name="steel", rgba=[0.30, 0.32, 0.35, 1], specular=0.4, shininess=0.5)
    spec.add_material(name="bin_body", rgba=[0.20, 0.47, 0.52, 1], specular=0.3, shininess=0.4)
    spec.add_material(name="bin_lid", rgba=[0.93, 0.74, 0.30, 1], specular=0.3, shininess=0.4)
    spec.add_material(name="bin_ear", rgba=[0.86, 0.42, 0.25, 1], specular=0.3, shininess=0.4)
    spec.add_material(name="bin_broken", rgba=[0.55, 0.45, 0.42, 1], specular=0.1, shininess=0.1)
    ground = -0.45
    box = mujoco.mjtGeom.mjGEOM_BOX
    off = {"contype": 0, "conaffinity": 0, "group": PROP_GROUP}
    world.add_geom(
        name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[4, 4, 0.1], pos=[0, 0, ground], material="floor", **off
    )
    world.add_geom(
        name="pedestal", type=box, size=[0.11, 0.11, -ground / 2], pos=[-0.04, 0, ground / 2], material="steel", **off
    )
    world.add_geom(
        name="table", type=box, size=[0.32, 0.60, 0.02], pos=[0.82, 0, top - 0.02], material="wood",
        group=PROP_GROUP, friction=[1.0, 0.005, 0.0001],
    )  # fmt: skip
    leg = (top - 0.04 - ground) / 2
    for x in (0.54, 1.10):
        for y in (-0.55, 0.55):
            world.add_geom(type=box, size=[0.025, 0.025, leg], pos=[x, y, ground + leg], material="steel", **off)
    world.add_light(
        name="key", type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[0.2, -1.0, 2.5], dir=[0.25, 0.45, -1.0],
        diffuse=[0.55, 0.54, 0.50], specular=[0.2, 0.2, 0.2], castshadow=True,
    )  # fmt: skip


def _bin(spec: Any, shape: BinConfig, table: float, world: WorldConfig) -> None:
    """A free body with walls, a ledge in front, and a lid hinged at the rear upper edge that bears the two ears.

    A finger between ear and ledge opens the lid when it rises. One that comes too low meets the ledge's front and
    pushes the bin away; one that comes too high meets an ear's front.
    """
    friction = [world.friction, 0.005, 0.0001]
    body = spec.worldbody.add_body(name="bin", pos=[0.6, 0, table])
    body.add_freejoint(name="bin_free")
    box = mujoco.mjtGeom.mjGEOM_BOX
    hx, hy, hz, t = shape.depth / 2, shape.width / 2, shape.height / 2, shape.wall / 2
    walls = {
        "base": ([hx, hy, t], [0, 0, t]),
        "front": ([t, hy, hz], [-hx + t, 0, hz]),
        "rear": ([t, hy, hz], [hx - t, 0, hz]),
        "left": ([hx, t, hz], [0, hy - t, hz]),
        "right": ([hx, t, hz], [0, -hy + t, hz]),
        "ledge": (
            [shape.ledge_reach / 2, hy, shape.ledge_height / 2],
            [-hx - shape.ledge_reach / 2, 0, shape.slot_height - shape.slot / 2 - shape.ledge_height / 2],
        ),
    }
    volume = sum(8 * float(np.prod(size)) for size, _ in walls.values())
    for name, (size, pos) in walls.items():
        mass = world.body_mass * 8 * float(np.prod(size)) / volume
        body.add_geom(
            name=f"bin_{name}",
            type=box,
            size=size,
            pos=pos,
            mass=mass,
            friction=friction,
            material="bin_body",
            group=PROP_GROUP,
        )
    lid = body.add_body(name="lid", pos=[hx, 0, shape.height])
    # The hinge turns about y: positive angles lift the front edge.
    lid.add_joint(
        name="lid_hinge", type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 1, 0], range=[0.0, 1.92], limited=True,
        damping=world.lid_damping, frictionloss=world.lid_friction, armature=1e-5,
    )  # fmt: skip
    h = shape.lid_thickness / 2
    lid.add_geom(
        name="lid_plate", type=box, size=[hx, hy, h], pos=[-hx, 0, h], mass=0.6 * world.lid_mass,
        friction=friction, material="bin_lid", group=PROP_GROUP,
    )  # fmt: skip
    skirt = (shape.ear_drop + shape.lid_thickness) / 2
    lid.add_geom(
        name="lid_skirt", type=box, size=[SKIRT_M / 2, hy, skirt],
        pos=[-shape.depth - SKIRT_M / 2, 0, shape.lid_thickness - skirt], mass=0.1 * world.lid_mass,
        friction=friction, material="bin_lid", group=PROP_GROUP,
    )  # fmt: skip
    for side, sign in (("left", 1.0), ("right", -1.0)):
        broken = shape.broken_ear == side
        lid.add_geom(
            name=f"ear_{side}", type=box, size=[shape.ear_reach / 2, shape.ear_width / 2, h],
            pos=[-shape.depth - shape.ear_reach / 2, sign * shape.ear_y, h - shape.ear_drop],
            mass=0.15 * world.lid_mass, friction=friction, group=PROP_GROUP,
            material="bin_broken" if broken else "bin_ear", contype=0 if broken else 1, conaffinity=0 if broken else 1,
        )  # fmt: skip
    spec.add_exclude(name="lid_body", bodyname1="bin", bodyname2="lid")


def _camera(spec: Any, name: str, camera: CameraConfig, rng: np.random.Generator | None) -> None:
    """Aim a camera at its target; its view's up is the world's z, or the hand's x."""
    parent = spec.worldbody if camera.mount == "world" else spec.body("hand")
    position = np.array(camera.position)
    if rng is not None and camera.jitter > 0:
        position = position + rng.uniform(-camera.jitter, camera.jitter, 3)
    backward = position - np.array(camera.target)
    backward /= np.linalg.norm(backward)
    up = np.array([0.0, 0.0, 1.0]) if camera.mount == "world" else np.array([1.0, 0.0, 0.0])
    right = np.cross(up, backward)
    right /= np.linalg.norm(right)
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.stack([right, np.cross(backward, right), backward], axis=1).ravel())
    parent.add_camera(name=name, pos=position, quat=quat, fovy=camera.fovy)
