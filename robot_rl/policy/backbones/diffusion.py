"""Diffusion: trained as DDPM (Ho et al. 2020), sampled by DDIM with eta = 0 (Song et al. 2021), so noise decides.

    x_t = sqrt(abar_t) a + sqrt(1 - abar_t) eps,   abar_t = f(t) / f(0),  f(t) = cos^2(pi/2 (t/N + s) / (1 + s))

with s = 0.008 (Nichol and Dhariwal 2021). The network estimates eps ("epsilon") or a ("sample"); either gives the
other by the line above.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
from torch import Tensor, nn

from robot_rl.policy.backbones.heads import Head

OFFSET = 0.008
LARGEST_BETA = 0.999
FAINTEST_SIGNAL = 0.1
"""sqrt(abar) at which sampling begins: beyond, what the noise is says nothing of the chunk."""
CLEAN_WITHIN = 5.0
"""Chunks have unit spread: an estimate of the clean one beyond this is an artefact of the first, noisiest steps."""


class Diffusion:
    """N timesteps of noise in training, `steps` of them at work; implements `objectives.Objective`."""

    def __init__(self, timesteps: int, steps: int, prediction: Literal["epsilon", "sample"]) -> None:
        self._timesteps, self._prediction = timesteps, prediction
        kept = schedule(timesteps)
        self._signal, self._noise = kept.sqrt().float(), (1 - kept).sqrt().float()
        first = int((self._signal >= FAINTEST_SIGNAL).sum()) - 1
        visited = torch.linspace(first, 0, steps + 1).round().long().tolist()  # 0 is the clean chunk
        self._moves = list(itertools.pairwise(visited))

    def loss(self, head: Head, chunk: Tensor, c: Tensor) -> Tensor:
        """Of what is estimated, at t uniform over 1 ... N."""
        noise = torch.randn_like(chunk)
        t = torch.randint(1, self._timesteps + 1, (len(chunk),))
        x = self._signal[t][:, None, None] * chunk + self._noise[t][:, None, None] * noise
        estimate = head(x, t / self._timesteps, c)
        return nn.functional.mse_loss(estimate, noise if self._prediction == "epsilon" else chunk)

    def sample(self, head: Head, noise: Tensor, c: Tensor) -> Tensor:
        """x_s = sqrt(abar_s) a^ + sqrt(1 - abar_s) eps^ for the visited timesteps t > s."""
        x = noise
        for t, after in self._moves:
            signal, spread = float(self._signal[t]), float(self._noise[t])
            estimate = head(x, torch.full((len(x),), t / self._timesteps, device=x.device), c)
            clean = (x - spread * estimate) / signal if self._prediction == "epsilon" else estimate
            clean = clean.clamp(-CLEAN_WITHIN, CLEAN_WITHIN)
            x = float(self._signal[after]) * clean + float(self._noise[after]) * (x - signal * clean) / spread
        return x


def schedule(timesteps: int) -> Tensor:
    """[N + 1] abar of t = 0 ... N, float64, falling from 1 to nearly 0."""

    def f(t: int) -> float:
        return math.cos(math.pi / 2 * (t / timesteps + OFFSET) / (1 + OFFSET)) ** 2

    betas = [min(1 - f(t) / f(t - 1), LARGEST_BETA) for t in range(1, timesteps + 1)]
    return torch.cumprod(torch.tensor([1.0, *(1 - beta for beta in betas)], dtype=torch.float64), 0)
