"""A recorder that says on topics what it records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robot_rl.control.ports import EpisodeRecord, Recorder
from robot_rl.store.ros import STEPS, streams_of
from robot_rl.types import Transition
from robot_rl_ros.topics import COMMAND, Streams


@dataclass(frozen=True)
class Heard:
    """What is recorded goes to `recorder` first; of what `streams` has topics for, its subscribers hear too."""

    recorder: Recorder
    streams: Streams

    def begin(self, episode: int, adapter_version: int) -> None:
        self.recorder.begin(episode, adapter_version)

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, Any]) -> None:
        self.recorder.write(topic, stamp_ns, message)
        self.streams.say(topic, message)
        for stream, cdr in streams_of(stamp_ns, message) if topic == STEPS else ():
            if stream == COMMAND:  # the others are published by whoever measures them
                self.streams.publish(stream, cdr)

    def write_transition(self, transition: Transition) -> None:
        self.recorder.write_transition(transition)

    def end(self, record: EpisodeRecord) -> None:
        self.recorder.end(record)
