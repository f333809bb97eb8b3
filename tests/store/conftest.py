from __future__ import annotations

from pathlib import Path

import pytest

from robot_rl.store.run import RunDirectory, RunInfo


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    info = RunInfo("lid_opening", "usr", 3, "ab" * 32, "0.1.0", {"episodes": 100, "label": "auto"})
    return RunDirectory.create(tmp_path / "run", info)
