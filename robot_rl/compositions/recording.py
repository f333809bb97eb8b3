"""What the actor records, as the store keeps it; and a store that forgets, for evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robot_rl.clock import wall_time_ns
from robot_rl.control.ports import EpisodeRecord
from robot_rl.store.episode import EpisodeHeader, EpisodeOutcome
from robot_rl.store.labels import LabelEvent
from robot_rl.store.run import RunInfo
from robot_rl.store.store import EpisodeSummary, StorePort
from robot_rl.types import ActionChunk, Label, Transition


@dataclass(frozen=True)
class StoreRecorder:
    """A control loop's `Recorder` on a store."""

    store: StorePort
    info: RunInfo
    policy_id: str

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
        self.store.end(
            EpisodeOutcome(
                ended_by=record.ended_by,
                steps=record.steps,
                terminal=record.terminal,
                truncated=record.truncated,
                complete=record.complete,
                verdicts=record.verdicts,
            )
        )


@dataclass
class Scratch:
    """Recorder and label book of an evaluation: keeps how its trials ended, and nothing on disk."""

    rows: list[EpisodeSummary] = field(default_factory=list)
    labels: dict[int, LabelEvent] = field(default_factory=dict)
    _open: tuple[int, int] = (0, 0)

    def begin(self, episode: int, adapter_version: int) -> None:
        self._open = (episode, adapter_version)

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, Any]) -> None:
        """Not kept."""

    def chunk(self, chunk: ActionChunk, epoch: int) -> None:
        """Not kept."""

    def write_transition(self, transition: Transition) -> None:
        """Not kept."""

    def end(self, record: EpisodeRecord) -> None:
        episode, version = self._open
        summary = EpisodeSummary(episode, version, record.steps, record.ended_by, record.complete, None, None, 0, 0)
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
        return self.rows
