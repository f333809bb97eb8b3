"""Freed memory stays in a learner's process."""

from __future__ import annotations

import os
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
for _ in range(20):  # the heap finds its size: a block too many is still taken now and then in the first rounds
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


# Left to itself, glibc hands back only what lies at the heap's top: by chance all or nothing. So told, it always does.
HANDS_BACK = {"MALLOC_MMAP_THRESHOLD_": str(128 << 10), "MALLOC_TRIM_THRESHOLD_": str(128 << 10)}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_memory_that_was_used_once_is_seldom_faulted_in_again() -> None:
    def faults(word: str) -> int:
        command = [sys.executable, "-c", PROGRAM, word]
        return int(subprocess.run(command, env=os.environ | HANDS_BACK, capture_output=True, check=True).stdout)

    assert 100 * faults("keep") < faults("default")
