"""Whole runs: the real guard and the real store, in lockstep and over the guard's socket at real-time pace."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import robot_rl.console
from robot_rl.clock import SECOND, RealClock, SteppedClock
from robot_rl.compositions.recording import StoreRecorder
from robot_rl.config import GuardConfig, MethodConfig
from robot_rl.console.port import LISTS
from robot_rl.control.actor import Actor, RunView
from robot_rl.control.motion import Motion
from robot_rl.control.operator import AutoOperator
from robot_rl.control.ports import GuardControls, GuardPort, Truth, Twin
from robot_rl.control.progress import State
from robot_rl.control.session import Session
from robot_rl.errors import SpecMismatch
from robot_rl.protocols import Adapter
from robot_rl.safety.guard import Guard
from robot_rl.services.guard import GuardClient, serve_guard
from robot_rl.store.episode import read_messages, read_transitions
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.store.store import Store
from robot_rl.store.training import labelled_episodes
from robot_rl.task_files import load_task
from robot_rl.testing.point_robot import PointRobot
from robot_rl.types import Array, Command, Context, LabelValue, SafetyLevel, Transition, Verdict
from tests.control.cell import HOME, LIMITS, PointAdapter, PointPolicy, PointTwin

TASK = load_task("lid_opening").model_copy(
    update={"name": "point", "max_steps": 24, "home": HOME, "methods": {"usr": MethodConfig(gamma=0.9)}}
)


class Versions:
    """Adapter `episode` for each episode, `late` times not there yet."""

    def __init__(self, late: int = 0) -> None:
        self.asked: list[int] = []
        self._late = late

    def next(self, episode: int) -> Adapter | None:
        self.asked.append(episode)
        return None if self.asked.count(episode) <= self._late else PointAdapter(version=episode)


class Run:
    """An actor over a run's directory; with `auto` the automatic operator works it. Use as a context."""

    def __init__(
        self,
        folder: Path,
        *,
        auto: bool = True,
        planned: int = 3,
        seed: int = 3,
        clock: SteppedClock | RealClock | None = None,
        guard: tuple[GuardPort, GuardControls, Twin] | None = None,
        versions: Versions | None = None,
        policy: PointPolicy | None = None,
        looked_at: bool = False,
    ) -> None:
        info = RunInfo("point", "usr", seed, "ab" * 32, "0", created_wall_ns=1)
        exists = (folder / "run.json").exists()
        self.directory = RunDirectory.open(folder) if exists else RunDirectory.create(folder, info)
        self.store = Store(self.directory)
        self.clock = clock or SteppedClock()
        self.robot = PointRobot(self.clock, HOME)
        self.point_twin = PointTwin(self.robot)
        if guard is None:
            here = Guard(self.robot, LIMITS, GuardConfig(), self.clock)
            guard = here, here, self.point_twin
        self.port, self.guard, self.twin = guard
        first = 1 + max((row.episode for row in self.store.episodes()), default=0)
        self.session = Session(self.guard, self.store, self.port.safety, first=first, planned=planned)
        self.acts: list[Callable[[], bool]] = []
        """Called at every pump until they return True, one after the other."""
        self.auto = AutoOperator(self.session, self.guard, self.store, self.twin, self.clock) if auto else None
        self.versions = versions or Versions()
        self.learner: dict[str, Any] | None = None
        self.actor = Actor(
            task=TASK,
            method="usr",
            seed=seed,
            motion=Motion(self.port, self.session, self.clock, self.pump),
            policy=policy or PointPolicy(),
            adapters=self.versions,
            recorder=StoreRecorder(self.store, info, "point"),
            labels=self.store,
            guard=self.guard,
            view=RunView("test", "lockstep", auto, 0.4, 100, ("front",), lambda: self.learner, looked_at=looked_at),
            twin=self.twin,
        )

    def pump(self) -> None:
        if self.auto is not None:
            self.auto.poll()
        else:
            self.guard.renew_operator()
        if self.acts and self.acts[0]():
            self.acts.pop(0)

    def press(self, name: str, **args: Any) -> bool:
        self.session.command(name, args, "ana", self.clock.now_ns())
        return True

    def when(self, state: State, name: str, **args: Any) -> None:
        """The person presses `name` once the session is in `state`."""
        self.acts.append(lambda: self.session.state is state and self.press(name, **args))

    def labels(self) -> list[tuple[int, LabelValue]]:
        return labelled_episodes(self.directory)

    def transitions(self, episode: int) -> list[Transition]:
        return read_transitions(self.directory.episode(episode))

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: object) -> None:
        self.store.close()


def test_an_automatic_run_from_disarmed_to_finished(tmp_path: Path) -> None:
    with Run(tmp_path) as run:
        run.point_twin.hopeless, run.point_twin.doomed = {2}, {3}
        run.actor.run()
        assert run.session.state is State.FINISHED
        values = [LabelValue.SUCCESS, LabelValue.FAILURE, LabelValue.FAILURE]
        assert run.labels() == list(zip((1, 2, 3), values, strict=True))
        assert run.point_twin.resets == [1, 2, 3]
        rows = run.store.episodes()
        assert [row.ended_by for row in rows] == ["success", "timeout", "failure"]
        assert [row.adapter_version for row in rows] == [1, 2, 3]
        assert all(row.complete and row.author == "auto" for row in rows)


class Refused(PointPolicy):
    """Chunks with a NaN, which the filter never lets through."""

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        return super().decode(context, noise, latent) * np.nan


def test_three_faults_in_a_row_ask_for_a_person(tmp_path: Path) -> None:
    """An automatic run does not go on recording faulted episodes for ever."""
    with Run(tmp_path, planned=5, policy=Refused()) as run:
        seen: list[str] = []

        def look() -> bool:
            if run.session.state is State.STOPPED:
                seen.append(run.session.now.why)
                raise KeyboardInterrupt
            return False

        run.acts.append(look)
        with pytest.raises(KeyboardInterrupt):
            run.actor.run()
        assert [row.ended_by for row in run.store.episodes()] == ["fault"] * 3
        assert run.labels() == []
        assert "3 episodes in a row ended as faults" in seen[0]
        assert "rejected in a row" in seen[0]


def test_what_the_store_holds_is_what_the_robot_got(tmp_path: Path) -> None:
    with Run(tmp_path) as run:
        run.actor.run()
        sent = [
            (row[:3], verdict["sent"])
            for episode in (1, 2, 3)
            for row, verdict in zip(
                [row for t in run.transitions(episode) for row in t.executed_chunk[: t.k_executed]],
                [message.body for message in read_messages(run.directory.episode(episode), "/steps")],
                strict=True,
            )
        ]
        for row, recorded in sent:
            np.testing.assert_array_equal(row, recorded[:3])
        applied = [tuple(row[:3]) for row in run.robot.applied]
        positions = iter(applied)
        assert all(tuple(row) in positions for row, _ in sent), "in the same order, homing in between"
        for episode in (1, 2, 3):
            transitions = run.transitions(episode)
            assert [t.index for t in transitions] == list(range(len(transitions)))
            assert [t.terminal or t.truncated for t in transitions] == [False] * (len(transitions) - 1) + [True]
            assert {t.episode for t in transitions} == {episode}
            assert {t.discount for t in transitions} == {0.9}
        noises = {t.noise.tobytes() for episode in (1, 2, 3) for t in run.transitions(episode)}
        assert len(noises) == sum(len(run.transitions(episode)) for episode in (1, 2, 3)), "no episode repeats another"


def test_the_same_seed_gives_the_same_run_and_waiting_changes_nothing(tmp_path: Path) -> None:
    """Every message of every episode, stamps and the bytes of arrays included; only the date in the headers differs."""
    runs = []
    for name, seed, late in (("a", 3, 0), ("b", 3, 3), ("c", 4, 0)):
        with Run(tmp_path / name, seed=seed, versions=Versions(late)) as run:
            run.actor.run()
            folders = [run.directory.episode(episode) for episode in (1, 2, 3)]
            topics = ("/steps", "/transitions", "/safety")
            runs.append([read_messages(folder, topic) for folder in folders for topic in topics])
    assert runs[0] == runs[1] != runs[2]
    assert all(runs[0][:2])


def test_a_run_that_is_resumed_has_the_episodes_of_one_that_was_not(tmp_path: Path) -> None:
    with Run(tmp_path / "whole") as run:
        run.actor.run()
        whole = [run.transitions(episode) for episode in (1, 2, 3)]

    class Killed(BaseException):
        pass

    def kill() -> bool:
        if run.session.episode == 2 and run.session.in_episode and len(run.robot.applied) % 5 == 4:
            raise Killed
        return False

    with Run(tmp_path / "cut") as run:
        run.acts.append(kill)
        with pytest.raises(Killed):
            run.actor.run()
        assert [row.episode for row in run.store.episodes()] == [1]
    with Run(tmp_path / "cut") as run:
        run.actor.run()
        again = [run.transitions(episode) for episode in (1, 2, 3)]
    for one, other in zip(whole, again, strict=True):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a.executed_chunk, b.executed_chunk)
            np.testing.assert_array_equal(a.next_features, b.next_features)


def test_a_person_labels_and_resets(tmp_path: Path) -> None:
    with Run(tmp_path, auto=False, planned=2) as run:
        run.when(State.DISARMED, "arm")
        run.when(State.PAUSED, "run")
        run.when(State.AWAIT_LABEL, "label", episode=1, value="discard", event_id="e1")
        run.when(State.AWAIT_RESET, "reset_done")
        for episode in (2, 3):
            run.acts.append(lambda: run.actor.snapshot()["step"] == 5 and run.session.in_episode and run.press("pause"))
            run.when(State.PAUSED, "run")
            run.when(State.RUNNING, "label", episode=episode, value="success", event_id=f"e{episode}")
            if episode == 2:
                run.when(State.AWAIT_RESET, "reset_done")
        run.actor.run()
        assert run.acts == []
        assert run.labels() == [(2, LabelValue.SUCCESS), (3, LabelValue.SUCCESS)]
        assert [row.ended_by for row in run.store.episodes()] == ["timeout", "success", "success"]


def test_a_stopped_episode_is_kept_out_of_training_and_the_run_goes_on(tmp_path: Path) -> None:
    with Run(tmp_path, planned=2) as run:
        run.acts.append(lambda: len(run.robot.applied) == 7 and run.press("stop"))

        def clear() -> bool:
            cause = run.port.safety.causes[0]
            run.press("clear", cause_id=cause.id)
            assert run.session.state is State.PAUSED
            return True

        run.acts.append(clear)
        run.when(State.PAUSED, "run")
        run.actor.run()
        rows = run.store.episodes()
        assert [(row.ended_by, row.complete, row.label) for row in rows] == [
            ("aborted", False, None),
            ("success", True, LabelValue.SUCCESS),
            ("success", True, LabelValue.SUCCESS),
        ]
        assert [episode for episode, _ in run.labels()] == [2, 3]
        assert rows[0].steps == 7


def test_a_twin_frees_an_arm_that_cannot_get_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(tmp_path, planned=3) as run:
        apply = run.robot.apply

        def drag(target: Any) -> None:
            caught = run.session.state is State.HOMING and run.session.episode == 2 and not run.point_twin.freed
            apply(np.array([0, 0, 0, target[3]]) if caught else target)

        monkeypatch.setattr(run.robot, "apply", drag)
        run.actor.run()
        assert run.point_twin.freed == [2]
        assert len(run.labels()) == 3
        assert run.port.safety.level is SafetyLevel.OK


def test_an_arm_that_cannot_get_home_stops_and_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(tmp_path, planned=1) as run:
        run.point_twin.can_free = False
        apply, caught = run.robot.apply, [True]

        def drag(target: Any) -> None:
            still = caught[0] and run.session.state is State.HOMING
            apply(np.array([0, 0, 0, target[3]]) if still else target)

        monkeypatch.setattr(run.robot, "apply", drag)

        def free() -> bool:
            if run.session.state is not State.STOPPED:
                return False
            assert "homing" in run.session.now.why
            caught[0] = False
            return run.press("clear", cause_id=run.port.safety.causes[0].id)

        run.acts.append(free)
        run.when(State.PAUSED, "run")
        run.actor.run()
        assert run.labels() == [(1, LabelValue.SUCCESS)], "it succeeded before the arm was caught"


def test_whatever_ends_a_run_the_robot_is_left_inactive(tmp_path: Path) -> None:
    with Run(tmp_path) as run:

        def crash() -> bool:
            if run.session.in_episode:
                raise ZeroDivisionError
            return False

        run.acts.append(crash)
        with pytest.raises(ZeroDivisionError):
            run.actor.run()
        before = len(run.robot.applied)
        late = Command(np.array([0.01, 0, 0, 0.04]), run.clock.now_ns() + SECOND, run.port.safety.epoch, 0, 0)
        assert run.port.submit(late).verdict is Verdict.HELD
        assert len(run.robot.applied) == before


def snapshot_fields() -> set[str]:
    """The fields of the page's `Snapshot`."""
    text = (Path(robot_rl.console.__file__).parent / "web" / "types.d.ts").read_text()
    body = re.search(r"export interface Snapshot \{(.*?)\n\}", text, re.DOTALL)
    assert body is not None
    return set(re.findall(r"^  (\w+)\??:", body[1], re.MULTILINE))


def test_the_snapshot_is_what_the_page_reads(tmp_path: Path) -> None:
    with Run(tmp_path) as run:
        first = run.actor.snapshot()
        assert set(first) == snapshot_fields()
        assert (first["state"], first["episodes"], first["curve"], first["learner"]) == ("DISARMED", [], [], None)
        assert first["warmup"] == {"episodes": 10, "frozen": True}
        run.point_twin.hopeless = {2}
        run.actor.run()
        last = json.loads(json.dumps(run.actor.snapshot(), allow_nan=False))
        assert last["curve"] == [[1, 1], [2, 0], [3, 1]]
        assert (last["state"], last["episodes_planned"], last["adapter_version"]) == ("FINISHED", 3, 3)
        assert last["verdicts"]["pass"] == len(run.robot.applied)
        assert [row["revision"] for row in last["episodes"]] == [1, 2, 3]
        assert last["allowed"]["undo"] is None


def test_what_an_episode_shows_of_its_adapter_is_measured(tmp_path: Path) -> None:
    with Run(tmp_path, looked_at=True) as run:
        first = run.actor.snapshot()
        assert first["policy"] == {"served": False, "times": None}
        assert first["effect"] == {"newest": None, "frozen": None}
        assert first["scatter"] is None
        run.actor.run()
        shown = json.loads(json.dumps(run.actor.snapshot(), allow_nan=False))
        newest, chunks = shown["effect"]["newest"], run.transitions(3)
        assert (newest["episode"], newest["adapter_version"], newest["chunks"]) == (3, 3, len(chunks))
        noises = np.stack([chunk.noise for chunk in chunks])
        assert newest["noise_rms"] == pytest.approx(np.sqrt(np.square(noises).mean()))
        sent = np.concatenate([chunk.executed_chunk[: chunk.k_executed, :3] for chunk in chunks])
        assert newest["speed_m_s"] == pytest.approx(np.linalg.norm(sent, axis=1).mean() / 0.05, rel=1e-5)
        assert newest["acceleration_m_s2"] == pytest.approx(
            np.linalg.norm(np.diff(sent, axis=0), axis=1).mean() / 0.05**2, rel=1e-5
        )
        assert shown["effect"]["frozen"]["episodes"] == 3, "all of them are of the warm-up"
        assert shown["policy"]["times"]["trips"] == sum(len(run.transitions(episode)) for episode in (1, 2, 3))
        assert (shown["scatter"]["episode"], shown["scatter"]["adapter_version"]) == (3, 3)


def test_a_run_that_is_looked_at_goes_as_one_that_is_not(tmp_path: Path) -> None:
    runs = []
    for looked_at in (True, False):
        with Run(tmp_path / str(looked_at), looked_at=looked_at) as run:
            run.actor.run()
            folders = [run.directory.episode(episode) for episode in (1, 2, 3)]
            runs.append([read_messages(folder, topic) for folder in folders for topic in ("/steps", "/transitions")])
            assert (run.actor.snapshot()["scatter"] is None) != looked_at
    assert runs[0] == runs[1]


def test_the_snapshots_revision_rises_exactly_when_something_changed(tmp_path: Path) -> None:
    with Run(tmp_path) as run:
        seen: list[dict[str, Any]] = []

        def look() -> bool:
            seen.extend([run.actor.snapshot(), run.actor.snapshot()])
            return False

        run.acts.append(look)
        run.actor.run()
        for one, other in pairwise(seen):
            changed = {**one, "revision": 0} != {**other, "revision": 0}
            assert other["revision"] - one["revision"] == changed
        revision = run.actor.snapshot()["revision"]
        run.learner = {"alive": True, "updates": 5}
        assert run.actor.snapshot()["revision"] == revision + 1
        run.learner["updates"] = 6
        assert run.actor.snapshot()["revision"] == revision + 2


def test_who_has_the_lists_that_grow_gets_a_snapshot_without_them(tmp_path: Path) -> None:
    with Run(tmp_path / "one") as run:
        empty = run.actor.snapshot()
        run.actor.run()
        whole = run.actor.snapshot(empty["lists"])
        assert [row["episode"] for row in whole["episodes"]] == [episode for episode, _ in whole["curve"]] == [1, 2, 3]
        rest = run.actor.snapshot(whole["lists"])
        assert rest == {name: value for name, value in whole.items() if name not in LISTS}
    with Run(tmp_path / "two") as another:
        another.actor.run()
        assert another.actor.snapshot(whole["lists"]).keys() == whole.keys(), "its lists are others"


def test_a_policy_for_another_robot_is_refused_before_arming(tmp_path: Path) -> None:
    policy = PointPolicy()
    policy.spec = replace(policy.spec, step_s=0.1)
    with pytest.raises(SpecMismatch, match=r"every 0\.1 s.*20\.0 Hz"):
        Run(tmp_path / "rate", policy=policy)
    space = replace(policy.spec.action_space, kind="joint_delta")
    policy.spec = replace(policy.spec, step_s=0.05, action_space=space)
    with pytest.raises(SpecMismatch, match="joint_delta"):
        Run(tmp_path / "space", policy=policy)


class RemoteTwin:
    """The twin behind the guard's socket."""

    is_twin = True

    def __init__(self, twin: PointTwin, client: GuardClient) -> None:
        self._twin, self._client = twin, client

    def reset(self, episode: int) -> None:
        self._client.call("reset", {"episode": episode})

    def free(self, episode: int) -> None:
        self._client.call("free", {"episode": episode})

    def truth(self) -> Truth:
        return self._twin.truth()


@pytest.fixture
def real_time(tmp_path: Path) -> Iterator[tuple[PointRobot, GuardPort, GuardControls, Twin]]:
    """A guard with a thread of its own, and its client."""
    robot, stopping = PointRobot(RealClock(), HOME), threading.Event()
    twin = PointTwin(robot)
    guard = Guard(robot, LIMITS, GuardConfig(), RealClock(), tmp_path / "guard.json")

    def reset(header: Any, arrays: Any) -> Any:
        twin.reset(header["episode"])
        return {}, ()

    endpoint = f"ipc://{tmp_path}/guard"
    thread = threading.Thread(target=serve_guard, args=(guard, endpoint, stopping), kwargs={"calls": {"reset": reset}})
    thread.start()
    client = GuardClient(endpoint)
    yield robot, client, client, RemoteTwin(twin, client)
    client.close()
    stopping.set()
    thread.join(5)
    assert not thread.is_alive()


def test_the_same_actor_at_real_time_pace_with_a_stop_from_another_thread(
    tmp_path: Path, real_time: tuple[PointRobot, GuardPort, GuardControls, Twin]
) -> None:
    robot, client, controls, twin = real_time
    with Run(tmp_path / "run", planned=1, clock=RealClock(), guard=(client, controls, twin)) as run:
        applied: list[int] = []

        def stop() -> None:
            controls.stop("page", "Esc")
            applied.append(len(robot.applied))

        def stop_in_flight() -> bool:
            if run.session.in_episode and len(robot.applied) >= 4:
                threading.Thread(target=stop).start()
                return True
            return False

        def clear() -> bool:
            if run.session.state is not State.STOPPED or not applied:
                return False
            assert len(robot.applied) == applied[0], "not one command after the stop was acknowledged"
            return run.press("clear", cause_id=client.safety.causes[0].id)

        run.acts += [stop_in_flight, clear]
        run.when(State.PAUSED, "run")
        run.actor.run()
        assert [(row.ended_by, row.complete) for row in run.store.episodes()] == [("aborted", False), ("success", True)]
        assert run.labels() == [(2, LabelValue.SUCCESS)]
        sent = [row for t in run.transitions(2) for row in t.executed_chunk[: t.k_executed]]
        positions = iter([tuple(row) for row in robot.applied])
        assert all(tuple(row) in positions for row in sent)
