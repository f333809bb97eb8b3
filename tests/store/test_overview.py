from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from robot_rl.errors import StoreError
from robot_rl.store import facts
from robot_rl.store.corrections import Correction
from robot_rl.store.episode import MANIFEST_NAME, MCAP_NAME, EndedBy, read_manifest, write_manifest
from robot_rl.store.overview import overview, runs_in
from robot_rl.store.run import RunDirectory
from robot_rl.store.store import Store
from robot_rl.types import Label, LabelValue
from tests.ordinary_user import mode, ordinary_user
from tests.store.examples import header, outcome

S, F, D = LabelValue.SUCCESS, LabelValue.FAILURE, LabelValue.DISCARD


@pytest.fixture
def store(run: RunDirectory) -> Iterator[Store]:
    store = Store(run)
    yield store
    store.close()


def add(
    store: Store, episode: int, value: LabelValue | None, ended_by: EndedBy = "success", whole: bool = True
) -> None:
    store.begin(header(episode))
    store.write("/robot", 1, {"x": episode})
    store.end(outcome(ended_by, whole))
    if value is not None:
        store.add_label(Label(f"e{episode}", episode, value, "ada"))


def publish(run: RunDirectory, version: int, watermark: int) -> None:
    manifest = {"version": version, "through_episode": version, "label_watermark": watermark, "warmup": False}
    (run.adapters / f"{version:06d}.json").write_text(json.dumps(manifest))
    (run.adapters / f"{version:06d}.safetensors").write_bytes(bytes(100))


def test_what_there_is_is_counted(store: Store) -> None:
    for episode, value in enumerate((S, F, D, None), start=1):
        add(store, episode, value)
    add(store, 5, F, "fault")
    add(store, 6, F, "aborted", whole=False)
    add(store, 7, S)
    store.begin(header(8))
    store.begin(header(9))
    (store.run.episode(7) / MANIFEST_NAME).write_text("{")
    publish(store.run, 2, 2)
    for _ in range(2):
        seen = overview(store.run.path)
        assert (seen.complete, seen.unreadable) == (4, 1)
        assert seen.incomplete == 4  # a fault, an abort, one set aside, one open
        assert list(seen.outcomes) == [True, False]
        assert seen.newest_version == 2
    recorded = sum((store.run.episode(n) / MCAP_NAME).stat().st_size for n in range(1, 7))
    assert seen.bytes > recorded + 100


def test_what_is_not_on_the_disk_is_not_counted(store: Store) -> None:
    for episode in range(1, 7):
        add(store, episode, S)
    run = store.run
    assert overview(run.path).complete == 6
    before = overview(run.path).bytes
    (run.episode(1) / MCAP_NAME).unlink()
    (run.episode(2) / MCAP_NAME).write_bytes(b"")
    os.truncate(run.episode(3) / MCAP_NAME, 100)
    claims = read_manifest(run.episode(4))
    write_manifest(run.episode(4), replace(claims, bytes=2**62))
    foreign = read_manifest(run.episode(5))
    write_manifest(run.episode(5), replace(foreign, header=replace(foreign.header, spec_hash="ff" * 32)))
    seen = overview(run.path)
    assert (seen.complete, seen.unreadable, seen.incomplete, len(seen.outcomes)) == (1, 4, 1, 1)
    assert 0 < seen.bytes < before


def test_all_that_lies_beside_recordings_and_the_policy_count(store: Store) -> None:
    add(store, 1, D)
    run, before = store.run, overview(store.run.path)
    assert before.discarded == 1
    (run.episode(1) / "transitions.packed").write_bytes(bytes(1000))
    (run.episode(1) / ".pool.0123456789ab").write_bytes(bytes(200))
    run.policy.write_bytes(bytes(30))
    shutil.copytree(run.episode(1), run.salvaged(1))
    assert overview(run.path).bytes == 2 * (before.bytes + 1200) + 30


def settle(run: RunDirectory) -> None:
    """As if all of it had been written an hour ago."""
    hour_ago = time.time() - 3600.0
    for path in [*run.episodes.rglob("*"), run.episodes, run.adapters, run.checkpoints]:
        os.utime(path, (hour_ago, hour_ago))


def test_of_a_run_that_its_store_has_let_go_of_no_manifest_is_read(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(run)
    add(store, 1, S)
    add(store, 2, F)
    settle(run)
    store.close()
    monkeypatch.setattr(facts, "read_manifest", lambda folder: pytest.fail(f"{folder} was read"))
    assert overview(run.path).complete == 2


def test_a_size_is_that_of_now_though_it_is_remembered(store: Store) -> None:
    add(store, 1, S)
    run = store.run
    settle(run)
    before = overview(run.path).bytes
    for _ in range(2):
        assert overview(run.path).bytes == before
    (run.episode(1) / "transitions.packed").write_bytes(bytes(1000))
    (run.checkpoints / "000001.safetensors").write_bytes(bytes(100))
    store.begin(header(2))
    (run.partial(2) / MCAP_NAME).write_bytes(bytes(10))
    assert overview(run.path).bytes == before + 1110
    settle(run)
    (run.partial(2) / MCAP_NAME).write_bytes(bytes(20))
    assert overview(run.path).bytes == before + 1120


def test_a_correction_names_the_versions_that_had_the_old_value(store: Store) -> None:
    for episode in (1, 2, 3):
        add(store, episode, S)
        publish(store.run, episode, episode)
    assert overview(store.run.path).corrections == []
    store.add_label(Label("c", 2, F, "bob"))
    for _ in range(2):
        assert overview(store.run.path).corrections == [Correction(2, S, F, "bob", [2, 3])]
    (store.run.adapters / "000003.json").write_text('{"version": "x"}')
    assert overview(store.run.path).corrections == [Correction(2, S, F, "bob", [2])]


def test_looking_makes_nothing_but_the_memory(run: RunDirectory) -> None:
    before = sorted(path.name for path in run.path.iterdir())
    seen = overview(run.path)
    assert (seen.complete, list(seen.outcomes), seen.newest_version) == (0, [], 0)
    assert sorted(path.name for path in run.path.iterdir()) == before


def test_runs_are_found_by_name_and_links_are_not_followed(run: RunDirectory, tmp_path: Path) -> None:
    other = RunDirectory.create(tmp_path / "another", run.read_info())
    (tmp_path / "notes").mkdir()
    (tmp_path / "latest").symlink_to(other.path)
    assert runs_in(tmp_path) == [other.path, run.path]
    assert runs_in(run.path) == [run.path]
    with mode(other.path, 0), ordinary_user():
        assert runs_in(tmp_path) == [other.path, run.path]  # nobody can say that it is none
        with pytest.raises(StoreError, match="cannot look into"):
            overview(other.path)
    with pytest.raises(StoreError, match="cannot look for runs in"):
        runs_in(tmp_path / "nowhere")
