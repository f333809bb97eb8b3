"""Latents in figures: how large a shift may be, and how far a shifted one is from those that the bottleneck gives."""

from __future__ import annotations

import numpy as np

from robot_rl.errors import BadObservation
from robot_rl.types import Array

FRESH_RMS = 0.628
"""RMS of dz = tanh(u), u ~ N(0, 1): an actor that has learnt nothing yet."""


def rms(values: Array) -> float:
    """Root mean square over all entries."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def scale_by_rms(z: Array, share: float = 0.15, dz_rms: float = FRESH_RMS) -> float:
    """Lambda such that RMS(lambda dz) is `share` of RMS(z) (ZPRL appendix: 0.1 to 0.2).

    `z` [n, Z]: latents of demonstrations or of the warm-up's chunks; `dz_rms`: RMS of the actor's dz in [-1, 1].
    """
    if not z.size or not np.isfinite(z).all() or not z.any():
        raise BadObservation(f"expected latents [n > 0, Z] that are finite and not all 0, got shape {list(z.shape)}")
    return share * rms(z) / dz_rms


def ledoit_wolf(samples: Array) -> tuple[Array, Array, float]:
    """Mean [D], covariance [D, D] and shrinkage of `samples` [n, D] (Ledoit and Wolf 2004, equation 14).

    The sample covariance S is pulled to mu I, mu = tr(S) / D, by the share that minimises the expected squared error:
    (1 - b/d) S + (b/d) mu I with d = |S - mu I|^2 and b = min(d, sum_k |x_k x_k' - S|^2 / n^2).
    """
    x = samples.astype(np.float64)
    n, width = x.shape
    mean = x.mean(0)
    x = x - mean
    covariance = x.T @ x / n
    target = np.trace(covariance) / width * np.eye(width)
    d = float(np.square(covariance - target).sum())
    # sum_k |x_k x_k' - S|^2 = sum_k |x_k|^4 - n |S|^2
    spread = float(np.square(np.square(x).sum(1)).sum() - n * np.square(covariance).sum())
    b = min(d, max(spread, 0.0) / n**2)
    shrinkage = b / d if d > 0 else 1.0
    return mean, (1 - shrinkage) * covariance + shrinkage * target, shrinkage


def mahalanobis(points: Array, mean: Array, covariance: Array) -> Array:
    """Distances [n] of `points` [n, D]; about sqrt(D) for points of the Gaussian itself."""
    away = points.astype(np.float64) - mean
    distance: Array = np.sqrt(np.maximum((away * np.linalg.lstsq(covariance, away.T)[0].T).sum(1), 0))
    return distance
