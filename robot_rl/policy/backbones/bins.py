"""A Behavior-Transformer-like decoder (Shafiullah et al. 2022), without noise: which cluster of chunks, and its offset.

K-means over the demonstrated chunks gives K centres. A transformer over the chunk's steps and the condition gives the
log-probability of each centre, and for each centre the offset of every step from it. A centre is a whole chunk, so its
steps belong to one way of doing the task; the paper's are single actions.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from robot_rl.types import Array

FOCUS = 2.0
"""gamma of the focal loss on the centres (section 3.2 of the paper)."""
OFFSET_WEIGHT = 10.0
"""Of the offset's loss beside the centres'."""
WIDTH, HEADS, BLOCKS = 64, 4, 2
ROUNDS = 50
"""Of k-means, at most."""


class Bins(nn.Module):
    """Conditions [B, E] -> chunks [B, T, A] of unit spread."""

    def __init__(
        self, embedding: int, bins: int, horizon: int, action: int, choice: Literal["likeliest", "drawn"]
    ) -> None:
        super().__init__()
        self._shape, self._choice = (horizon, action), choice
        self.register_buffer("centres", torch.zeros(bins, horizon, action))
        self.read = nn.Linear(embedding, WIDTH)
        self.places = nn.Parameter(torch.randn(horizon + 1, WIDTH) * 0.02)
        block = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, BLOCKS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.which = nn.Linear(WIDTH, bins)
        self.offset = nn.Linear(WIDTH, bins * action)

    def forward(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities [B, K], and each centre's offsets [B, K, T, A]."""
        hidden = self.blocks(self.read(c)[:, None] + self.places)
        offsets = self.offset(hidden[:, 1:]).unflatten(-1, (-1, self._shape[1])).transpose(1, 2)
        return nn.functional.log_softmax(self.which(hidden[:, 0]), dim=1), offsets

    def loss(self, chunk: Tensor, c: Tensor) -> Tensor:
        """Focal loss of the nearest centre, and the squared error of its offset."""
        logs, offsets = self(c)
        centres = self.get_buffer("centres")
        nearest = torch.cdist(chunk.flatten(1), centres.flatten(1)).argmin(dim=1)
        rows = torch.arange(len(chunk))
        log = logs[rows, nearest]
        focal = -((1 - log.exp()) ** FOCUS * log).mean()
        total: Tensor = focal + OFFSET_WEIGHT * nn.functional.mse_loss(centres[nearest] + offsets[rows, nearest], chunk)
        return total

    def chunk(self, c: Tensor, features: Tensor) -> Tensor:
        """The chunk of the chosen centre; `features` [B, F] seed the draw, if one is drawn."""
        logs, offsets = self(c)
        if self._choice == "likeliest":
            chosen = logs.argmax(dim=1)
        else:
            uniform = torch.from_numpy(_uniform(features.detach().cpu().numpy())).to(logs)
            chosen = (logs.exp().cumsum(dim=1) < uniform[:, None]).sum(dim=1).clamp(max=logs.shape[1] - 1)
        chunk: Tensor = self.get_buffer("centres")[chosen] + offsets[torch.arange(len(c), device=c.device), chosen]
        return chunk


@torch.no_grad()
def cluster(chunks: Tensor, bins: int) -> Tensor:
    """k-means: chunks [N, T, A] -> centres [K, T, A]; begun as k-means++ with torch's generator."""
    flat = chunks.flatten(1)
    centres = flat[torch.randint(len(flat), (1,))]
    while len(centres) < bins:
        far = torch.cdist(flat, centres).amin(dim=1).square()
        row = torch.multinomial(far, 1) if float(far.sum()) > 0 else torch.randint(len(flat), (1,))
        centres = torch.cat([centres, flat[row]])
    for _ in range(ROUNDS):
        nearest = torch.cdist(flat, centres).argmin(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, flat)
        counts = torch.bincount(nearest, minlength=bins)[:, None]
        moved = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres.view(bins, *chunks.shape[1:])


def _uniform(features: Array) -> Array:
    """[B, F] -> [B] in [0, 1), each from its row's bytes alone: nothing is remembered, a replay draws the same."""
    digests = (hashlib.blake2b(row.astype("<f4").tobytes(), digest_size=8).digest() for row in features)
    return np.array([int.from_bytes(digest, "little") / 2**64 for digest in digests], np.float32)
