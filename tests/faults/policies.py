"""The policy of a run as a server would have it that is of another version, or has another model."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from robot_rl.policy.flow import FlowPolicy
from robot_rl.wire import handshake


def make() -> FlowPolicy:
    """For `python -m robot_rl.serve tests.faults.policies:make`; $CHECKPOINT, and $AS: itself, version or model."""
    policy, disguise = FlowPolicy.load(Path(os.environ["CHECKPOINT"])), os.environ["AS"]
    if disguise == "version":
        handshake.PROTOCOL += 1
    if disguise == "model":
        policy.spec = replace(policy.spec, policy_id="another model")
    return policy
