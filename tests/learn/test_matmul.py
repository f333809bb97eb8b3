"""The choice of a path for matrix products: exactness first, then speed, and a run stays with what it took."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from robot_rl.errors import ConfigError
from robot_rl.learn.matmul import (
    EXACT,
    WORTHWHILE,
    MatmulPath,
    Precision,
    Probe,
    choose,
    matmul_path,
    matmul_precision,
    probe,
    product,
    product_into,
    require_precision,
)
from robot_rl.learn.networks import Ensemble

CPU = torch.device("cpu")
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


bf16 = pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU has no bfloat16 products")


@bf16
def test_bf16_products_are_those_of_rounded_numbers_and_only_where_they_are_asked_for() -> None:
    x, weight = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
    exact = torch.bmm(x.bfloat16().double(), weight.bfloat16().double())
    into = torch.empty(3, 8, 8)
    with matmul_precision("bf16"):
        rounded = product(x, weight)
        product_into(into, x, weight)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, into)
    assert torch.allclose(rounded.double(), exact, rtol=2**-8, atol=1e-6)
    assert torch.equal(product(x, weight), torch.bmm(x, weight))
    assert not torch.equal(product(x, weight), rounded)


@bf16
def test_bf16_gradients_are_near_those_of_float32_and_weights_stay_float32() -> None:
    gradients = []
    for precision in get_args(Precision):
        generator = torch.Generator().manual_seed(0)
        network = Ensemble([16, 64, 64, 1], 3, layer_norm=False, learning_rate=1e-3, generator=generator)
        with matmul_precision(precision):
            network.step((network(torch.randn(128, 16, generator=generator)) - 1).square().mean())
        assert network.flat.dtype == network._gradient.dtype == torch.float32
        gradients.append(network._gradient)
    error = float((gradients[0] - gradients[1]).norm() / gradients[0].norm())
    assert 1e-5 < error < 1e-2


def test_a_precision_that_the_machine_has_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    require_precision("fp32", CPU)
    with pytest.raises(ConfigError, match="take precision: fp32"):
        require_precision("bf16", CPU)


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
