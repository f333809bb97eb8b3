"""One episode on disk: what may be lost and what may not, then the writer and the reader.

The loss model
--------------
An episode is written to `episodes/.NNNNNN.partial/episode.mcap` and handed to the operating system at least every
`FLUSH_S` of recording: a message that comes `FLUSH_S` or more after the last flush, by its stamp or by the clock on the
wall (lockstep records seconds in no time), takes everything before it along, as an MCAP chunk of its own.

- *The writer is killed (-9) while the episode is open*: the messages since the last flush are lost, less than
  `FLUSH_S` of recording; what came before reads as it was (`salvage`). The episode is incomplete: it keeps its bytes
  under another name, is never trained on, and its number is free again.
- *The machine loses power while the episode is open*: as above, but what the operating system had not yet written
  back is lost too; nothing is synced during an episode, so that a slow disk never delays a control step.
- *After `close` has returned*: nothing is lost to a kill or to a power cut. The file was synced, its sha256 written
  to `manifest.json` and synced, the directory renamed to `episodes/NNNNNN/` and the rename synced, in this order.
- *A kill between manifest and rename*: the episode is whole; whoever opens the store next does the rename.
- *A byte of a closed episode changes*: sha256 or the manifest's own checksum differ, readers raise `IntegrityError`.
- *The disk is full*: the write raises `DiskError`, and so do all later ones of this episode; it ends up incomplete.

The file is MCAP with messages of ROS 2 (`store.ros`; Foxglove and `ros2 bag` open it): `/camera/<name>`, the standard
streams of every control step, `/transitions` as `store.transitions` has it, and whatever topics the actor writes as
JSON. Stamps are monotonic ns. Recordings of versions before 0.2, which held plain JSON, are read as well.
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, NoReturn

from mcap.writer import CompressionType, Writer

from robot_rl.clock import SECOND
from robot_rl.errors import DiskError, IntegrityError, StoreError
from robot_rl.store import ros
from robot_rl.store.bag import write_bag_metadata
from robot_rl.store.files import load_json, open_inside, sha256_file, sha256_of, sync_directory, sync_file, write_json
from robot_rl.store.mcap_file import DAMAGE, MESSAGE_LIMIT, Message, read_topic
from robot_rl.store.records import JSON, encode, record
from robot_rl.store.run import RunDirectory
from robot_rl.store.schemas import TRANSITIONS, kind_of
from robot_rl.store.transitions import from_message, to_message
from robot_rl.types import Transition, canonical_hash

FLUSH_S = 0.25
"""Seconds of recording, by its stamps and on the wall, that a kill may cost, at most."""
CHUNK_BYTES = 256 * 1024
"""An MCAP chunk is closed at this size, or at a flush."""
FORMAT = 1
"""Of manifest.json."""
MCAP_NAME = "episode.mcap"
MANIFEST_NAME = "manifest.json"
METADATA = "robot_rl.episode"
"""The MCAP metadata record that holds the header."""

EndedBy = Literal["success", "failure", "timeout", "operator", "fault", "aborted"]


@dataclass(frozen=True, slots=True)
class EpisodeHeader:
    """What is known of an episode when it begins."""

    episode: int
    task: str
    method: str
    policy_id: str
    spec_hash: str
    adapter_version: int
    seed: int
    started_wall_ns: int
    """The date, for people."""
    code_version: str


@dataclass(frozen=True, slots=True)
class EpisodeOutcome:
    """How an episode ended."""

    ended_by: EndedBy
    steps: int
    """Control steps."""
    terminal: bool
    truncated: bool
    complete: bool
    """False: never train on it."""
    verdicts: Mapping[str, int]
    """`Verdict` -> number of control steps."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a closed episode is and how its bytes can be checked."""

    header: EpisodeHeader
    outcome: EpisodeOutcome
    counts: Mapping[str, int]
    """Topic -> messages."""
    first_stamp_ns: int
    last_stamp_ns: int
    bytes: int
    sha256: str
    """Of episode.mcap."""


class Image(NamedTuple):
    """One camera frame."""

    stamp_ns: int
    jpeg: bytes


class EpisodeWriter:
    """Records one episode; ends with `close` or `abandon`. Not for several threads at once (`Store` has the lock)."""

    def __init__(self, run: RunDirectory, header: EpisodeHeader) -> None:
        """Open episode `header.episode`. Raises `StoreError` if it is there, `DiskError` if the disk refuses."""
        self.header = header
        self._run = run
        self._folder = run.partial(header.episode)
        if run.episode(header.episode).exists():
            raise StoreError(f"episode {header.episode} is recorded already; expected a new number")
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._first_ns: int | None = None
        self._last_ns = 0
        self._failure: str | None = None
        try:
            self._folder.mkdir()
            self._file = (self._folder / MCAP_NAME).open("xb")
        except OSError as error:
            self._fail(error)
        try:
            self._mcap = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)
            self._mcap.start(profile="ros2", library="robot_rl")
            self._mcap.add_metadata(METADATA, {name: str(value) for name, value in asdict(header).items()})
            self._flush()
        except OSError as error:
            self._close_file()
            self._fail(error)

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, JSON]) -> None:
        """Record a message; numbers that are not finite become "NaN", "Infinity", "-Infinity" as in protobuf's JSON.

        Of a control step (`ros.STEPS`) the standard streams are recorded too. Raises `StoreError` for what JSON cannot
        hold and for a topic of those streams, `DiskError` when the disk refuses.
        """
        if ros.type_of(topic) != ros.STRING:
            raise StoreError(f"{topic}: holds {ros.type_of(topic)}, which `write` does not write; not recorded")
        self._add_json(topic, stamp_ns, message)
        if topic == ros.STEPS:
            for stream, data in ros.streams_of(stamp_ns, message):
                self._add(stream, stamp_ns, data)
        self._flush_if_due()

    def write_image(self, camera: str, stamp_ns: int, jpeg: bytes) -> None:
        """Record a frame of `camera`, JPEG, taken at `stamp_ns`. Raises `StoreError`."""
        self._add(f"{ros.CAMERA}{camera}", stamp_ns, ros.image_message(stamp_ns, camera, jpeg))
        self._flush_if_due()

    def write_transition(self, transition: Transition) -> None:
        """Record the next transition, at the newest stamp so far. Raises `StoreError` if it belongs elsewhere."""
        expected = (self.header.episode, self._counts.get(TRANSITIONS, 0))
        if (transition.episode, transition.index) != expected:
            raise StoreError(
                f"expected transition {expected[1]} of episode {expected[0]}, "
                f"got {transition.index} of episode {transition.episode}; not recorded"
            )
        self._add_json(TRANSITIONS, self._last_ns, to_message(transition))
        self._flush_if_due()

    def write_cameras(self, names: Sequence[str]) -> None:
        """Record how many frames there are of each camera so far, of one that never came 0. Raises `StoreError`."""
        self._add_json(ros.CAMERAS, self._last_ns, {name: self._counts.get(ros.CAMERA + name, 0) for name in names})

    def close(self, outcome: EpisodeOutcome) -> Manifest:
        """Sync, seal and rename; afterwards nothing of the episode can be lost.

        Raises `DiskError` when the disk refuses: the episode is then to be abandoned.
        """
        self._check_open()
        path = self._folder / MCAP_NAME
        try:
            self._mcap.finish()  # type: ignore[no-untyped-call]
            self._file.flush()
            sync_file(self._file.fileno())
            self._file.close()
            manifest = Manifest(
                header=self.header,
                outcome=outcome,
                counts=dict(self._counts),
                first_stamp_ns=self._first_ns or 0,
                last_stamp_ns=self._last_ns,
                bytes=path.stat().st_size,
                sha256=sha256_file(path),
            )
            describe_bag(self._folder, manifest)
            write_manifest(self._folder, manifest)
            publish(self._run, self.header.episode)
        except OSError as error:
            self._fail(error)
        except StoreError:
            self._failure = "could not be closed"
            raise
        self._failure = "is closed"
        return manifest

    def abandon(self) -> Path:
        """Give the episode up, keep its bytes, and say where; it is never trained on and its number is free again."""
        # The disk may refuse, or `close` may have got as far as closing the file: what was written reads up to there.
        with contextlib.suppress(OSError, ValueError):
            self._mcap.finish()  # type: ignore[no-untyped-call]
        self._close_file()
        self._failure = "was abandoned"
        if not self._folder.exists():
            return self._run.episode(self.header.episode)  # `close` had renamed it before the disk refused.
        return set_aside(self._run, self.header.episode)

    def _add_json(self, topic: str, stamp_ns: int, message: Mapping[str, Any]) -> None:
        self._check_open()
        self._add(topic, stamp_ns, ros.text_message(encode(message, topic)))

    def _add(self, topic: str, stamp_ns: int, data: bytes) -> None:
        self._check_open()
        if len(data) > MESSAGE_LIMIT:
            raise StoreError(f"{topic}: expected at most {MESSAGE_LIMIT} bytes, got {len(data)}; not recorded")
        if not 0 <= stamp_ns < 2**63:
            raise StoreError(f"{topic}: expected a stamp in monotonic ns, got {stamp_ns}; not recorded")
        try:
            channel = self._channels.get(topic)
            if channel is None:
                encoding, schema_encoding, name = kind_of(topic)
                schema_id = self._schemas.get(name)
                if schema_id is None:
                    text = ros.DEFINITIONS[name].encode()
                    schema_id = self._schemas[name] = self._mcap.register_schema(name, schema_encoding, text)
                channel = self._channels[topic] = self._mcap.register_channel(topic, encoding, schema_id)
            count = self._counts.get(topic, 0)
            self._mcap.add_message(channel, stamp_ns, data, stamp_ns, count)
        except OSError as error:
            self._fail(error)
        self._counts[topic] = count + 1
        if self._first_ns is None:  # stamps count from wherever the machine's clock began
            self._first_ns = self._flushed_ns = stamp_ns
        self._first_ns = min(self._first_ns, stamp_ns)
        self._last_ns = max(self._last_ns, stamp_ns)

    def _flush_if_due(self) -> None:
        try:
            recorded_s = (self._last_ns - self._flushed_ns) / SECOND
            if max(recorded_s, time.monotonic() - self._flushed_s) >= FLUSH_S:
                self._flush()
        except OSError as error:
            self._fail(error)

    def _flush(self) -> None:
        self._mcap.flush()  # type: ignore[no-untyped-call]
        self._flushed_s, self._flushed_ns = time.monotonic(), self._last_ns

    def _close_file(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()  # Python closes the descriptor even when the last flush fails.

    def _check_open(self) -> None:
        if self._failure is not None:
            raise StoreError(f"episode {self.header.episode} {self._failure}; nothing can be written to it")

    def _fail(self, error: OSError) -> NoReturn:
        self._failure = f"could not be written ({error.strerror or error})"
        raise DiskError(
            f"episode {self.header.episode} {self._failure}; what is on disk of it is kept, closed ones are intact"
        ) from error


# --- from partial to closed -----------------------------------------------------------------------------------------


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """manifest.json with its own checksum. Raises `StoreError`."""
    body = {"format": FORMAT, **asdict(manifest)}
    write_json(folder / MANIFEST_NAME, {**body, "checksum": canonical_hash(body)})


def describe_bag(folder: Path, manifest: Manifest) -> None:
    """`metadata.yaml`, for ROS, if the disk takes it."""
    write_bag_metadata(folder, MCAP_NAME, manifest.counts, manifest.first_stamp_ns, manifest.last_stamp_ns)


def publish(run: RunDirectory, episode: int) -> None:
    """Rename the sealed partial directory to its final name, durably. Raises `OSError`."""
    os.rename(run.partial(episode), run.episode(episode))
    sync_directory(run.episodes)


def set_aside(run: RunDirectory, episode: int) -> Path:
    """Rename a partial directory to a free incomplete name, so that the episode's number can be used again."""
    path = run.incomplete(episode)
    try:
        os.rename(run.partial(episode), path)
        sync_directory(run.episodes)
    except OSError as error:
        raise DiskError(f"cannot set episode {episode} aside: {error.strerror or error}; it stays there") from error
    return path


# --- reading --------------------------------------------------------------------------------------------------------


def read_manifest(folder: Path) -> Manifest:
    """The manifest in an episode's directory. Raises `StoreError`, or `IntegrityError` if it is damaged."""
    path = folder / MANIFEST_NAME
    with open_inside(folder, MANIFEST_NAME) as file:
        raw = load_json(file, path)
    checksum = raw.pop("checksum", None)
    if checksum != canonical_hash(raw):
        raise IntegrityError(f"{path}: its checksum is not that of its content; the episode is not used")
    if (found := raw.pop("format", None)) != FORMAT:
        raise IntegrityError(f"{path}: expected format {FORMAT}, got {found!r}; use the version that wrote it")
    return record(Manifest, raw, str(path))


def verify(folder: Path) -> Manifest:
    """The manifest of a closed episode whose bytes are what it says. Raises `StoreError` or `IntegrityError`."""
    with open_inside(folder, MCAP_NAME) as file:
        return verified(folder, file)


def verified(folder: Path, file: BinaryIO) -> Manifest:
    """The manifest that says what is in `file`, the folder's open recording; it stays at its beginning."""
    manifest, size = read_manifest(folder), os.fstat(file.fileno()).st_size
    sha256 = sha256_of(file)
    file.seek(0)
    if (size, sha256) != (manifest.bytes, manifest.sha256):
        raise IntegrityError(
            f"{folder / MCAP_NAME}: expected {manifest.bytes} bytes with sha256 {manifest.sha256:.12}, "
            f"got {size} with {sha256:.12}; the episode is not used"
        )
    return manifest


def read_messages(folder: Path, topic: str) -> list[Message]:
    """The messages of a topic of a closed episode, in the order they were written; [] for a topic it does not have.

    Raises `StoreError` when it cannot be opened and `IntegrityError` when anything differs from the manifest.
    """
    return _read(folder, topic)[1]


def read_images(folder: Path, camera: str) -> list[Image]:
    """The frames of a camera. Raises as `read_messages` does."""
    messages = read_messages(folder, f"{ros.CAMERA}{camera}")
    try:
        frames = [(message.stamp_ns, message.body["data"]) for message in messages]  # in JSON they are base64
        return [Image(at, data if isinstance(data, bytes) else base64.b64decode(data)) for at, data in frames]
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{folder}: a frame of {camera} is not an image message: {error!r:.200}") from error


def read_transitions(folder: Path) -> list[Transition]:
    """The transitions of a closed episode, bit for bit as they were written. Raises as `read_messages` does."""
    where = f"{folder / MCAP_NAME}:{TRANSITIONS}"
    manifest, messages = _read(folder, TRANSITIONS)
    transitions = [from_message(message.body, where) for message in messages]
    for index, transition in enumerate(transitions):
        got, expected = (transition.episode, transition.index), (manifest.header.episode, index)
        if got != expected:
            raise IntegrityError(f"{where}: expected (episode, index) {expected}, got {got}; the episode is not used")
    return transitions


def _read(folder: Path, topic: str) -> tuple[Manifest, list[Message]]:
    path = folder / MCAP_NAME
    with open_inside(folder, MCAP_NAME) as file:
        manifest = verified(folder, file)
        try:
            messages = list(read_topic(file, topic))
        except DAMAGE as error:
            text = f"{path}: not a readable MCAP file: {error!r:.200}; the episode is not used"
            raise IntegrityError(text) from error
    expected = manifest.counts.get(topic, 0)
    if len(messages) != expected:
        raise IntegrityError(f"{path}: expected {expected} messages of {topic}, got {len(messages)}; not used")
    return manifest, messages


def salvage(path: Path, topic: str) -> tuple[list[Message], bool]:
    """What can be read of a topic from an MCAP file that may be cut, and whether the file is whole."""
    messages: list[Message] = []
    with open_inside(path.parent, path.name) as file:
        try:
            for message in read_topic(file, topic):
                messages.append(message)
        except DAMAGE:
            return messages, False
    return messages, True
