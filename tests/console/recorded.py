"""Control steps as an episode records them."""

from __future__ import annotations

from typing import Any


def step(i: int) -> dict[str, Any]:
    """The message of step `i`, 4 mm along x; the tenth is clipped to 2 mm."""
    clipped = i == 9
    return {
        "chunk": 100_003 + i // 8, "row": i % 8, "epoch": 1, "target": [0.004, 0.0, 0.0, 0.04],
        "sent": [0.002 if clipped else 0.004, 0.0, 0.0, 0.04], "verdict": "clipped" if clipped else "pass",
        "reason": "seam" if clipped else "", "tcp_pose": [0.4 + 0.004 * i, 0.0, 0.5, 0, 0, 0, 1], "gripper_width": 0.04,
        "q": [0.0] * 7, "extra": {},
    }  # fmt: skip
