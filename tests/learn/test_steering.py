"""Steering in torch is the layout in numpy, decoded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.learn.steering import Steering
from tests.learn.bandit import SPEC, WITH_RESIDUAL, BimodalDecoder


@pytest.mark.parametrize("noise_layout", ["full", "repeat"])
@pytest.mark.parametrize("residual_layout", ["none", "constant", "per_step"])
def test_it_makes_the_chunk_that_the_actor_would_execute(noise_layout: str, residual_layout: str) -> None:
    config = WITH_RESIDUAL.model_copy(update={"noise_layout": noise_layout, "residual_layout": residual_layout})
    layout, decoder = SteeringLayout(SPEC, config), BimodalDecoder()
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, SPEC.features, generator=generator)
    steer = torch.rand(6, layout.size, generator=generator) * 2 - 1
    noise, residual = layout.split(steer.numpy())
    executed = decoder.decode(features, torch.from_numpy(noise)).numpy() + residual
    chunk = Steering(layout, config, decoder).act(features, steer)
    assert np.allclose(chunk, layout.normalise(executed), atol=1e-5)


def test_drawn_noise_covers_the_actors_range_and_no_more() -> None:
    config = WITH_RESIDUAL.model_copy(update={"noise_bound": 1.5})
    drawn = Steering(SteeringLayout(SPEC, config), config, BimodalDecoder()).draw_noise(
        4000, torch.Generator().manual_seed(0)
    )
    assert drawn.min() == -1
    assert drawn.max() == 1
    assert abs(float((drawn.abs() < 1).float().mean()) - 0.866) < 0.01  # P(|w| < 1.5)
    assert abs(float((drawn * 1.5).abs().median()) - 0.6745) < 0.02  # N(0, 1) inside the bound
