"""What the actor records, as the store keeps it; and a store that forgets, for evaluation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from robot_rl.clock import SECOND, wall_time_ns
from robot_rl.control.ports import EpisodeRecord
from robot_rl.store.episode import EpisodeHeader, EpisodeOutcome, Manifest
from robot_rl.store.labels import LabelEvent
from robot_rl.store.records import JSON
from robot_rl.store.ros import CAMERA, CAMERAS
from robot_rl.store.run import RunInfo
from robot_rl.store.store import EpisodeSummary
from robot_rl.types import ActionChunk, Label, Transition

log = logging.getLogger(__name__)


class Keeper(Protocol):
    """What of a store keeps an episode; each call as of `StorePort`."""

    def begin(self, header: EpisodeHeader) -> None: ...

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, JSON]) -> None: ...

    def write_transition(self, transition: Transition) -> None: ...

    def end(self, outcome: EpisodeOutcome) -> Manifest: ...


@dataclass(frozen=True)
class StoreRecorder:
    """A control loop's `Recorder` on a store."""

    store: Keeper
    info: RunInfo
    policy_id: str
    cameras: Sequence[str] = ()
    """Those of the task."""
    notices: list[str] = field(default_factory=list)
    """What is wrong with the newest episode's recording, for the operator's page."""

    def begin(self, episode: int, adapter_version: int) -> None:
        self.store.begin(
            EpisodeHeader(
                episode=episode,
                task=self.info.task,
                method=self.info.method,
                policy_id=self.policy_id,
                spec_hash=self.info.spec_hash,
                adapter_version=adapter_version,
                seed=self.info.seed,
                started_wall_ns=wall_time_ns(),
                code_version=self.info.code_version,
            )
        )

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, Any]) -> None:
        self.store.write(topic, stamp_ns, message)

    def chunk(self, chunk: ActionChunk, epoch: int) -> None:
        """Not kept: its steps say the epoch, its transition what was planned and done."""

    def write_transition(self, transition: Transition) -> None:
        self.store.write_transition(transition)

    def end(self, record: EpisodeRecord) -> None:
        manifest = self.store.end(
            EpisodeOutcome(
                ended_by=record.ended_by,
                steps=record.steps,
                terminal=record.terminal,
                truncated=record.truncated,
                complete=record.complete,
                verdicts=record.verdicts,
            )
        )
        before, self.notices[:] = (
            len(self.notices),
            [words for words in [missing_cameras(manifest, self.cameras)] if words],
        )
        if self.notices and not before:
            log.warning("%s", self.notices[0])


def missing_cameras(manifest: Manifest, cameras: Sequence[str]) -> str | None:
    """In words, which of `cameras` were to be recorded in an episode and gave no frame; None where all did."""
    if CAMERAS not in manifest.counts:  # none was to be
        return None
    missing = [camera for camera in cameras if not manifest.counts.get(f"{CAMERA}{camera}")]
    if not missing:
        return None
    seconds = (manifest.last_stamp_ns - manifest.first_stamp_ns) / SECOND
    return (
        f"episode {manifest.header.episode} has no frame of {', '.join(missing)} in {seconds:.1f} s: whatever makes "
        "the pictures is not running yet, or gets no time on this machine; see logs/cameras.log in the run"
    )


@dataclass
class Scratch:
    """Recorder and label book of an evaluation: keeps how its trials ended, and nothing on disk."""

    rows: list[EpisodeSummary] = field(default_factory=list)
    labels: dict[int, LabelEvent] = field(default_factory=dict)
    _open: tuple[int, int, int] = (0, 0, 0)

    def begin(self, episode: int, adapter_version: int) -> None:
        self._open = (episode, adapter_version, wall_time_ns())

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, Any]) -> None:
        """Not kept."""

    def chunk(self, chunk: ActionChunk, epoch: int) -> None:
        """Not kept."""

    def write_transition(self, transition: Transition) -> None:
        """Not kept."""

    def end(self, record: EpisodeRecord) -> None:
        episode, version, began_ns = self._open
        summary = EpisodeSummary(
            episode, version, record.steps, record.ended_by, record.complete, None, None, 0, began_ns
        )
        self.rows.append(summary)

    def add_label(self, label: Label, expected_revision: int | None = None) -> LabelEvent:
        event = LabelEvent(len(self.labels) + 1, label, wall_time_ns())
        self.labels[label.episode] = event
        return event

    def undo_label(self, episode: int, author: str, event_id: str) -> LabelEvent:
        return self.labels[episode]

    def record(self, kind: str, author: str, detail: Mapping[str, Any]) -> None:
        """Not kept."""

    def episodes(self) -> list[EpisodeSummary]:
        """As a store lists them: with their labels."""
        return [
            row if (event := self.labels.get(row.episode)) is None
            else replace(row, label=event.label.value, author=event.label.author, revision=event.seq)
            for row in self.rows
        ]  # fmt: skip
