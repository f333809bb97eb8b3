"""What a backbone reads, and its pictures' encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from robot_rl.errors import BadObservation, ConfigError
from robot_rl.policy.backbones.resnet import PictureEncoder
from robot_rl.policy.backbones.settings import VisionConfig
from robot_rl.policy.features import FEATURES, OBSERVATION, read_features
from robot_rl.types import Array, Observation, PolicySpec
from robot_rl.wire.observations import check_observation

PROPRIOCEPTION: Mapping[str, tuple[int, ...]] = {"tcp_pose": (7,), "gripper_width": ()}
"""What a policy with eyes reads beside its pictures: of the pose, the position (ZPRL: the end effector's pose)."""
PROPRIOCEPTION_SIZE = 4
"""TCP x, y, z and the gripper's width, m."""

Pictures = Mapping[str, Array]
"""Camera -> uint8 [B, H, W, 3]."""


def keys_of(vision: VisionConfig | None, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of what is read; `sizes`: camera -> (H, W, 3). Raises `ConfigError` for a crop that is larger."""
    if vision is None:
        return dict(OBSERVATION)
    for camera in vision.cameras:
        if vision.crop > min(sizes[camera][:2]):
            raise ConfigError(
                f"policy.backbone.vision.crop: expected {min(sizes[camera][:2])} pixels at most, which is what "
                f"{camera!r} has, got {vision.crop}"
            )
    return {**PROPRIOCEPTION, **{f"images.{camera}": tuple(sizes[camera]) for camera in vision.cameras}}


def state_size(vision: VisionConfig | None) -> int:
    """Numbers in what is not a picture."""
    return FEATURES if vision is None else PROPRIOCEPTION_SIZE


def feature_size(vision: VisionConfig | None) -> int:
    """F."""
    return state_size(vision) + (0 if vision is None else vision.embedding * len(vision.cameras))


def proprioception(tcp_pose: Array, gripper_width: Array) -> Array:
    """[N, 7] m + quaternion, [N] m -> [N, 4] m, float64."""
    return np.concatenate([tcp_pose[:, :3], gripper_width[:, None]], axis=1).astype(np.float64)


def read(observations: Sequence[Observation], spec: PolicySpec, vision: VisionConfig | None) -> tuple[Array, Pictures]:
    """B observations -> what is no picture [B, state_size], in SI units, and the pictures. Raises `BadObservation`."""
    if vision is None:
        return read_features(observations), {}
    if not observations:
        raise BadObservation("expected one observation or more, got none")
    for observation in observations:
        check_observation(observation, spec)
    state = proprioception(
        np.stack([observation.tcp_pose for observation in observations]),
        np.array([observation.gripper_width for observation in observations]),
    )
    pictures = {camera: np.stack([seen.images[camera] for seen in observations]) for camera in vision.cameras}
    return state, pictures


class Eyes(nn.Module):
    """One encoder a camera."""

    def __init__(self, vision: VisionConfig) -> None:
        super().__init__()
        self._crop = vision.crop
        self.encoders = nn.ModuleDict(
            {camera: PictureEncoder(vision.width, vision.keypoints, vision.embedding) for camera in vision.cameras}
        )

    def forward(self, pictures: Mapping[str, Tensor]) -> Tensor:
        """Squares of `crop` pixels, uint8 [B, crop, crop, 3] of each camera -> [B, cameras * embedding]."""
        return torch.cat([encoder(pictures[camera]) for camera, encoder in self.encoders.items()], dim=1)

    def middle(self, pictures: Pictures) -> dict[str, Tensor]:
        """The middle square of each picture."""
        return {camera: torch.from_numpy(self._middle(pictures[camera])) for camera in self.encoders}

    def anywhere(self, pictures: Pictures, rows: Tensor) -> dict[str, Tensor]:
        """A random square, by torch's generator, of each picture of `rows` [B]: the training's augmentation."""
        squares, crop = {}, self._crop
        for camera in self.encoders:
            frames = pictures[camera]
            spare = torch.tensor(frames.shape[1:3]) - crop + 1
            corners = (torch.rand(len(rows), 2) * spare).long().tolist()
            cut = [frames[row, y : y + crop, x : x + crop] for row, (y, x) in zip(rows.tolist(), corners, strict=True)]
            squares[camera] = torch.from_numpy(np.stack(cut))
        return squares

    def _middle(self, frames: Array) -> Array:
        y, x = ((size - self._crop) // 2 for size in frames.shape[1:3])
        return np.ascontiguousarray(frames[:, y : y + self._crop, x : x + self._crop])
