"""What a process frees it can take again without asking the system for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

TAKE = """
import resource
from robot_rl.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
frames = [bytes(921_600) for _ in range(3)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for number in range(100):
    frames = [bytearray(921_600) for _ in range(3)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_frames_that_come_and_go_take_no_new_pages() -> None:
    def faults(keep: bool) -> int:
        command = [sys.executable, "-c", TAKE.format(keep=keep)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults(keep=True) < faults(keep=False) / 10
