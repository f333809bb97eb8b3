"""The console as it ships, on a free loopback port and a thread that ends with the test; and a real Chromium."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import uvicorn
from playwright.sync_api import Browser, sync_playwright

from robot_rl.console.__main__ import make_server
from robot_rl.console.port import OperatorPort
from robot_rl.console.security import authorities, bind_loopback

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


def serving(port: OperatorPort, number: int = 0) -> contextlib.AbstractContextManager[str]:
    """The console in front of `port`; see `running`."""
    return running(lambda hosts: make_server(port, hosts), number)


@contextlib.contextmanager
def running(make: Callable[[frozenset[str]], uvicorn.Server], number: int = 0) -> Iterator[str]:
    """The server that `make` makes for its host names; yields its origin, `http://127.0.0.1:NUMBER`."""
    listener = bind_loopback("127.0.0.1", number)
    number = listener.getsockname()[1]
    server = make(authorities(number))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="console", daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive(), 10)
        assert thread.is_alive(), "the console ended at its start"
        yield f"http://127.0.0.1:{number}"
    finally:
        server.should_exit = True
        thread.join(timeout=5)
        listener.close()
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
