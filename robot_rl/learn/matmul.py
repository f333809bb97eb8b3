"""A learner's matrix products: which of torch's paths they take on this CPU, measured at the start, never assumed.

torch multiplies float32 matrices with MKL unless told otherwise. oneDNN can be twice as fast at a learner's sizes, but
the switch that sends products to it (`mkldnn.matmul.fp32_precision = "bf16"`) only *allows* it to round to bfloat16:
some CPUs do (relative error 2e-3), others compute in full float32. So the speed and the error of both paths are
measured, interleaved, on the very shapes that will be multiplied; oneDNN is taken where it is faster by more than the
noise of such a measurement and as exact as float32.

Opt-in beside it is `precision: bf16`: both sides of a product are rounded to bfloat16 (8 bits of fraction and sign),
summed in float32 and rounded once more, while weights, gradients and Adam's moments stay float32, and so does each
network's last layer, whose sums are the values themselves. Measured with the sizes of `benchmarks.learner` on a CPU
with AVX-512 BF16: updates 1.2 (3 x 256) to 1.6 (3 x 2048) times as fast, a critic's gradient off by 0.1 to 0.2 % of its
norm, at fresh weights; whether a method learns as well is for its results to say.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from robot_rl.errors import ConfigError

MatmulPath = Literal["default", "onednn"]
Precision = Literal["fp32", "bf16"]

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


_rounded = False
"""Whether `product` rounds to bfloat16; the process's, as torch's own switch is."""


def product(x: Tensor, weight: Tensor) -> Tensor:
    """[E, B, I] @ [E, I, O] in the precision of `matmul_precision`."""
    return torch.bmm(x.bfloat16(), weight.bfloat16()).float() if _rounded else torch.bmm(x, weight)


def product_into(out: Tensor, x: Tensor, y: Tensor) -> None:
    """The same, written into memory that is there; builds no gradients."""
    if _rounded:
        out.copy_(torch.bmm(x.bfloat16(), y.bfloat16()))
    else:
        torch.bmm(x, y, out=out)


@contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """Inside, `product` and `product_into` compute in `precision`."""
    global _rounded
    before, _rounded = _rounded, precision == "bf16"
    try:
        yield
    finally:
        _rounded = before


def require_precision(precision: Precision, device: torch.device) -> None:
    """Raises `ConfigError` for one that `device` does not have."""
    if precision == "fp32":
        return
    on_cuda = device.type == "cuda"
    if not (torch.cuda.is_bf16_supported() if on_cuda else torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        raise ConfigError(f"compute.precision: bf16: this {device.type} multiplies no bfloat16; take precision: fp32")


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
                started = time.thread_time()  # of one thread: other processes' share of the CPU does not count
                found = torch.bmm(x, weight)
                times.append(time.thread_time() - started)
            if path == "onednn":
                error = float((found[0] - expected).abs().max() / expected.abs().max())
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
