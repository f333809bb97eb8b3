"""95 % intervals of what several seeds gave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from robot_rl.compositions.results import Rate


def half_width(values: Sequence[float]) -> float | None:
    """Of the interval of a mean, by Student's t over the values; None for one value, which has none."""
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)) if len(values) > 1 else None


def pooled(rates: Sequence[Rate]) -> Rate:
    """One over all trials."""
    return Rate(sum(one.successes for one in rates), sum(one.trials for one in rates))


def over_seeds(rates: Sequence[Rate]) -> tuple[float, float]:
    """(low, high) of a success rate, of one `Rate` a seed: where another training run would be expected too.

    The wider of two at each end: Student's t over the seeds, and Wilson's over all trials together. The latter alone
    takes the trials of one seed for independent, though they share an adapter; the former alone would have no width
    where a few seeds happen to agree.
    """
    mean, half = float(np.mean([one.rate for one in rates])), half_width([one.rate for one in rates]) or 0.0
    low, high = pooled(rates).interval
    return max(0.0, min(low, mean - half)), min(1.0, max(high, mean + half))
