"""Objectives, heads, bins and encoders, each by what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from robot_rl.policy.backbones.bins import Bins, cluster
from robot_rl.policy.backbones.decoder import ChunkDecoder
from robot_rl.policy.backbones.diffusion import Diffusion, schedule
from robot_rl.policy.backbones.objectives import Flow
from robot_rl.policy.backbones.resnet import PictureEncoder, where
from robot_rl.policy.backbones.settings import BackboneConfig
from robot_rl.policy.backbones.unet import UnetHead
from tests.policy.backbones.conftest import small
from tests.policy.conftest import SPACE

NOISE = torch.randn(512, 4, 2, generator=torch.Generator().manual_seed(0))
C = torch.zeros(512, 3)


def test_the_noise_of_a_diffusion_rises_from_nothing_to_all() -> None:
    kept = schedule(100)
    assert kept[0] == 1
    assert (kept.diff() < 0).all()
    assert kept[50] == pytest.approx(math.cos(math.pi / 2 * 0.508 / 1.008) ** 2, abs=1e-3)
    assert kept[100] < 1e-4


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
@pytest.mark.parametrize(("steps", "error"), [(5, 0.15), (20, 0.06)])
def test_ddim_carries_noise_to_the_distribution_that_its_head_knows(prediction: str, steps: int, error: float) -> None:
    """For chunks from N(m, s^2) the best estimates are known, and the noise must come out stretched by s about m.

    Not exactly: it begins where a tenth of the signal is left as if there was none, and its steps are finite.
    """
    mean, std = 1.0, 0.5
    kept = schedule(100)

    def head(x: Tensor, k: Tensor, c: Tensor) -> Tensor:
        signal, spread = (float(part[round(float(k[0]) * 100)].sqrt()) for part in (kept, 1 - kept))
        clean = mean + std**2 * signal / (std**2 * signal**2 + spread**2) * (x - signal * mean)
        return clean if prediction == "sample" else (x - signal * clean) / spread

    made = Diffusion(100, steps, prediction).sample(head, NOISE, C)  # type: ignore[arg-type]
    assert made.mean() == pytest.approx(mean, abs=error)
    assert made.std() == pytest.approx(std, abs=error)
    together = torch.corrcoef(torch.stack([made.flatten(), NOISE.flatten()]))[0, 1]
    assert together > 0.99  # deterministic: noise decides, and larger noise is a larger action


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_the_diffusions_loss_is_of_what_is_predicted(prediction: str) -> None:
    chunk = torch.full((512, 4, 2), 3.0)
    zero = Diffusion(100, 10, prediction).loss(lambda x, k, c: torch.zeros_like(x), chunk, C)  # type: ignore[arg-type]
    assert zero == pytest.approx(9.0 if prediction == "sample" else 1.0, abs=0.1)


def test_a_flow_that_knows_the_chunk_arrives_there() -> None:
    chunk = torch.linspace(-1, 1, 8).view(4, 2)
    made = Flow(8).sample(lambda x, k, c: chunk.expand_as(x), NOISE, C)
    torch.testing.assert_close(made, chunk.expand_as(made), atol=1e-6, rtol=0)


@pytest.mark.parametrize("channels", [(8,), (8, 16), (8, 16, 24)])
def test_a_unet_gives_a_chunks_shape_and_hears_everything(channels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    head, x, k, c = UnetHead(2, 3, channels, 3), torch.randn(2, 8, 2), torch.full((2,), 0.5), torch.randn(2, 3)
    made = head(x, k, c)
    assert made.shape == x.shape
    for other in (head(x + 1, k, c), head(x, k / 2, c), head(x, k, c + 1)):
        assert (made - other).abs().max() > 1e-3


def test_k_means_finds_the_ways_of_doing_it() -> None:
    torch.manual_seed(0)
    ways = torch.tensor([[-2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
    chunks = (ways.repeat(50, 1) + 0.05 * torch.randn(150, 2)).view(150, 2, 1)
    centres = cluster(chunks, 3).view(3, 2)
    assert torch.cdist(ways, centres).amin(dim=1).max() < 0.05
    assert len(cluster(chunks[:1].repeat(4, 1, 1), 3)) == 3  # fewer chunks than bins


def two_ways(choice: str) -> Bins:
    """Trained where half of the experts go left and half go right, whatever the condition."""
    torch.manual_seed(0)
    chunks = torch.tensor([-1.0, 1.0]).repeat(32)[:, None, None] * torch.ones(64, 4, 2)
    bins = Bins(3, 2, 4, 2, choice)  # type: ignore[arg-type]
    bins.get_buffer("centres").copy_(cluster(chunks, 2) * 0.8)
    optimiser = torch.optim.Adam(bins.parameters(), 1e-3)
    for _ in range(40):
        loss = bins.loss(chunks, torch.randn(64, 3))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return bins


def test_bins_do_one_or_the_other_and_never_the_middle() -> None:
    bins, likeliest = two_ways("drawn"), two_ways("likeliest")
    features = torch.from_numpy(np.random.default_rng(0).standard_normal((200, 5)).astype(np.float32))
    with torch.no_grad():
        made = bins.chunk(torch.zeros(200, 3), features)
        assert (made.abs() - 1).abs().max() < 0.3
        left = float((made[:, 0, 0] < 0).float().mean())
        assert 0.25 < left < 0.75  # drawn by the features
        assert torch.equal(made[:7], bins.chunk(torch.zeros(7, 3), features[:7]))  # and by nothing else
        same = likeliest.chunk(torch.zeros(200, 3), features)
        assert torch.equal(same, same[:1].expand_as(same))


def test_the_spatial_softmax_says_where() -> None:
    maps = torch.full((1, 2, 5, 9), -20.0)
    maps[0, 0, 1, 8] = maps[0, 1, 4, 0] = 20.0
    torch.testing.assert_close(where(maps), torch.tensor([[1.0, -1.0, -0.5, 1.0]]), atol=1e-5, rtol=0)


def test_an_encoder_is_a_resnet_18_and_sees_where_a_spot_is() -> None:
    torch.manual_seed(0)
    whole = PictureEncoder(64, 32, 64)
    convolutions = [module for module in whole.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) - 3 - 1 == 17  # without three shortcuts and the keypoints' own; the 18th layer is linear
    assert sum(p.numel() for p in whole.blocks.parameters()) == pytest.approx(11.17e6, rel=0.005)
    small = PictureEncoder(8, 8, 16)
    pictures = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    pictures[0, 8:16, 8:16], pictures[1, 48:56, 48:56] = 255, 255
    one, other = small(pictures)
    assert (one - other).abs().max() > 0.1
    assert one.std().item() == pytest.approx(1.0, abs=0.1)


def test_a_turned_bottleneck_gives_the_same_chunks_from_a_turned_latent() -> None:
    torch.manual_seed(0)
    settings = BackboneConfig()
    chunks = ChunkDecoder(small({}), settings, SPACE, features=11)
    features, noise, drawn = torch.randn(5, 11), torch.randn(5, 8, 4), torch.randn(5, 8)
    before = chunks.latent_of(features, drawn)
    decoded = chunks.decode(features, noise, before)
    assert chunks.bottleneck is not None
    for seed in (1, 2):  # twice: turns add up
        torch.manual_seed(seed)
        chunks.bottleneck.turn_by(torch.linalg.qr(torch.randn(8, 8))[0])
    after = chunks.latent_of(features, drawn)
    assert not torch.allclose(after, before, atol=0.1)
    assert torch.allclose(chunks.decode(features, noise, after), decoded, atol=1e-6)
