"""Replay: labels are folded in when sampling, and bad data is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.errors import BadAction, BadObservation, RobotRLError, SpecMismatch
from robot_rl.learn.replay import Batch, Replay
from robot_rl.types import Array, LabelValue, Transition
from tests.learn.bandit import SPEC, A, F, T, chunks

PAIRS = 4
N = T * A
SUCCESS, FAILURE, DISCARD = LabelValue.SUCCESS, LabelValue.FAILURE, LabelValue.DISCARD


def pool_of_indices(transitions: Sequence[Transition]) -> tuple[Array, Array]:
    """Pairs that carry the state's first feature, so that a test sees where a pair came from."""
    first = np.array([t.features[0] for t in transitions], np.float32)
    return np.tile(first[:, None, None], (1, PAIRS, N)), np.tile(first[:, None, None], (1, PAIRS, T * A))


def replay(**settings: Any) -> Replay:
    config = MethodConfig(pool=PAIRS, distill_steps=2, **settings)
    return Replay(SteeringLayout(SPEC, config), config, pool_of_indices)


def sample(buffer: Replay, size: int = 400) -> Batch:
    return buffer.sample(size, torch.Generator().manual_seed(0))


def outcomes(batch: Batch, transition: Transition) -> set[tuple[float, float]]:
    """(reward, done) of every draw of `transition`."""
    drawn = (batch.features == torch.from_numpy(transition.features)).all(1)
    assert drawn.any()
    return set(zip(batch.reward[drawn].tolist(), batch.done[drawn].tolist(), strict=True))


def test_only_the_last_chunk_of_a_success_earns() -> None:
    buffer, won, lost = replay(), chunks(1, 3, N), chunks(2, 3, N)
    buffer.add_episode(won)
    buffer.add_episode(lost)
    buffer.set_labels({1: SUCCESS, 2: FAILURE})
    batch = sample(buffer)
    assert [outcomes(batch, t) for t in won] == [{(0, 0)}, {(0, 0)}, {(1, 1)}]
    assert [outcomes(batch, t) for t in lost] == [{(0, 0)}, {(0, 0)}, {(0, 1)}]


def test_a_corrected_label_counts_from_the_next_batch_on() -> None:
    buffer, episode = replay(), chunks(1, 2, N)
    buffer.add_episode(episode)
    buffer.set_labels({1: SUCCESS})
    assert outcomes(sample(buffer), episode[-1]) == {(1, 1)}
    buffer.set_labels({1: FAILURE})
    assert outcomes(sample(buffer), episode[-1]) == {(0, 1)}


@pytest.mark.parametrize(
    ("truncated", "timeouts_terminal", "label", "done"),
    [
        (True, False, FAILURE, 0.0),
        (True, True, FAILURE, 1.0),
        (True, False, SUCCESS, 1.0),
        (False, False, FAILURE, 1.0),
        (False, True, FAILURE, 1.0),
    ],
)
def test_a_time_out_is_terminal_only_as_a_setting(
    truncated: bool, timeouts_terminal: bool, label: LabelValue, done: float
) -> None:
    buffer, episode = replay(timeouts_terminal=timeouts_terminal), chunks(1, 2, N, truncated=truncated)
    buffer.add_episode(episode)
    buffer.set_labels({1: label})
    assert outcomes(sample(buffer), episode[-1]) == {(float(label is SUCCESS), done)}


@pytest.mark.parametrize("labels", [{1: SUCCESS, 2: DISCARD}, {1: SUCCESS}])
def test_discarded_and_unlabelled_episodes_are_never_drawn(labels: dict[int, LabelValue]) -> None:
    buffer, other = replay(), chunks(2, 3, N)
    buffer.add_episode(chunks(1, 3, N))
    buffer.add_episode(other)
    buffer.set_labels(labels)
    assert buffer.sampleable == 3
    assert len(buffer) == 6
    with pytest.raises(AssertionError):
        outcomes(sample(buffer), other[0])
    buffer.set_labels({1: SUCCESS, 2: FAILURE})
    assert outcomes(sample(buffer), other[0]) == {(0, 0)}


def test_a_batch_holds_what_was_recorded() -> None:
    buffer, episode = replay(), chunks(1, 1, N)
    buffer.add_episode(episode)
    buffer.set_labels({1: SUCCESS})
    batch, only = sample(buffer, 5), episode[0]
    assert batch.features.shape == (5, F)
    assert batch.executed.shape == (5, T * A)
    assert np.array_equal(batch.next_features[0], only.next_features)
    assert np.array_equal(batch.steer[0], only.steer)
    assert batch.discount[0] == np.float32(0.97)
    executed = only.executed_chunk.reshape(-1) / 0.01
    executed[3::4] = (only.executed_chunk[:, 3] - 0.04) / 0.04
    assert np.allclose(batch.executed[0], executed, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
@pytest.mark.parametrize(("label", "bootstrapped"), [(SUCCESS, False), (FAILURE, False), (FAILURE, True)])
def test_a_target_bootstraps_after_so_many_chunks(steps: int, label: LabelValue, bootstrapped: bool) -> None:
    """Against the sum that defines an n-step return."""
    buffer = replay(td_steps=steps, timeouts_terminal=not bootstrapped)
    episode = [
        replace(t, discount=0.9 + 0.01 * number) for number, t in enumerate(chunks(1, 5, N, truncated=bootstrapped))
    ]
    buffer.add_episode(episode)
    buffer.set_labels({1: label})
    batch = sample(buffer)
    for first, transition in enumerate(episode):
        window = episode[first : first + steps]
        earned = [float(label is SUCCESS and t is episode[-1]) for t in window]
        discounts = [1.0, *np.cumprod([t.discount for t in window])]
        drawn = (batch.features == torch.from_numpy(transition.features)).all(1)
        assert drawn.any()
        assert np.allclose(batch.reward[drawn], sum(d * r for d, r in zip(discounts, earned, strict=False)))
        assert np.allclose(batch.discount[drawn], discounts[-1])
        assert (batch.next_features[drawn] == torch.from_numpy(window[-1].next_features)).all()
        assert (batch.done[drawn] == float(window[-1] is episode[-1] and not bootstrapped)).all()


def test_all_that_is_called_next_is_of_the_state_at_which_a_target_bootstraps() -> None:
    def numbers(transitions: Sequence[Transition]) -> dict[str, Array]:
        number = np.arange(len(transitions), dtype=np.float32)[:, None]
        return {"z": number, "next_z": number + 1}

    config = MethodConfig(td_steps=2, pool=0)
    buffer = Replay(SteeringLayout(SPEC, config), config, pool_of_indices, numbers)
    buffer.add_episode(chunks(1, 4, N))
    buffer.set_labels({1: FAILURE})
    extra = sample(buffer).extra
    pairs = set(zip(extra["z"][:, 0].tolist(), extra["next_z"][:, 0].tolist(), strict=True))
    assert pairs == {(0, 2), (1, 3), (2, 4), (3, 4)}


@pytest.mark.parametrize(("name", "chunk"), [("z", 0), ("next_z", 0), ("next_z", 1), ("next_z", 3)])
def test_what_a_method_needs_beside_the_row_is_refused_where_it_is_not_finite(name: str, chunk: int) -> None:
    """Also what no target bootstraps from, with n > 1; and it is named by the chunk that it is of."""

    def numbers(transitions: Sequence[Transition]) -> dict[str, Array]:
        values = {each: np.zeros((len(transitions), 2), dtype=np.float32) for each in ("z", "next_z")}
        values[name][chunk, 1] = np.nan
        return values

    config = MethodConfig(td_steps=3, pool=0)
    buffer = Replay(SteeringLayout(SPEC, config), config, pool_of_indices, numbers)
    with pytest.raises(BadObservation, match=rf"^episode 1, chunk {chunk}: {name} must be finite"):
        buffer.add_episode(chunks(1, 4, N))
    assert len(buffer) == 0


@pytest.mark.parametrize(("value", "words"), [(1e25, "1e\\+25"), (np.inf, "NaN or inf"), (np.nan, "NaN or inf")])
def test_a_number_beyond_all_measure_is_refused_too(value: float, words: str) -> None:
    buffer, episode = replay(), chunks(1, 3, N)
    episode[1] = replace(episode[1], features=np.full_like(episode[1].features, value))
    with pytest.raises(
        BadObservation, match=rf"^episode 1, chunk 1: features must be finite and below 1e\+15, got {words}"
    ):
        buffer.add_episode(episode)
    assert len(buffer) == 0


def test_an_end_is_an_end_where_its_worth_is_nothing() -> None:
    buffer, episode = replay(td_steps=3), [replace(t, discount=0.0) for t in chunks(1, 3, N)]
    buffer.add_episode(episode)
    buffer.set_labels({1: FAILURE})
    assert set(sample(buffer).done.tolist()) == {1.0}


def test_pool_pairs_are_those_of_their_state() -> None:
    buffer = replay()
    for number in (1, 2):
        buffer.add_episode(chunks(number, 3, N))
    buffer.set_labels({1: SUCCESS, 2: FAILURE})
    batch = sample(buffer)
    assert batch.pool_steer is not None
    assert batch.pool_chunks is not None
    assert batch.pool_steer.shape == (2, 400, N)
    assert batch.pool_chunks.shape == (2, 400, T * A)
    assert torch.equal(batch.pool_steer[1, :, 0], batch.features[:, 0])
    assert torch.equal(batch.pool_chunks[0, :, 0], batch.features[:, 0])


def damaged(field: str, value: Array | float) -> list[Transition]:
    first, second = chunks(7, 2, N)
    return [first, replace(second, **{field: value})]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("features", np.full(F, np.nan, np.float32), BadObservation),
        ("next_features", np.full(F, np.inf, np.float32), BadObservation),
        ("executed_chunk", np.full((T, A), np.nan, np.float32), BadAction),
        ("steer", np.full(N, np.nan, np.float32), BadAction),
        ("discount", float("nan"), BadAction),
        ("features", np.zeros(F + 1, np.float32), SpecMismatch),
        ("executed_chunk", np.zeros((T + 1, A), np.float32), SpecMismatch),
        ("steer", np.zeros(N + 1, np.float32), SpecMismatch),
    ],
)
def test_bad_numbers_and_sizes_are_refused_by_episode(
    field: str, value: Array | float, error: type[RobotRLError]
) -> None:
    buffer = replay()
    buffer.add_episode(chunks(1, 2, N))
    with pytest.raises(error, match="episode 7"):
        buffer.add_episode(damaged(field, value))
    assert len(buffer) == 2
    assert buffer.episodes == [1]


def test_a_pool_with_a_nan_is_refused() -> None:
    config = MethodConfig(pool=PAIRS)

    def bad(transitions: Sequence[Transition]) -> tuple[Array, Array]:
        noise, decoded = pool_of_indices(transitions)
        decoded[-1, -1, -1] = np.nan
        return noise, decoded

    buffer = Replay(SteeringLayout(SPEC, config), config, bad)
    with pytest.raises(BadAction, match="episode 7, chunk 1: pool"):
        buffer.add_episode(chunks(7, 2, N))
    assert len(buffer) == 0


def test_an_episode_is_added_once() -> None:
    buffer = replay()
    buffer.add_episode(chunks(1, 2, N))
    with pytest.raises(SpecMismatch, match="already"):
        buffer.add_episode(chunks(1, 2, N))


def test_rows_added_one_episode_after_the_other_are_those_that_were_given() -> None:
    """However the buffers have grown in between."""
    buffer, places = replay(), set()
    episodes = [chunks(number, 1 + number % 4, N) for number in range(1, 200)]
    for episode in episodes:
        buffer.add_episode(episode)
        places.add(buffer._rows.data.data_ptr())
    given = [transition for episode in episodes for transition in episode]
    assert len(buffer) == len(given)
    assert np.array_equal(buffer._rows.data[: len(buffer), :F].numpy(), np.stack([t.features for t in given]))
    firsts = buffer._pool.data[: PAIRS * len(buffer), 0].view(-1, PAIRS)
    assert np.array_equal(firsts[:, -1].numpy(), np.array([t.features[0] for t in given], np.float32))
    assert len(places) < 30, "the rows are moved now and then, and not for every episode"
    buffer.set_labels(dict.fromkeys(range(1, 200), SUCCESS))
    batch = sample(buffer, 4000)
    assert len(torch.unique(batch.features, dim=0)) == len(given), "what is drawn is what was given, and all of it"
