"""Fault table, row 20: parts that do not fit each other are refused before anything is armed, and named, both of them.

Server and client here; `tests/wire` and `tests/serve` have what each refuses of the other's messages.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from rich.console import Console

from robot_rl import __version__
from robot_rl.adapters.acting import make_adapter
from robot_rl.compositions.plan import load_policy
from robot_rl.compositions.running import RunRequest, run_task
from robot_rl.errors import SpecMismatch
from robot_rl.task_files import TASKS_DIR, load_task
from robot_rl.wire.handshake import PROTOCOL
from tests.faults.policies import Server

OURS = load_policy(load_task("lid_opening"), TASKS_DIR / "lid_opening.yaml").spec


@pytest.mark.parametrize(
    ("disguise", "ours", "theirs"),
    [
        ("version", f"got {PROTOCOL} (robot_rl {__version__})", f"protocol {PROTOCOL + 1} (robot_rl"),
        ("model", f"({OURS.hash[:12]})", "policy another model (spec"),
    ],
)
def test_a_run_does_not_begin_with_a_server_of_another_version_or_model(
    tmp_path: Path, disguise: str, ours: str, theirs: str
) -> None:
    with TemporaryDirectory() as sockets:
        server = Server(f"ipc://{sockets}/policy", TASKS_DIR / "lid_opening.safetensors")
        server.start(disguise)
        try:
            request = RunRequest(task="lid_opening", policy=server.endpoint, out=tmp_path / "run", label="auto")
            with pytest.raises(SpecMismatch, match=re.escape(theirs)) as caught:
                run_task(request, Console(file=io.StringIO()), compose=lambda plan, watch, announce: pytest.fail("ran"))
        finally:
            server.end()
    assert ours in str(caught.value)
    assert not (tmp_path / "run").exists(), "nothing was begun"


def test_an_adapter_of_another_policy_is_not_made() -> None:
    manifest = {"version": 7, "spec_hash": "0123456789abcdef", "method": "usr", "config": {}, "warmup": False}
    with pytest.raises(SpecMismatch, match=f"adapter 7 .* spec hash 0123456789ab.*{OURS.policy_id}.*{OURS.hash[:12]}"):
        make_adapter({}, manifest, OURS)
