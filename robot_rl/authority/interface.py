"""A steering interface: what a method may do to the frozen policy's chunk, whoever chooses it.

A steer v in [-1, 1]^S means what `adapters.layout` says, and is carried out as the method's adapter does it
(`adapters.acting`, `adapters.kinds`): noise chosen, the base's noise shifted, the latent shifted, a residual added, or
the whole chunk replaced. Steer 0 is where an interface begins: w = 0, Delta = 0, z itself, no residual, standing still.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from robot_rl.adapters.kinds import base_noise
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig, TaskConfig
from robot_rl.errors import SpecMismatch
from robot_rl.methods import entry_of
from robot_rl.protocols import FrozenPolicy
from robot_rl.types import ActionSpace, Array, Context, PolicySpec

LEVER_M = 0.1
"""m: how far 1 rad moves what the hand holds; for distances over positions and rotations together."""


@dataclass(frozen=True)
class Interface:
    """One of them, and the methods of the task that have it."""

    name: str
    layout: SteeringLayout
    kind: str = "squashed"
    """As in `robot_rl.methods`: squashed, latent, perturbation or chunk."""
    radius: float = math.inf
    """Of the ball in which the noise part lies too: sqrt(delta) / b_W for a trust region."""
    residual_std: float = 1.0
    """Of a fresh actor's residual, before tanh."""
    methods: tuple[str, ...] = field(default=(), compare=False)

    @property
    def keeps_base_noise(self) -> bool:
        """Whether the base policy's own noise stays random: no choice of the steer can know it beforehand."""
        return self.kind == "perturbation" or (self.kind != "chunk" and not self.layout.noise_size)

    @property
    def key(self) -> Hashable:
        """Alike for two that allow the same steers and carry them out alike, whatever they are called."""
        layout, std = self.layout, self.residual_std if self.layout.residual_size else 1.0
        maps = (layout.noise_map, layout.residual_map, layout.latent_map)
        return self.kind, self.radius, std, layout.noise_bound, *(m.tobytes() for m in maps)

    def fresh(self, rng: np.random.Generator, size: int) -> Array:
        """Steers [size, S] of an actor that has learnt nothing: tanh(N(0, std^2)); LP-DS's Delta begins at 0."""
        if self.kind == "perturbation":
            return np.zeros((size, self.layout.size), np.float32)
        std = np.ones(self.layout.size)
        std[self.layout.residual_part] = self.residual_std
        drawn: Array = np.tanh(std * rng.standard_normal((size, self.layout.size))).astype(np.float32)
        return drawn

    def within(self, steer: Array) -> Array:
        """The nearest steers [n, S] that the interface allows: in the box, and the noise part in the ball."""
        bounded: Array = np.clip(steer, -1.0, 1.0).astype(np.float32)
        if math.isfinite(self.radius):
            noise = self.layout.noise_part
            norm = np.linalg.norm(bounded[:, noise], axis=1, keepdims=True)
            bounded[:, noise] *= np.minimum(1.0, self.radius / np.maximum(norm, 1e-12))
        return bounded

    def draw_base(self, rng: np.random.Generator, size: int) -> Array:
        """The base policy's noise [size, *noise_shape] under this interface; 0 where the steer chooses all of it."""
        shape = (size, *self.layout.spec.noise_shape)
        if not self.keeps_base_noise:
            return np.zeros(shape, np.float32)
        if self.kind == "perturbation":  # drawn in the layout's own dimensions, as the adapter does
            drawn = rng.standard_normal((size, self.layout.noise_size)).astype(np.float32)
            tied: Array = (drawn @ self.layout.noise_map / np.float32(self.layout.noise_bound)).reshape(shape)
            return tied
        return np.stack([base_noise(self.layout.spec, rng) for _ in range(size)])

    def chunks(self, policy: FrozenPolicy, context: Context, steer: Array, base: Array) -> Array:
        """What n steers [n, S] do with n base noises [n, *noise_shape] at a context of batch 1: [n, T, A] SI.

        Not yet clipped to the action space, which the robot does: so that a residual's reach is its bound.
        """
        noise, residual = self.layout.split(steer)
        if self.kind == "chunk":
            whole: Array = self.layout.action_mid.reshape(residual.shape[1:]) + residual
            return whole
        many = context.repeated(len(steer))
        latent = None
        if self.layout.latent_size:
            assert many.z is not None  # the layout has seen to it that the policy has one
            latent = many.z + self.layout.latent_shift(steer)
        decoded: Array = policy.decode(many, base + noise, latent) + residual
        return decoded


# --- the interfaces of a task ---------------------------------------------------------------------------------------


def interface_of(spec: PolicySpec, config: MethodConfig, kind: str = "squashed") -> Interface:
    """The interface that `config` describes; its name says what it steers, and how far, per chunk."""
    layout = SteeringLayout(spec, config)
    parts, radius = [], math.inf
    if layout.noise_size:
        rank = f" {config.noise_rank}" if config.noise_layout == "low_rank" else ""
        if kind == "perturbation":
            radius = math.sqrt(config.trust_region) / config.noise_bound
            parts.append(f"noise shift {config.noise_layout}{rank}, δ {config.trust_region:g}")
        else:
            parts.append(f"noise {config.noise_layout}{rank} ±{config.noise_bound:g}")
    shape = config.residual_layout.replace("_", " ")
    if kind == "chunk":
        parts.append(f"whole chunk {shape}")
    elif layout.residual_size:
        if config.residual_scale == "full":
            parts.append(f"residual {shape} unbounded")
        else:
            parts.append(f"residual {shape} {_bounds(config.residual_scale, spec)}")
    if layout.latent_size:
        rank = f" of {config.latent_rank} entries" if config.latent_rank else ""
        parts.append(f"latent{rank} λ {config.latent_scale:g}")
    name = " + ".join(parts) or "nothing"
    return Interface(name, layout, kind, radius, config.residual_std)


def _bounds(alpha: Sequence[float], spec: PolicySpec) -> str:
    """How far a bounded residual reaches: the largest of the displacements over a chunk, and each absolute entry."""
    space = spec.action_space
    factors, units = display_units(space)
    reach = np.asarray(alpha) * factors * np.where(is_displacement(space), spec.horizon, 1)
    most: dict[str, float] = {}
    for entry, adds_up in enumerate(is_displacement(space)):
        if reach[entry]:
            before = "" if adds_up else f"{space.names[entry]} "
            key = f"{before}±{{:g}} {units[entry]}".replace(" °", "°")
            most[key] = max(most.get(key, 0.0), float(f"{reach[entry]:.6g}"))
    return ", ".join(words.format(bound) for words, bound in most.items())


def interfaces_of(task: TaskConfig, spec: PolicySpec) -> list[Interface]:
    """Every interface that a method of `task` has, once; and the noise of each both tied and untied, to compare.

    Where two that differ have one name, the later one's says whose it is.
    """
    found: dict[Hashable, Interface] = {}

    def add(config: MethodConfig, kind: str, methods: tuple[str, ...]) -> None:
        made = interface_of(spec, config, kind)
        if (known := found.get(made.key)) is not None:
            found[made.key] = replace(known, methods=known.methods + methods)
            return
        taken = made.name in {one.name for one in found.values()}
        name = f"{made.name} ({', '.join(methods)})" if taken else made.name
        found[made.key] = replace(made, name=name, methods=methods)

    for method, config in task.methods.items():
        add(config, entry_of(method).kind, (method,))
    for method, config in task.methods.items():
        if config.noise_layout != "none" and entry_of(method).kind == "squashed":
            for layout in ("repeat", "full"):
                add(config.model_copy(update={"noise_layout": layout, "residual_layout": "none"}), "squashed", ())
    return list(found.values())


def plain_interface(spec: PolicySpec) -> Interface:
    """The frozen policy as it is: nothing to steer, its noise its own."""
    return interface_of(spec, MethodConfig(noise_layout="none"))


# --- chunks as movements --------------------------------------------------------------------------------------------


def is_displacement(space: ActionSpace) -> Array:
    """[A] bool: entries that add up over a chunk (TCP displacements); the others (the gripper) are absolute.

    Raises `SpecMismatch` for a kind of action space whose entries are not known here.
    """
    if space.kind != "ee_delta":
        raise SpecMismatch(f"expected actions of kind ee_delta, whose displacements add up, got {space.kind!r}")
    return np.array([not name.startswith("gripper") for name in space.names])


def display_units(space: ActionSpace) -> tuple[Array, tuple[str, ...]]:
    """Factor [A] from SI to what a person reads, and the units: mm for m, degrees for rad."""
    factors = {"m": (1000.0, "mm"), "rad": (180 / math.pi, "°")}
    known = [factors.get(unit, (1.0, unit)) for unit in space.units]
    return np.array([factor for factor, _ in known]), tuple(unit for _, unit in known)


def displacement_map(space: ActionSpace, horizon: int) -> Array:
    """[T*A, A] from a flat chunk in SI units to its displacement over the horizon, in `display_units`.

    A displacement is summed over the T steps, an absolute entry averaged.
    """
    weight = np.where(is_displacement(space), 1.0, 1.0 / horizon) * display_units(space)[0]
    return np.tile(np.diag(weight), (horizon, 1))


def way_map(space: ActionSpace, horizon: int) -> Array:
    """[T*A, T*A] from a flat chunk in SI units to its way: where each step has led, in m (1 rad is `LEVER_M`)."""
    size = len(space.names)
    metres = np.array([LEVER_M if unit == "rad" else 1.0 for unit in space.units])
    way = np.zeros((horizon, size, horizon, size))
    for entry, adds_up in enumerate(is_displacement(space)):
        way[:, entry, :, entry] = metres[entry] * (np.triu(np.ones((horizon, horizon))) if adds_up else np.eye(horizon))
    return way.reshape(horizon * size, horizon * size)


def axis_names(space: ActionSpace) -> Sequence[str]:
    """Names of the action's entries as movements: dx is x."""
    return [name.removeprefix("d") for name in space.names]
