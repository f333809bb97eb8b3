"""Episodes of one method as another one learns from them: what was decided, said in the other's steers.

Methods whose critic judges executed chunks (DSRL-NA, USR, ...) never read the steer of a chunk: whatever was sent
teaches them. Methods whose critic judges steers (DSRL-SAC, USR-SAC, ZPRL, LP-DS by TD) need the steer that would have
decided the same:

    noise part      the recorded noise, where the layout spans it
    residual part   what was added to the decoded chunk, where the layout spans it
    latent part     the recorded shift of z

Where there is no such steer these are refused, and the others get 0, which they do not read. Methods that learn from
the base policy's own chunks get another draw of noise and chunk where the source's actor chose them
(`with_own_base`).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.errors import SpecMismatch
from robot_rl.methods import METHODS, MethodEntry, entry_of, method_of
from robot_rl.protocols import FrozenPolicy
from robot_rl.types import Array, Context, PolicySpec, Source, Transition

STEER_CRITICS = frozenset({"dsrl-sac", "usr-sac", "zprl"})
"""Methods whose critic takes the steer, whatever their settings."""
SPANNED_M = 1e-6
"""An addition to a chunk that a steer reproduces this well (m) is said by it."""


@dataclass(frozen=True)
class Interface:
    """A method with its settings on one policy. Raises `SpecMismatch` when they do not fit."""

    spec: PolicySpec
    method: str
    config: MethodConfig

    def __post_init__(self) -> None:
        SteeringLayout(self.spec, self.config)

    @property
    def entry(self) -> MethodEntry:
        """What `robot_rl.methods` says of the method."""
        return entry_of(self.method)

    @property
    def layout(self) -> SteeringLayout:
        """Its steer space."""
        return SteeringLayout(self.spec, self.config)

    @property
    def judges_steers(self) -> bool:
        """Whether its critic takes the steer of a chunk instead of what was executed."""
        method = method_of(self.method)
        return method in STEER_CRITICS or (method == "lp-ds" and self.config.critic == "td")


def as_learnt_by(
    target: Interface, source: Interface, transitions: Sequence[Transition], *, steers_known: bool = True
) -> tuple[list[Transition], bool]:
    """An episode of `source` with steers and discount of `target`, and whether each steer says what was decided.

    The same method and settings change nothing. `steers_known`: what an earlier call gave, for an episode that has been
    through one. Raises `SpecMismatch` for a chunk that `target` cannot learn from.
    """
    ours, theirs = target.layout, source.layout
    alike = source.entry.kind == target.entry.kind and _same(ours, theirs)
    found, all_known = [], True
    for t in transitions:
        if t.source is Source.HUMAN and target.entry.extras == "base_chunks":
            raise _refusal(target, t, "needs what the base policy had decoded, and a person acted here")
        steer: Array | None = None
        if t.source is Source.HUMAN:
            why = "a person acted here"
        elif not steers_known:
            why = "it went through another method that could not keep it; take the episode from where it was recorded"
        else:
            steer, why = (t.steer, "") if alike else _steer(t, target, ours, source, theirs)
        if steer is None and target.judges_steers:
            raise _refusal(target, t, f"learns from steers, and this chunk has none that it could have given: {why}")
        known = np.zeros(ours.size, np.float32) if steer is None else steer
        all_known = all_known and steer is not None
        found.append(replace(t, steer=known, discount=target.config.gamma))
    return found, all_known


def with_own_base(
    target: Interface, source: Interface, transitions: Sequence[Transition], policy: FrozenPolicy
) -> list[Transition]:
    """The chunks with noise w ~ N(0, I) and what `policy` decodes of it, where `target` leaves both to the base policy.

    As they are where `source` left them to it too, or `target` does not: so an episode of a method that steers neither
    has base chunks of the base policy's own, by whatever methods it came. The same episode gets the same draws.
    """
    ours, theirs = target.layout, source.layout
    if ours.noise_size or ours.latent_size or not (theirs.noise_size or theirs.latent_size):
        return list(transitions)
    features = np.stack([t.features for t in transitions]).astype(np.float32)
    draws = np.random.default_rng([transitions[0].episode, zlib.crc32(features.tobytes())])
    noise = draws.standard_normal((len(transitions), *policy.spec.noise_shape)).astype(np.float32)
    base = policy.decode(Context(features), noise)
    return [replace(t, noise=w, base_chunk=chunk) for t, w, chunk in zip(transitions, noise, base, strict=True)]


def _steer(
    t: Transition, target: Interface, ours: SteeringLayout, source: Interface, theirs: SteeringLayout
) -> tuple[Array | None, str]:
    """The steer [S] of `target` that decides what was decided; None, and why, if there is none."""
    _, residual = theirs.split(t.steer[None])
    chose_chunk = source.entry.kind == "chunk"  # its steer says nothing while the base policy acts in its warm-up
    added = t.executed_chunk - t.base_chunk if chose_chunk else residual[0]  # [T, A]
    shift = theirs.latent_shift(t.steer[None])[0]  # [Z]
    if not ours.noise_size and theirs.noise_size and target.judges_steers:
        return None, "the decoder's noise was chosen, where this method leaves it to chance"
    try:
        noise = ours.noise_steer(t.noise[None])[0] if ours.noise_size else np.zeros(0, np.float32)
    except SpecMismatch as error:
        return None, str(error)
    if target.entry.kind != "chunk" and bool(ours.latent_size) != bool(theirs.latent_size):
        was, would = ("their latent" if layout.latent_size else "the features" for layout in (theirs, ours))
        return None, f"it was decoded from {was}, where this method decodes from {would}"
    latent = shift @ np.linalg.pinv(ours.latent_map)  # [L]
    if not np.allclose(latent @ ours.latent_map, shift, atol=1e-5):
        return None, "the latent was shifted in entries that latent_rank leaves alone"
    if target.entry.kind == "chunk":
        added = t.base_chunk + added - ours.action_mid.reshape(t.base_chunk.shape)
    wanted = added.reshape(-1).astype(np.float64)
    span = ours.residual_map.astype(np.float64)
    entries = wanted @ np.linalg.pinv(span) if ours.residual_size else np.zeros(0)
    beyond = float(np.abs(entries @ span - wanted).max())
    if beyond > SPANNED_M:
        return None, f"{1000 * beyond:.3g} mm of what was added to the decoded chunk lie beyond its residual"
    return np.concatenate([noise, entries, latent]).astype(np.float32), ""


def _same(ours: SteeringLayout, theirs: SteeringLayout) -> bool:
    """Whether equal steers decide alike."""
    return all(
        np.array_equal(getattr(ours, part), getattr(theirs, part))
        for part in ("noise_map", "residual_map", "latent_map")
    )


def _refusal(target: Interface, t: Transition, why: str) -> SpecMismatch:
    takes = ", ".join(name for name in METHODS if name not in STEER_CRITICS)
    return SpecMismatch(
        f"episode {t.episode}, chunk {t.index}: {target.method} {why}; methods that learn from executed chunks: {takes}"
    )
