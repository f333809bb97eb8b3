"""The page as another machine gets to it: by TLS and a one-time link, in a real browser and for a script."""

from __future__ import annotations

import asyncio
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from robot_rl.console.__main__ import main
from robot_rl.console.access import Access
from robot_rl.console.certificate import CRT
from robot_rl.console.entrance import Entrance, open_entrance
from robot_rl.console.installation import running_consoles
from robot_rl.console.passes import Passes, link
from tests.console.scripted import ScriptedPort
from tests.console.serving import eventually, locked, serving
from tests.console.test_page import Watched, shows

NOWHERE = ["--actor", "ipc:///nowhere/a", "--guard", "ipc:///nowhere/g", "--frames", "ipc:///nowhere/f"]


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Watched]:
    """A browser of another machine, whose person has compared the certificate's fingerprint."""
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(10_000)
    yield Watched(context.new_page())
    context.close()


def test_a_browser_comes_in_by_a_link(visitor: Watched, folder: Path) -> None:
    port, page = ScriptedPort(), visitor.page
    with serving(port, opened=locked) as origin:
        page.goto(link(origin, Passes(folder).new_link()))
        assert page.url == f"{origin}/"
        page.click('#action-run[aria-disabled="false"]')
        shows(page, "RUNNING")
        page.wait_for_selector('.camera.main[data-age="live"]')
        page.keyboard.press("p")
        shows(page, "PAUSED")
        assert visitor.complaints == []
        assert [url for url in visitor.requests if "token" in url] == visitor.requests[:1]
        assert any(url.startswith("wss://") for url in visitor.requests)
        assert page.evaluate("isSecureContext"), "WebXR needs one"
        assert page.evaluate("document.cookie") == "", "no script reads the pass"
        page.context.close()


def test_a_page_comes_back_by_its_pass_and_says_so_when_that_has_ended(visitor: Watched, folder: Path) -> None:
    port, page = ScriptedPort(), visitor.page

    def opened(number: int) -> Entrance:
        return open_entrance(Access(token=True), number)

    with serving(port, opened=opened) as origin:
        page.goto(link(origin, Passes(folder).new_link()))
        page.click('#action-run[aria-disabled="false"]')
        shows(page, "RUNNING")
    shows(page, "NO_CONTACT")
    number = int(origin.rpartition(":")[2])
    with serving(port, number, opened):
        shows(page, "PAUSED")
    for path in (folder / "passes").iterdir():
        path.unlink()
    with serving(port, number, opened):
        page.wait_for_selector('#why:has-text("one-time link")')
        page.goto(origin)
        assert "robot-rl console --url" in page.inner_text("body")


def first_word(origin: str, trusted: ssl.SSLContext, cookie: str = "") -> str:
    """Of the control socket, asked by a loop in a thread of its own: playwright's runs in this one.

    Not by a client with two threads: a TLS socket of Python's bears no second one before 3.13.1.
    """

    async def ask() -> str:
        headers = {"Origin": origin} | ({"Cookie": cookie} if cookie else {})
        address = origin.replace("http", "ws") + "/ws/control"
        async with connect(address, ssl=trusted, proxy=None, additional_headers=headers) as opened:
            return str(await asyncio.wait_for(opened.recv(), 5))

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(ask())).result(30)


def test_a_script_comes_in_by_a_link(folder: Path) -> None:
    port = ScriptedPort()
    with serving(port, opened=locked) as origin:
        trusted = ssl.create_default_context(cafile=folder / CRT)
        with httpx.Client(verify=trusted, headers={"origin": origin}, base_url=origin) as script:
            assert script.get("/api/snapshot").status_code == 401
            assert script.post("/api/stop").status_code == 401
            with pytest.raises(InvalidStatus, match="401"):
                first_word(origin, trusted)
            assert script.get(link("", Passes(folder).new_link())).status_code == 303
            assert script.get("/api/snapshot").json()["state"] == "RUNNING"
            cookie = "; ".join(f"{name}={value}" for name, value in script.cookies.items())
            assert "lease" in first_word(origin, trusted, cookie)
            assert port.stops == []
            assert script.post("/api/stop").json()["level"] == "STOP"


def test_no_word_of_a_link_or_a_pass_gets_into_what_the_process_says(folder: Path) -> None:
    command = [
        sys.executable,
        "-X",
        "dev",
        "-W",
        "ignore",
        "-m",
        "robot_rl.console",
        *NOWHERE,
        "--port",
        "0",
        "--token",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        address = re.search(r"http://localhost:(\d+)/", said)
        assert address is not None, said
        eventually(lambda: running_consoles(folder) == [address[0]])
        word, guessed = Passes(folder).new_link(), "guessed-by-somebody"
        origin = f"http://127.0.0.1:{address[1]}"
        with httpx.Client() as script:
            for tried in (guessed, word, word):
                script.get(link(origin, tried))
            assert script.get(origin).status_code == 200
            assert script.get(f"{origin}/api/snapshot").status_code == 503
            granted = script.cookies["robot_rl"]
        process.send_signal(signal.SIGTERM)
        said += process.stdout.read()
        process.wait(timeout=5)
    finally:
        process.kill()
        process.wait()
        process.stdout and process.stdout.close()
    assert not [secret for secret in (word, guessed, granted) if secret in said], "in its output"
    assert running_consoles(folder) == []


def test_another_machines_address_needs_a_certificate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NOWHERE, "--host", "0.0.0.0"]) == 2
    assert "`robot-rl cert` makes one" in capsys.readouterr().err
