"""A recorder that says on topics what it records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robot_rl.control.ports import EpisodeRecord, Recorder
from robot_rl.store.ros import STEPS, streams_of
from robot_rl.types import ActionChunk, Transition
from robot_rl_ros.own import CHUNKS, Own
from robot_rl_ros.topics import COMMAND, Streams


@dataclass(frozen=True)
class Heard:
    """What is recorded goes to `recorder` first; of what `streams` and `own` have topics for, subscribers hear too."""

    recorder: Recorder
    streams: Streams
    own: Own
    verdicts: Counter[str] = field(default_factory=Counter)
    """On the commands that were recorded."""

    def begin(self, episode: int, adapter_version: int) -> None:
        self.recorder.begin(episode, adapter_version)

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, Any]) -> None:
        self.recorder.write(topic, stamp_ns, message)
        self.streams.say(topic, message)
        if topic == STEPS:
            self.verdicts[message["verdict"]] += 1
        for stream, cdr in streams_of(stamp_ns, message) if topic == STEPS else ():
            if stream == COMMAND:  # the others are published by whoever measures them
                self.streams.publish(stream, cdr)

    def chunk(self, chunk: ActionChunk, epoch: int) -> None:
        self.recorder.chunk(chunk, epoch)
        self.own.say(
            CHUNKS,
            id=chunk.id,
            observation_seq=chunk.observation_seq,
            policy_id=chunk.policy_id,
            adapter_version=chunk.adapter_version,
            epoch=max(epoch, 0),
            action_space=chunk.space,
            step_s=chunk.step_s,
            action_size=chunk.final.shape[1],
            base=chunk.base.ravel().tolist(),
            chunk=chunk.final.ravel().tolist(),
            steer=chunk.steer.ravel().tolist(),
        )

    def write_transition(self, transition: Transition) -> None:
        self.recorder.write_transition(transition)

    def end(self, record: EpisodeRecord) -> None:
        self.recorder.end(record)
