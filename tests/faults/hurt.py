"""A robot, a camera and a policy that can be hurt from outside, each in its own process: by a word in a file.

The file is what $HURT names; without it, or with another word in it, nothing is wrong.
"""

from __future__ import annotations

import os
import struct
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robot_rl.errors import RobotFault
from robot_rl.policy.backbones.policy import BackbonePolicy
from robot_rl.types import Array, Context, Observation, PolicySpec
from sim_twin.lid_opening import LidOpeningTwin

NAN, FAR, HASTY, FAST, REFLEX, LOST = "nan", "far", "hasty", "fast", "reflex", "lost"
BRIGHT, DARK = 160, 64
"""Grey levels: of the pictures of the graph that is hurt, and of the other one."""
STEP_M = 0.003


def hurt() -> str:
    """The word."""
    try:
        return Path(os.environ["HURT"]).read_text()
    except OSError:
        return ""


class HurtTwin(LidOpeningTwin):
    """The twin, with a driver that may report a reflex (`reflex`) or lose its robot (`lost`), and a still camera.

    It says when it was told to move: int64 ns of the monotonic clock, in $HURT.applied.
    """

    camera_process = "tests.faults.still_camera"

    def apply(self, target: Array) -> None:
        if hurt() == REFLEX:
            raise RobotFault("cartesian_reflex: the arm has hit something")
        with Path(os.environ["HURT"]).with_suffix(".applied").open("ab") as file:
            file.write(struct.pack("q", time.monotonic_ns()))
        super().apply(target)

    def observe(self) -> Observation:
        if hurt() == LOST:
            raise ConnectionResetError("the robot does not answer any more")
        return super().observe()


class Moody:
    """The policy of $CHECKPOINT, which sees; its chunks go up and down, or are what no robot should carry out.

    Only who is shown the bright picture of `still_camera` is told such things: two graphs may share this policy.
    """

    def __init__(self) -> None:
        self._policy = BackbonePolicy.load(Path(os.environ["CHECKPOINT"]))
        self._bright: deque[bytes] = deque(maxlen=256)
        self._up = 1.0

    @property
    def spec(self) -> PolicySpec:
        return self._policy.spec

    def encode(self, observations: Sequence[Observation]) -> Context:
        context = self._policy.encode(observations)
        for observation, features in zip(observations, context.features, strict=True):
            if observation.images["front"].mean() > (BRIGHT + DARK) / 2:
                self._bright.append(features.tobytes())
        return context

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        self._up = -self._up
        word = hurt()
        return np.stack([self._chunk(word if row.tobytes() in self._bright else "") for row in context.features])

    def _chunk(self, word: str) -> Array:
        chunk = np.zeros((self.spec.horizon, 4), np.float32)
        chunk[:, 2], chunk[:, 3] = self._up * STEP_M, 0.04
        if word == NAN:
            chunk[3, 1] = np.nan
        if word == HASTY:
            chunk[:, 0] = 0.5
        if word == FAR:  # each step is one that may be clipped, but they lead out of the workspace
            chunk[:, 2] = -0.03
        if word == FAST:  # up and down, faster than the limit and within the tolerance
            chunk[:, 2] = np.where(np.arange(len(chunk)) // 2 % 2, -0.025, 0.025)
        return chunk
