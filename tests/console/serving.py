"""The console as it ships, on a free loopback port and a thread that ends with the test; and a real Chromium."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from robot_rl.console.__main__ import make_server
from robot_rl.console.access import Access
from robot_rl.console.entrance import Entrance, open_entrance
from robot_rl.console.installation import installation
from robot_rl.console.port import OperatorPort
from tests.console.scripted import ScriptedPort

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
]


_servers: dict[int, uvicorn.Server] = {}


def wait_until_left(port: int) -> None:
    """Return when the console at `port` serves nobody: the lease of the last page is free."""
    server = _servers[port]
    eventually(lambda: not server.server_state.tasks, 5)


def local(number: int) -> Entrance:
    """On loopback, open to this machine."""
    return open_entrance(Access(), number)


def locked(number: int) -> Entrance:
    """As to other machines, but on loopback: with TLS, and open to who comes by a link."""
    from robot_rl.console.certificate import PEM, make_certificate

    folder = installation()
    if not (folder / PEM).exists():
        make_certificate(folder, ["127.0.0.1"])
    entrance = open_entrance(Access(token=True), number)
    return replace(entrance, door=replace(entrance.door, tls=True), pem=folder / PEM)


def serving(
    port: OperatorPort, number: int = 0, opened: Callable[[int], Entrance] = local
) -> contextlib.AbstractContextManager[str]:
    """The console in front of `port`; see `running`."""
    return running(lambda entrance: make_server(port, entrance.door, entrance.pem), number, opened)


@contextlib.contextmanager
def running(
    make: Callable[[Entrance], uvicorn.Server], number: int = 0, opened: Callable[[int], Entrance] = local
) -> Iterator[str]:
    """The server that `make` makes for an entrance; yields its origin, as `http://127.0.0.1:NUMBER`."""
    entrance = opened(number)
    server = make(entrance)
    port = entrance.listener.getsockname()[1]
    _servers[port] = server
    thread = threading.Thread(target=server.run, kwargs={"sockets": [entrance.listener]}, name="console", daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive(), 10)
        assert thread.is_alive(), "the console ended at its start"
        yield f"{entrance.door.scheme}://127.0.0.1:{port}"
    finally:
        del _servers[port]
        server.should_exit = True
        thread.join(timeout=5)
        entrance.listener.close()
        assert not thread.is_alive(), "the console did not end within 5 s"


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium of the system's package."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=30_000)
        try:
            yield browser
        finally:
            browser.close()


def goto(page: Page, url: str, port: ScriptedPort) -> None:
    """Open `url` in `page`, which is put in charge, and let the session run."""
    port.restart("DISARMED", auto_label=False)
    page.goto(url)
    eventually(lambda: port.commands == [("take_over", {})])
    port.restart()
    page.wait_for_selector('body[data-state="RUNNING"]')


def eventually(true: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until `true()`."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not within {within_s:g} s"
        time.sleep(0.01)
