"""A policy whose decoder is linear: every reach has an analytic answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_rl.authority.interface import Interface, interface_of
from robot_rl.methods import METHODS
from robot_rl.task_files import method_config
from robot_rl.types import Array, Context
from tests.learn.bandit import SPEC, A, F, T

Z = 3
LINEAR_SPEC = replace(SPEC, policy_id="linear", latent=Z)
NOISE_MAP = np.random.default_rng(1).standard_normal((T * A, T * A)).astype(np.float32) * 1e-4
LATENT_MAP = np.random.default_rng(2).standard_normal((Z, T * A)).astype(np.float32) * 1e-4
MIDDLE = np.tile(np.array([0, 0, 0, 0.04], np.float32), T)


class LinearPolicy:
    """chunk = middle + 1e-3 s_0 + w M + z L, in numpy (`decode`) and torch (`trace`)."""

    spec = LINEAR_SPEC

    def encode(self, observations: Any) -> Context:
        raise NotImplementedError

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        z = context.z if latent is None else latent
        assert z is not None
        flat = MIDDLE + 1e-3 * context.features[:, :1] + noise.reshape(len(noise), -1) @ NOISE_MAP + z @ LATENT_MAP
        chunks: Array = flat.reshape(-1, T, A)
        return chunks


class LinearTrace:
    def trace(self, features: Tensor, noise: Tensor, latent: Tensor | None = None) -> Tensor:
        flat = torch.from_numpy(MIDDLE) + 1e-3 * features[:, :1] + noise.flatten(1) @ torch.from_numpy(NOISE_MAP)
        if latent is not None:
            flat = flat + latent @ torch.from_numpy(LATENT_MAP)
        return flat.view(-1, T, A)


def contexts(count: int) -> list[Context]:
    rng = np.random.default_rng(3)
    return [
        Context(rng.standard_normal((1, F)).astype(np.float32), rng.standard_normal((1, Z)).astype(np.float32))
        for _ in range(count)
    ]


def interface(method: str, **settings: Any) -> Interface:
    return interface_of(LINEAR_SPEC, method_config(method, **settings), METHODS[method].kind)
