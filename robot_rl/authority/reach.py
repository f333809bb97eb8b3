"""How far a steering interface can move a chunk: as a fresh actor does, dimension by dimension, and at most.

A displacement is what the steer adds to the chunk that steer 0 gives at the same state and with the same base noise,
over the chunk's T steps: positions in mm and rotations in degrees, summed; absolute entries (the gripper) in mm,
averaged. It is taken before the robot clips to the action space, so that a residual's reach is its bound.

The largest displacements are found by projected gradient ascent through the decoder from several starts: by Adam in a
box, whose best points tend to be corners; along the gradient itself in a ball. The residual's share is linear and
exact. They are what was reached: never more than there is, for a search may miss some.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from robot_rl.authority.interface import Interface, displacement_map
from robot_rl.types import Array, Context

ASCENT_STEPS = 40
ASCENT_RATE = 0.15
"""Of a step, in units of the box or of the ball's radius; it falls to a tenth."""
STARTS = 4
"""Per state and direction: steer 0 and random ones."""
DRAWS = 16
"""Fresh steers per state."""


class Differentiable(Protocol):
    """A decoder whose chunks can be differentiated (`policy.torch_flow.TorchFlow`)."""

    def trace(self, features: Tensor, noise: Tensor, latent: Tensor | None = None) -> Tensor:
        """Features [B, F], noise [B, *noise_shape], latent [B, Z] or None -> chunks [B, T, A] SI."""
        ...


@dataclass(frozen=True)
class Reach:
    """One interface's, over N states; A entries of an action, in `interface.display_units`."""

    fresh: Array
    """[A] RMS displacement by a fresh actor's own draw."""
    per_dimension: Array
    """[S, A] half the difference between the two ends of one steer entry, the others 0: RMS over states."""
    most: Array
    """[A, 2] the largest displacements reached in - and in +, as sizes: RMS over states."""


def measure_reach(
    interface: Interface,
    decoder: Differentiable,
    contexts: Sequence[Context],
    rng: np.random.Generator,
    steps: int = ASCENT_STEPS,
) -> Reach:
    """The reach of `interface` at `contexts` (each of batch 1)."""
    movement = _Movement(interface, decoder, contexts, rng)
    size, n = interface.layout.size, len(contexts)
    states = np.repeat(np.arange(n), DRAWS)
    with torch.no_grad():
        fresh = movement(torch.from_numpy(interface.fresh(rng, n * DRAWS)), states).numpy()
        ends = []
        for sign in (1, -1):
            single = interface.within(sign * np.tile(np.eye(size, dtype=np.float32), (n, 1)))
            ends.append(movement(torch.from_numpy(single), np.repeat(np.arange(n), size)).numpy().reshape(n, size, -1))
    half = (ends[0] - ends[1]) / 2
    return Reach(_rms(fresh), _rms(half), _most(interface, movement, n, rng, steps))


class _Movement:
    """Steers [B, S] at the states numbered [B] -> displacements [B, A]; differentiable."""

    def __init__(
        self, interface: Interface, decoder: Differentiable, contexts: Sequence[Context], rng: np.random.Generator
    ) -> None:
        layout = interface.layout
        self._interface, self._decoder = interface, decoder
        self._features = torch.from_numpy(np.concatenate([context.features for context in contexts]))
        latents = [context.z for context in contexts if context.z is not None]
        self._z = torch.from_numpy(np.concatenate(latents)) if layout.latent_size else None
        self._base = torch.from_numpy(interface.draw_base(rng, len(contexts)))
        self._noise_map, self._residual_map, self._latent_map = (
            torch.from_numpy(part) for part in (layout.noise_map, layout.residual_map, layout.latent_map)
        )
        space, horizon = layout.spec.action_space, layout.spec.horizon
        self._displacement = torch.from_numpy(displacement_map(space, horizon).astype(np.float32))
        with torch.no_grad():
            self._rest = self._decoded(torch.zeros(len(contexts), layout.size), np.arange(len(contexts)))

    def __call__(self, steer: Tensor, states: Array) -> Tensor:
        residual = steer[:, self._interface.layout.residual_part] @ self._residual_map
        return (self._decoded(steer, states) - self._rest[states] + residual) @ self._displacement

    def linear(self) -> Array:
        """[R, A] displacement by each residual entry at 1."""
        moved: Array = (self._residual_map @ self._displacement).numpy()
        return moved

    def _decoded(self, steer: Tensor, states: Array) -> Tensor:
        """[B, T*A] SI without the residual; 0 where nothing is decoded."""
        layout = self._interface.layout
        if self._interface.kind == "chunk":
            return torch.zeros(len(steer), layout.chunk_size)
        noise_part, latent_part = self._interface.layout.noise_part, self._interface.layout.latent_part
        base = self._base[states]
        noise = base + (steer[:, noise_part] @ self._noise_map).view_as(base)
        latent = None if self._z is None else self._z[states] + steer[:, latent_part] @ self._latent_map
        return self._decoder.trace(self._features[states], noise, latent).flatten(1)


def _most(interface: Interface, movement: _Movement, n: int, rng: np.random.Generator, steps: int) -> Array:
    """[A, 2] as `Reach.most`."""
    space = interface.layout.spec.action_space
    exact = np.abs(movement.linear()).sum(0)[:, None]  # a linear form over a box is largest in a corner
    searched = interface.layout.size - interface.layout.residual_size
    if not searched:
        return np.repeat(exact, 2, 1)
    directions = np.array([sign * row for row in np.eye(space.size) for sign in (-1, 1)], np.float32)
    count = len(directions)
    states = np.repeat(np.arange(n), count * STARTS)
    towards = torch.from_numpy(np.tile(np.repeat(directions, STARTS, 0), (n, 1)))
    begin = rng.uniform(-1, 1, (len(states), interface.layout.size)).astype(np.float32)
    begin[::STARTS] = 0
    begin[:, interface.layout.residual_part] = 0
    steer = torch.from_numpy(interface.within(begin)).requires_grad_()
    in_ball = math.isfinite(interface.radius)
    ascent = (torch.optim.SGD if in_ball else torch.optim.Adam)([steer], lr=ASCENT_RATE)
    fall = torch.optim.lr_scheduler.ExponentialLR(ascent, 0.1 ** (1 / max(steps, 1)))
    best = torch.zeros(len(states))  # steer 0 moves nothing
    for step in range(steps + 1):
        reached = (movement(steer, states) * towards).sum(1)
        best = torch.maximum(best, reached.detach())
        if step == steps:
            break
        (gradient,) = torch.autograd.grad(-reached.sum(), [steer])
        gradient[:, interface.layout.residual_part] = 0
        if in_ball:  # Adam's steps are as long in every entry, which is another direction than the steepest
            gradient *= interface.radius / gradient.norm(dim=1, keepdim=True).clamp(min=1e-30)
        steer.grad = gradient
        ascent.step()
        fall.step()
        with torch.no_grad():
            steer.copy_(torch.from_numpy(interface.within(steer.detach().numpy())))
    return _rms(best.view(n, space.size, 2, STARTS).amax(3).numpy() + exact)


def _rms(values: Array) -> Array:
    """[n, ...] -> [...]."""
    root: Array = np.sqrt(np.square(values).mean(0))
    return root
