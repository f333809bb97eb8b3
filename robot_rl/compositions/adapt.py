"""Composition (a), many twins at once: an adapter is trained in simulation before there is a robot.

    this process      store and labels; hands out turns (`rota`), takes in what was played, in order
    worker-1 ... W    a fast twin each, in another world every episode; guard and control loop in it (`rollout_worker`)
    learner           as in every run: reads the store, publishes versions, which the workers read

All of them end with this process. Kill -9 at any moment costs the episodes that were being played, and they are played
again: a closed one that was not taken in yet is found in its worker's folder.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from robot_rl.clock import SteppedClock
from robot_rl.compositions.adapter_source import Versions, await_version, published
from robot_rl.compositions.crew import Crew, Loss, Played
from robot_rl.compositions.golden import require_golden
from robot_rl.compositions.label_watch import LabelWatch
from robot_rl.compositions.plan import RunPlan
from robot_rl.compositions.results import Rate
from robot_rl.compositions.rollout import verdict
from robot_rl.compositions.rollout_worker import BASE, TRAIN, WAIT
from robot_rl.compositions.rota import Rota
from robot_rl.compositions.sockets import socket_folder
from robot_rl.control.operator import AUTHOR
from robot_rl.errors import DiskError, LabelConflict, RobotFault, StoreError
from robot_rl.processes import Children
from robot_rl.safety.guard import Guard
from robot_rl.safety.limits import Limits
from robot_rl.store.episode import publish, verify
from robot_rl.store.run import RunDirectory
from robot_rl.store.store import Store
from robot_rl.store.training import first_free_episode, labelled_episodes
from robot_rl.twins import TWIN, load_twin
from robot_rl.types import Label, LabelValue

log = logging.getLogger(__name__)

POLL_MS = 20.0
FAULTS = 3
"""Episodes in a row that end as faults: then something is wrong with task or policy, and not with an episode."""

Watch = Callable[["Adaptation"], None]


class Adaptation:
    """What has been played, and what is to be; for whoever watches too."""

    def __init__(self, run: RunDirectory, store: Store, planned: int, workers: int, trials: int) -> None:
        """`trials` of the frozen policy come first. Episodes that a killed process before this one left are settled."""
        self.run, self._store = run, store
        self._staged = settle_staged(run)
        for row in store.episodes():
            if row.label is None:
                self._label(row.episode, verdict(row.ended_by, row.complete))
        self.outcomes: list[tuple[int, int]] = []
        """(episode, 0 or 1), in order, as the label log has it."""
        first = first_free_episode(run)
        self.rota = Rota(first=first, labelled=(), planned=planned, workers=workers, played=self._staged)
        self._log, self._labelled = LabelWatch(run), -1
        self.follow()
        self.trials = trials
        self.base: dict[int, bool] = {}
        """Trial -> whether the frozen policy succeeded."""
        self.version = 0
        """Of the adapter that played the newest episode."""
        self.lost: list[Loss] = []
        """Workers that died."""
        self.episodes_lost: list[int] = []
        """Whose playing was in vain, since this process began."""
        self.alarms: list[str] = []
        """What is to be said, once each."""
        self.pids: Mapping[str, int] = {}
        """Of the workers, by name."""
        self._to_try = list(range(trials, 0, -1))
        self._faults, self._fault = 0, ""
        """In a row, and the newest one in words."""

    @property
    def done(self) -> bool:
        return self.rota.done and len(self.base) == self.trials

    @property
    def base_rate(self) -> Rate | None:
        """Of the frozen policy in the randomised worlds, as far as it was tried."""
        return Rate(sum(self.base.values()), len(self.base)) if self.base else None

    def deal(self) -> dict[str, Any]:
        """The next turn."""
        if self._to_try:
            return {"kind": BASE, "episode": self._to_try.pop()}
        turn = self.rota.next(max(published(self.run.adapters), default=0))
        if turn is not None:
            return {"kind": TRAIN, "episode": turn.episode, "due": turn.due}
        return {"kind": WAIT}

    def take(self, played: Played) -> None:
        """What a worker has played."""
        for words in played.alarms:
            self._alarm(words)
        if played.kind == BASE:
            self.base[played.episode] = played.ended_by == "success"
            return
        self.version = played.version
        self._staged[played.episode] = RunDirectory(played.stage).episode(played.episode)
        self.rota.played(played.episode)
        if played.ended_by == "fault":
            self._fault = f"episode {played.episode} ended as a fault, and is not learnt from: {played.why}"
            self._alarm(self._fault)

    def lose(self, loss: Loss) -> None:
        """A worker died. What it had closed is not lost; what it was playing is played again."""
        self.lost.append(loss)
        self._alarm(f"{loss.why}; it is started again")
        if loss.turn is None:
            return
        kind, episode = loss.turn
        if kind == BASE:
            self._to_try.append(episode)
            return
        found = settle_folder(self.run, loss.stage)
        if episode in found:
            self._staged[episode] = found[episode]
            self.rota.played(episode)
        else:
            self._lost(episode, loss.why)

    def enter(self) -> None:
        """Take into the run what may enter it, with its label. Raises `DiskError`, `RobotFault` for too many."""
        while (number := self.rota.entering()) is not None:
            try:
                outcome = self._store.adopt(self._staged.pop(number)).outcome
            except DiskError:
                raise
            except StoreError as error:
                self._lost(number, str(error))
                continue
            self._label(number, verdict(outcome.ended_by, outcome.complete))
            self.rota.entered(number)
            self._faults = self._faults + 1 if outcome.ended_by == "fault" else 0
            if self._faults == FAULTS:
                raise RobotFault(f"{FAULTS} episodes in a row ended as faults; {self._fault}")
        self.follow()

    def follow(self) -> None:
        """Take the labels as the log has them now: a person may correct one, or take an episode out."""
        newest = self._log.newest()
        if newest != self._labelled:
            self._labelled = newest
            self.outcomes = [(n, int(value is LabelValue.SUCCESS)) for n, value in labelled_episodes(self.run)]
            self.rota.labelled = [number for number, _ in self.outcomes]

    def close(self) -> None:
        self._log.close()

    def _lost(self, episode: int, why: str) -> None:
        self.rota.lost(episode)
        self.episodes_lost.append(episode)
        self._store.record("episode_lost", AUTHOR, {"episode": episode, "reason": why})
        self._alarm(f"episode {episode} is lost, and is played again: {why}")

    def _label(self, episode: int, value: LabelValue | None) -> None:
        if value is not None:
            with suppress(LabelConflict):  # a person was faster
                self._store.add_label(Label(f"{AUTHOR}-{episode}", episode, value, AUTHOR), expected_revision=0)

    def _alarm(self, words: str) -> None:
        if words not in self.alarms:
            self.alarms.append(words)


def run_adaptation(plan: RunPlan, workers: int, trials: int, watch: Watch) -> Adaptation:
    """Play `plan` to its last episode, and wait until the learner knows all of them; `watch` is called all the time.

    Raises `ProcessEnded` when a worker, or the learner, dies again and again, `RobotFault` for one fault after another,
    `DiskError` when the disk refuses; what was closed until then stays, and a resumed run goes on with it.
    """
    run = plan.run
    with ExitStack() as stack:
        store = Store(run)
        stack.callback(store.close)
        _keep_golden(plan)
        going = Adaptation(run, store, plan.episodes, workers, trials)
        stack.callback(going.close)
        learner, others = Children(run.path / "logs"), Children(run.path / "logs")
        stack.callback(learner.stop)
        stack.callback(others.stop)
        learner.start("learner", "robot_rl.learn", [str(run.path), "--ordered"])
        if not going.done:
            endpoint = f"ipc://{stack.enter_context(socket_folder())}/turns"
            crew = Crew(run, others, endpoint, workers, going.deal)
            stack.callback(crew.close)
            while not going.done:
                for played in crew.poll(POLL_MS):
                    going.take(played)
                learner.tend()
                for loss in crew.losses():
                    going.lose(loss)
                going.enter()
                going.pids = crew.pids
                watch(going)
            others.stop()
        shutil.rmtree(run.staged, ignore_errors=True)

        def wait() -> None:
            learner.tend()
            watch(going)

        await_version(Versions(run, plan.policy.spec, plan.method), pump=wait)
        return going


def settle_staged(run: RunDirectory) -> dict[int, Path]:
    """Episode -> where it is, of those that workers have closed and that are not in the run."""
    found: dict[int, Path] = {}
    try:
        for folder in sorted(run.staged.iterdir()) if run.staged.is_dir() else ():
            found |= settle_folder(run, folder)
    except OSError as error:
        raise StoreError(f"cannot look into {run.staged}: {error.strerror or error}") from error
    here = set(run.closed_episodes())
    return {number: path for number, path in found.items() if number not in here}


def settle_folder(run: RunDirectory, folder: Path) -> dict[int, Path]:
    """The same of one worker, which has ended; what it did not close is set aside in `run`. Raises `DiskError`."""
    stage = RunDirectory(folder)
    if not stage.episodes.is_dir():
        return {}
    found = {}
    for number in stage.partial_episodes():
        try:
            verify(stage.partial(number))
            publish(stage, number)
        except (StoreError, OSError):
            _set_aside(stage.partial(number), run.incomplete(number))
    for path in stage.incomplete_paths():
        _set_aside(path, run.incomplete(int(path.name.partition(".")[0])))
    for number in stage.closed_episodes():
        try:
            verify(stage.episode(number))
            found[number] = stage.episode(number)
        except StoreError as error:
            log.warning("episode %d of a worker that ended is set aside: %s", number, error)
            _set_aside(stage.episode(number), run.incomplete(number))
    return found


def _set_aside(path: Path, to: Path) -> None:
    try:
        os.rename(path, to)
    except OSError as error:
        raise DiskError(f"cannot set {path} aside: {error.strerror or error}; it stays there") from error


def _keep_golden(plan: RunPlan) -> None:
    """As every run: what policy and adapters make of an observation is kept, or must be what it was."""
    clock = SteppedClock()
    twin = load_twin(plan.task, TWIN, clock)
    try:
        limits = Limits.of(plan.task.limits, twin.spec.action_space)
        require_golden(plan, Guard(twin, limits, plan.task.guard, clock, plan.run.guard_json).observe)
    finally:
        twin.close()
