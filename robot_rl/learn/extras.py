"""What single methods need of a chunk beside the row that all share: gathered once, when its episode is added.

- `z`, `next_z` [Z]: the sampled bottleneck latents (ZPRL: z is random, so that the stored sample must be used);
- `base`, `next_base` [T*A] normalised: what the base policy decoded here, and in the following chunk. The next one is
  that on which the residual was executed next (Policy Decorator); of old episodes whose noise was steered both are
  draws of the base policy's own (`learn.offline`). Behind the last chunk of an episode nothing was decoded; if its
  time-out is bootstrapped, a chunk is decoded there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.errors import SpecMismatch
from robot_rl.types import Array, Transition

DecodeBase = Callable[[Transition], Array]
"""The last chunk of an episode -> a base chunk [T*A] at its next state, normalised."""


def latents(transitions: Sequence[Transition], layout: SteeringLayout) -> dict[str, Array]:
    """Z and next_z [n, Z]. Raises `SpecMismatch` for chunks without them."""
    width = layout.spec.latent or 0

    def gather(name: str) -> Array:
        values = [getattr(t, name) for t in transitions]
        wrong = next((None if v is None else v.shape for v in values if v is None or v.shape != (width,)), ())
        if wrong != ():
            raise SpecMismatch(
                f"episode {transitions[0].episode}: expected {name} [{width}] of the policy's bottleneck, got {wrong}; "
                "was it recorded with another policy?"
            )
        return np.stack(values).astype(np.float32)

    return {"z": gather("z"), "next_z": gather("next_z")}


def base_chunks(
    transitions: Sequence[Transition], layout: SteeringLayout, decode: DecodeBase, *, timeouts_terminal: bool
) -> dict[str, Array]:
    """Base and next_base [n, T*A]; what lies behind a chunk that ends its episode for good is 0, and never used."""
    chunk = (layout.spec.horizon, layout.spec.action_space.size)
    wrong = next((t.base_chunk.shape for t in transitions if t.base_chunk.shape != chunk), None)
    if wrong is not None:
        raise SpecMismatch(f"episode {transitions[0].episode}: expected base chunk {list(chunk)}, got {list(wrong)}")
    base = layout.normalise(np.stack([t.base_chunk for t in transitions]))
    bootstrapped = transitions[-1].truncated and not timeouts_terminal
    last = decode(transitions[-1]) if bootstrapped else np.zeros(layout.chunk_size, np.float32)
    return {"base": base, "next_base": np.concatenate([base[1:], last[None]])}
