"""A controller that knows the answer, held to one steering interface: what could be learnt with it at best.

At each chunk a guide gives the ways that succeed from here. Of the chunks that the interface can make, the oracle takes
the one whose way is nearest to one of them, in the squares of the distances (m) summed over the steps: where a chunk
leads counts, and the way there. Noise and latents are searched (the cross-entropy method: K candidates, the best of
them say where the next K are drawn); the residual that fits best is solved for, by projected gradients.

Where the base policy's own noise stays random, there are two oracles. One sees the draw before it chooses, which no
actor does. The other is `blind`, as a learnt actor is: it chooses what is best on average over draws, and then the base
draws. Both look no further than their chunk: what they reach is possible, and more may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from robot_rl.authority.guide import Guide
from robot_rl.authority.interface import Interface, way_map
from robot_rl.protocols import FrozenPolicy
from robot_rl.types import Array, Context, Observation

CANDIDATES = 64
"""K."""
ROUNDS = 8
"""With 4, untied noise (32 dimensions) still gains: 43 against 50 of 60 on the strict task; tied noise does not."""
ELITES = 8
BLIND_DRAWS = 12
"""Base noises that a blind oracle averages over; it then has K / 4 candidates a round."""
FIT_STEPS = 100
TIE_M2 = 1e-8
"""m^2: costs that differ by less are equal, and the first way is taken: no dithering between two good ones."""


@dataclass(frozen=True)
class Oracle:
    """Chunks [T, A] SI, within the action space, for what is seen now."""

    interface: Interface
    policy: FrozenPolicy
    guide: Guide
    rng: np.random.Generator
    blind: bool = False
    rounds: int = ROUNDS

    def __call__(self, observation: Observation, context: Context) -> Array:
        """One chunk."""
        spec = self.policy.spec
        goals = (
            self.guide.plan(observation, spec.horizon).reshape(-1, spec.horizon * spec.action_space.size) @ self._way
        )
        base = self.interface.draw_base(self.rng, BLIND_DRAWS if self.blind else 1)
        steer = self._search(context, base, goals)
        if self.blind:
            base = self.interface.draw_base(self.rng, 1)
        chunk = self.interface.chunks(self.policy, context, steer[None], base)[0]
        within: Array = np.clip(chunk, spec.action_space.low, spec.action_space.high)
        return within

    def _search(self, context: Context, base: Array, goals: Array) -> Array:
        """The best steer [S] found: `base` M base noises, `goals` [P, T*A] ways."""
        size, residual = self.interface.layout.size, self.interface.layout.residual_part
        searched = np.ones(size, bool)
        searched[residual] = False
        if not searched.any():
            found, _ = self._complete(context, np.zeros((1, size), np.float32), base, goals)
            only: Array = found[0]
            return only
        count = CANDIDATES // 4 if self.blind else CANDIDATES
        mean, spread = np.zeros(size), np.full(size, self._first_spread())
        kept, costs = np.zeros((0, size), np.float32), np.zeros(0)
        for turn in range(self.rounds):
            drawn = mean + spread * self.rng.standard_normal((count, size))
            drawn[0] = mean  # the first time: steer 0
            drawn[:, ~searched] = 0
            steers, cost = self._complete(context, self.interface.within(drawn), base, goals)
            kept, costs = np.concatenate([kept, steers]), np.concatenate([costs, cost])
            best = np.argsort(costs, kind="stable")[:ELITES]
            kept, costs = kept[best], costs[best]
            mean, spread = kept.mean(0), kept.std(0) + 0.05 / (1 + turn)
        first: Array = kept[0]
        return first

    def _first_spread(self) -> float:
        """Of the first candidates: N(0, I) noise, as the base draws it; a latent or shift all over its box or ball."""
        if self.interface.kind == "squashed":
            return 1.0 / self.interface.layout.noise_bound
        return min(1.0, self.interface.radius)

    def _complete(self, context: Context, steers: Array, base: Array, goals: Array) -> tuple[Array, Array]:
        """`steers` [K, S] with the residual that fits best, and their costs [K]: means over the base noises, m^2."""
        k, m = len(steers), len(base)
        pairs = np.repeat(steers, m, 0), np.tile(base, (k, *[1] * (base.ndim - 1)))
        chunks = self.interface.chunks(self.policy, context, *pairs)
        ways = (chunks.reshape(k, m, 1, -1) @ self._way).astype(np.float64)  # [K, M, 1, D]
        apart = goals - ways  # [K, M, P, D]
        if not self.interface.layout.residual_size:
            return steers, np.square(apart).sum(-1).min(-1).mean(1)
        # For one way for all draws, and for each draw's nearest way: the mean is all that one residual can make up for.
        nearest = np.square(apart).sum(-1).argmin(-1)
        each = np.take_along_axis(apart, nearest[:, :, None, None], 2)[:, :, 0].mean(1)
        aims = np.concatenate([apart.mean(1), each[:, None]], 1)  # [K, P + 1, D]
        residual = self._fit(aims.reshape(-1, aims.shape[-1])).reshape(*aims.shape[:2], -1)  # [K, P + 1, R]
        left = apart[:, :, None] - (residual @ self._residual_way)[:, None, :, None]  # [K, M, P + 1, P, D]
        cost = np.square(left).sum(-1).min(-1).mean(1)  # [K, P + 1]
        chosen = (cost <= cost.min(1, keepdims=True) + TIE_M2).argmax(1)
        steers = steers.copy()
        steers[:, self.interface.layout.residual_part] = residual[np.arange(k), chosen]
        return steers, cost[np.arange(k), chosen]

    def _fit(self, missing: Array) -> Array:
        """Residual steers [n, R] in [-1, 1] whose ways come nearest to `missing` [n, D] (accelerated gradients)."""
        b, gram, step = missing @ self._residual_way.T, self._gram, self._fit_step
        u: Array = np.zeros_like(b)
        ahead = u
        for turn in range(FIT_STEPS):
            new = np.clip(ahead + (b - ahead @ gram) * step, -1.0, 1.0)
            ahead = new + turn / (turn + 3) * (new - u)
            u = new
        return u

    @cached_property
    def _way(self) -> Array:
        return way_map(self.policy.spec.action_space, self.policy.spec.horizon)

    @cached_property
    def _residual_way(self) -> Array:
        """[R, D]: what each entry of the residual adds to the way."""
        scaled: Array = self.interface.layout.residual_map.astype(np.float64) @ self._way
        return scaled

    @cached_property
    def _gram(self) -> Array:
        gram: Array = self._residual_way @ self._residual_way.T
        return gram

    @cached_property
    def _fit_step(self) -> Array:
        """[R]: diag(1 / step) is no less curved than the Gram matrix, whose absolute row sums these are."""
        step: Array = 1.0 / np.maximum(np.abs(self._gram).sum(1), 1e-18)
        return step
