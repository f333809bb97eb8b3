"""Training that can be interrupted: AdamW under a cosine, averaged weights, and all of its state in one file.

A training that is taken up again goes on with the same bits as one that was never interrupted: networks, moments and
random generator are kept. The file is safetensors, written whole or not at all.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from robot_rl.errors import IntegrityError
from robot_rl.policy.cloning import EMA, Progress
from robot_rl.store.files import atomic_write

Net = TypeVar("Net", bound=nn.Module)
KEEP_EVERY_S = 60.0
SHOW_EVERY_S = 0.5
WARM_UP = 0.03
"""Share of the steps in which the learning rate rises."""
WEIGHT_DECAY = 0.1


@dataclass(frozen=True)
class Kept:
    """Where a training is kept, and what it is of: another one's file is not taken up."""

    path: Path
    of: str
    every_s: float = KEEP_EVERY_S

    def forget(self) -> None:
        """It is finished."""
        self.path.unlink(missing_ok=True)


@dataclass
class _Fit:
    """The state of a training."""

    net: nn.Module
    averaged: nn.Module
    optimiser: torch.optim.AdamW
    step: int
    tail: Tensor
    """Sum of the reported numbers over the last tenth of the steps."""

    def tensors(self) -> dict[str, Tensor]:
        found = {"generator": torch.get_rng_state(), "tail": self.tail}
        for name, net in (("net", self.net), ("averaged", self.averaged)):
            found |= {f"{name}.{key}": value.contiguous() for key, value in net.state_dict().items()}
        for i, parameter in enumerate(self.net.parameters()):
            found |= {f"moments.{i}.{key}": value for key, value in self.optimiser.state[parameter].items()}
        return {name: value.clone() for name, value in found.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Raises `KeyError` or `RuntimeError` for what `tensors` of another network said."""
        for name, net in (("net", self.net), ("averaged", self.averaged)):
            prefix = f"{name}."
            net.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        for i, parameter in enumerate(self.net.parameters()):
            names = ("step", "exp_avg", "exp_avg_sq")
            self.optimiser.state[parameter] = {key: tensors[f"moments.{i}.{key}"] for key in names}
        self.tail = tensors["tail"]
        torch.set_rng_state(tensors["generator"])


def fit(
    stage: str,
    net: Net,
    loss: Callable[[Tensor], tuple[Tensor, ...]],
    size: int,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    progress: Progress | None = None,
    kept: Kept | None = None,
) -> tuple[Net, list[float]]:
    """`loss` of a batch of row numbers below `size`: what to minimise, then what else to report.

    Returns the averaged network and the means of the reported numbers over the last tenth of the steps. Raises
    `IntegrityError` for a kept training that cannot be read.
    """
    averaged = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY, fused=True)
    state = _Fit(net, averaged, optimiser, 0, torch.zeros(()))
    if kept is not None and kept.path.exists():
        _take_up(state, kept)
    first_of_tail = math.floor(0.9 * steps) + 1
    shown = saved = time.monotonic()
    for step in range(state.step + 1, steps + 1):
        optimiser.param_groups[0]["lr"] = learning_rate * _rate(step, steps)
        reported = loss(torch.randint(size, (batch,)))
        optimiser.zero_grad()
        reported[0].backward()
        optimiser.step()
        _average(averaged, net, step)
        state.step = step
        if step >= first_of_tail:
            state.tail = state.tail + torch.stack(reported).detach()
        now = time.monotonic()
        if progress and (now - shown > SHOW_EVERY_S or step == steps):
            progress(stage, step, steps, float(reported[0].detach()))
            shown = now
        if kept is not None and (now - saved > kept.every_s or step == steps):
            _keep(state, kept)
            saved = time.monotonic()
    return averaged, (state.tail / (steps - first_of_tail + 1)).tolist()


def _rate(step: int, steps: int) -> float:
    """Of the learning rate, at a step of 1 ... steps: up in a line, down along a cosine."""
    rising = min(1.0, step / max(1.0, WARM_UP * steps))
    return rising * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))


@torch.no_grad()
def _average(averaged: nn.Module, net: nn.Module, step: int) -> None:
    """Exponential moving average, quicker at first so that the initial weights are soon forgotten."""
    decay = min(EMA, step / (9 + step))
    torch._foreach_lerp_(list(averaged.parameters()), list(net.parameters()), 1 - decay)


def _keep(state: _Fit, kept: Kept) -> None:
    atomic_write(kept.path, save_safetensors(state.tensors(), {"of": kept.of, "step": str(state.step)}))


def _take_up(state: _Fit, kept: Kept) -> None:
    """Nothing happens for the file of another training, which is overwritten."""
    try:
        with safe_open(kept.path, framework="pt") as file:
            said = file.metadata() or {}
            if said.get("of") != kept.of:
                return
            state.restore({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (no mapping)
            state.step = int(said["step"])
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise IntegrityError(f"{kept.path}: no training that can be taken up ({error}); remove it to start anew") from (
            error
        )
