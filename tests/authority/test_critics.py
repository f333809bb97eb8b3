"""The critic check: on critics whose values are known, and on a run of the real twin."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robot_rl.authority.critics import State, check_critics, correlate, critics_of, draw
from robot_rl.errors import ConfigError
from robot_rl.learn.learner import Learner
from robot_rl.methods import METHODS
from robot_rl.task_files import method_config
from tests.learn.bandit import SPEC, F, config_of, decoder_of, spec_of
from tests.learn.bandit import chunks as transitions

PAIRED = ("usr", "dsrl-na", "lp-ds")


def learner_of(method: str, **settings: Any) -> Learner:
    return Learner(spec_of(method), method, config_of(method, **settings), decoder_of(method), seed=0)


class Known:
    """A method whose critics are given functions of what they judge [B, judged] -> values [B]."""

    def __init__(self, on_steers: Callable[[Tensor], Tensor], on_actions: Callable[[Tensor], Tensor]) -> None:
        self._pair = [
            lambda x, frozen: on_steers(x[:, F:])[None, :, None],
            lambda x, frozen: on_actions(x[:, F:])[None, :, None],
        ]

    def critics(self) -> Any:
        return tuple(self._pair)


def states(learner: Learner, count: int = 12) -> list[State]:
    """Judged by `y_off`: how far a draw's chunk is from the right, in its second entry."""
    found = []
    for transition in transitions(1, count, learner.layout.size):
        steers, drawn = draw(learner, transition.features, torch.Generator().manual_seed(transition.index))
        found.append(State(transition, transition.index % 2 == 0, {"y_off": -drawn[:, 1]}, steers, drawn))
    return found


def test_a_steer_that_nobody_knows_is_not_compared() -> None:
    """As an expert's, which `train-offline` has taken over: 0 stands in its place."""
    learner, count = learner_of("dsrl-na"), 12
    judged = with_critics(learner, lambda w: w[:, 1], lambda a: a[:, 1])
    every = states(learner, count)
    some = [replace(one, steer_known=place % 3 == 0) for place, one in enumerate(every)]
    assert check_critics(judged, every)["executed: steers, actions"].n == count
    found = check_critics(judged, some)
    assert found["executed: steers, actions"].n == found["executed: steers, success"].n == count / 3
    assert found["executed: actions, success"].n == count
    none = check_critics(judged, [replace(one, steer_known=False) for one in every])
    assert math.isnan(none["executed: steers, actions"].pearson)


def with_critics(learner: Learner, *pair: Callable[[Tensor], Tensor]) -> Learner:
    learner._method = Known(*pair)  # type: ignore[assignment]
    return learner


def test_critics_that_know_the_variable_are_told_from_one_that_does_not() -> None:
    learner = learner_of("dsrl-na")
    # The bandit's decoder goes where its second noise entry says: one critic judges that, the other the chunk's y.
    found = check_critics(with_critics(learner, lambda w: w[:, 1], lambda a: a[:, 1]), states(learner))
    assert found["within: steers, actions"].spearman > 0.9
    assert found["within: actions, y_off"].pearson == pytest.approx(-1.0)
    assert found["within: steers, y_off"].spearman < -0.9
    blind = check_critics(with_critics(learner, lambda w: w[:, 0], lambda a: a[:, 1]), states(learner))
    assert abs(blind["within: steers, actions"].spearman) < 0.3
    assert blind["within: steers, actions"].n == 12


def test_agreeing_about_states_alone_is_not_agreeing_within_them() -> None:
    """Both know the same of what was executed, and nothing of the draws."""
    learner = learner_of("dsrl-na")
    known = check_critics(with_critics(learner, lambda w: w.sum(1) * 0, lambda a: a[:, 1]), states(learner))
    assert np.isnan(known["within: steers, actions"].pearson)
    assert known["within: steers, actions"].n == 0


@pytest.mark.parametrize("method", METHODS)
def test_only_methods_with_two_critics_are_checked(method: str) -> None:
    learner = learner_of(method)
    if method in PAIRED:
        steers, actions = critics_of(learner)
        assert steers.sizes[0] == F + learner.layout.size
        assert actions.sizes[0] == F + learner.layout.chunk_size
    else:
        with pytest.raises(ConfigError, match="single critic"):
            critics_of(learner)


def test_lp_ds_by_td_has_one_critic() -> None:
    with pytest.raises(ConfigError, match="single critic"):
        critics_of(Learner(SPEC, "lp-ds", method_config("lp-ds", critic="td", pool=0), decoder_of("lp-ds"), seed=0))


def test_draws_are_the_distillations_and_decode_to_their_chunks() -> None:
    learner = learner_of("usr")
    features = np.array([0.5, 1.0, 0.0], np.float32)
    steers, chunks = draw(learner, features, torch.Generator().manual_seed(0))
    assert steers.shape == (32, learner.layout.size)
    assert np.abs(steers).max() <= 1
    again = learner.steering.act(torch.from_numpy(features).expand(32, -1), torch.from_numpy(steers))
    assert np.array_equal(chunks, again.numpy())
    assert SPEC.features == F


def test_a_correlation_is_exact_and_unknown_without_variation() -> None:
    a = np.arange(5.0)
    assert correlate(a, -(a**3)).spearman == pytest.approx(-1.0)
    assert correlate(a, 2 * a).pearson == pytest.approx(1.0)
    assert np.isnan(correlate(a, np.ones(5)).pearson)
    assert np.isnan(correlate(a[:2], a[:2]).spearman)
