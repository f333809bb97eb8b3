"""Keys from the command line, and a task's policy served with them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from robot_rl.compositions.plan import connect_policy, load_policy
from robot_rl.compositions.policy_serving import add_client_key, make_keys, remove_client_key
from robot_rl.errors import ConfigError, DeadlineMissed
from robot_rl.policy.remote import RemotePolicy
from robot_rl.task_files import TASKS_DIR, load_task
from robot_rl.wire.keys import ClientKeys, ServerKeys, read_keys
from robot_rl.wire.observations import example_observation


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_clients_are_added_and_removed_and_no_secret_is_shown(tmp_path: Path, console: Console) -> None:
    make_keys(tmp_path, console)
    server = tmp_path / "server.key"
    add_client_key(server, "second", console)
    assert read_keys(server, ServerKeys).clients.keys() == {"robot", "second"}
    assert read_keys(tmp_path / "second.key", ClientKeys).server == read_keys(server, ServerKeys).public
    remove_client_key(server, "robot", console)
    assert read_keys(server, ServerKeys).clients.keys() == {"second"}
    assert [path.stat().st_mode & 0o777 for path in sorted(tmp_path.iterdir())] == [0o600] * 3
    for secret in (read_keys(server, ServerKeys).secret, read_keys(tmp_path / "second.key", ClientKeys).secret):
        assert secret not in said(console)
    with pytest.raises(ConfigError, match="'second' already"):
        add_client_key(server, "second", console)
    with pytest.raises(ConfigError, match="did you mean 'second'"):
        remove_client_key(server, "secund", console)
    with pytest.raises(ConfigError, match="never overwritten"):
        make_keys(tmp_path, console)
    with pytest.raises(ConfigError, match="letters"):
        add_client_key(server, "../x", console)


def test_a_task_is_served_by_its_name_to_whom_the_keys_name(tmp_path: Path, console: Console) -> None:
    make_keys(tmp_path, console)
    command = [sys.executable, "-m", "robot_rl.cli", "serve-policy", "lid_opening", "--endpoint", "tcp://0.0.0.0:0"]
    command += ["--keys", str(tmp_path / "server.key")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdout is not None
    try:
        endpoint = server.stdout.readline().rpartition(" ")[2].strip().replace("0.0.0.0", "127.0.0.1")
        local = load_policy(load_task("lid_opening"), TASKS_DIR / "lid_opening.yaml")
        with pytest.raises(DeadlineMissed):
            RemotePolicy(endpoint, connect_timeout_s=0.3)
        remote = connect_policy(endpoint, local, tmp_path / "robot.key")
        assert isinstance(remote, RemotePolicy)
        seen, noise = [example_observation(local.spec)], np.ones((1, *local.spec.noise_shape), np.float32)
        np.testing.assert_allclose(
            remote.decode(remote.encode(seen), noise), local.decode(local.encode(seen), noise), atol=1e-6
        )
        remote.close()
    finally:
        server.terminate()
        assert server.wait(10) == 0
        server.stdout.close()
