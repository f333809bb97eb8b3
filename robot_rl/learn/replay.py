"""Replay: one packed float32 row per chunk, a pool of (noise, chunk) pairs beside it, labels folded in when sampling.

A row is [features F | next features F | executed chunk T*A, normalised | steer S | discount]. No reward is stored
(DESIGN decision 2): `set_labels` says what the operator thinks now, and the next batch already follows. The last chunk
of a successful episode earns 1, every other chunk 0. The last chunk ends the episode, unless it was cut off by its time
limit, did not succeed, and the method bootstraps time-outs. What single methods need beside the row (`learn.extras`)
lies in columns of its own.

A TD target bootstraps after the setting `td_steps` = n chunks, or at the end of the episode where that comes first
(n-step returns; Sutton and Barto 2018, eq. 7.1): "next" is the state behind these chunks, `discount` the product of
theirs, and `_worth` what a 1 earned by the last chunk of the episode is worth at the row's: the product of the
discounts before it.

Memory: rows, pool and extra columns are float32, and all that grows with a run beside some 20 bytes a chunk. On the CPU
each is plain memory up to `columns.PLAIN_BYTES` and a mapped file from there on, which the kernel may evict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.errors import BadAction, BadObservation, RobotRLError, SpecMismatch
from robot_rl.learn.columns import Column
from robot_rl.types import Array, LabelValue, Source, Transition

LARGEST = 1e15
"""No feature or action is as large; the squares of what is above 1e19 are not float32 numbers any more."""


@dataclass(frozen=True)
class Batch:
    """B sampled chunks; D pool draws for each, D = the method's distillation steps."""

    features: Tensor
    """[B, F]."""
    next_features: Tensor
    """[B, F]: behind the chunks after which the target bootstraps, as all that is called next."""
    executed: Tensor
    """[B, T*A] normalised: what the robot was sent."""
    steer: Tensor
    """[B, S]."""
    reward: Tensor
    """[B], 0 or 1; discounted where it is not the next chunk's."""
    discount: Tensor
    """[B]: of the next state."""
    done: Tensor
    """[B], 1 where the next state has no value."""
    pool_steer: Tensor | None
    """[D, B, N] noise part of a steer, w / b_W; None when there is no pool."""
    pool_chunks: Tensor | None
    """[D, B, T*A] normalised: what those decode to."""
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """What the method asked for (`learn.extras`), each [B, width]."""


Extras = Callable[[Sequence[Transition]], Mapping[str, Array]]
"""An episode's n chunks -> name -> [n, width]; the same names and widths for every episode."""
Pool = Callable[[Sequence[Transition]], tuple[Array, Array]]
"""An episode's n chunks -> noise steer [n, K, N] and the normalised chunks [n, K, T*A] that it decodes to."""


class _Span(NamedTuple):
    """Of an episode: its first row, one past its last, and whether its time limit cut it off."""

    first: int
    end: int
    truncated: bool


class Replay:
    """Every chunk of every episode added so far; never forgets (a run has some thousands)."""

    def __init__(
        self,
        layout: SteeringLayout,
        config: MethodConfig,
        pool: Pool,
        extras: Extras | None = None,
        *,
        prior_share: float = 0.0,
        device: torch.device | None = None,
        folder: Path | None = None,
    ) -> None:
        """`pool` and `extras` are asked once per episode, if the method distils from a pool or needs more of a chunk.

        `prior_share` of a batch is drawn from prior data (demonstrations, human chunks, the warm-up), as in RLPD; 0
        draws from everything alike. Rows and pool are held on `device` (None: the CPU), and batches come from there.
        On the CPU they move into files in `folder` when they are large (`learn.columns`); None: all is plain memory.
        """
        self._device = torch.device("cpu") if device is None else device
        self._layout, self._config, self._make_pool = layout, config, pool
        self._make_extras, self._prior_share = extras, prior_share
        self._folder = folder
        self._extra: dict[str, Column] = {}
        """Name -> [rows, width]."""
        self._prior = Column(1, dtype=torch.bool)
        """[rows, 1]: prior data."""
        features, chunk, steer = layout.spec.features, layout.chunk_size, layout.size
        self._widths = [features, features, chunk, steer, 1]
        self._count = 0
        """Rows in use; the columns have room for more."""
        self._rows = self._column(sum(self._widths))
        self._pool = self._column(layout.noise_size + chunk)
        """[rows * K, N + T*A]."""
        self._worth = Column(1)
        """[rows, 1]; -1 where the last chunk of the episode is not among the row's n."""
        self._spans: dict[int, _Span] = {}
        self._outcome = torch.empty(0, 2)
        """[rows, 2]: reward and done under the present labels."""
        self._active = torch.empty(0, dtype=torch.int64)
        """Rows of episodes that are not discarded."""

    def __len__(self) -> int:
        """Chunks added, those of discarded episodes included."""
        return self._count

    @property
    def sampleable(self) -> int:
        """Chunks that can be drawn."""
        return len(self._active)

    @property
    def in_files(self) -> bool:
        """Whether any of it has outgrown plain memory."""
        return any(column.in_file for column in self._columns())

    @property
    def nbytes(self) -> int:
        """Of all columns, in memory and in files, with the room that is not used yet."""
        return sum(column.data.nbytes for column in self._columns())

    @property
    def episodes(self) -> list[int]:
        """In the order in which they were added."""
        return list(self._spans)

    def add_episode(self, transitions: Sequence[Transition], *, prior: bool = False) -> None:
        """Append one whole episode; it is drawn from once it has a label (`set_labels`).

        Its chunks are prior data if `prior` is set, or where a person acted. Raises `BadObservation` or `BadAction`
        for numbers that are not finite, `SpecMismatch` for wrong sizes, which name the episode, and `DiskError` when
        there is no room for it. Nothing of it is kept then; after a `DiskError` it may be added again.
        """
        ahead, before = _windows(transitions, self._config.td_steps)
        rows = self._pack(transitions, ahead, before)
        episode, first, end = transitions[0].episode, self._count, self._count + len(rows)
        if episode in self._spans:
            raise SpecMismatch(f"episode {episode} is already in the replay; each is added once")
        extra = {} if self._make_extras is None else self._make_extras(transitions)
        for name, values in extra.items():
            _require_finite(values, BadObservation if "z" in name else BadAction, episode, name)
            if name not in self._extra:
                self._extra[name] = self._column(values.shape[1])
        flags = np.array([[prior or t.source is Source.HUMAN] for t in transitions])
        worth = np.where(ahead == len(ahead) - 1, before, -1.0)[:, None]
        parts = [(self._rows, 1, rows), (self._prior, 1, flags), (self._worth, 1, worth.astype(np.float32))]
        for name, values in extra.items():
            shown = values[ahead] if name.startswith("next_") else values
            parts.append((self._extra[name], 1, shown.astype(np.float32)))
        if pairs := self._config.pool:
            pool = np.concatenate(self._make_pool(transitions), -1).astype(np.float32)
            _require_finite(pool, BadAction, episode, "pool")
            parts.append((self._pool, pairs, pool.reshape(-1, pool.shape[-1])))
        for column, each, _ in parts:
            column.make_room(end * each)
        for column, each, values in parts:
            column.put(first * each, torch.from_numpy(values))
        self._count = end
        self._spans[episode] = _Span(first, end, transitions[-1].truncated)

    def set_labels(self, labels: Mapping[int, LabelValue]) -> None:
        """Take `labels` (episode -> value) as the truth; episodes without one, or discarded, are not drawn."""
        outcome = torch.zeros(self._count, 2)
        active = []
        for episode, (first, end, truncated) in self._spans.items():
            value = labels.get(episode, LabelValue.DISCARD)
            if value is LabelValue.DISCARD:
                continue
            active.append(torch.arange(first, end))
            success = value is LabelValue.SUCCESS
            worth, final = self._worth.data[first:end, 0], success or not truncated or self._config.timeouts_terminal
            outcome[first:end, 0] = worth.clamp(min=0.0) * float(success)
            outcome[first:end, 1] = (worth >= 0) * float(final)
        self._outcome = outcome.to(self._device)
        self._active = torch.cat(active) if active else torch.empty(0, dtype=torch.int64)

    def sample(self, size: int, generator: torch.Generator) -> Batch:
        """`size` chunks, drawn uniformly with replacement, from prior and online data by their shares."""
        index = self._draw(size, generator).to(self._device)
        parts = self._rows.data.index_select(0, index).split(self._widths, dim=1)
        features, next_features, executed, steer, discount = parts
        reward, done = self._outcome.index_select(0, index).unbind(1)
        pool_steer, pool_chunks = self._draw_pool(index, generator)
        extra = {name: column.data.index_select(0, index) for name, column in self._extra.items()}
        return Batch(
            features, next_features, executed, steer, reward, discount[:, 0], done, pool_steer, pool_chunks, extra
        )

    def _draw(self, size: int, generator: torch.Generator) -> Tensor:
        """[size] rows; where one of the two kinds of data has none, all come from the other."""
        if not self._prior_share:
            return self._active.index_select(0, torch.randint(len(self._active), (size,), generator=generator))
        is_prior = self._prior.data[self._active, 0]
        kinds = self._active[is_prior], self._active[~is_prior]
        count = round(size * self._prior_share)
        if not len(kinds[0]) or not len(kinds[1]):
            count = size if len(kinds[0]) else 0
        drawn = [
            kind[torch.randint(len(kind), (wanted,), generator=generator)]
            for kind, wanted in zip(kinds, (count, size - count), strict=True)
            if wanted
        ]
        return torch.cat(drawn)

    def _draw_pool(self, index: Tensor, generator: torch.Generator) -> tuple[Tensor | None, Tensor | None]:
        pairs, draws = self._config.pool, self._config.distill_steps
        if not pairs:
            return None, None
        which = index * pairs + torch.randint(pairs, (draws, len(index)), generator=generator).to(index.device)
        drawn = self._pool.data.index_select(0, which.reshape(-1)).view(draws, len(index), -1)
        size = self._layout.noise_size
        return drawn[..., :size], drawn[..., size:]

    def _columns(self) -> list[Column]:
        return [self._rows, self._pool, *self._extra.values()]

    def _column(self, width: int) -> Column:
        return Column(width, device=self._device, folder=self._folder)

    def _pack(self, transitions: Sequence[Transition], ahead: Array, before: Array) -> Array:
        """[n, width] float32; `ahead` and `before` as of `_windows`."""
        if not transitions:
            raise SpecMismatch("expected an episode of at least one chunk, got none; discard it")
        episode, spec = transitions[0].episode, self._layout.spec

        def gather(name: str, arrays: list[Array], shape: tuple[int, ...], error: type[RobotRLError]) -> Array:
            wrong = next((array.shape for array in arrays if array.shape != shape), None)
            if wrong is not None:
                raise SpecMismatch(
                    f"episode {episode}: expected {name} {list(shape)}, got {list(wrong)}; "
                    "was it recorded with another method or policy?"
                )
            stacked = np.stack(arrays)
            _require_finite(stacked, error, episode, name)
            return stacked

        features = gather("features", [t.features for t in transitions], (spec.features,), BadObservation)
        following = gather("next features", [t.next_features for t in transitions], (spec.features,), BadObservation)
        chunk = (spec.horizon, spec.action_space.size)
        executed = gather("executed chunk", [t.executed_chunk for t in transitions], chunk, BadAction)
        steer = gather("steer", [t.steer for t in transitions], (self._layout.size,), BadAction)
        discounts = gather("discount", [np.array([t.discount]) for t in transitions], (1,), BadAction)
        discount = before[:, None] * discounts[ahead]
        parts = [features, following[ahead], self._layout.normalise(executed), steer, discount]
        return np.concatenate(parts, axis=1).astype(np.float32)


def _windows(transitions: Sequence[Transition], steps: int) -> tuple[Array, Array]:
    """Of each of n chunks, the last of the `steps` that begin with it [n] int, and the discount before that one [n]."""
    count = len(transitions)
    discounts = np.array([t.discount for t in transitions])
    ahead = np.minimum(np.arange(count) + steps, count) - 1
    return ahead, np.array([discounts[row:last].prod() for row, last in enumerate(ahead)])


def _require_finite(part: Array, error: type[RobotRLError], episode: int, name: str) -> None:
    bad = np.flatnonzero(~(np.abs(part) < LARGEST).all(axis=tuple(range(1, part.ndim))))
    if bad.size:
        got = np.abs(part[bad[0]]).max()
        words = f"{got:.3g}" if np.isfinite(got) else "NaN or inf"
        raise error(
            f"episode {episode}, chunk {bad[0]}: {name} must be finite and below {LARGEST:g}, got {words}; "
            "it is not trained on"
        )
