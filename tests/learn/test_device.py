"""Where a learner computes: what is not there is refused, and what an update touches is all moved.

No GPU is needed: on torch's meta device, which has shapes and no numbers, an operation that would mix devices raises.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from robot_rl.errors import ConfigError
from robot_rl.learn.device import Device
from robot_rl.learn.learner import METHODS, Learner
from robot_rl.types import LabelValue
from tests.learn.bandit import chunks, config_of, spec_of

META = torch.device("meta")
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
needs_none = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")


class PlainDecoder:
    """Adds a number of its own, which must have moved with it."""

    def __init__(self) -> None:
        self._offset = torch.full((1,), 1e-3)

    def to(self, device: torch.device) -> None:
        self._offset = self._offset.to(device)

    def reconstruct(self, latent: Tensor) -> Tensor:
        return latent + self._offset

    def decode(self, features: Tensor, noise: Tensor) -> Tensor:
        return 0.005 * noise.tanh() + 0.001 * features[:, :1, None] + self._offset


def learner(method: str, pool: int, device: Device) -> Learner:
    config = config_of(method).model_copy(update={"warmup_episodes": 0, "hidden": 16, "pool": pool, "batch": 16})
    subject = Learner(spec_of(method), method, config, PlainDecoder(), seed=0, device=device)
    for number in range(1, 5):
        subject.add_episode(chunks(number, 3, subject.layout.size))
    return subject


@needs_none
def test_a_device_that_is_not_there_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"compute\.device: cuda.*take device: cpu"):
        learner("usr", 0, "cuda")


@pytest.mark.parametrize("method", sorted(METHODS))
def test_nothing_that_an_update_touches_stays_behind(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robot_rl.learn.learner.require_device", lambda device: META)
    subject = learner(method, 0, "cuda")
    assert not subject.refused
    replay, generator = subject.replay, subject._generator
    replay._active, replay._outcome = torch.arange(12), torch.zeros(12, 2, device=META)  # labels read what was added
    log = subject._method.update(replay.sample(16, generator))
    subject._published.follow()
    assert {value.device for value in log.values()} == {META}
    assert {tensor.device for part in subject._parts().values() for tensor in part.state().values()} == {META}


@cuda
@pytest.mark.parametrize("method", sorted(METHODS))
def test_updates_on_cuda_are_those_on_the_cpu(method: str) -> None:
    pool = 3 if method in ("usr", "dsrl-na", "lp-ds") else 0
    subjects = [learner(method, pool, device) for device in ("cpu", "cuda")]
    for subject in subjects:
        subject.set_labels({k: LabelValue.SUCCESS if k % 2 else LabelValue.FAILURE for k in range(1, 5)})
        subject.learn(3)
    mine, other = (subject.actor_arrays() for subject in subjects)
    assert all(np.allclose(mine[name], other[name], atol=1e-4) for name in mine)
