"""The actor: one episode after the other, at either pace, and what the operator's page is told of it."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.clock import SECOND, SimulatedClock
from robot_rl.control.effect import Meter
from robot_rl.control.episode import EpisodeRun
from robot_rl.control.homing import retreat
from robot_rl.control.inference import RoundTrips
from robot_rl.control.motion import Motion
from robot_rl.control.overlap import OverlappedRun
from robot_rl.control.ports import (
    AdapterSource,
    EpisodeSummary,
    GuardControls,
    LabelBook,
    PatientPolicy,
    Recorder,
    Twin,
)
from robot_rl.control.progress import State
from robot_rl.control.scatter import Scatter
from robot_rl.control.timing import timed
from robot_rl.errors import ArmStuck, DiskError, RobotFault, SpecMismatch
from robot_rl.methods import entry_of
from robot_rl.protocols import Adapter, FrozenPolicy
from robot_rl.types import LabelValue, SafetyState, Verdict, canonical_hash

if TYPE_CHECKING:
    from robot_rl.config import TaskConfig

log = logging.getLogger(__name__)

AUTHOR = "actor"
FAULTS_IN_A_ROW = 3
"""Episodes that end as faults, one after the other, until the actor asks for a person."""


@dataclass(frozen=True)
class RunView:
    """What a page shows of a run beside what the actor itself knows."""

    run: str
    """Its name."""
    pace: str
    """"lockstep" or "real time"."""
    auto_label: bool = False
    base_success: float | None = None
    """0 to 1, of the frozen policy alone, in `base_trials` trials."""
    base_trials: int | None = None
    cameras: Sequence[str] = ()
    learner: Callable[[], Mapping[str, Any] | None] = field(default=lambda: None)
    """The learner's newest status."""
    alarms: Callable[[], Sequence[str]] = field(default=lambda: ())
    """What is wrong with the run's files, in words; the learner's own alarms are in its status."""
    labelled: Callable[[], int] = field(default=lambda: 0)
    """Rises with every label in the log, whoever gave it and how; cheap, it is asked at every look."""
    not_yet: Callable[[], str | None] = field(default=lambda: None)
    """Why no episode may begin yet, or None."""
    place: Callable[[int], Mapping[str, Any] | None] = field(default=lambda episode: None)
    """Where the object of an episode is put, and where that is in the pictures; None: wherever the person likes."""
    briefing: str = ""
    """What counts as success and how the object is put back, in words for the person who labels."""
    looked_at: bool = False
    """There is a page: chunks before and after steering are drawn for it, once an episode (`control.scatter`)."""


class Actor:
    """Runs the session's episodes until it is FINISHED.

    Everything an episode draws at random comes from (`seed`, its number), so an episode that is run again after a
    restart is the same. `explore` lets adapters sample, for learning; else they give their mode. When `faults_in_a_row`
    episodes have ended as faults (None: never), a latched STOP asks for a person. With `overlap` the next chunk is
    inferred while the present one runs (`control.overlap`), by a `PatientPolicy` and the clock on the wall. Raises
    `SpecMismatch` when policy and robot do not speak of the same actions.
    """

    def __init__(
        self,
        task: TaskConfig,
        method: str,
        seed: int,
        motion: Motion,
        policy: FrozenPolicy,
        adapters: AdapterSource,
        recorder: Recorder,
        labels: LabelBook,
        guard: GuardControls,
        view: RunView,
        twin: Twin | None = None,
        *,
        explore: bool = True,
        faults_in_a_row: int | None = FAULTS_IN_A_ROW,
        overlap: bool = False,
    ) -> None:
        _check_actions(policy, motion)
        self.session = motion.session
        self._task, self._method, self._seed = task, method, seed
        self._explore = explore
        self._kind = partial(OverlappedRun, trips=RoundTrips()) if overlap else EpisodeRun
        config, gated = task.method(method), entry_of(method).gated_warmup
        self._discount = config.gamma
        self._trips = RoundTrips()
        self._motion, self._policy, self._adapters = motion, timed(policy, self._trips), adapters
        self._served = isinstance(policy, PatientPolicy)
        self._meter = Meter(
            recorder,
            policy.spec.step_s,
            residual=config.residual_layout != "none",
            frozen_until=0 if gated else config.warmup_episodes,
        )
        self._warmup = {"episodes": config.warmup_episodes, "frozen": not gated}
        waits = isinstance(motion.clock, SimulatedClock)
        self._scatter = Scatter(policy, seed, waits=waits) if view.looked_at else None
        self._labels, self._guard, self._view, self._twin = labels, guard, view, twin
        self._running: EpisodeRun | None = None
        self._adapter_version = 0
        self._faults, self._patience = 0, faults_in_a_row
        self._freed = 0
        """The episode after which the twin's arm had to be freed, last."""
        self._lock = threading.Lock()
        self._revision = 0
        self._shown: dict[str, Any] = {}
        self._listed = 0
        self._labelled = 0
        self._lists = _lists((), self.session.counts)
        self._life = uuid.uuid4().hex
        """Another actor's lists are others, also where they have been changed as often."""

    def run(self) -> None:
        """Until the last planned episode is labelled. The robot is left inactive, however this ends.

        A disk that refuses costs the episode that runs and nothing else: the robot holds, and all is paused.
        """
        try:
            while (state := self.session.state) is not State.FINISHED:
                try:
                    if state is State.RUNNING:
                        self._episode()
                    elif state is State.HOMING:
                        self._home()
                    else:
                        self._motion.idle()
                except DiskError as error:
                    self.session.disk_refused(str(error))
        finally:
            if self._scatter is not None:
                self._scatter.settle()

    def _episode(self) -> None:
        """The session's present episode, from its adapter to the store; nothing if that is not there yet."""
        if why := self._view.not_yet():
            self.session.explain(why)
            self._motion.idle()
            return
        episode = self.session.episode
        adapter = self._adapters.next(episode)
        if adapter is None:
            self.session.explain("waiting for the learner")
            self._motion.idle()
            return
        if self._twin is not None:
            self._twin.reset(episode)
        self._motion.tend()
        if not self.session.begin_episode():
            return
        if self._scatter is not None:
            self._scatter.settle()
        self._adapter_version = adapter.version
        self._meter.begin(episode, adapter.version)
        self._running = self._kind(
            self._motion,
            self._policy,
            self._meter.watch(adapter),
            self._meter,
            episode=episode,
            max_steps=self._task.max_steps,
            discount=self._discount,
            rng=np.random.default_rng((self._seed, episode)),
            explore=self._explore,
        )
        record = self._running.run()
        self._meter.end(record)
        why = self.session.now.why
        self.session.close_episode(record.complete)
        self._draw(episode, adapter)
        self._faults = self._faults + 1 if record.ended_by == "fault" else 0
        if self._faults == self._patience:
            self._faults = 0
            words = f"{self._patience} episodes in a row ended as faults, the last one: {why}"
            self.session.observe(self._guard.stop(AUTHOR, words))

    def _draw(self, episode: int, adapter: Adapter) -> None:
        """Chunks before and after steering at the episode's first observation, for the page."""
        if self._scatter is not None and self._meter.first is not None:
            self._scatter.begin(episode, self._meter.first, adapter, explore=self._explore)

    def _home(self) -> None:
        """The arm retreats before anyone reaches in; when it cannot, an operator is asked by a STOP.

        A twin frees its arm itself, as it puts its objects back itself; if that is no help, it asks too.
        """
        try:
            if retreat(self._motion, np.array(self._task.home)):
                self.session.homed()
        except ArmStuck as fault:
            if self._twin is not None and self._freed != self.session.episode:
                self._freed = self.session.episode
                log.warning("after episode %d %s; the twin has freed it", self._freed, fault)
                self._twin.free(self._freed)
            else:
                self.session.observe(self._guard.stop(AUTHOR, str(fault)))
        except RobotFault as fault:
            self.session.observe(self._guard.stop(AUTHOR, str(fault)))

    def snapshot(self, lists: str | None = None) -> dict[str, Any]:
        """Everything the page shows (`console/web/types.d.ts`), JSON-able; `revision` rises when any of it changed.

        `lists` names the lists that the asker has: they grow with the run, and are left out while they are those.
        """
        with self._lock:
            shown = self._look()
            if shown != self._shown:
                self._shown = shown
                self._revision += 1
            known = {} if lists == shown["lists"] else self._lists
            return {"revision": self._revision, **shown, **known}

    def _look(self) -> dict[str, Any]:
        if (labelled := self._view.labelled()) != self._labelled:
            self.session.follow_labels()
            self._labelled = labelled
        listed = self.session.listed
        if listed != self._listed:
            self._listed, self._lists = listed, _lists(self._labels.episodes(), self.session.counts)
        now, view = self.session.now, self._view
        learner = view.learner()
        return {
            "state": now.state.value,
            "phase": now.phase.value[0],
            "why": now.why,
            "task": self._task.name,
            "title": self._task.title,
            "briefing": view.briefing,
            "method": self._method,
            "run": view.run,
            "pace": view.pace,
            "episode": now.episode,
            "episodes_planned": self.session.planned,
            "step": self._running.steps if self._running else 0,
            "max_steps": self._task.max_steps,
            "adapter_version": self._adapter_version,
            "auto_label": view.auto_label,
            "twin": self._twin is not None,
            "awaiting_label": self.session.awaiting_label,
            "safety": _safety(self._motion.port.safety),
            "verdicts": {verdict.value: self._motion.totals[verdict] for verdict in Verdict},
            "learner": None if learner is None else dict(learner),
            "policy": {"served": self._served, "times": self._trips.shown},
            "effect": self._meter.shown,
            "scatter": None if self._scatter is None else self._scatter.shown,
            "place": view.place(now.episode + (now.state is State.AWAIT_RESET)),
            "warmup": self._warmup,
            "base_success": view.base_success,
            "base_trials": view.base_trials,
            "lists": f"{self._life}.{listed}",
            "cameras": list(view.cameras),
            "alarms": [*view.alarms(), *((learner or {}).get("alarms") or ())],
            "allowed": self.session.allowed(),
        }


def _lists(rows: Sequence[EpisodeSummary], counts: Callable[[int], bool]) -> dict[str, Any]:
    """What grows with the run."""
    curve = [[row.episode, int(row.label is LabelValue.SUCCESS)] for row in rows if counts(row.episode)]
    return {"curve": curve, "episodes": [_row(row) for row in rows]}


def _row(row: EpisodeSummary) -> dict[str, Any]:
    return {
        "episode": row.episode,
        "label": row.label.value if row.label else None,
        "author": row.author,
        "adapter_version": row.adapter_version,
        "steps": row.steps,
        "ended_by": row.ended_by,
        "complete": row.complete,
        "revision": row.revision,
        "corrected": row.corrected,
        "started_wall_s": row.started_wall_ns / SECOND,
    }


def _safety(safety: SafetyState) -> dict[str, Any]:
    causes = [
        {"id": c.id, "kind": c.kind, "level": c.level.name, "detail": c.detail, "clears": c.clears}
        for c in safety.causes
    ]
    return {"level": safety.level.name, "epoch": safety.epoch, "causes": causes}


def _check_actions(policy: FrozenPolicy, motion: Motion) -> None:
    """The policy's chunks must be what the robot takes, and as often."""
    spec, robot = policy.spec, motion.port.spec
    if canonical_hash(asdict(spec.action_space)) != canonical_hash(asdict(robot.action_space)):
        ours, theirs = spec.action_space, robot.action_space
        raise SpecMismatch(f"policy {spec.policy_id} gives {ours}, robot {robot.name} takes {theirs}")
    if abs(spec.step_s * robot.control_hz - 1.0) > 1e-6:
        rate = f"every {spec.step_s} s, robot {robot.name} at {robot.control_hz} Hz"
        raise SpecMismatch(f"policy {spec.policy_id} gives an action {rate}")
