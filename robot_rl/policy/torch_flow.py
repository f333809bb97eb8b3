"""The decoder of a flow policy in torch, for the learner: the numbers of `robot_rl.policy.flow`, in large batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robot_rl.policy.flow import TIME_FEATURES, FlowPolicy, action_scale, flow_times, layers_of, time_features

Layers = Sequence[tuple[Tensor, Tensor]]


class TorchFlow:
    """Decodes replayed features; frozen: `trace` lets gradients pass to noise and latent, nothing to the weights."""

    def __init__(self, policy: FlowPolicy) -> None:
        self.spec = policy.spec
        self._steps = policy.ode_steps
        self._embed, self._chunk, self._reconstruct = (
            [(torch.from_numpy(weight), torch.from_numpy(bias)) for weight, bias in layers_of(policy.weights, name)]
            for name in ("embed", "chunk", "reconstruct")
        )
        self._mid, self._half = (torch.from_numpy(part) for part in action_scale(self.spec.action_space))
        self._mean, self._scale = (torch.from_numpy(policy.weights[f"chunk.{part}"]) for part in ("mean", "scale"))
        if self._steps == 0:
            return
        size = self.spec.horizon * self.spec.action_space.size
        first, bias = self._chunk[0]
        self._from_x, from_time, self._from_c = first.split([size, TIME_FEATURES, len(first) - size - TIME_FEATURES])
        self._time = torch.from_numpy(time_features(flow_times(self._steps))) @ from_time + bias

    def to(self, device: torch.device) -> None:
        """Compute there from now on."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
            elif isinstance(value, list):
                setattr(self, name, [(weight.to(device), bias.to(device)) for weight, bias in value])

    @classmethod
    def from_policy(cls, policy: FlowPolicy) -> TorchFlow:
        """Shares the weights of `policy`."""
        return cls(policy)

    @torch.no_grad()
    def reconstruct(self, latent: Tensor) -> Tensor:
        """Latent [B, Z] -> the condition c^ = g(z) [B, C] that takes the embedding's place."""
        return _mlp(self._reconstruct, latent)

    @torch.no_grad()
    def decode(self, features: Tensor, noise: Tensor, latent: Tensor | None = None) -> Tensor:
        """Features [B, F], noise [B, T, A], latent [B, Z] or None -> chunks [B, T, A] SI, as `FlowPolicy.decode`."""
        return self.trace(features, noise, latent)

    def trace(self, features: Tensor, noise: Tensor, latent: Tensor | None = None) -> Tensor:
        """As `decode`, differentiable in noise and latent."""
        c = _mlp(self._embed, features) if latent is None else _mlp(self._reconstruct, latent)
        x = self._flow(noise.flatten(1), c) if self._steps else _mlp(self._chunk, c)
        x = x * self._scale + self._mean
        return self._mid + self._half * x.clamp(-1.0, 1.0).view(len(x), self.spec.horizon, -1)

    def _flow(self, x: Tensor, c: Tensor) -> Tensor:
        condition = c @ self._from_c
        for left, time in zip(range(self._steps, 0, -1), self._time, strict=True):
            hidden = _gelu(torch.addmm(condition + time, x, self._from_x))
            x = x + (_mlp(self._chunk[1:], hidden) - x) / left
        return x


def _mlp(layers: Layers, x: Tensor) -> Tensor:
    *hidden, (weight, bias) = layers
    for inner, inner_bias in hidden:
        x = _gelu(torch.addmm(inner_bias, x, inner))
    return torch.addmm(bias, x, weight)


def _gelu(x: Tensor) -> Tensor:
    return torch.nn.functional.gelu(x, approximate="tanh")
