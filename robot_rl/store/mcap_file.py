"""Messages out of an MCAP file that may be cut, damaged, foreign or hostile.

Anything that is not as `robot_rl.store.episode` writes it raises one of `DAMAGE`: no read is longer than what is left
of the file, no chunk unpacks to more than `CHUNK_LIMIT`, and a topic's channel must be of a kind that was ever written.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, NamedTuple, cast

import zstandard
from mcap.exceptions import EndOfFile, McapError
from mcap.records import Channel, Chunk, McapRecord, Schema
from mcap.records import Message as MessageRecord
from mcap.stream_reader import StreamReader, breakup_chunk

from robot_rl.store.ros import IMAGE, STRING, read_image, read_text, type_of
from robot_rl.store.schemas import kinds_of

CHUNK_LIMIT = 64 * 1024 * 1024
"""Bytes that a chunk may unpack to; the writer's are a few hundred kilobytes and one message."""
MESSAGE_LIMIT = 32 * 1024 * 1024
"""Bytes of a message that is written."""

DAMAGE = (
    McapError,
    zstandard.ZstdError,
    ValueError,
    KeyError,
    TypeError,
    struct.error,
    MemoryError,
    OverflowError,
    RecursionError,
)
"""What comes of bytes that are not a whole MCAP file of ours (tests cut and flip every byte)."""


class Message(NamedTuple):
    """One message of a topic."""

    stamp_ns: int
    body: dict[str, Any]


def read_topic(file: BinaryIO, topic: str) -> Iterator[Message]:
    """The messages of `topic` in the order they were written. Raises one of `DAMAGE` where the file ends to be ours."""
    for channel, record in read_messages_of(file, topic):
        yield Message(record.log_time, body_of(channel, record.data))


def read_messages_of(file: BinaryIO, topic: str | None = None) -> Iterator[tuple[Channel, MessageRecord]]:
    """(channel, message as it is stored) of one topic, or of all of them. Raises one of `DAMAGE`."""
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    for record in read_records(file):
        for inner in unpacked(record) if isinstance(record, Chunk) else [record]:
            if isinstance(inner, Schema):
                schemas[inner.id] = inner
            elif isinstance(inner, Channel):
                channels[inner.id] = inner
                if topic in (None, inner.topic):
                    check_channel(inner, schemas[inner.schema_id])
            elif isinstance(inner, MessageRecord) and topic in (None, channels[inner.channel_id].topic):
                yield channels[inner.channel_id], inner


def read_records(file: BinaryIO) -> Iterator[McapRecord]:
    """The records of an open file, chunks still packed. Raises one of `DAMAGE`."""
    bounded = _Bounded(file)
    limit = bounded.left  # no record is longer
    return StreamReader(
        cast("IO[bytes]", bounded), emit_chunks=True, validate_crcs=True, record_size_limit=limit
    ).records


def unpacked(chunk: Chunk) -> list[McapRecord]:
    """The records in a chunk. Raises one of `DAMAGE`, before anything large is allocated."""
    if chunk.compression not in ("zstd", ""):
        raise McapError(f"expected a chunk in zstd, got {chunk.compression!r:.20}")
    size = zstandard.frame_content_size(chunk.data) if chunk.compression else len(chunk.data)
    if max(size, chunk.uncompressed_size) > CHUNK_LIMIT:
        raise McapError(f"expected a chunk of at most {CHUNK_LIMIT} bytes, got {max(size, chunk.uncompressed_size)}")
    return breakup_chunk(chunk, validate_crc=True)


def check_channel(channel: Channel, schema: Schema) -> None:
    """Raises `McapError` for a channel that this store has not written."""
    expected = kinds_of(channel.topic)
    if (got := (channel.message_encoding, schema.encoding, schema.name)) not in expected:
        raise McapError(f"{channel.topic}: expected messages and schema {expected}, got {got!r:.120}; a foreign file?")


def body_of(channel: Channel, data: bytes) -> dict[str, Any]:
    """A message of a channel that was checked: its JSON, or a frame's {frame_id, format, data}, or {cdr: its bytes}.

    Raises one of `DAMAGE`.
    """
    if channel.message_encoding == "json":
        return _json_object(data, channel.topic)
    kind = type_of(channel.topic)
    if kind == IMAGE:
        return read_image(data)
    return _json_object(read_text(data), channel.topic) if kind == STRING else {"cdr": data}


def _json_object(data: bytes, topic: str) -> dict[str, Any]:
    body = json.loads(data)
    if not isinstance(body, dict):
        raise ValueError(f"expected a JSON object on {topic}, got {type(body).__name__}")
    return body


class _Bounded:
    """A file for the MCAP library, which believes the lengths that it reads and takes a short read for a whole one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.left = os.fstat(file.fileno()).st_size - file.tell()

    def read(self, length: int) -> bytes:
        if not 0 <= length <= self.left:
            raise EndOfFile
        data = self._file.read(length)
        self.left -= length
        if len(data) < length:
            raise EndOfFile
        return data
