from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.console.scripted import ScriptedPort
from tests.console.serving import chromium, serving


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ScriptedPort, str]]:
    port = ScriptedPort()
    with serving(port) as origin:
        yield port, origin


@pytest.fixture
def port(served: tuple[ScriptedPort, str]) -> ScriptedPort:
    served[0].restart()
    return served[0]


@pytest.fixture
def origin(served: tuple[ScriptedPort, str], port: ScriptedPort) -> str:
    return served[1]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running
