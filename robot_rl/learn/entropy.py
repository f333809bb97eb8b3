"""How diverse a steered policy is: the Kozachenko-Leonenko entropy of its chunks (LP-DS paper, appendix C)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.errors import BadAction
from robot_rl.protocols import Adapter, FrozenPolicy
from robot_rl.types import Array, Context

EULER = 0.5772156649015329
CLOSEST = 1e-9
"""The estimator's epsilon: what is added to a distance, so that equal samples have a logarithm."""


def knn_entropy(samples: Array, k: int = 3) -> float:
    """Differential entropy in nats of `samples` [K, D], K > k, from the distances to k-th nearest neighbours (eq. 12).

    H = psi(K) - psi(k) + log c_D + D/K sum_i log(rho_i + epsilon), c_D the volume of the unit ball. It holds for
    distributions with a density in R^D; for others, and for few samples in many dimensions, it only compares.
    """
    count, width = samples.shape
    if not 1 <= k < count or not np.isfinite(samples).all():
        raise BadAction(f"expected more than {k} finite samples [K, D], got {count} of them")
    x = samples.astype(np.float64)
    gram = x @ x.T
    squared = np.maximum(np.diag(gram)[:, None] + np.diag(gram) - 2 * gram, 0)
    np.fill_diagonal(squared, np.inf)
    nearest = np.argpartition(squared, k - 1, axis=1)[:, :k]
    # The product above loses small distances; those of the neighbours it found are taken again, exactly.
    distances = np.sqrt(np.square(x[:, None] - x[nearest]).sum(2)).max(1)
    ball = width / 2 * math.log(math.pi) - math.lgamma(width / 2 + 1)
    return float(_digamma(count) - _digamma(k) + ball + width * np.log(distances + CLOSEST).mean())


def chunk_entropy(
    policy: FrozenPolicy,
    adapter: Adapter,
    contexts: Sequence[Context],
    rng: np.random.Generator,
    *,
    draws: int = 64,
    k: int = 3,
) -> float:
    """Mean over probe `contexts` (each of batch 1) of the entropy of `draws` chunks, nats (eq. 11).

    Chunks are those that would be sent, normalised to [-1, 1] over the action space and flat; the adapter explores, so
    that a squashed actor has its own spread and a shifted or latent one the base noise's.
    """
    layout = SteeringLayout.plain(policy.spec)
    entropies = []
    for context in contexts:
        decided = [adapter.steer(context, rng, explore=True) for _ in range(draws)]
        latents = [one.latent for one in decided if one.latent is not None]
        many = context.repeated(draws)
        base = policy.decode(many, np.stack([one.noise for one in decided]), np.stack(latents) if latents else None)
        chunks = [
            chunk + one.residual if one.chunk is None else one.chunk for chunk, one in zip(base, decided, strict=True)
        ]
        entropies.append(knn_entropy(layout.normalise(np.stack(chunks)), k))
    return float(np.mean(entropies))


def _digamma(n: int) -> float:
    """psi(n) of a whole number n >= 1."""
    return -EULER + sum(1 / i for i in range(1, n))
