"""Statistics of features, as the dataset's readers normalise with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_rl.types import Array

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
STRIDE = 8
"""Every how many pixels of a picture, along both sides, are counted."""


@dataclass
class Histogram:
    """How often each level occurs in each channel: what statistics need, in 6 kB, however many pictures there are."""

    counts: Array = field(default_factory=lambda: np.zeros((3, 256), np.int64))
    """[3, 256]"""
    pictures: int = 0

    def add(self, picture: Array) -> None:
        """Count one, uint8 [H, W, 3]."""
        pixels = picture[::STRIDE, ::STRIDE].reshape(-1, 3)
        self.counts += np.stack([np.bincount(channel, minlength=256) for channel in pixels.T])
        self.pictures += 1

    def counted(self, pictures: Iterable[Array]) -> Iterator[Array]:
        """Each of them, counted on its way."""
        for picture in pictures:
            self.add(picture)
            yield picture

    def merge(self, other: Histogram) -> None:
        """Count all that `other` has."""
        self.counts += other.counts
        self.pictures += other.pictures

    def moments(self) -> tuple[Array, Array]:
        """(mean [3], standard deviation [3]) of levels."""
        levels = np.arange(256.0)
        share = self.counts / self.counts.sum(1, keepdims=True)
        mean = share @ levels
        return mean, np.sqrt((share * (levels - mean[:, None]) ** 2).sum(1))

    def quantile(self, q: float) -> Array:
        """[3] levels, between two of them as `np.quantile` has it; 0 is the least, 1 the greatest."""
        rank = q * (self.counts[0].sum() - 1)
        until = self.counts.cumsum(1)  # [3, 256] pixels of this level and below
        below: Array = (until <= np.floor(rank)).sum(1)
        above: Array = (until <= np.ceil(rank)).sum(1)
        between: Array = below + (rank % 1) * (above - below)
        return between


def of_numbers(values: Array) -> dict[str, Any]:
    """Of each entry of [n, D] or [n]."""
    rows = values.reshape(len(values), -1).astype(np.float64)
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    found |= {name: np.quantile(rows, q, axis=0) for name, q in QUANTILES.items()}
    return {**{name: value.tolist() for name, value in found.items()}, "count": [len(values)]}


def of_pictures(seen: Histogram) -> dict[str, Any]:
    """Of each channel, within [0, 1] and shaped [3, 1, 1]; the count is of pictures."""
    mean, std = seen.moments()
    found = {"min": seen.quantile(0), "max": seen.quantile(1), "mean": mean, "std": std}
    found |= {name: seen.quantile(q) for name, q in QUANTILES.items()}
    shaped = {name: (value / 255.0).reshape(3, 1, 1).tolist() for name, value in found.items()}
    return {**shaped, "count": [seen.pictures]}
