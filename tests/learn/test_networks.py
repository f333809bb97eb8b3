"""Stacked ensembles are what separate networks would be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robot_rl.learn.networks import Adam, Ensemble, Target

SIZES = [5, 16, 16, 2]


def ensemble(members: int = 3, *, layer_norm: bool = True, seed: int = 0) -> Ensemble:
    generator = torch.Generator().manual_seed(seed)
    return Ensemble(SIZES, members, layer_norm=layer_norm, learning_rate=1e-2, generator=generator)


def separate(stacked: Ensemble, member: int) -> nn.Sequential:
    """One member as torch's own modules."""
    modules: list[nn.Module] = []
    for weight, bias in stacked.layers():
        linear = nn.Linear(weight.shape[1], weight.shape[2])
        linear.weight.data, linear.bias.data = weight[member].T.clone(), bias[member, 0].clone()
        modules += [
            linear,
            *([nn.LayerNorm(weight.shape[2], elementwise_affine=False)] * stacked.layer_norm),
            nn.ReLU(),
        ]
    return nn.Sequential(*modules[: -2 if stacked.layer_norm else -1])


def batch(size: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 5, generator=generator), torch.randn(3, size, 2, generator=generator)


@pytest.mark.parametrize("layer_norm", [True, False])
def test_each_member_is_a_network_of_its_own(layer_norm: bool) -> None:
    stacked, (x, _) = ensemble(layer_norm=layer_norm), batch()
    expected = torch.stack([separate(stacked, member)(x) for member in range(3)])
    assert torch.allclose(stacked(x), expected, atol=1e-6)
    assert torch.equal(stacked(x.expand(3, -1, -1)), stacked(x))


@pytest.mark.parametrize("layer_norm", [True, False])
def test_training_is_that_of_separate_networks(layer_norm: bool) -> None:
    stacked, (x, y) = ensemble(layer_norm=layer_norm), batch()
    networks = [separate(stacked, member) for member in range(3)]
    adams = [torch.optim.Adam(network.parameters(), lr=1e-2) for network in networks]
    for _ in range(5):
        stacked.step((stacked(x) - y).square().mean((1, 2)).sum())
        for network, adam, target in zip(networks, adams, y, strict=True):
            adam.zero_grad()
            (network(x) - target).square().mean().backward()
            adam.step()
    expected = torch.stack([network(x) for network in networks])
    assert torch.allclose(stacked(x), expected, atol=1e-5)


def test_frozen_parameters_get_no_gradient_but_the_input_does() -> None:
    stacked, (x, _) = ensemble(), batch()
    x.requires_grad_()
    frozen = stacked(x, frozen=True).sum()
    assert torch.equal(torch.autograd.grad(frozen, x)[0], torch.autograd.grad(stacked(x).sum(), x)[0])
    with pytest.raises(RuntimeError, match="does not require grad"):
        stacked(x.detach(), frozen=True).sum().backward()


def test_the_target_follows_by_tau() -> None:
    stacked, (x, y) = ensemble(), batch()
    target = Target(stacked, tau=0.25)
    before = stacked.flat.clone()
    assert torch.equal(target(x), stacked(x, frozen=True))
    stacked.step((stacked(x) - y).square().sum())
    target.follow()
    assert torch.allclose(target.flat, 0.75 * before + 0.25 * stacked.flat)


def test_a_restored_network_goes_on_bit_for_bit() -> None:
    (x, y), first, second = batch(), ensemble(), ensemble(seed=9)
    for _ in range(3):
        first.step((first(x) - y).square().sum())
    second.load({name: tensor.clone() for name, tensor in first.state().items()})
    for network in (first, second):
        network.step((network(x) - y).square().sum())
    assert torch.equal(first.flat, second.flat)


def test_adam_is_torchs_adam() -> None:
    mine, reference = torch.ones(4), torch.ones(4, requires_grad=True)
    adam, torchs = Adam(mine, 0.1), torch.optim.Adam([reference], lr=0.1)
    for step in range(3):
        gradient = torch.tensor([1.0, -2.0, 0.5, 0.0]) * (step + 1)
        adam.step(gradient)
        reference.grad = gradient.clone()
        torchs.step()
    assert torch.allclose(mine, reference.detach())
