"""The store as the actor sees it: one open episode, the label log, and the list of what there is.

One process at a time writes a run's episodes; a second one is refused. What a killed one left behind is settled when
the next one opens the run: a sealed episode is published, an open one is set aside as incomplete.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from robot_rl.errors import DiskError, NoSuchEpisode, StoreError
from robot_rl.store.episode import (
    EndedBy,
    EpisodeHeader,
    EpisodeOutcome,
    EpisodeWriter,
    Manifest,
    publish,
    set_aside,
    verify,
)
from robot_rl.store.facts import episode_facts
from robot_rl.store.files import sync_directory
from robot_rl.store.labels import AuditEvent, LabelEvent, LabelLog
from robot_rl.store.records import JSON
from robot_rl.store.reserve import Reserve
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import foreign, manifest_of
from robot_rl.types import Label, LabelValue, Transition

Entry = TypeVar("Entry", LabelEvent, AuditEvent)

AUTHOR = "store"
"""Who audit events of the store itself are by."""


@dataclass(frozen=True, slots=True)
class EpisodeSummary:
    """A closed episode in a list."""

    episode: int
    adapter_version: int
    steps: int
    ended_by: EndedBy
    complete: bool
    label: LabelValue | None
    author: str | None
    revision: int
    """To be sent back as `expected_revision` with a correction; 0 without a label."""
    started_wall_ns: int
    """The date, for people."""
    corrected: bool = False
    """There is an earlier label, which an undo gives again."""


class StorePort(Protocol):
    """The store in this process or behind a socket."""

    def reserve(self) -> None:
        """Keep disk space back, as `begin` does (`store.reserve`). Raises `DiskError` when there is not enough."""
        ...

    def begin(self, header: EpisodeHeader) -> None:
        """Open an episode; one that is still open is abandoned first. Raises `StoreError` if the number is taken.

        This and whatever else writes raises `DiskError` when the disk refuses; the open episode is then lost.
        """
        ...

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, JSON]) -> None:
        """Record a message in the open episode. Raises `StoreError`."""
        ...

    def write_image(self, camera: str, stamp_ns: int, jpeg: bytes) -> None:
        """Record a JPEG frame in the open episode. Raises `StoreError`."""
        ...

    def write_transition(self, transition: Transition) -> None:
        """Record the open episode's next transition. Raises `StoreError`."""
        ...

    def end(self, outcome: EpisodeOutcome) -> Manifest:
        """Close the open episode; when this returns nothing of it can be lost. Raises `StoreError`."""
        ...

    def add_label(self, label: Label, expected_revision: int | None = None) -> LabelEvent:
        """Label a closed episode (`LabelLog.add`). Raises `LabelConflict`, `NoSuchEpisode`, `StoreError`."""
        ...

    def undo_label(self, episode: int, author: str, event_id: str) -> LabelEvent:
        """Take back the newest label of an episode (`LabelLog.undo`). Raises `LabelConflict`, `StoreError`."""
        ...

    def record(self, kind: str, author: str, detail: Mapping[str, JSON]) -> AuditEvent:
        """Append to the audit log. Raises `StoreError`."""
        ...

    def episodes(self) -> list[EpisodeSummary]:
        """The closed episodes with their current labels, in order."""
        ...

    def close(self) -> None:
        """Abandon an open episode and let go of the run."""
        ...


class Store:
    """`StorePort` over a run's directory, for any number of threads.

    `cameras`: those whose frames are to come into its episodes; each episode says how many did (`ros.CAMERAS`). Raises
    `StoreError` when another process has the run open, or when the label log of its episodes is gone.
    """

    def __init__(self, run: RunDirectory, cameras: Sequence[str] = ()) -> None:
        self.run = run
        self._cameras = cameras
        self._writer: EpisodeWriter | None = None
        self._refused: DiskError | None = None
        """Why the episode that was open is not, if the disk took it."""
        self._reserve = Reserve(run.reserve)
        self._lock = threading.RLock()
        self._descriptor = lock(run)
        try:
            require_labels(run)
            self._log = LabelLog(run.labels, run.identity)
            self._settle()
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def recording(self) -> bool:
        """Whether an episode is open."""
        return self._writer is not None

    def reserve(self) -> None:
        with self._lock:
            self._reserve.take()

    def begin(self, header: EpisodeHeader) -> None:
        with self._writing():
            self._abandon("another one began")
            self._reserve.take()
            for left in self.run.partial_episodes():
                set_aside(self.run, left)
            self._writer, self._refused = EpisodeWriter(self.run, header), None

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, JSON]) -> None:
        with self._writing():
            self._open().write(topic, stamp_ns, message)

    def write_image(self, camera: str, stamp_ns: int, jpeg: bytes) -> None:
        with self._writing():
            self._open().write_image(camera, stamp_ns, jpeg)

    def write_transition(self, transition: Transition) -> None:
        with self._writing():
            self._open().write_transition(transition)

    def end(self, outcome: EpisodeOutcome) -> Manifest:
        with self._writing():
            writer = self._open()
            if self._cameras:
                writer.write_cameras(self._cameras)
            manifest = writer.close(outcome)
            self._writer = None
            return manifest

    def adopt(self, folder: Path) -> Manifest:
        """Take over an episode that another process has closed at `folder`, on this run's file system.

        When this returns nothing of it can be lost. Raises `StoreError` for one that is damaged, that this run has, or
        that was recorded with another policy; it then stays where it is.
        """
        with self._writing():
            manifest = verify(folder)
            place = self.run.episode(manifest.header.episode)
            if words := foreign(manifest.header, self.run.read_info()):
                raise StoreError(f"{folder}: {words}; not taken over")
            if place.exists():
                raise StoreError(f"{folder}: episode {manifest.header.episode} is recorded already; not taken over")
            self._reserve.take()
            try:
                os.rename(folder, place)
                sync_directory(self.run.episodes)
            except OSError as error:
                raise DiskError(f"cannot take over {folder}: {error.strerror or error}; it stays there") from error
            return manifest

    def add_label(self, label: Label, expected_revision: int | None = None) -> LabelEvent:
        if not os.path.isdir(self.run.episode(label.episode)):
            raise NoSuchEpisode(f"cannot label episode {label.episode}: expected a closed episode, and there is none")
        return self._logged(lambda: self._log.add(label, expected_revision))

    def undo_label(self, episode: int, author: str, event_id: str) -> LabelEvent:
        return self._logged(lambda: self._log.undo(episode, author, event_id))

    def record(self, kind: str, author: str, detail: Mapping[str, JSON]) -> AuditEvent:
        return self._logged(lambda: self._log.record(kind, author, detail))

    def events(self, after: int = 0) -> list[AuditEvent]:
        """The audit log's entries with seq > `after`."""
        return self._log.events(after)

    def episodes(self) -> list[EpisodeSummary]:
        return summaries(self.run, self._log.current())

    def list_incomplete(self) -> list[Path]:
        """The directories of episodes that were never closed; their names begin with the episode's number."""
        return self.run.incomplete_paths()

    def close(self) -> None:
        with self._lock:
            self._abandon("the store was closed")
            self._reserve.release()
            self._log.close()
            if self._descriptor >= 0:
                with suppress(StoreError, OSError):  # it is derived: whoever wants it next makes it
                    episode_facts(self.run, self.run.read_info(), self.run.closed_episodes())
                os.close(self._descriptor)
                self._descriptor = -1

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One thread at a time; when the disk refuses, the open episode is set aside, into the reserve."""
        with self._lock:
            try:
                yield
            except DiskError as error:
                self._refused = error
                self._reserve.release()
                with suppress(DiskError):  # what is left of it is set aside by the next `begin`
                    self._abandon("the disk refused")
                raise

    def _logged(self, append: Callable[[], Entry]) -> Entry:
        """What people say goes into the reserve when there is no other space left."""
        try:
            return append()
        except DiskError:
            if not self._reserve.held:
                raise
            self._reserve.release()
            return append()

    def _open(self) -> EpisodeWriter:
        if self._writer is None:
            if self._refused is not None:  # each of those that record into it is to hear of it
                raise self._refused
            raise StoreError("no episode is open: expected `begin` first")
        return self._writer

    def _abandon(self, reason: str) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            self._report("episode_abandoned", writer.header.episode, reason, writer.abandon())

    def _settle(self) -> None:
        """Finish what a killed writer left, and say which closed episodes cannot be used."""
        for episode in self.run.partial_episodes():
            try:
                verify(self.run.partial(episode))
                publish(self.run, episode)
            except (StoreError, OSError):
                self._report("episode_incomplete", episode, "its writer ended", set_aside(self.run, episode))
            else:
                self._report("episode_published", episode, "its writer had sealed it", self.run.episode(episode))
        for episode in self.run.closed_episodes():
            try:
                manifest_of(self.run, episode)
            except StoreError as error:
                self._report("episode_unreadable", episode, str(error), self.run.episode(episode))

    def _report(self, kind: str, episode: int, reason: str, path: Path) -> None:
        self.record(kind, AUTHOR, {"episode": episode, "reason": reason, "directory": path.name})


def summaries(run: RunDirectory, labels: Mapping[int, LabelEvent]) -> list[EpisodeSummary]:
    """The closed episodes of a run with `labels`; one whose manifest is damaged is not in the list."""
    listed = []
    for episode in run.closed_episodes():
        try:
            manifest = manifest_of(run, episode)
        except StoreError:
            continue  # `Store` has put it into the audit log when it opened the run.
        event = labels.get(episode)
        listed.append(
            EpisodeSummary(
                episode=episode,
                adapter_version=manifest.header.adapter_version,
                steps=manifest.outcome.steps,
                ended_by=manifest.outcome.ended_by,
                complete=manifest.outcome.complete,
                label=event.label.value if event else None,
                author=event.label.author if event else None,
                revision=event.seq if event else 0,
                started_wall_ns=manifest.header.started_wall_ns,
                corrected=event is not None and event.label.supersedes is not None,
            )
        )
    return listed


def require_labels(run: RunDirectory) -> None:
    """A log that is gone is not silently begun anew: what people said of the episodes would be lost without a word."""
    closed = run.closed_episodes()
    if closed and not os.path.lexists(run.labels):
        raise StoreError(
            f"{run.labels}: expected the label log of {len(closed)} closed episodes, and it is gone; put it back, or "
            "make an empty file of that name to label them all anew"
        )


def lock(run: RunDirectory) -> int:
    """A descriptor that holds the run's lock until it is closed or its process (and its forks) ended, in any way.

    Raises `StoreError` when another process has it.
    """
    try:
        descriptor = os.open(run.store_lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DiskError(f"cannot write into {run.path}: {error.strerror or error}; it is as it was") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreError(f"{run.path} is open in another process that records into it; end that one first") from error
    return descriptor
