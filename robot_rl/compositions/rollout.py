"""One episode in a fast twin, played as a run plays it in lockstep, without the run around it.

The same control loop, guard, session and automatic operator, made anew for every episode: what comes of one depends on
its number, its seed and its adapter alone, in whichever process it is played and whatever was played before. Once the
episode is over it is over: nothing is homed, labelled or reset, since the next one begins with the whole twin anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_rl.clock import SteppedClock
from robot_rl.compositions.recording import Scratch
from robot_rl.config import TaskConfig
from robot_rl.control.episode import EpisodeRun
from robot_rl.control.motion import Motion
from robot_rl.control.operator import AutoOperator
from robot_rl.control.ports import EpisodeRecord, Recorder
from robot_rl.control.session import Session
from robot_rl.errors import RobotFault
from robot_rl.protocols import Adapter, FrozenPolicy
from robot_rl.safety.guard import Guard
from robot_rl.safety.limits import Limits
from robot_rl.twins import Cell, Split, TwinRobot
from robot_rl.types import LabelValue


@dataclass(frozen=True)
class Stage:
    """A twin by its stepped clock, and who acts in it."""

    task: TaskConfig
    method: str
    policy: FrozenPolicy
    twin: TwinRobot
    clock: SteppedClock

    def play(
        self,
        episode: int,
        adapter: Adapter,
        recorder: Recorder,
        *,
        seed: int,
        split: Split = Split.TRAIN,
    ) -> tuple[EpisodeRecord, str]:
        """How `episode` of stream (split, seed) ended, and why in words, once `recorder` has it.

        Raises `RobotFault` for a twin that cannot begin.
        """
        scratch, cell = Scratch(), Cell(self.twin, seed, split)
        cell.reset(episode)
        guard = Guard(self.twin, Limits.of(self.task.limits, self.twin.spec.action_space), self.task.guard, self.clock)
        session = Session(guard, scratch, guard.safety, first=episode, planned=1)
        operator = AutoOperator(session, guard, scratch, cell, self.clock)
        motion = Motion(guard, session, self.clock, operator.poll)
        operator.poll()  # it arms
        operator.poll()  # and runs
        if not session.begin_episode():
            raise RobotFault(f"episode {episode} cannot begin: {session.now.why}")
        recorder.begin(episode, adapter.version)
        record = EpisodeRun(
            motion,
            self.policy,
            adapter,
            recorder,
            episode=episode,
            max_steps=self.task.max_steps,
            discount=self.task.method(self.method).gamma,
            rng=np.random.default_rng((seed, episode)),
        ).run()
        recorder.end(record)
        return record, session.now.why


def verdict(ended_by: str, complete: bool) -> LabelValue | None:
    """What the automatic operator says of an episode that ended so; None: nothing, and it is not learnt from.

    It ends successes at once: what ended otherwise was none.
    """
    if not complete or ended_by == "fault":
        return None
    return LabelValue.SUCCESS if ended_by == "success" else LabelValue.FAILURE
