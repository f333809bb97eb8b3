"""Chunks before and after steering, drawn at one state and put on two axes (USR paper, figure 7).

At the first observation of an episode: chunks of the frozen policy by its own noise, chunks of the noise (or latent)
that the adapter chooses as it acts, and these with its residual. A chunk becomes a point: where it would take the hand,
the sum of its displacements, mm along the base frame's axes. Of x, y and z the two are taken along which the frozen
policy's own chunks spread most at the first draw of a process; they stay the same from then on. The paper draws the
first principal component; axes that a person can point at say more beside a robot.

Drawn when the episode is over and before the next one begins, from random numbers of their own, in small batches: no
chunk of the robot ever waits for it, and what the robot does is the same with and without. Where time stands still
meanwhile (lockstep) it is waited for; else it is done beside the arm's way home, and given up when the next episode
begins.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_rl.errors import RobotRLError
from robot_rl.protocols import Adapter, FrozenPolicy
from robot_rl.types import Array, Context, Steering

log = logging.getLogger(__name__)

SAMPLES = 32
"""Chunks of each kind."""
BATCH = 8
"""Chunks of one call: of a server, the most that an episode's first chunk may have to wait for."""
NAMES = ("x", "y", "z")
STREAM = 1
"""Beside an episode's own random numbers, (seed, episode)."""
MM = 1000.0


class GivenUp(Exception):
    """The next episode begins."""


@dataclass(frozen=True)
class Draw:
    """Where chunks of one state would take the hand, [n, 3] mm each."""

    base: Array
    """By the frozen policy's own noise."""
    steered: Array
    """By the adapter's noise or latent."""
    final: Array
    """As the robot would be sent them."""


class Scatter:
    """Draws for the page, once an episode; `shown` may be read from any thread."""

    def __init__(self, policy: FrozenPolicy, seed: int, *, samples: int = SAMPLES, waits: bool) -> None:
        self._policy, self._seed, self._samples, self._waits = policy, seed, samples, waits
        self._thread: threading.Thread | None = None
        self._given_up = threading.Event()
        self._axes: tuple[int, int] | None = None
        self.shown: dict[str, Any] | None = None
        """JSON-able; None before the first draw."""

    def begin(self, episode: int, context: Context, adapter: Adapter, *, explore: bool) -> None:
        """Draw at `context` (of batch 1), which `adapter` saw first in `episode`."""
        self.settle()
        self._given_up.clear()
        if self._waits:
            return self._work(episode, context, adapter, explore)
        arguments = (episode, context, adapter, explore)
        self._thread = threading.Thread(target=self._work, args=arguments, name="scatter", daemon=True)
        self._thread.start()
        return None

    def settle(self) -> None:
        """Give up what is not done; when this returns, policy and adapter are nobody's."""
        self._given_up.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _work(self, episode: int, context: Context, adapter: Adapter, explore: bool) -> None:
        rng = np.random.default_rng((self._seed, episode, STREAM))
        try:
            drawn = self._draw(context, adapter, rng, explore)
        except GivenUp:
            return
        except RobotRLError as error:  # a server that is gone: the former picture stays, and says of when it is
            log.info("no chunks were drawn after episode %d: %s", episode, error)
            return
        if self._axes is None:
            first, second = sorted(np.argsort(drawn.base.std(0))[-2:])
            self._axes = int(first), int(second)
        self.shown = as_shown(episode, adapter.version, drawn, self._axes)

    def _draw(self, context: Context, adapter: Adapter, rng: np.random.Generator, explore: bool) -> Draw:
        spec, n = self._policy.spec, self._samples
        noise = rng.standard_normal((n, *spec.noise_shape)).astype(np.float32) if spec.noise_shape else np.zeros(n)
        base = self._decoded(context, noise.astype(np.float32), None)
        decided = [adapter.steer(context, rng, explore=explore) for _ in range(n)]
        latents = [one.latent for one in decided if one.latent is not None]
        noises = np.stack([one.noise for one in decided])
        steered = self._decoded(context, noises, np.stack(latents) if latents else None)
        final = np.stack([_sent(chunk, one) for chunk, one in zip(steered, decided, strict=True)])
        return Draw(*(MM * chunks[..., :3].sum(1, dtype=np.float64) for chunks in (base, steered, final)))

    def _decoded(self, context: Context, noise: Array, latent: Array | None) -> Array:
        """[n, T, A] SI."""
        parts = []
        for at in range(0, len(noise), BATCH):
            if self._given_up.is_set():
                raise GivenUp
            some = noise[at : at + BATCH]
            parts.append(
                self._policy.decode(
                    context.repeated(len(some)), some, None if latent is None else latent[at : at + BATCH]
                )
            )
        return np.concatenate(parts)


def as_shown(episode: int, version: int, drawn: Draw, axes: tuple[int, int]) -> dict[str, Any]:
    """For the page: points on two axes; spreads and the way of the middle in all three."""

    def points(cloud: Array) -> list[list[float]]:
        return [[round(float(value), 2) for value in row] for row in cloud[:, axes]]

    refined = not np.array_equal(drawn.final, drawn.steered)
    return {
        "episode": episode,
        "adapter_version": version,
        "axes": [NAMES[axis] for axis in axes],
        "base": points(drawn.base),
        "steered": points(drawn.steered),
        "final": points(drawn.final) if refined else None,
        "base_spread_mm": spread(drawn.base),
        "final_spread_mm": spread(drawn.final),
        "moved_mm": float(np.linalg.norm(drawn.final.mean(0) - drawn.base.mean(0))),
    }


def spread(cloud: Array) -> float:
    """RMS distance of points [n, 3] from their middle."""
    return float(np.sqrt(np.square(cloud - cloud.mean(0)).sum(1).mean()))


def _sent(chunk: Array, steering: Steering) -> Array:
    return chunk + steering.residual if steering.chunk is None else steering.chunk
