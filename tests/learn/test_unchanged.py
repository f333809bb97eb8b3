"""USR and DSRL-NA learn, from the same episodes, what they learnt before there were other methods: byte for byte.

Bytes depend on the processor and on torch's kernels, so that the recorded digests count only where a plain piece of
torch arithmetic, none of it ours, has the bytes that it had where they were recorded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from robot_rl.adapters.acting import make_adapter
from robot_rl.learn.learner import Learner
from robot_rl.types import Array, Context, LabelValue
from tests.learn.bandit import SMALL, SPEC, WITH_RESIDUAL, BimodalDecoder, F, chunks

PLAIN = "cc6d335f4015c4568c5b57bf57229376dfe6588ca84d73d147deab0653842d5c"
"""Of `plain_arithmetic`."""
RECORDED = {
    ("usr", "full"): "09eeefa3c70f2b2cc2dce6dc3c234a28816cc0884da5aa5117e1b4bd5eb89585",
    ("usr", "repeat"): "a0b59869b012508b7d681e239f46c2f031d55dd2b6f549d3c80c33cb534a515f",
    ("dsrl-na", "full"): "8b6e5970dbb850925d496680c8f26bb6210e4e0dedfc1e021db7249f4952bf6e",
    ("dsrl-na", "repeat"): "2026ade9c030fdc301a85d6468c7b2dfa97b56068eca4be999ee788e9eb81da0",
}
"""(method, noise layout) -> sha256 of everything `digest_of` looks at, before there were other methods."""


def sha256(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def plain_arithmetic() -> str:
    """The products, norms and Adam steps of a small network."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 12, 64, generator=generator).requires_grad_()
    x = torch.randn(2, 64, 12, generator=generator)
    adam = torch.optim.Adam([weight], lr=1e-3, fused=True)
    for _ in range(20):
        hidden = torch.relu(torch.nn.functional.layer_norm(torch.bmm(x, weight), (64,)))
        loss = (torch.tanh(hidden) + torch.nn.functional.softplus(hidden)).square().mean()
        (weight.grad,) = torch.autograd.grad(loss, [weight])
        adam.step()
    return sha256({"weight": weight.detach().numpy()})


def digest_of(method: str, noise_layout: str) -> str:
    """Six episodes with their budgets; then the learner's state, and what its adapters do in and after warm-up."""
    base = WITH_RESIDUAL if method == "usr" else SMALL
    settings: dict[str, Any] = {"hidden": 16, "warmup_episodes": 2, "utd": 4.0, "pool": 3, "residual_horizon": 40}
    config = base.model_copy(update={**settings, "noise_layout": noise_layout, "actor_average": 0.1})
    learner = Learner(SPEC, method, config, BimodalDecoder(), seed=3)
    rng, context = np.random.default_rng(5), Context(features=np.array([[0.3, 1.0, -0.7]], np.float32))
    seen: dict[str, Array] = {}
    for number in range(1, 7):
        learner.add_episode(chunks(number, 3, learner.layout.size, truncated=number == 4))
        learner.set_labels({k: LabelValue.SUCCESS if k % 2 else LabelValue.FAILURE for k in range(1, number + 1)})
        learner.learn()
        adapter = make_adapter(learner.actor_arrays(), learner.manifest(), SPEC)
        for explore in (True, False):
            steering = adapter.steer(context, rng, explore=explore)
            seen[f"{number} {explore}"] = np.concatenate(
                [steering.steer, steering.noise.ravel(), steering.residual.ravel()]
            )
    assert context.features.shape[1] == F
    return sha256({**learner.state()[0], **seen})


@pytest.mark.parametrize(("method", "noise_layout"), sorted(RECORDED))
def test_what_was_learnt_before_is_learnt_now(method: str, noise_layout: str) -> None:
    if plain_arithmetic() != PLAIN:
        pytest.skip("this machine's floating-point kernels are others than those the digests were recorded with")
    assert digest_of(method, noise_layout) == RECORDED[method, noise_layout]
