"""The choice of a path for matrix products: exactness first, then speed, and a run stays with what it took."""

from __future__ import annotations

import pytest
import torch

from robot_rl.learn.matmul import EXACT, WORTHWHILE, MatmulPath, Probe, choose, matmul_path, probe

FAST = Probe("onednn", 2.0, 1e-6)
SLOW = Probe("default", 0.9, 1e-6)
ROUNDING = Probe("default", 4.0, 2e-3)


def test_probe_measures_this_cpu_and_takes_onednn_only_where_it_is_exact_and_faster() -> None:
    measured = probe(batch=64, hidden=128, members=2)
    assert measured.speedup > 0
    assert 0 < measured.error < 1e-2
    assert (measured.path == "onednn") == (measured.speedup >= WORTHWHILE and measured.error <= EXACT)


@pytest.mark.parametrize("path", ["default", "onednn"])
def test_products_inside_are_as_exact_as_the_probe_said_and_the_switch_is_put_back(path: MatmulPath) -> None:
    switch = torch.backends.mkldnn.matmul
    before = switch.fp32_precision
    a, b = torch.randn(2, 64, 128, generator=torch.Generator().manual_seed(0)).unbind()
    exact = a.double() @ b.double().T
    with matmul_path(path):
        error = float(((a @ b.T) - exact).abs().max() / exact.abs().max())
    assert error <= (probe(batch=64, hidden=128, members=1).error * 4 if path == "onednn" else EXACT)
    assert switch.fp32_precision == before


def test_the_switch_is_put_back_after_an_error() -> None:
    before = torch.backends.mkldnn.matmul.fp32_precision
    with pytest.raises(ZeroDivisionError), matmul_path("onednn"):
        _ = 1 / 0
    assert torch.backends.mkldnn.matmul.fp32_precision == before


@pytest.mark.parametrize(
    ("wanted", "earlier", "measured", "expected"),
    [
        ("auto", None, FAST, "onednn"),
        ("auto", None, SLOW, "default"),
        ("auto", None, ROUNDING, "default"),
        ("auto", "onednn", SLOW, "onednn"),  # a resumed run goes on as it began
        ("auto", "default", FAST, "default"),
        ("auto", "onednn", ROUNDING, "default"),  # moved to a CPU that rounds
        ("onednn", None, SLOW, "onednn"),
        ("onednn", None, ROUNDING, "default"),
        ("default", "onednn", FAST, "default"),
    ],
)
def test_choice(wanted: MatmulPath, earlier: MatmulPath | None, measured: Probe, expected: MatmulPath) -> None:
    assert choose(wanted, earlier, measured) == expected
