"""`python -m robot_rl.compositions.rollout_worker RUN`: plays the episodes that the run's process hands out.

One after the other in a fast twin of its own, in that episode's own world, by the adapter version that is due for it.
What it records is closed in its own folder (`RunDirectory.staged`), durably, before it says that it is over. It ends
with the run's process, in the middle of an episode too.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from robot_rl.adapters.acting import BaseAdapter
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.clock import SteppedClock
from robot_rl.compositions.adapter_source import Versions, acting
from robot_rl.compositions.plan import policy_of, task_of
from robot_rl.compositions.recording import Scratch, StoreRecorder
from robot_rl.compositions.rollout import Stage
from robot_rl.control.ports import EpisodeRecord
from robot_rl.errors import IntegrityError, RobotRLError, StoreError
from robot_rl.processes import end_with_parent
from robot_rl.store.episode import EpisodeHeader, EpisodeOutcome, EpisodeWriter, Manifest
from robot_rl.store.records import JSON
from robot_rl.store.run import RunDirectory
from robot_rl.twins import Split, load_randomised
from robot_rl.types import Transition
from robot_rl.wire.rpc import RpcClient

ANSWER_S = 60.0
"""How long the run's process may take to answer; it may be taking in a lot of episodes."""
REST_S = 0.05
"""Between two questions whether there is something to play."""
BASE, TRAIN, WAIT = "base", "train", "wait"
"""Kinds of turns: a trial of the frozen policy, an episode of the run, nothing for now."""
BASE_SEED = 0
"""Of the trials, as of a run's own (`running.baseline`)."""

Ask = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]


class Staging:
    """A `Keeper` of one episode at a time in a worker's own folder."""

    def __init__(self, folder: Path) -> None:
        self._run = RunDirectory(folder)
        try:
            self._run.episodes.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {self._run.episodes}: {error.strerror or error}") from error
        self._writer: EpisodeWriter | None = None

    def begin(self, header: EpisodeHeader) -> None:
        self._writer = EpisodeWriter(self._run, header)

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, JSON]) -> None:
        self._open.write(topic, stamp_ns, message)

    def write_transition(self, transition: Transition) -> None:
        self._open.write_transition(transition)

    def end(self, outcome: EpisodeOutcome) -> Manifest:
        writer, self._writer = self._open, None
        return writer.close(outcome)

    def close(self) -> None:
        """Give up an open episode; what is written of it stays here as incomplete."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abandon()

    @property
    def _open(self) -> EpisodeWriter:
        if self._writer is None:
            raise StoreError("no episode is open: expected `begin` first")
        return self._writer


class Worker:
    """Plays whatever turn it is given."""

    def __init__(self, run: RunDirectory, stage: Path) -> None:
        """Raises `IntegrityError` for a run that is in one world, and whatever task, policy and twin raise."""
        info = run.read_info()
        if info.ranges is None:
            raise IntegrityError(f"{run.path} was not begun by `robot-rl adapt`: its run.json names no ranges")
        task, policy = task_of(run, info), policy_of(run, info)
        clock = SteppedClock()
        self._twin = load_randomised(task, info.ranges, clock)
        self._stage = Stage(task, info.method, policy, self._twin, clock)
        self._seed = info.seed
        self._versions = Versions(run, policy.spec, task.method(info.method))
        self._staging = Staging(stage)
        self._recorder = StoreRecorder(self._staging, info, policy.spec.policy_id)
        self._base = BaseAdapter(SteeringLayout.plain(policy.spec))

    def play(self, turn: Mapping[str, Any]) -> dict[str, Any]:
        """What became of `turn`, in the terms of the run's process."""
        episode = int(turn["episode"])
        if turn["kind"] == BASE:
            record, why = self._stage.play(episode, self._base, Scratch(), seed=BASE_SEED, split=Split.SELECT)
            return self._said(episode, record, why, 0)
        adapter = acting(self._versions, int(turn["due"]))
        if adapter is None:
            raise IntegrityError(f"adapter through episode {turn['due']} was there and is gone: expected it to stay")
        record, why = self._stage.play(episode, adapter, self._recorder, seed=self._seed)
        return self._said(episode, record, why, adapter.version)

    def _said(self, episode: int, record: EpisodeRecord, why: str, version: int) -> dict[str, Any]:
        said = {"episode": episode, "ended_by": record.ended_by, "complete": record.complete, "why": why}
        return said | {"version": version, "alarms": list(self._versions.alarms)}

    def close(self) -> None:
        self._staging.close()
        self._twin.close()


def work(worker: Worker, ask: Ask) -> NoReturn:
    """Play whatever there is to play, for ever."""
    while True:
        turn = ask("turn", {})
        if turn["kind"] == WAIT:
            time.sleep(REST_S)
        else:
            ask("played", {"kind": turn["kind"], **worker.play(turn)})


def main(argv: Sequence[str] | None = None) -> int:
    """Work until SIGTERM or SIGINT; 2 for a run that cannot be used, or played."""
    parser = argparse.ArgumentParser(prog="python -m robot_rl.compositions.rollout_worker", description=__doc__)
    parser.add_argument("run", help="the run's directory")
    parser.add_argument("--name", required=True, help="of this worker")
    parser.add_argument("--stage", type=Path, required=True, help="its folder for what it records")
    parser.add_argument("--endpoint", required=True, help="where the run's process hands out turns")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    # It has nothing to finish: it ends wherever it is, in a question that nobody answers any more too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end_with_parent()
    try:
        client = RpcClient(arguments.endpoint)

        def ask(call: str, said: Mapping[str, Any]) -> Mapping[str, Any]:
            return client.call(call, {"worker": arguments.name, **said}, timeout_s=ANSWER_S)[0]

        with closing(client), closing(Worker(RunDirectory.look(arguments.run), arguments.stage)) as worker:
            work(worker, ask)
    except KeyboardInterrupt:
        return 0
    except RobotRLError as error:
        print(f"worker: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
