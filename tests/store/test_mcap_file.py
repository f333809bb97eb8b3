"""Hostile and foreign recordings: refused by a typed error, in little memory."""

from __future__ import annotations

import io
import os
import resource
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, Writer

from robot_rl.errors import IntegrityError
from robot_rl.store.episode import (
    MCAP_NAME,
    EpisodeWriter,
    read_manifest,
    read_messages,
    read_transitions,
    salvage,
    write_manifest,
)
from robot_rl.store.files import sha256_file
from robot_rl.store.mcap_file import CHUNK_LIMIT
from robot_rl.store.run import RunDirectory
from tests.store.examples import SUCCESS, header, transition

MAGIC = b"\x89MCAP0\r\n"


def framed(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


def chunk(data: bytes, compression: str, size: int) -> bytes:
    """A chunk record that says of itself that it unpacks to `size` bytes."""
    head = struct.pack("<QQQI", 0, 0, size, 0) + struct.pack("<I", len(compression)) + compression.encode()
    return framed(6, head + struct.pack("<Q", len(data)) + data)


def foreign(topic: str, encoding: str, schema: str, schema_encoding: str, data: bytes) -> bytes:
    """A whole MCAP file with one message."""
    file = io.BytesIO()
    writer = Writer(file, compression=CompressionType.NONE)
    writer.start()
    channel = writer.register_channel(topic, encoding, writer.register_schema(schema, schema_encoding, b"{}"))
    writer.add_message(channel, 1, data, 1)
    writer.finish()
    return file.getvalue()


def plant(run: RunDirectory, content: bytes, topic: str = "/robot", count: int = 1) -> Path:
    """An episode whose manifest vouches for `content`, sha256 and all."""
    if not run.episode(1).exists():
        EpisodeWriter(run, header(1)).close(SUCCESS)
    folder = run.episode(1)
    path = folder / MCAP_NAME
    path.write_bytes(content)
    described = replace(read_manifest(folder), counts={topic: count}, bytes=len(content), sha256=sha256_file(path))
    write_manifest(folder, described)
    return folder


@contextmanager
def address_space(extra: int) -> Iterator[None]:
    """No more than `extra` bytes beyond what this process has mapped by now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + extra, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (foreign("/robot", "cdr", "robot_rl.robot", "jsonschema", b"{}"), "a foreign file"),
        (foreign("/robot", "json", "std_msgs/String", "jsonschema", b"{}"), "a foreign file"),
        (foreign("/robot", "json", "robot_rl.robot", "ros2msg", b"{}"), "a foreign file"),
        (foreign("/robot", "json", "robot_rl.robot", "jsonschema", b"[1]"), "expected a JSON object"),
        (foreign("/robot", "json", "robot_rl.robot", "jsonschema", b"[" * 100_000), "RecursionError"),
        (foreign("/robot", "json", "robot_rl.robot", "jsonschema", b'{"a":' * 99_999), "RecursionError"),
        (foreign("/robot", "json", "robot_rl.robot", "jsonschema", b"9" * 9999), "digits"),
    ],
)
def test_a_foreign_channel_or_message_is_refused(run: RunDirectory, what: bytes, words: str) -> None:
    folder = plant(run, what)
    with pytest.raises(IntegrityError, match=f"not a readable MCAP file.*{words}"):
        read_messages(folder, "/robot")
    assert salvage(folder / MCAP_NAME, "/robot") == ([], False)


BOMB = zstandard.compress(bytes(CHUNK_LIMIT + 1))
HEADER = framed(1, struct.pack("<II", 0, 0))


@pytest.mark.parametrize(
    "record",
    [
        chunk(BOMB, "zstd", CHUNK_LIMIT + 1),
        chunk(BOMB, "zstd", 10),
        chunk(zstandard.compress(b"x"), "zstd", 2**62),
        chunk(bytes(10), "", 2**62),
        chunk(bytes(10), "lz4", 10),
        chunk(b"(\xb5/\xfd\xe0" + b"\xff" * 16, "zstd", 10),
        struct.pack("<BQ", 6, 2**63 - 1),
        struct.pack("<BQ", 6, 2**64 - 1),
        framed(5, bytes(10)),  # a message shorter than its own head: what is left to read is negative
        framed(4, struct.pack("<HHI", 1, 1, 2**32 - 1)),
        framed(3, struct.pack("<HI", 1, 2**31)),
        framed(9, struct.pack("<QQIIQ", 0, 0, 0, 0, 2**62)),
        framed(12, struct.pack("<II", 0, 2**32 - 1)),
    ],
)
def test_huge_lengths_and_bombs_are_refused_in_little_memory(run: RunDirectory, record: bytes) -> None:
    folder = plant(run, MAGIC + HEADER + record)
    with address_space(256 * 1024 * 1024), pytest.raises(IntegrityError, match="not a readable MCAP file"):
        read_messages(folder, "/robot")


def test_transitions_of_another_episode_are_refused(run: RunDirectory) -> None:
    """A manifest may vouch for a recording that was made for another number; a learner would wait for it for ever."""
    writer = EpisodeWriter(run, header(3))
    writer.write_transition(transition(3, 0))
    writer.close(SUCCESS)
    folder = plant(run, (run.episode(3) / MCAP_NAME).read_bytes(), "/transitions")
    with pytest.raises(IntegrityError, match=r"expected \(episode, index\) \(1, 0\), got \(3, 0\)"):
        read_transitions(folder)


def _flip(data: bytes, at: int, value: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([value]) + data[at + 1 :]


EDITS: st.SearchStrategy[Callable[[bytes], bytes]] = st.one_of(
    st.tuples(st.integers(0, 10**6), st.integers(0, 255)).map(lambda e: lambda data: _flip(data, *e)),
    st.integers(0, 10**6).map(lambda n: lambda data: data[: n % len(data)]),
    st.tuples(st.integers(0, 10**6), st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x7f" * 4])).map(
        lambda e: lambda data: data[: e[0] % len(data)] + e[1] + data[e[0] % len(data) + len(e[1]) :]
    ),
)


@given(st.lists(EDITS, min_size=1, max_size=4), st.booleans())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_a_manifest_vouches_for_is_read_or_refused_by_a_typed_error(
    run: RunDirectory, edits: list[Callable[[bytes], bytes]], packed: bool
) -> None:
    """In a plain chunk the damage reaches the records, in a packed one the frame; readers know one kind of error."""
    file = io.BytesIO()
    writer = Writer(file, compression=CompressionType.ZSTD if packed else CompressionType.NONE, enable_crcs=False)
    writer.start()
    channel = writer.register_channel("/robot", "json", writer.register_schema("robot_rl.robot", "jsonschema", b"{}"))
    for n in range(3):
        writer.add_message(channel, n, b'{"n":%d}' % n, n)
    writer.finish()
    content = file.getvalue()
    for edit in edits:
        content = edit(content) or b"x"
    folder = plant(run, content, count=3)
    try:
        assert len(read_messages(folder, "/robot")) == 3
    except IntegrityError:
        messages, _ = salvage(folder / MCAP_NAME, "/robot")
        assert all(isinstance(message.body, dict) for message in messages)
