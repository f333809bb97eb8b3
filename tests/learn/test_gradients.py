"""The gradients that the methods descend are autograd's of plain float64 networks with the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from robot_rl.adapters.actor import LOG_STD_HIGH, LOG_STD_LOW
from robot_rl.learn.dual_critic import distil
from robot_rl.learn.learner import Learner
from robot_rl.learn.matmul import MatmulPath, matmul_path, probe
from robot_rl.learn.networks import Ensemble, Target
from robot_rl.learn.replay import Batch
from robot_rl.types import LabelValue
from tests.learn.bandit import chunks, config_of, decoder_of, spec_of
from tests.learn.test_networks import separate

AGREES = 1e-5
"""Largest error in a weight's gradient, relative to the largest there; a bias counts with its weight."""
BETA = 0.3
METHODS = ["dsrl-sac", "dsrl-na", "usr", "lp-ds"]

Networks = list[nn.Sequential]


def learner(method: str, *, layer_norm: bool, reduce: str) -> Learner:
    settings: dict[str, Any] = {"warmup_episodes": 0, "hidden": 64, "critics": 3, "clip_targets": False}
    settings |= {"layer_norm": layer_norm, "critic_reduce": reduce}
    if method != "lp-ds":
        settings |= {"initial_temperature": BETA, "entropy_in_target": True}
    subject = Learner(spec_of(method), method, config_of(method, **settings), decoder_of(method), seed=0)
    for number in range(1, 13):
        subject.add_episode(chunks(number, 3, subject.layout.size))
    subject.set_labels({k: LabelValue.SUCCESS if k % 3 == 0 else LabelValue.FAILURE for k in range(1, 13)})
    network = subject._method.actor.network
    network.flat.add_(torch.randn(network.flat.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
    return subject


def plain(network: Ensemble | Target) -> Networks:
    """Its members as torch's modules, float64."""
    stacked: Any = network if isinstance(network, Ensemble) else network._source
    networks = [separate(stacked, member).double() for member in range(stacked.members)]
    for member, each in enumerate(networks):
        linears = [module for module in each if isinstance(module, nn.Linear)]
        for linear, (weight, bias) in zip(linears, network.layers(), strict=True):
            linear.weight.data, linear.bias.data = weight[member].T.double(), bias[member, 0].double()
    return networks


def q(networks: Networks, *inputs: Tensor) -> Tensor:
    """[E, B]."""
    x = torch.cat([part.double() for part in inputs], 1)
    return torch.stack([network(x)[:, 0] for network in networks])


def reduced(values: Tensor, reduce: str) -> Tensor:
    return values.min(0).values if reduce == "min" else values.mean(0)


def squashed(actor: Networks, features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A steer and its log-probability, with the draw that the subject makes."""
    mean, raw = actor[0](features.double()).chunk(2, dim=1)
    spread = (LOG_STD_LOW + (LOG_STD_HIGH - LOG_STD_LOW) * (raw.tanh() + 1) / 2).exp()
    u = mean + spread * torch.randn(mean.shape, generator=generator)
    log_prob = Normal(mean, spread).log_prob(u) + 2 * u.cosh().log()  # 1 - tanh(u)^2 = cosh(u)^-2
    return u.tanh(), log_prob.sum(1)


def agrees(network: Ensemble, networks: Networks, loss: Tensor) -> None:
    """Of every weight and bias of every member: what `network` stepped down is the gradient of `loss`."""
    parameters = [parameter for each in networks for parameter in each.parameters()]
    expected = iter(torch.autograd.grad(loss, parameters))
    for member in range(network.members):
        for weight, bias in network._gradients:
            pairs = [(weight[member].T, next(expected)), (bias[member, 0], next(expected))]
            largest = max(reference.abs().max() for _, reference in pairs)
            assert largest > 0
            assert max(float((mine - reference).abs().max()) for mine, reference in pairs) < AGREES * largest
    assert next(expected, None) is None


def critics_of(half: Any, method: str) -> tuple[Ensemble, Ensemble, str]:
    """The critic that learns by TD, the one that the actor climbs, and the update's first part."""
    if method == "lp-ds":
        return half._action, half._noise, "_learn_by_td"
    return half._critic, half._critic if method == "dsrl-sac" else half._distilled, "_learn_critic"


def steer_of(half: Any, method: str, features: Tensor, generator: torch.Generator) -> tuple[Networks, Tensor, Tensor]:
    """The actor's plain networks, its steer, and what stands beside Q in its loss (negated: what it costs)."""
    actor = plain(half.actor.network)
    if method != "lp-ds":
        steer, log_prob = squashed(actor, features, generator)
        return actor, steer, BETA * log_prob
    shift = actor[0](features.double()).tanh()
    bound = half._config.noise_bound
    cost = half._multiplier.value.double() * ((shift * bound).square().sum(1) - half._config.trust_region)
    return actor, torch.randn(shift.shape, generator=generator) / bound + shift, cost


def check(subject: Learner, method: str, reduce: str, batch: Batch) -> None:
    """One update in its parts; each part's networks are copied just before it."""
    half: Any = subject._method
    if method == "lp-ds":
        half._multiplier.value.fill_(0.7)
    generator = subject._generator
    by_td, climbed, first = critics_of(half, method)

    before = generator.get_state()
    networks, target = plain(by_td), plain(half._target)
    with torch.no_grad():
        _, steer, cost = steer_of(half, method, batch.next_features, generator)
        following = steer
        if method != "dsrl-sac":
            decode = half._steering.act if method == "usr" else half._steering.decode
            following = decode(batch.next_features, steer.float())
        value = reduced(q(target, batch.next_features, following), reduce)
        y = batch.reward + batch.discount * (1 - batch.done) * (value - (0 if method == "lp-ds" else cost))
    taken = batch.steer if method == "dsrl-sac" else batch.executed
    loss = (q(networks, batch.features, taken) - y).square().mean(1).sum()
    generator.set_state(before)
    getattr(half, first)(batch)
    agrees(by_td, networks, loss)

    if method != "dsrl-sac":
        before = generator.get_state()
        networks = plain(climbed)
        assert batch.pool_steer is not None
        assert batch.pool_chunks is not None
        asked: Sequence[Tensor] = [batch.pool_steer[0]]
        chunk = batch.pool_chunks[0]
        if method == "usr":
            residual = torch.rand(len(chunk), subject.layout.residual_size, generator=generator) * 2 - 1
            asked, chunk = [*asked, residual], chunk + half._steering.residual(residual)
        with torch.no_grad():
            value = q(plain(by_td), batch.features, chunk)
        loss = (q(networks, batch.features, *asked) - value).square().mean(1).sum()
        generator.set_state(before)
        distil(batch, by_td, climbed, half._steering, half._config.distill_steps, generator)
        agrees(climbed, networks, loss)

    before = generator.get_state()
    actor, steer, cost = steer_of(half, method, batch.features, generator)
    loss = (cost - reduced(q(plain(climbed), batch.features, steer), reduce)).mean()
    generator.set_state(before)
    half._improve_actor(batch)
    agrees(half.actor.network, actor, loss)


@pytest.mark.parametrize("path", ["default", "onednn"])
@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("reduce", ["min", "mean"])
@pytest.mark.parametrize("method", METHODS)
def test_every_loss_is_descended_along_its_plain_gradient(
    method: str, reduce: str, layer_norm: bool, path: MatmulPath
) -> None:
    if path == "onednn" and not probe(batch=64, hidden=64, members=3).exact:
        pytest.skip("oneDNN rounds to bfloat16 on this CPU, and is never taken")
    subject = learner(method, layer_norm=layer_norm, reduce=reduce)
    with matmul_path(path):
        check(subject, method, reduce, subject.replay.sample(64, torch.Generator().manual_seed(2)))
