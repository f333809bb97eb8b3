"""DSRL-NA learns what it is for: to choose a mode, and nothing that the decoder cannot do."""

from __future__ import annotations

import pytest

from robot_rl.errors import SpecMismatch
from robot_rl.learn.learner import Learner
from tests.learn.bandit import SMALL, SPEC, WITH_RESIDUAL, BimodalDecoder, run, success_rate


@pytest.mark.parametrize("settings", [{}, {"noise_layout": "repeat", "pool": 0, "bootstrap": "distilled"}])
def test_it_chooses_the_mode(settings: dict[str, object]) -> None:
    learner = Learner(SPEC, "dsrl-na", SMALL.model_copy(update=settings), BimodalDecoder(), seed=1)
    before = success_rate(learner.adapter(), 0.0)
    run(learner, 40, 0.0)
    assert 0.3 < before < 0.7
    assert success_rate(learner.adapter(), 0.0) > 0.9


def test_it_cannot_leave_what_the_decoder_decodes() -> None:
    learner = Learner(SPEC, "dsrl-na", SMALL, BimodalDecoder(), seed=1)
    run(learner, 40, 0.001)
    assert success_rate(learner.adapter(), 0.001) < 0.1


def test_a_residual_is_refused() -> None:
    with pytest.raises(SpecMismatch, match="dsrl-na does not steer the residual"):
        Learner(SPEC, "dsrl-na", WITH_RESIDUAL, BimodalDecoder(), seed=0)
