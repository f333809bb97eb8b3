"""Behaviour cloning: of a flow policy and the bottleneck beside it, or of a plain regression.

First the flow: with chunk a, noise w ~ N(0, I), k ~ U[0, 1] and x = (1 - k) a + k w, a network estimates a from
(x, k, c), together with the embedding c. This is the regression of v = (x - a^) / k on w - a (ZPRL equation 1) with
weight k^2: the same optimum, but the network need not pass the noise through. Chunks are scaled to unit spread first,
so that two ways of doing the task lie further apart than the noise is wide. Noise and chunk are paired at random, so
that no noise belongs to one way of doing the task before training.

Then the variational bottleneck, on the finished flow: z ~ N(mu(c), sigma(c)), c^ = g(z), with the flow's own loss
under c^ and KL(N(mu, sigma) || N(0, I)) (ZPRL equation 5). Embedding and flow are frozen by then, which is the
paper's stopped gradient. At last z is turned into axes of its own (`policy.latent_axes`), which is ours.

A regression (`kind: mlp`) is the mean of the chunks that were seen, min E |a - f(c)|^2: it takes no noise.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors.numpy import save as save_safetensors
from torch import Tensor, nn

from robot_rl.config import PolicyConfig
from robot_rl.errors import ConfigError
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.policy.features import FEATURES
from robot_rl.policy.flow import LOG_STD, TIME_FEATURES, TIME_FREQUENCIES, action_scale, make_spec
from robot_rl.policy.latent_axes import turned
from robot_rl.store.files import atomic_write
from robot_rl.types import ActionSpace, Array

Net = TypeVar("Net", bound=nn.Module)
Progress = Callable[[str, int, int, float], None]
"""Stage ("flow", "bottleneck", "regression"), step, steps, loss."""

EMA = 0.999
"""Decay of the averaged weights, which are the ones that are kept."""
SMALLEST_SPREAD = 5e-3
"""m (or of a sine): a feature that hardly varies in the demonstrations is not blown up."""
SMALLEST_CHUNK_SPREAD = 0.05
"""Of the action's half range: an entry that hardly varies is not blown up either."""


@dataclass(frozen=True, slots=True)
class CloneReport:
    """What cloning made; losses are means over the last tenth of the steps."""

    path: str
    policy_id: str
    demonstrations: int
    windows: int
    parameters: int
    loss: float
    """Of the flow, or of the regression."""
    bottleneck_loss: float | None
    """The flow's loss with c^ in place of c: near `loss` if z says all that matters; None for a regression."""
    kl: float | None
    """nats, of the whole z."""
    seconds: float


def clone(
    demos: Demonstrations,
    config: PolicyConfig,
    action_space: ActionSpace,
    out: Path,
    progress: Progress | None = None,
    *,
    step_s: float = 0.05,
) -> CloneReport:
    """Train on one thread and write `out` (.safetensors) and its manifest (.json); `step_s` is the control period in s.

    The same demonstrations and config give the same weights. Raises `ConfigError` if `action_space` does not fit.
    """
    started = time.monotonic()
    if demos.action.shape[1] != action_space.size:
        raise ConfigError(f"expected demonstrations of {action_space.size} actions, got {demos.action.shape[1]}")
    raw, chunks = demos.windows(config.horizon)
    mean, scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), SMALLEST_SPREAD)
    mid, half = action_scale(action_space)
    features = torch.from_numpy(((raw - mean) / scale).astype(np.float32))
    normal = np.clip((chunks - mid) / half, -1.0, 1.0)
    chunk_mean, chunk_scale = normal.mean(axis=(0, 1)), np.maximum(normal.std(axis=(0, 1)), SMALLEST_CHUNK_SPREAD)
    targets = torch.from_numpy(((normal - chunk_mean) / chunk_scale).reshape(len(chunks), -1))
    with one_thread(config.seed):
        nets, losses = (_flow if config.kind == "flow" else _regression)(config, features, targets, progress)
    weights = {"features.mean": mean.astype(np.float32), "features.scale": scale.astype(np.float32)}
    weights |= {"chunk.mean": np.tile(chunk_mean, config.horizon), "chunk.scale": np.tile(chunk_scale, config.horizon)}
    for name, net in nets.items():
        weights |= _arrays(name, net)
    if config.kind == "flow":
        unnamed = make_spec(action_space, config.horizon, step_s, config.latent, "")
        with one_thread(config.seed):
            weights = turned(unnamed, weights, config.ode_steps)
    policy_id = _write(out, weights, config, action_space, step_s)
    return CloneReport(
        path=str(out),
        policy_id=policy_id,
        demonstrations=demos.episodes,
        windows=len(chunks),
        parameters=sum(array.size for array in weights.values()),
        loss=losses[0],
        bottleneck_loss=losses[1],
        kl=losses[2],
        seconds=time.monotonic() - started,
    )


class Flow(nn.Module):
    """The embedding of the features and the estimate of the chunk that it conditions."""

    def __init__(self, config: PolicyConfig, action_size: int) -> None:
        """`action_size`: T * A."""
        super().__init__()
        self.embed = _mlp(FEATURES, config, config.embedding)
        self.chunk = _mlp(action_size + TIME_FEATURES + config.embedding, config, action_size)
        self.register_buffer("frequencies", torch.from_numpy(TIME_FREQUENCIES.astype(np.float32)))

    def loss(self, c: Tensor, chunk: Tensor) -> Tensor:
        """Equation 1 weighted by k^2, for conditions [B, E] and chunks [B, T * A]; k is stratified over the batch."""
        noise = torch.randn_like(chunk)
        k = ((torch.arange(len(chunk)) + torch.rand(len(chunk))) / len(chunk))[:, None]
        phase = k * self.get_buffer("frequencies")
        x = torch.lerp(chunk, noise, k)
        estimate = self.chunk(torch.cat([x, phase.sin(), phase.cos(), c], dim=1))
        return nn.functional.mse_loss(estimate, chunk)


class Bottleneck(nn.Module):
    """The variational bottleneck: c -> (mu, log sigma), and z -> c^."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.encode = _mlp(config.embedding, config, 2 * config.latent)
        self.reconstruct = _mlp(config.latent, config, config.embedding)

    def forward(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """[B, E] -> c^ [B, E] of a sampled z, and the mean KL to N(0, I) in nats."""
        mean, log_std = self.encode(c).chunk(2, dim=1)
        log_std = log_std.clamp(*LOG_STD)
        z = mean + log_std.exp() * torch.randn_like(mean)
        kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(dim=1).mean()
        return self.reconstruct(z), kl


class Regression(nn.Module):
    """The embedding of the features, and the chunk that it means."""

    def __init__(self, config: PolicyConfig, action_size: int) -> None:
        """`action_size`: T * A."""
        super().__init__()
        self.embed = _mlp(FEATURES, config, config.embedding)
        self.chunk = _mlp(config.embedding, config, action_size)


Nets = dict[str, nn.Sequential]
Losses = tuple[float, float | None, float | None]


def _flow(config: PolicyConfig, features: Tensor, targets: Tensor, progress: Progress | None) -> tuple[Nets, Losses]:
    flow, loss = _train_flow(config, features, targets, progress)
    bottleneck, bottleneck_loss, kl = _train_bottleneck(config, flow, features, targets, progress)
    nets = {"embed": flow.embed, "chunk": flow.chunk}
    nets |= {"bottleneck": bottleneck.encode, "reconstruct": bottleneck.reconstruct}
    return nets, (loss, bottleneck_loss, kl)


def _regression(
    config: PolicyConfig, features: Tensor, targets: Tensor, progress: Progress | None
) -> tuple[Nets, Losses]:
    net = Regression(config, targets.shape[1])

    def loss(rows: Tensor) -> tuple[Tensor, ...]:
        return (nn.functional.mse_loss(net.chunk(net.embed(features[rows])), targets[rows]),)

    averaged, (mean,) = _fit("regression", net, loss, len(features), config, config.train_steps, progress)
    return {"embed": averaged.embed, "chunk": averaged.chunk}, (mean, None, None)


def _train_flow(
    config: PolicyConfig, features: Tensor, targets: Tensor, progress: Progress | None
) -> tuple[Flow, float]:
    flow = Flow(config, targets.shape[1])

    def loss(rows: Tensor) -> tuple[Tensor, ...]:
        return (flow.loss(flow.embed(features[rows]), targets[rows]),)

    averaged, (flow_loss,) = _fit("flow", flow, loss, len(features), config, config.train_steps, progress)
    return averaged, flow_loss


def _train_bottleneck(
    config: PolicyConfig, flow: Flow, features: Tensor, targets: Tensor, progress: Progress | None
) -> tuple[Bottleneck, float, float]:
    bottleneck = Bottleneck(config)
    flow.requires_grad_(False)
    embedded = flow.embed(features)

    def loss(rows: Tensor) -> tuple[Tensor, ...]:
        reconstructed, kl = bottleneck(embedded[rows])
        flow_loss = flow.loss(reconstructed, targets[rows])
        return flow_loss + config.kl_weight * kl, flow_loss, kl

    averaged, (_, flow_loss, kl) = _fit(
        "bottleneck", bottleneck, loss, len(features), config, config.bottleneck_steps, progress
    )
    return averaged, flow_loss, kl


def _fit(
    stage: str,
    net: Net,
    loss: Callable[[Tensor], tuple[Tensor, ...]],
    size: int,
    config: PolicyConfig,
    steps: int,
    progress: Progress | None,
) -> tuple[Net, list[float]]:
    """AdamW under a cosine on batches of row numbers below `size`; `loss` gives what to minimise, then what to report.

    Returns the averaged network and the means of the reported numbers over the last tenth of the steps.
    """
    averaged = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=0.1, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    tail: list[Tensor] = []
    for step in range(1, steps + 1):
        reported = loss(torch.randint(size, (config.batch,)))
        optimiser.zero_grad()
        reported[0].backward()
        optimiser.step()
        schedule.step()
        _average(averaged, net, step)
        if step > 0.9 * steps:
            tail.append(torch.stack(reported).detach())
        if progress and (step % 100 == 0 or step == steps):
            progress(stage, step, steps, float(reported[0].detach()))
    return averaged, torch.stack(tail).mean(dim=0).tolist()


@torch.no_grad()
def _average(averaged: nn.Module, net: nn.Module, step: int) -> None:
    """Exponential moving average, quicker at first so that the initial weights are soon forgotten."""
    decay = min(EMA, step / (9 + step))
    torch._foreach_lerp_(list(averaged.parameters()), list(net.parameters()), 1 - decay)


def _mlp(size: int, config: PolicyConfig, out: int) -> nn.Sequential:
    """`config.layers` hidden layers of `config.hidden` with GELU (tanh form, as in `robot_rl.policy.flow`)."""
    sizes = [size, *[config.hidden] * config.layers]
    parts: list[nn.Module] = []
    for inner, outer in itertools.pairwise(sizes):
        parts += [nn.Linear(inner, outer), nn.GELU(approximate="tanh")]
    return nn.Sequential(*parts, nn.Linear(sizes[-1], out))


def _arrays(name: str, net: nn.Sequential) -> dict[str, Array]:
    """The weights [in, out] and biases [out] of a network, as `robot_rl.policy.flow.layers_of` finds them."""
    linear = [module for module in net if isinstance(module, nn.Linear)]
    weights = {f"{name}.{i}.weight": layer.weight.detach().T.contiguous().numpy() for i, layer in enumerate(linear)}
    return weights | {f"{name}.{i}.bias": layer.bias.detach().numpy() for i, layer in enumerate(linear)}


def _write(out: Path, weights: dict[str, Array], config: PolicyConfig, space: ActionSpace, step_s: float) -> str:
    """Checkpoint, then manifest; the policy is named after its weights. Returns the policy's id."""
    data = save_safetensors(weights)
    digest = hashlib.sha256(data).hexdigest()
    flow = config.kind == "flow"
    spec = make_spec(space, config.horizon, step_s, config.latent if flow else None, f"{config.kind}-{digest[:12]}")
    manifest = {
        "sha256": digest,
        "spec": asdict(spec),
        "spec_hash": spec.hash,
        "ode_steps": config.ode_steps if flow else 0,
        "config": config.model_dump(mode="json"),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(out, data)
    atomic_write(out.with_suffix(".json"), json.dumps(manifest, indent=2).encode())
    return spec.policy_id


@contextmanager
def one_thread(seed: int) -> Iterator[None]:
    """One torch thread (sums in one order, and no fight for the cores) and a seeded generator; both restored."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
