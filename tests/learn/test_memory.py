"""Freed memory stays in a learner's process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from robot_rl.learn.memory import keep_memory

def work():
    kept = [torch.ones(1 << 20) for _ in range(16)]  # 4 MiB each

if sys.argv[1] == "keep":
    assert keep_memory()
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_memory_that_was_used_once_is_seldom_faulted_in_again() -> None:
    def faults(word: str) -> int:
        done = subprocess.run([sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert 3 * faults("keep") < faults("default")
