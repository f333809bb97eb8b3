from __future__ import annotations

import io
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from robot_rl.adapters.acting import load_adapter
from robot_rl.adapters.files import numbers, read_manifests
from robot_rl.clock import MS, SteppedClock
from robot_rl.compositions.housekeeping import label_episode
from robot_rl.errors import DeadlineMissed
from robot_rl.policy.flow import FlowPolicy
from robot_rl.safety.latch import write_latch
from robot_rl.safety.supervisor import Supervision, raised
from robot_rl.services.guard import GuardClient
from robot_rl.store.episode import read_images, read_manifest, read_messages
from robot_rl.store.golden import read_golden, require_adapter
from robot_rl.store.run import RunDirectory
from robot_rl.task_files import load_task
from robot_rl.twins import Split, load_twin
from robot_rl.types import Array, LabelValue, SafetyLevel
from robot_rl.wire.latest import Subscriber
from robot_rl.wire.rpc import RpcClient
from tests.realtime_run import alive, labels, short_run, started, state, tell, wait_for
from tests.recorded_shape import require_shape

EPISODES = 2
PERIOD_MS = 50.0


def periods_ms(run: RunDirectory, episode: int) -> Array:
    """[n] ms between two control steps of an episode; without the periods of holding after a rejected chunk."""
    steps = read_messages(run.episode(episode), "/steps")
    pairs = itertools.pairwise(steps)
    gaps = [(b.stamp_ns - a.stamp_ns) / MS for a, b in pairs if b.body["chunk"] - a.body["chunk"] <= 1]
    return np.array(gaps)


@pytest.mark.timeout(60)
def test_a_run_finishes_by_the_clock_on_the_wall(tmp_path: Path) -> None:
    run = short_run(tmp_path)
    with started(run, EPISODES) as realtime:
        wait_for(realtime.begun, "the first episode")
        children = realtime.pids()
        status, output = realtime.finish(50)
        assert status == 0, output
        assert not [name for name, pid in children.items() if alive(pid)]
    assert children.keys() == {"actor", "guard", "store", "learner"}
    assert [event for event, _ in labels(run).values()] == [f"auto-{episode}" for episode in range(1, EPISODES + 1)]
    assert numbers(run.adapters)[-1] == EPISODES
    gaps = np.concatenate([periods_ms(run, episode) for episode in run.closed_episodes()])
    late = gaps > PERIOD_MS + 10.0
    print(
        f"control periods: median {np.median(gaps):.1f}, longest {gaps.max():.1f} ms, {late.sum()} of {len(late)} late"
    )
    assert abs(np.median(gaps) - PERIOD_MS) < 3.0
    assert late.mean() < 0.1  # none on a machine of its own; tests share theirs
    with started(run, EPISODES) as again:  # there is nothing left to do, and nothing to wait for
        status, output = again.finish(30)
    assert (status, output.splitlines()[-1]) == (0, "seen last: FINISHED")


def shown_label(actor: RpcClient, episode: int) -> tuple[str | None, str | None]:
    """(value, author) of an episode in the page's list."""
    rows = {row["episode"]: row for row in actor.call("snapshot", timeout_s=5.0)[0]["episodes"]}
    return rows[episode]["label"], rows[episode]["author"]


def finished(actor: RpcClient) -> bool:
    """Or ended since."""
    try:
        return state(actor) == "FINISHED"
    except DeadlineMissed:
        return True


@pytest.mark.timeout(60)
def test_a_person_works_a_run_and_the_twin_puts_its_objects_back(tmp_path: Path) -> None:
    run = short_run(tmp_path, max_steps=40)
    starts = starts_of(run, 2)
    assert not near(*starts)
    with started(run, 2, "--page", "--human") as realtime:
        guard, actor = realtime.connect()
        assert state(actor) == "DISARMED"
        tell(actor, "arm")
        with heartbeat(guard):
            tell(actor, "run")
            wait_for(lambda: moves(guard), "motion")
            assert near(bin_of(guard), starts[0])
        wait_for(lambda: guard.state().level is SafetyLevel.HOLD, "a hold without the heartbeat", 2.0)
        assert guard.safety.causes[0].kind == "operator_silent"
        with heartbeat(guard):
            tell(actor, "label", episode=1, value="success", event_id="first")
            wait_for(lambda: state(actor) == "AWAIT_RESET", "the arm's return")
            guard.call("free", {"episode": 1})  # an arm that jumps home, as a stuck one does, is no fault of the robot
            tell(actor, "reset_done")
            wait_for(lambda: near(bin_of(guard), starts[1]), "the bin put back")
            wait_for(lambda: state(actor) == "AWAIT_LABEL", "the time limit and the way home")
            # `robot-rl label`, in another process than all of the run's: the page sees it, and no label is asked for.
            label_episode(run.episode(1), LabelValue.FAILURE, "bob", None, Console(file=io.StringIO()))
            wait_for(lambda: shown_label(actor, 1) == ("failure", "bob"), "the correction on the page")
            label_episode(run.episode(2), LabelValue.FAILURE, "bob", None, Console(file=io.StringIO()))
            wait_for(lambda: finished(actor), "the end of the run, which waits for no other label")
        guard.close()
        actor.close()
        status, output = realtime.finish(30)
    assert status == 0, output
    assert [value for _, value in labels(run).values()] == [LabelValue.FAILURE, LabelValue.FAILURE]


@pytest.mark.timeout(60)
def test_what_the_cameras_see_is_in_the_episode(tmp_path: Path) -> None:
    run = short_run(tmp_path, max_steps=400, cameras=["side"])
    with started(run, 1, "--page", "--human") as realtime:
        guard, actor = realtime.connect()
        frames = Subscriber(realtime.endpoint("frames"))
        wait_for(lambda: list(frames.take(50)), "the camera")
        with heartbeat(guard):
            tell(actor, "arm")
            tell(actor, "run")
            wait_for(realtime.begun, "the episode")
            for picture in ("one picture", "another", "a third"):
                wait_for(lambda: list(frames.take(50)), picture)
            tell(actor, "end")
            wait_for(lambda: state(actor) == "AWAIT_LABEL", "the arm's return")
        tell(actor, "label", episode=1, value="failure", event_id="first")
        frames.close()
        guard.close()
        actor.close()
        status, output = realtime.finish(30)
    assert status == 0, output
    manifest, images = read_manifest(run.episode(1)), read_images(run.episode(1), "side")
    assert len(images) > 1
    require_shape(run, ["side"])
    stamps = [image.stamp_ns for image in images]
    assert stamps == sorted(set(stamps))
    assert 0 <= manifest.last_stamp_ns - stamps[-1] < 10_000 * MS, "stamped by the clock of the control loop"
    assert all(Image.open(io.BytesIO(image.jpeg)).size == (320, 240) for image in images)


@pytest.mark.timeout(60)
def test_a_latched_stop_that_nobody_could_clear_ends_the_run(tmp_path: Path) -> None:
    run = short_run(tmp_path)
    write_latch(run.guard_json, raised(Supervision(), "operator_stop", "hand in the cell", 0), "a test")
    with started(run, 1) as realtime:
        status, output = realtime.finish(30)
    assert status == 2
    assert "hand in the cell" in output
    assert "without --no-console" in output
    assert "operator_stop" in json.dumps(json.loads(run.guard_json.read_text())["causes"])


@pytest.mark.timeout(120)
def test_a_run_that_was_killed_goes_on_with_its_curve_its_account_and_its_adapter(tmp_path: Path) -> None:
    run = short_run(tmp_path)
    spec = FlowPolicy.load(run.policy).spec
    with started(run, 5) as realtime:
        wait_for(realtime.begun, "the first episode")
        with started(run, 5) as second:
            status, output = second.finish(30)
        assert status == 2
        assert "open in another process" in output
        wait_for(lambda: len(numbers(run.adapters)) >= 3, "versions that have learnt", 60)
        assert realtime.process.poll() is None
        realtime.kill("actor")
        realtime.finish(10)
    before, kept = read_manifests(run.adapters), labels(run)
    versions = {path.name: path.read_bytes() for path in run.adapters.iterdir()}
    golden = read_golden(run, spec)
    assert golden is not None
    with started(run, 5) as resumed:
        status, output = resumed.finish(60)
    assert status == 0, output
    assert labels(run).items() >= kept.items()
    assert len(labels(run)) == 5
    after = read_manifests(run.adapters)
    assert before[-1]["updates"] > 0
    assert after[: len(before)] == before
    for version in after:
        wanted = 0 if version["warmup"] else int(version["config"]["utd"] * version["chunks"])
        assert version["updates"] == wanted, "as many updates as its chunks are worth, before and after"
    assert all((run.adapters / name).read_bytes() == content for name, content in versions.items())
    newest = before[-1]["version"]
    require_adapter(golden, load_adapter(run.adapters, newest, spec), before[-1]["golden"])
    assert after[-1]["golden"]["output"] != before[-1]["golden"]["output"]


@contextmanager
def heartbeat(guard: GuardClient) -> Iterator[None]:
    """A page that is there: it renews the operator's deadline."""
    gone = threading.Event()

    def renew() -> None:
        while not gone.wait(0.1):
            guard.renew_operator()

    page = threading.Thread(target=renew)
    page.start()
    try:
        yield
    finally:
        gone.set()
        page.join()


def moves(guard: GuardClient) -> bool:
    return bool(np.abs(guard.observe().dq).max() > 0.15)


def bin_of(guard: GuardClient) -> Array:
    """[2] m, as perceived."""
    return guard.observe().extra["bin_pose"][:2]


def starts_of(run: RunDirectory, episodes: int) -> list[Array]:
    """[2] m each: where the bin is to be when the first episodes begin."""
    twin = load_twin(load_task(run.task_yaml), "twin", SteppedClock())
    starts = [twin.draw(Split.TRAIN, run.read_info().seed, episode) for episode in range(1, episodes + 1)]
    return [np.array([start.x, start.y]) for start in starts]


def near(a: Array, b: Array) -> bool:
    """Within perception's noise, and before the arm has reached the bin."""
    return bool(np.linalg.norm(a - b) < 0.01)
