"""The console as it ships, on a free loopback port and a thread that ends with the test; and a real Chromium."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import uvicorn
from playwright.sync_api import Browser, sync_playwright

from robot_rl.console.__main__ import make_server
from robot_rl.console.access import Access
from robot_rl.console.entrance import Entrance, open_entrance
from robot_rl.console.port import OperatorPort

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


LOCAL = Access()


def serving(port: OperatorPort, number: int = 0, access: Access = LOCAL) -> contextlib.AbstractContextManager[str]:
    """The console in front of `port`; see `running`."""
    return running(lambda entrance: make_server(port, entrance.door, entrance.pem), number, access)


@contextlib.contextmanager
def running(make: Callable[[Entrance], uvicorn.Server], number: int = 0, access: Access = LOCAL) -> Iterator[str]:
    """The server that `make` makes for an entrance; yields its origin, `http://127.0.0.1:NUMBER`."""
    entrance = open_entrance(access, number)
    server = make(entrance)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [entrance.listener]}, name="console", daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive(), 10)
        assert thread.is_alive(), "the console ended at its start"
        yield f"{entrance.door.scheme}://127.0.0.1:{entrance.listener.getsockname()[1]}"
    finally:
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


def eventually(true: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until `true()`."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not within {within_s:g} s"
        time.sleep(0.01)
