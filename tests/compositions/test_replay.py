"""The replay as a command: it serves one episode on this machine, and ends with Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from rich.console import Console

from robot_rl.compositions.replay import replay
from robot_rl.errors import StoreError
from robot_rl.store.episode import EpisodeWriter
from robot_rl.store.labels import LabelLog
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.types import Label, LabelValue
from tests.console.recorded import step
from tests.store.examples import SUCCESS, header


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", RunInfo("lid_opening", "usr", 3, "ab" * 32, "0.1.0"))


def test_an_episode_is_served_with_its_label_until_it_is_interrupted(run: RunDirectory) -> None:
    writer = EpisodeWriter(run, header(1))
    for i in range(3):
        writer.write("/steps", 50_000_000 * i, step(i))
    writer.close(SUCCESS)
    log = LabelLog(run.labels)
    log.add(Label("a", 1, LabelValue.FAILURE, "test"))
    log.close()
    command = [sys.executable, "-m", "robot_rl.cli", "replay", str(run.episode(1))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        try:
            assert served.stdout is not None
            address = re.search(r"http://localhost:\d+/", served.stdout.readline())
            assert address is not None
            with urllib.request.urlopen(f"{address[0]}api/episode", timeout=10) as answer:
                view = json.loads(answer.read())
            assert (view["episode"], view["label"], len(view["steps"])) == (1, "failure", 3)
            served.send_signal(signal.SIGINT)
            assert served.wait(10) == 0
        finally:
            served.kill()


def test_what_is_no_closed_episode_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    for folder, words in ((run.path, "a closed episode's directory"), (tmp_path / "episodes" / "000001", "not a run")):
        with pytest.raises(StoreError, match=words):
            replay(folder, 0, Console())
