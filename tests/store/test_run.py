from __future__ import annotations

import json
from pathlib import Path

import pytest

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.run import RunDirectory


def test_create_then_open_gives_the_same_info(run: RunDirectory) -> None:
    opened = RunDirectory.open(run.path)
    info = opened.read_info()
    assert (info.task, info.method, info.seed, info.spec_hash) == ("lid_opening", "usr", 3, "ab" * 32)
    assert info.arguments == {"episodes": 100, "label": "auto"}
    assert info == run.read_info()
    assert all(folder.is_dir() for folder in (run.episodes, run.adapters, run.checkpoints, run.results))


def test_a_run_is_never_created_over_another(run: RunDirectory) -> None:
    with pytest.raises(StoreError, match="holds a run already; resume it"):
        RunDirectory.create(run.path, run.read_info())


def test_a_half_created_run_can_be_created_again(run: RunDirectory) -> None:
    info = run.read_info()
    run.run_json.unlink()
    with pytest.raises(StoreError, match="is not a run"):
        RunDirectory.open(run.path)
    assert RunDirectory.create(run.path, info).read_info() == info


def test_a_path_that_cannot_be_a_directory(run: RunDirectory) -> None:
    with pytest.raises(StoreError, match="cannot make the run's directory"):
        RunDirectory.create(run.run_json, run.read_info())


@pytest.mark.parametrize(("change", "words"), [({"format": 2}, "expected format 1, got 2"), ({"seed": "3"}, "seed")])
def test_open_refuses_a_foreign_run_json(run: RunDirectory, change: dict[str, object], words: str) -> None:
    run.run_json.write_text(json.dumps({**json.loads(run.run_json.read_text()), **change}))
    with pytest.raises(IntegrityError, match=words):
        RunDirectory.open(run.path)


def test_names_in_episodes_are_told_apart(run: RunDirectory) -> None:
    for name in ("000002", "000010", "1000000", ".000011.partial", "000011.incomplete.1", "notes", "12"):
        (run.episodes / name).mkdir()
    assert run.closed_episodes() == [2, 10, 1000000]
    assert run.partial_episodes() == [11]
    assert run.incomplete_paths() == [run.episodes / "000011.incomplete.1"]
    assert run.incomplete(11) == run.episodes / "000011.incomplete.2"
    assert run.episode(2) == Path(run.episodes / "000002")


def test_folders_that_a_run_can_make_again_are_made_again_and_episodes_are_missed(run: RunDirectory) -> None:
    for folder in (run.adapters, run.checkpoints, run.results):
        folder.rmdir()
    assert all(folder.is_dir() for folder in (run.adapters, run.checkpoints, run.results)) is False
    RunDirectory.open(run.path)
    assert all(folder.is_dir() for folder in (run.adapters, run.checkpoints, run.results))
    run.episodes.rmdir()
    with pytest.raises(StoreError, match="episodes is gone: put it back"):
        RunDirectory.open(run.path)
