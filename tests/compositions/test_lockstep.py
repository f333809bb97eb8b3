"""The golden run: the main job at lockstep pace, learner process included, again and again the same, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_rl.compositions.lockstep import run_lockstep
from robot_rl.compositions.plan import RunPlan, new_run, open_run
from robot_rl.control.actor import Actor
from robot_rl.errors import ConfigError
from robot_rl.store.episode import read_manifest, read_transitions
from robot_rl.store.files import read_json
from robot_rl.store.labels import LabelLog
from tests.small_task import write_small_task

EPISODES = 6


class Interrupted(Exception):
    """Stands for a kill of the parent between two control steps."""


def run(task: Path, folder: Path, *, episodes: int = EPISODES, interrupt_in: int | None = None) -> None:
    """Begin or resume a run at `folder`; `interrupt_in` breaks it off in the middle of that episode."""
    if not (folder / "run.json").exists():
        new_run(folder, str(task), "usr", 7, {})
    directory, info, config, policy = open_run(folder)
    plan = RunPlan(directory, info, config, policy, episodes, auto_label=True, console_port=None)

    def watch(actor: Actor) -> None:
        if interrupt_in is not None and actor.session.in_episode and actor.session.episode == interrupt_in:
            raise Interrupted

    run_lockstep(plan, watch, lambda url: None)


def fingerprint(folder: Path) -> dict[str, object]:
    """Everything that must come out the same: the learner's versions, every transition, every label."""
    episodes = sorted((folder / "episodes").glob("[0-9]*[0-9]"))
    log = LabelLog(folder / "labels.sqlite")
    labels = {episode: event.label.value.value for episode, event in log.current().items()}
    log.close()
    return {
        "adapters": {path.name: path.read_bytes() for path in sorted((folder / "adapters").glob("*.safetensors"))},
        "chunks": [
            (t.features.tobytes(), t.executed_chunk.tobytes(), t.steer.tobytes(), t.k_executed, t.terminal, t.truncated)
            for path in episodes
            if path.name.isdigit()
            for t in read_transitions(path)
        ],
        "versions": [read_manifest(path).header.adapter_version for path in episodes if path.name.isdigit()],
        "labels": labels,
        "account": {name: read_json(folder / "learner.json")[name] for name in ("updates", "chunks", "utd_reached")},
    }


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("golden")
    task = write_small_task(folder)
    run(task, folder / "run")
    return task, fingerprint(folder / "run")


def test_a_run_is_what_its_seed_makes_it(golden: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    task, expected = golden
    run(task, tmp_path / "again")
    assert fingerprint(tmp_path / "again") == expected


def test_the_golden_run_learns_with_the_fixed_lag(golden: tuple[Path, dict[str, object]]) -> None:
    _, found = golden
    assert found["versions"] == [0, 0, 1, 2, 3, 4]
    adapters = found["adapters"]
    assert isinstance(adapters, dict)
    assert len(adapters) == EPISODES
    assert adapters["000006.safetensors"] != adapters["000005.safetensors"]


def test_a_run_broken_off_in_an_episode_and_resumed_comes_out_the_same(
    golden: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    task, expected = golden
    with pytest.raises(Interrupted):
        run(task, tmp_path / "broken", interrupt_in=4)
    run(task, tmp_path / "broken")
    assert fingerprint(tmp_path / "broken") == expected


def test_another_seed_is_another_run(golden: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    task, expected = golden
    new_run(tmp_path / "other", str(task), "usr", 8, {})
    run(task, tmp_path / "other", episodes=2)
    chunks = expected["chunks"]
    assert isinstance(chunks, list)
    found = fingerprint(tmp_path / "other")["chunks"]
    assert isinstance(found, list)
    assert found[0] != chunks[0]


def test_a_person_cannot_label_at_the_pace_of_a_simulator(tmp_path: Path) -> None:
    new_run(tmp_path / "run", str(write_small_task(tmp_path)), "usr", 0, {})
    directory, info, config, policy = open_run(tmp_path / "run")
    plan = RunPlan(directory, info, config, policy, 1, auto_label=False, console_port=None)
    with pytest.raises(ConfigError, match="--pace real-time"):
        run_lockstep(plan, lambda actor: None, lambda url: None)
