"""What can be read of a damaged or cut episode, as a recording of its own; the original's bytes are not touched.

The loss model: damage within one record of the MCAP costs that record (a chunk: up to `MOST_FLUSH_S` of recording, by
its stamps and on the wall) and messages of topics that only it described; where the framing itself is damaged,
everything behind is lost. Every message carries its number in its topic, so that what is missing before the last
readable one is counted exactly; what is missing behind it is counted exactly where the manifest or the file's own
statistics say how much there was, and is said to be unknown where neither is left.

The salvaged episode is closed as incomplete in a directory of its own, `000012.salvaged.1`: it is never trained on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, McapRecord, Message, Metadata, Schema, Statistics
from mcap.writer import CompressionType, Writer

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.bag import METADATA_NAME
from robot_rl.store.episode import (
    CHUNK_BYTES,
    MANIFEST_NAME,
    MCAP_NAME,
    METADATA,
    EpisodeHeader,
    EpisodeOutcome,
    Manifest,
    describe_bag,
    publish,
    read_manifest,
    set_aside,
    verify,
    write_manifest,
)
from robot_rl.store.files import open_inside, sha256_file, sync_directory, sync_file
from robot_rl.store.mcap_file import CHUNK_LIMIT, DAMAGE, body_of, check_channel, read_messages_of, unpacked
from robot_rl.store.records import record
from robot_rl.store.ros import STEPS
from robot_rl.store.run import RunDirectory, locate
from robot_rl.store.store import lock
from robot_rl.store.training import foreign

MOST_FLUSH_S = 0.5
"""The most that `episode.FLUSH_S` has been: of recordings that there are."""
MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")
"""Opcode and length of a record."""
_OPCODES = frozenset(int(opcode) for opcode in Opcode)
_READ: Mapping[int, Callable[[ReadDataStream], McapRecord]] = {
    Opcode.SCHEMA: Schema.read,
    Opcode.CHANNEL: Channel.read,
    Opcode.METADATA: Metadata.read,
    Opcode.STATISTICS: Statistics.read,
}


@dataclass
class Salvage:
    """What was kept of an episode and what was lost."""

    folder: Path
    """Where the copy is; the episode itself if nothing was wrong with it."""
    kept: Mapping[str, int] = field(default_factory=dict)
    """Topic -> messages."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Topic -> messages known to be lost."""
    losses: Sequence[str] = ()
    """What is lost beyond that, a sentence each."""
    damage: Sequence[str] = ()
    """Where the file is not as it was written, a sentence each."""
    already: bool = False
    """An earlier repair had made this copy."""

    @property
    def whole(self) -> bool:
        return not self.losses and not any(self.lost.values())


def repair(folder: Path) -> Salvage:
    """Salvage the episode in `folder`, closed, open or set aside; one that is as its manifest says is left alone.

    Raises `StoreError` when it is being recorded, `IntegrityError` when nothing says what it is a recording of, or when
    it is whole and not of this run: that cannot be repaired.
    """
    run, number, path = locate(folder)
    if path == run.partial(number):
        path = _settle(run, number)
    try:
        manifest = verify(path)
        counts, is_bag = _contents(path)
    except (StoreError, *DAMAGE):
        return _salvage(run, number, path)
    if manifest.header.episode != number:
        raise IntegrityError(
            f"{path}: it is whole, and its manifest is of episode {manifest.header.episode}: a copy? It is not used as "
            f"{number}; remove it, or give it its own name back"
        )
    if (words := foreign(manifest.header, run.read_info())) is not None:
        raise IntegrityError(f"{path}: it is whole, and {words}; it is not used, and nothing can be repaired in it")
    if counts != manifest.counts:
        return _salvage(run, number, path)
    if not os.path.lexists(path / METADATA_NAME) and is_bag:
        describe_bag(path, manifest)
    return Salvage(path, kept=counts)


def _contents(folder: Path) -> tuple[dict[str, int], bool]:
    """(topic -> messages, whether ROS could read the whole recording). Raises one of `DAMAGE`."""
    counts: Counter[str] = Counter()
    is_bag = True
    with open_inside(folder, MCAP_NAME) as file:
        for channel, _ in read_messages_of(file):
            counts[channel.topic] += 1
            is_bag = is_bag and channel.message_encoding == "cdr"
    return dict(counts), is_bag


def _settle(run: RunDirectory, number: int) -> Path:
    """Where an episode goes that was open when its writer ended. Raises `StoreError` while the writer lives."""
    descriptor = lock(run)
    try:
        verify(run.partial(number))
        publish(run, number)  # its writer had sealed it
    except StoreError:
        return set_aside(run, number)
    finally:
        os.close(descriptor)
    return run.episode(number)


def _salvage(run: RunDirectory, number: int, folder: Path) -> Salvage:
    try:
        manifest = read_manifest(folder)
    except StoreError:
        manifest = None
    work = run.episodes / f".{number:06d}.repair"
    try:
        shutil.rmtree(work, ignore_errors=True)  # of a repair that was killed
        work.mkdir()
        with open_inside(folder, MCAP_NAME) as source, (work / MCAP_NAME).open("xb") as target:
            copy = _Copy(target)
            copy.take(source)
            header = manifest.header if manifest is not None else copy.header
            if header is None or header.episode != number:
                raise IntegrityError(
                    f"{folder}: neither manifest nor recording says of itself that it is episode {number}; nothing can "
                    f"be kept of it ({'; '.join(copy.damage) or 'a foreign file'}). Its bytes stay as they are"
                )
            copy.finish()
            sync_file(target.fileno())
        made = _seal(work, header, manifest, copy)
        earlier = _earlier(run, number, made)
        final = earlier or run.salvaged(number)
        if earlier is None:
            os.rename(work, final)
            sync_directory(run.episodes)
    except OSError as error:
        raise StoreError(f"{folder} could not be repaired: {error.strerror or error}; its bytes are intact") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    salvage = replace(copy.account(final, manifest), already=earlier is not None)
    if manifest is None and (folder == run.episode(number) or os.path.lexists(folder / MANIFEST_NAME)):
        lost = "the manifest: how the episode ended, what became of its commands, and the sha256 of its recording"
        return replace(salvage, losses=[lost, *salvage.losses])
    return salvage


def _earlier(run: RunDirectory, number: int, made: Manifest) -> Path | None:
    """A copy that an earlier repair made, and that is what this one has made."""
    for path in run.salvaged_paths():
        with contextlib.suppress(StoreError):
            if path.name.startswith(f"{number:06d}.") and verify(path) == made:
                return path
    return None


def _seal(work: Path, header: EpisodeHeader, manifest: Manifest | None, copy: _Copy) -> Manifest:
    """The manifest of the salvaged episode: incomplete, whatever it was."""
    outcome = EpisodeOutcome("aborted", copy.kept[STEPS], False, False, False, {})
    path = work / MCAP_NAME
    manifest = Manifest(
        header=header,
        outcome=outcome if manifest is None else replace(manifest.outcome, complete=False),
        counts=dict(copy.kept),
        first_stamp_ns=copy.first_ns or 0,
        last_stamp_ns=copy.last_ns,
        bytes=path.stat().st_size,
        sha256=sha256_file(path),
    )
    if copy.is_bag:
        describe_bag(work, manifest)
    write_manifest(work, manifest)
    return manifest


class _Copy:
    """A recording's readable messages, written anew, and an account of what was not readable."""

    def __init__(self, target: BinaryIO) -> None:
        self._mcap = Writer(target, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)
        self._mcap.start(profile="ros2", library="robot_rl repair")
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, tuple[Channel, int]] = {}
        """Channel of the source -> itself, channel of the copy."""
        self._next: Counter[str] = Counter()
        """Topic -> number of its next message, if none is missing."""
        self._nameless = 0
        """Messages of topics whose description is lost."""
        self._ended = False
        """All of the data was walked through; what follows is the summary."""
        self._totals: dict[str, int] | None = None
        """Topic -> messages that there were, by the summary."""
        self.kept: Counter[str] = Counter()
        self.first_ns: int | None = None
        self.last_ns = 0
        self.header: EpisodeHeader | None = None
        self.damage: list[str] = []

    @property
    def is_bag(self) -> bool:
        """Whether ROS could read it."""
        return all(channel.message_encoding == "cdr" for channel, _ in self._channels.values())

    def take(self, source: BinaryIO) -> None:
        """Everything that can be read."""
        for offset, opcode, content in self._frames(source):
            try:
                for inner in _parsed(opcode, content):
                    self._add(inner)
            except DAMAGE as error:
                self.damage.append(f"the record at byte {offset} ({len(content)} bytes) is damaged: {error!r:.100}")
            self._ended = self._ended or opcode == Opcode.DATA_END

    def finish(self) -> None:
        self._mcap.finish()  # type: ignore[no-untyped-call]

    def account(self, folder: Path, manifest: Manifest | None) -> Salvage:
        """What became of the messages."""
        expected = self._totals if manifest is None else manifest.counts
        losses = []
        if expected is None:
            expected = self._next
            if self._nameless:
                losses.append(f"{self._nameless} messages of topics whose description is lost")
            if not self._ended:
                losses.append(
                    f"what came after the last messages kept: up to {MOST_FLUSH_S} s of recording if its writer was "
                    "killed, more if the file was cut; nothing is left that says how much there was"
                )
            elif self.damage:
                losses.append("what the damaged records held after the last messages kept: nothing says how much")
        lost = {topic: max(0, count - self.kept[topic]) for topic, count in expected.items()}
        return Salvage(folder, dict(self.kept), lost, losses, self.damage)

    def _frames(self, source: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
        """(offset, opcode, content) of the records up to the footer, or to where the framing is lost."""
        size = os.fstat(source.fileno()).st_size
        if source.read(len(MAGIC)) != MAGIC:
            self.damage.append("the file does not begin as an MCAP file does")
            return
        while (offset := source.tell()) < size:
            head = source.read(_HEAD.size)
            opcode, length = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
            if opcode == Opcode.FOOTER:
                return
            if opcode not in _OPCODES or length > min(size - source.tell(), CHUNK_LIMIT):
                self.damage.append(f"from byte {offset} on, {size - offset} bytes are no whole record")
                return
            yield offset, opcode, source.read(length)
        self.damage.append(f"the file ends at byte {size} without a footer")

    def _add(self, inner: McapRecord) -> None:
        if isinstance(inner, Schema):
            self._schemas[inner.id] = inner
        elif isinstance(inner, Channel):
            schema = self._schemas[inner.schema_id]
            check_channel(inner, schema)
            channel = {there.topic: copy for there, copy in self._channels.values()}.get(inner.topic)
            if channel is None:
                schema_id = self._mcap.register_schema(schema.name, schema.encoding, schema.data)
                channel = self._mcap.register_channel(inner.topic, inner.message_encoding, schema_id)
            self._channels[inner.id] = inner, channel
        elif isinstance(inner, Metadata) and inner.name == METADATA:
            self.header = _header(inner.metadata)
            self._mcap.add_metadata(METADATA, inner.metadata)
        elif isinstance(inner, Statistics):
            counts = inner.channel_message_counts
            self._totals = {self._channels[channel][0].topic: count for channel, count in counts.items()}
        elif isinstance(inner, Message):
            self._message(inner)

    def _message(self, message: Message) -> None:
        if message.channel_id not in self._channels:
            self._nameless += 1
            return
        there, channel = self._channels[message.channel_id]
        topic = there.topic
        body_of(there, message.data)
        self._mcap.add_message(channel, message.log_time, message.data, message.publish_time, message.sequence)
        self.kept[topic] += 1
        self._next[topic] = max(self._next[topic], message.sequence + 1)
        self.first_ns = message.log_time if self.first_ns is None else min(self.first_ns, message.log_time)
        self.last_ns = max(self.last_ns, message.log_time)


def _parsed(opcode: int, content: bytes) -> list[McapRecord]:
    """The records in one of the file's; those that hold nothing of the episode are left out. Raises one of `DAMAGE`."""
    stream = ReadDataStream(BytesIO(content))
    if opcode == Opcode.CHUNK:
        return unpacked(Chunk.read(stream))
    if opcode == Opcode.MESSAGE:
        return [Message.read(stream, len(content))]
    read = _READ.get(opcode)
    return [read(stream)] if read else []


def _header(written: Mapping[str, str]) -> EpisodeHeader:
    """The header that the writer put into the recording, every value as text. Raises one of `DAMAGE`."""
    numbers = ("episode", "adapter_version", "seed", "started_wall_ns")
    try:
        return record(
            EpisodeHeader, {name: int(text) if name in numbers else text for name, text in written.items()}, METADATA
        )
    except IntegrityError as error:
        raise ValueError(str(error)) from error
