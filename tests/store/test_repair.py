from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from mcap.reader import make_reader
from mcap.records import Chunk
from mcap.stream_reader import StreamReader

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store import episode as module
from robot_rl.store.bag import METADATA_NAME
from robot_rl.store.episode import (
    MANIFEST_NAME,
    MCAP_NAME,
    EpisodeWriter,
    read_images,
    read_manifest,
    read_messages,
    read_transitions,
    salvage,
    verify,
    write_manifest,
)
from robot_rl.store.repair import Salvage, repair
from robot_rl.store.run import RunDirectory
from robot_rl.store.store import Store
from robot_rl.types import Label, LabelValue
from tests.store.examples import SUCCESS, header, transition

TOPICS = ("/robot", "/camera/front", "/transitions")


@pytest.fixture(autouse=True)
def _a_chunk_every_few_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 4096)


def record_one(run: RunDirectory, number: int = 1) -> Path:
    """Three topics over several chunks."""
    writer = EpisodeWriter(run, header(number))
    for n in range(8):
        writer.write("/robot", 10 * n, {"n": n})
        writer.write_image("front", 10 * n + 1, os.urandom(300))
        writer.write_transition(transition(number, n))
    writer.close(SUCCESS)
    return run.episode(number)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def boundaries(path: Path) -> list[int]:
    """Where each record of the file begins, and where the file ends."""
    with path.open("rb") as file:
        found = [file.tell() for _ in StreamReader(file, emit_chunks=True).records]
    return [0, 8, *found, path.stat().st_size]


def damage_chunk(path: Path, which: int) -> None:
    """Flip a byte in the middle of a chunk's data."""
    with path.open("rb") as file:
        ends = [file.tell() for r in StreamReader(file, emit_chunks=True).records if isinstance(r, Chunk)]
    assert len(ends) > 2
    with path.open("r+b") as file:
        file.seek(ends[which] - 200)
        byte = file.read(1)[0]
        file.seek(ends[which] - 200)
        file.write(bytes([byte ^ 0xFF]))


def check_copy(run: RunDirectory, found: Salvage) -> None:
    """Readable, incomplete, and what it says of itself is so."""
    assert found.folder.parent == run.episodes
    manifest = verify(found.folder)
    assert not manifest.outcome.complete
    assert dict(manifest.counts) == dict(found.kept)
    for topic, count in found.kept.items():
        assert len(read_messages(found.folder, topic)) == count
    assert found.folder.name not in (f"{number:06d}" for number in run.closed_episodes())


def test_a_whole_episode_is_left_alone(run: RunDirectory) -> None:
    folder = record_one(run)
    before = contents(folder)
    found = repair(folder)
    assert (found.folder, found.whole, dict(found.kept)) == (folder, True, dict.fromkeys(TOPICS, 8))
    assert contents(folder) == before
    assert sorted(path.name for path in run.episodes.iterdir()) == ["000001"]


def test_cut_at_every_record_boundary_and_beside_it_it_is_read_up_to_the_cut(run: RunDirectory) -> None:
    """The reader of closed episodes refuses it, `salvage` gives a prefix and says it is cut, `repair` counts the rest.

    Cuts that leave the data whole and hit the summary lose nothing.
    """
    folder = record_one(run)
    path = folder / MCAP_NAME
    whole, edges = path.read_bytes(), boundaries(path)
    expected = {topic: salvage(path, topic)[0] for topic in TOPICS}
    cuts = sorted({cut + beside for cut in edges for beside in (-1, 0, 1) if 0 <= cut + beside < len(whole)})
    assert len(cuts) > 30
    kept = []
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with pytest.raises(IntegrityError, match=r"expected \d+ bytes"):
            read_transitions(folder)
        before = contents(folder)
        found = repair(folder)
        check_copy(run, found)
        for topic in TOPICS:
            messages, entire = salvage(path, topic)
            assert not entire
            assert messages == expected[topic][: len(messages)]
            assert found.kept.get(topic, 0) == len(messages)
            assert found.lost[topic] == 8 - len(messages)  # the manifest says how many there were
            assert read_messages(found.folder, topic) == messages
        assert found.whole is (sum(found.kept.values()) == 24)
        assert contents(folder) == before
        kept.append(sum(found.kept.values()))
    assert kept == sorted(kept)
    assert {0, 24} < set(kept)


def test_a_damaged_chunk_costs_its_messages_and_those_behind_it_are_kept(run: RunDirectory) -> None:
    folder = record_one(run)
    damage_chunk(folder / MCAP_NAME, 1)
    found = repair(folder)
    check_copy(run, found)
    assert not found.whole
    assert all(found.kept[topic] + found.lost[topic] == 8 for topic in TOPICS)
    assert re.search(r"the record at byte \d+ \(\d+ bytes\) is damaged", found.damage[0])
    last = read_messages(found.folder, "/robot")[-1].body
    assert last == {"n": 7}
    assert len(read_images(found.folder, "front")) == found.kept["/camera/front"]


@pytest.mark.parametrize("which", [0, 1, -1])
def test_without_a_manifest_the_files_own_statistics_count_the_loss(run: RunDirectory, which: int) -> None:
    folder = record_one(run)
    (folder / MANIFEST_NAME).unlink()
    damage_chunk(folder / MCAP_NAME, which)
    found = repair(folder)
    check_copy(run, found)
    assert sum(found.lost.values()) > 0
    assert all(found.kept.get(topic, 0) + found.lost[topic] == 8 for topic in TOPICS)


@pytest.mark.parametrize("manifest", [None, b"", b"{", b"\xff\x00", b'{"format": 1}'])
def test_a_lost_manifest_alone_loses_nothing_of_the_recording(run: RunDirectory, manifest: bytes | None) -> None:
    folder = record_one(run)
    (folder / MANIFEST_NAME).unlink()
    if manifest is not None:
        (folder / MANIFEST_NAME).write_bytes(manifest)
    found = repair(folder)
    check_copy(run, found)
    assert not any(found.lost.values())
    assert not found.whole
    assert [loss.split(":")[0] for loss in found.losses] == ["the manifest"]
    assert verify(found.folder).header == header(1)


def test_of_a_killed_writer_what_is_behind_the_last_flush_is_said_to_be_unknown(run: RunDirectory) -> None:
    code = """
import sys, time
from robot_rl.store import episode
from robot_rl.store.run import RunDirectory
from robot_rl.store.store import Store
from tests.store.examples import header
episode.FLUSH_S = 0.0
store = Store(RunDirectory.open(sys.argv[1]))
store.begin(header(1))
for n in range(3):
    store.write("/robot", n, {"n": n})
print("written", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code, run.path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        with pytest.raises(StoreError, match="is open in another process"):
            repair(run.partial(1))
        process.kill()
    found = repair(run.partial(1))
    check_copy(run, found)
    assert (dict(found.kept), found.whole) == ({"/robot": 3}, False)
    assert "up to 0.5 s of recording" in found.losses[0]
    assert [path.name for path in run.incomplete_paths()] == ["000001.incomplete.1"]
    assert run.partial_episodes() == []


def test_an_episode_that_was_sealed_before_the_kill_is_published(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = EpisodeWriter(run, header(4))
    writer.write("/robot", 1, {"x": 4})
    with monkeypatch.context() as patch:
        patch.setattr(module, "publish", lambda *_: None)
        writer.close(SUCCESS)
    found = repair(run.partial(4))
    assert (found.folder, found.whole, run.closed_episodes()) == (run.episode(4), True, [4])


def test_of_a_file_that_says_nothing_of_itself_nothing_is_kept_and_nothing_is_touched(run: RunDirectory) -> None:
    folder = record_one(run)
    (folder / MANIFEST_NAME).unlink()
    (folder / METADATA_NAME).unlink()
    for content in (b"", b"PK\x03\x04", b"\0" * 1000, (folder / MCAP_NAME).read_bytes()[:20]):
        (folder / MCAP_NAME).write_bytes(content)
        with pytest.raises(IntegrityError, match=r"nothing can be kept of it .*Its bytes stay as they are"):
            repair(folder)
        assert contents(folder) == {MCAP_NAME: content}
    assert sorted(path.name for path in run.episodes.iterdir()) == ["000001"]


def test_a_bag_is_described_again_and_so_is_a_salvaged_one(run: RunDirectory) -> None:
    folder = record_one(run)
    described = (folder / METADATA_NAME).read_bytes()
    (folder / METADATA_NAME).unlink()
    assert repair(folder).whole
    assert (folder / METADATA_NAME).read_bytes() == described
    os.truncate(folder / MCAP_NAME, (folder / MCAP_NAME).stat().st_size // 2)
    found = repair(folder)
    bag = yaml.safe_load((found.folder / METADATA_NAME).read_text())["rosbag2_bagfile_information"]
    assert {t["topic_metadata"]["name"]: t["message_count"] for t in bag["topics_with_message_count"]} == found.kept
    assert (folder / METADATA_NAME).read_bytes() == described, "the original's bytes are not touched"


def test_a_salvaged_episode_is_never_trained_on(run: RunDirectory) -> None:
    store = Store(run)
    folder = record_one(run)
    os.truncate(folder / MCAP_NAME, 3000)
    store.add_label(Label("a", 1, LabelValue.SUCCESS, "ada"))
    found = repair(folder)
    assert store.episodes()[0].episode == 1
    with pytest.raises(StoreError, match="closed episode"):
        store.add_label(Label("b", 2, LabelValue.SUCCESS, "ada"))
    store.close()
    assert not verify(found.folder).outcome.complete
    assert run.incomplete_paths() == []


def test_foxglove_finds_an_indexed_copy(run: RunDirectory) -> None:
    folder = record_one(run)
    os.truncate(folder / MCAP_NAME, (folder / MCAP_NAME).stat().st_size // 2)
    found = repair(folder)
    with (found.folder / MCAP_NAME).open("rb") as file:
        summary = make_reader(file, validate_crcs=True).get_summary()
    assert summary is not None
    assert summary.statistics is not None
    assert summary.statistics.message_count == sum(found.kept.values()) > 0


def test_a_second_repair_makes_no_second_copy(run: RunDirectory) -> None:
    folder = record_one(run)
    damage_chunk(folder / MCAP_NAME, 1)
    first, second = repair(folder), repair(folder)
    assert (first.already, second.already) == (False, True)
    assert first.folder == second.folder == run.salvaged_paths()[0]
    assert (first.kept, first.lost) == (second.kept, second.lost)
    damage_chunk(folder / MCAP_NAME, 2)  # more was lost since
    assert repair(folder).folder.name == "000001.salvaged.2"


def test_what_verify_says_of_a_whole_episode_repair_does_not_deny(run: RunDirectory) -> None:
    folder = record_one(run)
    shutil.copytree(folder, run.episode(7))
    with pytest.raises(IntegrityError, match="manifest is of episode 1: a copy"):
        repair(run.episode(7))
    manifest = read_manifest(folder)
    write_manifest(folder, replace(manifest, header=replace(manifest.header, spec_hash="ff" * 32)))
    with pytest.raises(IntegrityError, match="recorded with policy spec ffffffffffff"):
        repair(folder)
    write_manifest(folder, replace(manifest, counts={**manifest.counts, "/robot": 9}))
    salvage = repair(folder)
    assert (salvage.kept["/robot"], salvage.lost["/robot"], salvage.whole) == (8, 1, False)
