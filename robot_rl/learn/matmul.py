"""Which of torch's matrix-product paths the learner takes on this CPU: measured when it starts, never assumed.

torch multiplies float32 matrices with MKL unless told otherwise. oneDNN can be twice as fast at a learner's sizes, but
the switch that sends products to it (`mkldnn.matmul.fp32_precision = "bf16"`) only *allows* it to round to bfloat16:
some CPUs do (relative error 2e-3), others compute in full float32. So the speed and the error of both paths are
measured, interleaved, on the very shapes that will be multiplied; oneDNN is taken where it is faster by more than the
noise of such a measurement and as exact as float32.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

MatmulPath = Literal["default", "onednn"]

EXACT = 1e-5
"""Largest error, relative to the largest product, of a path that counts as float32."""
WORTHWHILE = 1.2
"""Speed-up from which oneDNN is taken."""
REPEATS = 15
BUDGET_S = 0.5
"""No new repeat begins after this long; there are always three."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What was measured, and the path to take."""

    path: MatmulPath
    speedup: float
    """Of oneDNN over the default."""
    error: float
    """Of oneDNN's products, relative to the largest."""

    @property
    def exact(self) -> bool:
        """Whether oneDNN computes in full float32 on this CPU."""
        return self.error <= EXACT

    def __str__(self) -> str:
        return (
            f"matrix products by {self.path}: oneDNN is {self.speedup:.2f} x as fast, relative error {self.error:.1e}"
        )


@contextmanager
def matmul_path(path: MatmulPath) -> Iterator[None]:
    """Inside, float32 products take `path`; torch's switch is the process's, so it is put back behind us."""
    switch = _switch()
    if switch is None:
        yield
        return
    before = switch.fp32_precision
    switch.fp32_precision = "bf16" if path == "onednn" else "ieee"
    try:
        yield
    finally:
        switch.fp32_precision = before


def probe(*, batch: int, hidden: int, members: int) -> Probe:
    """Time [E, B, H] @ [E, H, H] on both paths."""
    if _switch() is None:
        return Probe("default", 1.0, 0.0)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(members, batch, hidden, generator=generator)
    weight = torch.randn(members, hidden, hidden, generator=generator)
    expected = x[0].double() @ weight[0].double()
    seconds: dict[MatmulPath, list[float]] = {"default": [], "onednn": []}
    error = 0.0
    began = time.perf_counter()
    for repeat in range(REPEATS):
        if repeat >= 3 and time.perf_counter() - began > BUDGET_S:
            break
        for path, times in seconds.items():
            with matmul_path(path):
                started = time.perf_counter()
                product = torch.bmm(x, weight)
                times.append(time.perf_counter() - started)
            if path == "onednn":
                error = float((product[0] - expected).abs().max() / expected.abs().max())
    speedup = statistics.median(seconds["default"]) / statistics.median(seconds["onednn"])
    return Probe("onednn" if speedup >= WORTHWHILE and error <= EXACT else "default", speedup, error)


def choose(wanted: MatmulPath | Literal["auto"], earlier: MatmulPath | None, measured: Probe) -> MatmulPath:
    """What the task wants, else what the run took `earlier` (a learner goes on bit for bit), else the faster one.

    oneDNN is never taken on a CPU where it is not exact: the run may have been moved to another machine.
    """
    path = wanted if wanted != "auto" else earlier or measured.path
    return path if measured.exact else "default"


def _switch() -> Any | None:
    """torch's; None before torch 2.9, which had none."""
    return getattr(torch.backends.mkldnn, "matmul", None)
