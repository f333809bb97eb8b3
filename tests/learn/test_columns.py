"""Columns: what is put is what is read, in memory and in a file; a disk that refuses costs nothing that is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from robot_rl.errors import DiskError
from robot_rl.learn import columns
from robot_rl.learn.columns import Column
from tests.faults.disk import Disk, failing

WIDTH = 7


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file from a kilobyte on, which grows by a page or two."""
    monkeypatch.setattr(columns, "PLAIN_BYTES", 1024)
    monkeypatch.setattr(columns, "STEP_BYTES", 8192)


def filled(column: Column, count: int, begin: int = 0) -> Tensor:
    """What was put into the column, in pieces of 1 to 5 rows, from row `begin` on."""
    generator, first = torch.Generator().manual_seed(begin), begin
    while first < begin + count:
        rows = torch.randn(1 + first % 5, WIDTH, generator=generator)
        column.make_room(first + len(rows))
        column.put(first, rows)
        first += len(rows)
    return column.data[:first].clone()


@pytest.mark.usefixtures("small")
def test_a_column_in_a_file_holds_what_one_in_memory_holds(tmp_path: Path) -> None:
    plain, large = Column(WIDTH), Column(WIDTH, folder=tmp_path)
    before = filled(large, 10)
    assert not large.in_file
    expected = filled(plain, 10)
    assert torch.equal(before, expected)
    expected, found = filled(plain, 3000, len(expected)), filled(large, 3000, len(expected))
    assert large.in_file
    assert not plain.in_file
    assert torch.equal(found, expected)
    index = torch.randint(3000, (500,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(large.data.index_select(0, index), plain.data.index_select(0, index))
    assert len(large.data) - len(found) <= 8192 // (4 * WIDTH), "a file has no more room than a step"
    assert not os.listdir(tmp_path), "the file has no name: it is gone with its process, however that ends"


@pytest.mark.usefixtures("small")
def test_what_was_read_before_a_file_grew_stays_readable(tmp_path: Path) -> None:
    column = Column(WIDTH, folder=tmp_path)
    expected = filled(column, 200)
    earlier = column.data[:200]
    filled(column, 5000, len(expected))
    assert torch.equal(earlier, expected[:200])


@pytest.mark.usefixtures("small")
def test_a_disk_that_refuses_leaves_the_column_as_it_was(tmp_path: Path) -> None:
    """Opening, or the space itself; when there is space again the column grows."""
    column = Column(WIDTH, folder=tmp_path)
    expected = filled(column, 20)
    for operations in (2, 1):  # it gets a file, which gets space; then space alone
        room = len(column.data)
        for nth in range(1, operations + 1):
            with failing(Disk(tmp_path, nth)), pytest.raises(DiskError, match=r"No space left.*Free space there"):
                column.make_room(room + 500)
            assert len(column.data) == room
            assert torch.equal(column.data[: len(expected)], expected)
        expected = filled(column, 500, len(expected))
    assert column.in_file


UNDER_A_LIMIT = """
import resource, sys
from pathlib import Path
import torch
from robot_rl.learn.columns import Column

MIB, ROW = 1 << 20, 1024  # floats: 4 KiB
column, rows = Column(ROW, folder=Path(sys.argv[1]) if len(sys.argv) > 1 else None), torch.ones(256, ROW)
status = open("/proc/self/status").read().split("VmData:")[1]
resource.setrlimit(resource.RLIMIT_DATA, (int(status.split()[0]) * 1024 + 80 * MIB,) * 2)
for first in range(0, 200 * 256, 256):  # 200 MiB
    column.make_room(first + 256)
    column.put(first, rows * first)
drawn = column.data.index_select(0, torch.arange(0, 200 * 256, 256))
assert torch.equal(drawn[:, 5], torch.arange(0, 200 * 256, 256).float())
print("whole", column.in_file)
"""


@pytest.mark.parametrize("in_file", [True, False])
def test_a_column_larger_than_the_memory_that_a_process_may_have_opens_in_a_file_alone(
    tmp_path: Path, in_file: bool
) -> None:
    """RLIMIT_DATA counts a process's own memory, and not pages of files."""
    words = [str(tmp_path)] if in_file else []
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_LIMIT, *words], capture_output=True, text=True, timeout=50, check=False
    )
    if in_file:
        assert (done.returncode, done.stdout) == (0, "whole True\n"), done.stderr
    else:
        assert done.returncode != 0
        assert "can't allocate memory" in done.stderr
