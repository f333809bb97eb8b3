"""A real-time run on a disk of its own that somebody fills: HOLD, an alarm, and on it goes when there is space.

A real file system of 64 MiB; it can be mounted by root alone, and is not in many containers: then this is skipped,
and `test_disk_full.py` has every single operation refused instead.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from robot_rl.adapters.files import numbers
from robot_rl.store.episode import read_transitions
from robot_rl.store.labels import LabelLog
from robot_rl.store.training import labelled_episodes
from robot_rl.types import SafetyLevel
from tests.realtime_run import labels, short_run, started, wait_for
from tests.test_cli import robot_rl

EPISODES = 2


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder with 64 MiB behind it."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64M", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """To the last byte."""
    with (folder / "filler").open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))


@pytest.mark.timeout(120)
def test_a_run_on_a_disk_that_fills_up_waits_for_space_and_goes_on(small: Path) -> None:
    run = short_run(small)
    with started(run, EPISODES, "--page") as realtime:
        guard, actor = realtime.connect()
        wait_for(lambda: labels(run) and run.partial_episodes(), "an episode after a label", 60)

        def page() -> dict[str, object]:
            fill(small)  # what the run gives up of its reserve goes too
            return dict(actor.call("snapshot", timeout_s=5.0)[0])

        shown = wait_for(lambda: (now := page())["state"] == "PAUSED" and now, "the pause", 30)
        assert isinstance(shown, dict)
        assert any(words in str(shown["why"]) for words in ("No space left", "the disk is full", "database or disk"))
        assert realtime.process.poll() is None
        moved = guard.observe().q
        assert guard.state().level < SafetyLevel.FAULT
        kept = labels(run)
        assert page()["state"] == "PAUSED"
        assert abs(guard.observe().q - moved).max() < 1e-3
        (small / "filler").unlink()
        guard.close()
        actor.close()
        status, output = realtime.finish(60)
    assert status == 0, output
    assert "paused, the disk refuses" in output
    assert "the run goes on" in output
    assert labels(run).items() >= kept.items()
    trained = labelled_episodes(run)
    assert len(trained) == EPISODES
    assert all(read_transitions(run.episode(episode)) for episode, _ in trained)
    assert numbers(run.adapters)[-1] == EPISODES
    log = LabelLog(run.labels)
    kinds = {event.kind for event in log.events()}
    log.close()
    assert "episode_abandoned" in kinds


def test_a_run_that_starts_on_a_full_disk_says_so_and_nothing_of_it_is_touched(small: Path) -> None:
    run = short_run(small)
    LabelLog(run.labels).close()
    before = {path: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    fill(small)
    demos = ("demos", "lid_opening", "--count", "1", "--out", str(small / "demos.npz"))
    for arguments in (("run", "--resume", str(run.path), "--no-console"), demos):
        done = robot_rl(*arguments)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "error: " in done.stdout
        assert "the disk is full" in done.stdout.lower()
        assert "Traceback" not in done.stdout + done.stderr
    assert {path: path.read_bytes() for path in before} == before
