"""A server with the policy of a run, which may be of another version, or have another model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from robot_rl.policy.flow import FlowPolicy
from robot_rl.wire import handshake
from tests.commands import ROOT


def make() -> FlowPolicy:
    """For `python -m robot_rl.serve tests.faults.policies:make`; $CHECKPOINT, and $AS: itself, version or model."""
    policy, disguise = FlowPolicy.load(Path(os.environ["CHECKPOINT"])), os.environ["AS"]
    if disguise == "version":
        handshake.PROTOCOL += 1
    if disguise == "model":
        policy.spec = replace(policy.spec, policy_id="another model")
    return policy


class Server:
    """`python -m robot_rl.serve` with the run's policy, itself or disguised."""

    def __init__(self, endpoint: str, checkpoint: Path) -> None:
        self.endpoint, self.checkpoint = endpoint, checkpoint

    def start(self, disguise: str = "itself") -> None:
        command = [sys.executable, "-m", "robot_rl.serve", "tests.faults.policies:make", "--endpoint", self.endpoint]
        environment = os.environ | {"CHECKPOINT": str(self.checkpoint), "AS": disguise, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("serving ")
        self.process.stdout.close()

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(10)
