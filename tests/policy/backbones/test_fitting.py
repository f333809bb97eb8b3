from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robot_rl.errors import IntegrityError
from robot_rl.policy.backbones.fitting import Kept, fit
from robot_rl.policy.cloning import one_thread

INPUTS = torch.linspace(-1, 1, 64)[:, None]
STEPS = 60


class Interrupted(Exception):
    pass


def train(kept: Kept | None = None, end: int = STEPS, shown: list[int] | None = None) -> tuple[nn.Module, list[float]]:
    """A line is fitted to noisy draws, as flows are; interrupted after `end` steps."""
    taken = 0

    def loss(rows: Tensor) -> tuple[Tensor, ...]:
        nonlocal taken
        if taken == end:
            raise Interrupted
        taken += 1
        error = nn.functional.mse_loss(net(INPUTS[rows]), 2 * INPUTS[rows] + torch.randn(len(rows), 1))
        return error, error.sqrt()

    with one_thread(0):
        net = nn.Linear(1, 1)
        return fit(
            "line", net, loss, len(INPUTS), steps=STEPS, batch=8, learning_rate=0.1, kept=kept,
            progress=lambda stage, step, steps, value: None if shown is None else shown.append(step),
        )  # fmt: skip


@pytest.mark.parametrize("end", [1, 30, 57])
def test_an_interrupted_training_ends_with_the_bits_of_a_whole_one(end: int, tmp_path: Path) -> None:
    whole, losses = train()
    kept = Kept(tmp_path / "line.training", "this one", every_s=0.0)
    with pytest.raises(Interrupted):
        train(kept, end)
    resumed, again = train(kept, STEPS - end)  # has no more calls of the loss left than were missing
    assert again == losses
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    finished, once_more = train(kept, 0)
    assert once_more == losses
    assert torch.equal(next(finished.parameters()), next(whole.parameters()))


def test_the_training_of_something_else_is_not_taken_up(tmp_path: Path) -> None:
    train(Kept(tmp_path / "line.training", "another", every_s=0.0))
    with pytest.raises(Interrupted):
        train(Kept(tmp_path / "line.training", "this one"), 0)


def test_what_is_no_training_is_said_and_not_overwritten(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "line.training", "this one")
    kept.path.write_bytes(b"nothing of the kind")
    with pytest.raises(IntegrityError, match=r"line\.training.*remove it to start anew"):
        train(kept)
    assert kept.path.read_bytes() == b"nothing of the kind"
    kept.forget()
    kept.forget()
    train(kept)


def test_the_last_step_is_shown_and_the_averaged_weights_are_near(tmp_path: Path) -> None:
    shown: list[int] = []
    line, (squared, root) = train(shown=shown)
    assert shown[-1] == STEPS
    assert abs(next(line.parameters()).item() - 2) < 0.5
    assert 0.3 < squared < 2.5
    assert root < squared**0.5 + 1e-6
