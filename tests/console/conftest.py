from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from robot_rl.console.installation import installation
from tests.console.scripted import ScriptedPort
from tests.console.serving import chromium, serving, wait_until_left


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ScriptedPort, str]]:
    port = ScriptedPort()
    with serving(port) as origin:
        yield port, origin


@pytest.fixture
def port(served: tuple[ScriptedPort, str]) -> Iterator[ScriptedPort]:
    port, origin = served
    port.restart()
    yield port
    wait_until_left(int(origin.rpartition(":")[2]))


@pytest.fixture
def origin(served: tuple[ScriptedPort, str], port: ScriptedPort) -> str:
    return served[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of an installation's secrets, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return installation()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running
