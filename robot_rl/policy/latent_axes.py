"""The bottleneck's latent, turned so that its first entries are those that move the chunk most.

A bottleneck's loss says little about the axes of z, and a policy needs few of its dimensions: of the 16 that the lid
task's has, four turned ones carry 97 % of E |d chunk / dz|^2. A method that shifts those alone (`latent_rank`) has as
many dimensions to learn as matter. The axes are the eigenvectors of

    E [J^T J],   J = d chunk / dz,   z ~ N(0, I) (the bottleneck's prior),   w ~ N(0, I),   chunks normalised,

in the order of their eigenvalues: z' = V^T z. N(0, I) is the same in all axes, and nothing else of the policy changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from robot_rl.policy.flow import TURN, FlowPolicy
from robot_rl.policy.torch_flow import TorchFlow
from robot_rl.types import Array, PolicySpec

DRAWS, SEED = 256, 0


class Traceable(Protocol):
    """A decoder in torch that lets gradients pass to the latent."""

    def trace(self, features: Tensor, noise: Tensor, latent: Tensor | None = None) -> Tensor:
        """Features [B, F], noise [B, *noise_shape], latent [B, Z] -> chunks [B, T, A] SI."""
        ...


def turned(spec: PolicySpec, weights: Mapping[str, Array], ode_steps: int) -> dict[str, Array]:
    """The weights of the same policy with its latent turned; its sampled z is turned by `bottleneck.turn` [Z, Z]."""
    policy = FlowPolicy(spec, weights, ode_steps)
    axes = latent_axes(TorchFlow.from_policy(policy), spec)
    first = "reconstruct.0.weight"
    return {**weights, TURN: policy.turn @ axes, first: axes.T @ weights[first]}


def latent_axes(decoder: Traceable, spec: PolicySpec) -> Array:
    """[Z, Z] float32: one in each column, orthonormal."""
    generator = torch.Generator().manual_seed(SEED)
    z = torch.randn(DRAWS, spec.latent or 0, generator=generator).requires_grad_()
    noise = torch.randn(DRAWS, *spec.noise_shape, generator=generator)
    nowhere = torch.zeros(DRAWS, spec.features)  # a chunk that is decoded from a latent asks nothing of the features
    space = spec.action_space
    half = torch.tensor([(high - low) / 2 for low, high in zip(space.low, space.high, strict=True)])
    moved = (decoder.trace(nowhere, noise, z) / half).flatten(1).sum(0)  # [T*A]; draws do not touch each other
    jacobian = torch.stack([torch.autograd.grad(entry, z, retain_graph=True)[0] for entry in moved])  # [T*A, n, Z]
    energy, axes = np.linalg.eigh(torch.einsum("knz,kny->zy", jacobian, jacobian).double().numpy())
    axes = axes[:, np.argsort(-energy)]
    signs = np.sign(axes[np.abs(axes).argmax(0), np.arange(len(axes))])  # an eigenvector has two
    found: Array = (axes * signs).astype(np.float32)
    return found
