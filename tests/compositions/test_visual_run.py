"""A policy by sight from demonstrations to a run: every verb that it passes through, in small."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console

from robot_rl.compositions.lockstep import run_lockstep
from robot_rl.compositions.plan import RunPlan, new_run, open_run
from robot_rl.compositions.pretraining import clone_policy, save_demonstrations
from robot_rl.compositions.realtime import run_realtime
from robot_rl.control.actor import Actor
from robot_rl.policy.remote import RemotePolicy
from robot_rl.store.episode import read_images, read_manifest, read_messages
from robot_rl.store.training import labelled_episodes
from robot_rl.task_files import TASKS_DIR, load_task
from tests.serve.served import served
from tests.small_task import write_small_task

EYES = {"cameras": ["front", "wrist"], "crop": 40, "width": 8, "embedding": 8, "keypoints": 8, "threads": 1}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small visual task, with its policy made by the verbs `demos` and `pretrain`."""
    folder = tmp_path_factory.mktemp("visual")
    scene = yaml.safe_load((TASKS_DIR / "lid_opening_visual.yaml").read_text())["scene"]
    for camera in scene["cameras"].values():
        camera |= {"width": 48, "height": 48}
    policy = {
        "checkpoint": "eyes.safetensors", "demonstrations": 1, "hidden": 32, "layers": 2, "embedding": 16,
        "latent": 8, "batch": 8, "backbone": {"vision": EYES},
    }  # fmt: skip
    path = write_small_task(
        folder, policy=policy, scene=scene,
        twin="sim_twin.vision.twin:SeeingTwin", demonstrator="sim_twin.vision.demos:demonstrate",
    )  # fmt: skip
    quiet = Console(quiet=True)
    save_demonstrations(load_task(path), folder / "seen.npz", None, 0, quiet)
    clone_policy(str(path), folder / "seen.npz", None, 3, quiet)
    return path


@pytest.fixture(scope="module")
def remote(task: Path) -> Iterator[RemotePolicy]:
    from robot_rl.serve.loading import load_policy

    yield from served(load_policy(str(task.parent / "eyes.safetensors")))


@pytest.mark.parametrize(("method", "remotely"), [("usr", False), ("zprl", True)])
def test_a_method_learns_on_a_policy_by_sight(
    method: str, remotely: bool, task: Path, remote: RemotePolicy, tmp_path: Path
) -> None:
    new_run(tmp_path / "run", str(task), method, 0, {})
    run, info, config, local = open_run(tmp_path / "run")
    acting = remote if remotely else local

    def watch(actor: Actor) -> None: ...

    run_lockstep(RunPlan(run, info, config, acting, 3, auto_label=True, console_port=None), watch, print)
    assert len(labelled_episodes(run)) == 3
    assert sorted(run.adapters.glob("*.safetensors")), "the learner has published what it made of them"
    with np.load(run.golden) as golden:
        assert golden["observation.images.front"].shape == (48, 48, 3)
        assert golden["features"].shape == (1, 4 + 2 * 8)


@pytest.mark.timeout(120)
def test_by_the_clock_on_the_wall_it_sees_fresh_frames_or_holds(
    task: Path, remote: RemotePolicy, tmp_path: Path
) -> None:
    new_run(tmp_path / "run", str(task), "usr", 0, {})
    run, info, config, _ = open_run(tmp_path / "run")
    plan = RunPlan(run, info, config, remote, 1, auto_label=True, console_port=None, learner=False)
    run_realtime(plan, lambda actor: None, print)
    episode = run.episode(run.closed_episodes()[0])
    assert read_manifest(episode).outcome.steps > 0, "the policy saw enough to act"
    for camera in EYES["cameras"]:
        frame, *_ = read_images(episode, camera)
        assert np.asarray(Image.open(io.BytesIO(frame.jpeg))).shape == (48, 48, 3), "and what it saw is recorded"
    known = ("older than 200 ms", "none has come yet", "has not answered yet")
    for message in read_messages(episode, "/held"):
        assert any(words in message.body["why"] for words in known)
    with np.load(run.golden) as golden:
        assert golden["observation.images.wrist"].shape == (48, 48, 3)
