"""A robot's PC without torch: an environment of its own, against a policy server in this one.

The robot is the protocol twin, behind the driver of a real arm, where its client can be installed; else the fast twin.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, distribution
from importlib.util import find_spec
from pathlib import Path

import pytest
import tomllib
import yaml
from packaging.requirements import Requirement

from robot_rl.cli import INTERRUPTED
from robot_rl.policy.remote import RemotePolicy
from robot_rl.store.episode import read_manifest
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import labelled_episodes
from robot_rl.task_files import TASKS_DIR
from tests.commands import ENVIRONMENT, ROOT
from tests.small_task import write_small_task

FRANKA = find_spec("franky") is not None


def needed(extras: str) -> dict[str, Distribution]:
    """What an installer would install for `robot-rl[extras]`, at the versions that are here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: dict[str, Distribution] = {}
    seen: set[str] = set()
    open_ends = [Requirement(f"robot-rl[{extras}]")]
    while open_ends:
        wanted = open_ends.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        if wanted.name == "robot-rl":
            lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in wanted.extras)]
            open_ends += [Requirement(text) for texts in lists for text in texts]
            continue
        found[wanted.name] = there = distribution(wanted.name)
        for text in there.requires or ():
            further = Requirement(text)
            if further.marker is None or any(further.marker.evaluate({"extra": e}) for e in ("", *wanted.extras)):
                open_ends.append(further)
    return found


@pytest.fixture(scope="module")
def robot_pc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the robot's extras, its driver's, and the twin's, which is the robot."""
    folder = tmp_path_factory.mktemp("robot-pc")
    venv.EnvBuilder(symlinks=True).create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    for package in needed("robot,twin" + (",franka" if FRANKA else "")).values():
        for top in {file.parts[0] for file in package.files or () if ".." not in file.parts}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(package.locate_file(top))))
    return folder / "bin" / "python"


@contextmanager
def served() -> Iterator[str]:
    """The lid task's policy in a process of this environment; its endpoint."""
    command = [sys.executable, "-m", "robot_rl.serve", str(TASKS_DIR / "lid_opening.safetensors")]
    server = subprocess.Popen(
        [*command, "--endpoint", "tcp://127.0.0.1:*"], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        yield server.stdout.readline().rpartition(" on ")[2].strip()
    finally:
        server.terminate()
        assert server.wait(10) == 0
        server.stdout.close()


def test_that_environment_has_no_torch_and_nothing_of_the_learner(robot_pc: Path) -> None:
    script = "import robot_rl, importlib.util as u; print([m for m in %r if u.find_spec(m)])"
    absent = ("torch", "tensorboard", "matplotlib", "pytest", "stable_baselines3")
    done = subprocess.run(
        [robot_pc, "-c", script % (absent,)], capture_output=True, text=True, cwd=ROOT, timeout=20, check=True
    )
    assert done.stdout.strip() == "[]"
    refused = subprocess.run(
        [robot_pc, "-m", "robot_rl.cli", "run", "--no-learner", "--pace", "lockstep", "--no-console"],
        capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, timeout=20, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "lockstep waits for the learner" in refused.stderr + refused.stdout


@pytest.mark.timeout(60)
def test_driver_guard_client_and_console_run_an_episode_without_torch(robot_pc: Path, tmp_path: Path) -> None:
    scene = yaml.safe_load((TASKS_DIR / "lid_opening.yaml").read_text())["scene"] | {"cameras": {}}
    task, out = write_small_task(tmp_path, scene=scene, max_steps=20), tmp_path / "run"
    with served() as endpoint:
        command = [robot_pc, "-m", "robot_rl.cli", "run", task, "--out", out, "--episodes", "500", "--no-learner"]
        command += ["--hw", "protocol_twin" if FRANKA else "twin"]
        run = subprocess.Popen(
            [str(part) for part in (*command, "--policy", endpoint, "--port", "0")],
            cwd=ROOT, env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        assert run.stdout is not None
        output, status, closed = "", 0, out / "episodes" / "000001" / "manifest.json"
        try:
            for line in run.stdout:
                output += line
                if "the operator's page" in line:
                    address = line.partition(": ")[2].strip()
                    with urllib.request.urlopen(address, timeout=10) as page:
                        status = page.status
                        wait_for(lambda: closed.exists() and len(labelled_episodes(RunDirectory.open(out))) > 0, 30)
                    run.send_signal(signal.SIGINT)
            assert run.wait(20) == INTERRUPTED, output
        finally:
            run.kill()  # its processes end with it
            run.wait()
            run.stdout.close()
        asked = RemotePolicy(endpoint)
        assert asked.status()["calls"] >= 3, "what the robot did came from there"
        asked.close()
    assert status == 200, output
    assert read_manifest(RunDirectory.open(out).episode(1)).counts["/steps"] > 5
    assert [number for number, _ in labelled_episodes(RunDirectory.open(out))][:1] == [1]
    assert {path.stem for path in (out / "logs").iterdir()} >= {"guard", "store", "console"}
    assert not (out / "logs" / "learner.log").exists()


def wait_for(ask: Callable[[], bool], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not ask():
        assert time.monotonic() < end
        time.sleep(0.05)
