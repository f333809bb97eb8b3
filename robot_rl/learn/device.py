"""Where a learner computes: the CPU, or one CUDA device. The CUDA path has not been run on one yet.

Networks are made on the CPU and moved, and every random number is drawn on the CPU from the learner's one generator and
moved: initial weights, batches and noise are the same on every device, and a checkpoint knows of none.
"""

from __future__ import annotations

from typing import Literal

import torch

from robot_rl.errors import ConfigError

Device = Literal["cpu", "cuda"]


def require_device(device: Device) -> torch.device:
    """Raises `ConfigError` for one that this machine, or this build of torch, does not have."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "compute.device: cuda: torch finds no CUDA device here; take device: cpu, or install torch's CUDA build "
            "and the GPU's driver"
        )
    return torch.device(device)


def use_one_thread() -> None:
    """From here on this process sums in one order: with another number of threads the last bits differ."""
    torch.set_num_threads(1)
