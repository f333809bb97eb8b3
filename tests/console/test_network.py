"""The page over a network that is slow, or gone: pictures age in sight, keys still work, the heartbeat stops."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page

from robot_rl.console.access import Access
from robot_rl.console.entrance import Entrance, open_entrance
from robot_rl.console.machine import addresses
from tests.console.scripted import ScriptedPort
from tests.console.serving import eventually, goto, serving, wait_until_left
from tests.console.wire import Relay, relay

SLOW = 20_000
"""Bytes a second of each connection: about one picture of the script."""


@pytest.fixture(scope="module")
def network() -> Iterator[tuple[ScriptedPort, Relay]]:
    port = ScriptedPort()
    with relay() as between:

        def opened(number: int) -> Entrance:
            entrance = open_entrance(Access(), number)
            hosts = entrance.door.hosts | {f"127.0.0.1:{between.port}"}
            return replace(entrance, door=replace(entrance.door, hosts=hosts))

        with serving(port, opened=opened) as origin:
            between.serve(int(origin.rsplit(":", 1)[1]))
            yield port, between


@pytest.fixture
def page(browser: Browser, network: tuple[ScriptedPort, Relay]) -> Iterator[Page]:
    port, between = network
    port.restart()
    between.bytes_per_s, between.cut = None, False
    made = browser.new_page(viewport={"width": 1280, "height": 720})
    goto(made, f"http://127.0.0.1:{between.port}/", port)
    made.wait_for_selector('body[data-state="RUNNING"] .camera.main[data-age="live"]')
    yield made
    between.bytes_per_s, between.cut = None, False
    made.close()
    wait_until_left(between.to)


def test_on_a_slow_link_pictures_are_late_and_not_ever_later_and_keys_work(
    page: Page, network: tuple[ScriptedPort, Relay]
) -> None:
    port, between = network
    between.bytes_per_s = SLOW
    page.wait_for_selector('.camera:is([data-age="late"], [data-age="stale"])')
    page.evaluate("""() => {
      window.worst = 0;
      setInterval(() => document.querySelectorAll('.camera .age').forEach((badge) => {
        const [, seconds, ms] = badge.textContent.match(/STALE ([0-9.]+) s|([0-9]+) ms/) ?? [];
        window.worst = Math.max(window.worst, seconds ? 1000 * seconds : Number(ms ?? 0));
      }), 50);
    }""")
    page.wait_for_timeout(1500)
    assert 400 < page.evaluate("worst") < 2500, "a viewer that is slow gets fewer pictures, and none from a queue"
    page.keyboard.press("e")
    eventually(lambda: port.commands == [("end", {})], 2)
    began = time.monotonic()
    page.keyboard.press("Escape")
    eventually(lambda: len(port.stops) >= 1, 1)
    print(f"Esc to the guard over {SLOW / 1000:g} kB/s: {1000 * (port.stops[0] - began):.0f} ms")
    between.bytes_per_s = None
    page.wait_for_selector('.camera.main[data-age="live"]')


def test_a_cut_network_ends_the_heartbeat_and_a_mended_one_brings_the_page_back(
    page: Page, network: tuple[ScriptedPort, Relay]
) -> None:
    port, between = network
    cut = time.monotonic()
    between.cut = True
    page.wait_for_selector('body[data-state="NO_CONTACT"]')
    page.wait_for_selector('.camera.main[data-age="stale"]')
    assert port.renewals[-1] < cut + 0.15, "so that the guard's deadline holds the robot half a second later"
    between.cut = False
    page.wait_for_selector('body[data-state="RUNNING"]')
    eventually(lambda: port.renewals[-1] > cut + 1)


def test_plain_http_on_another_address_stops_labels_and_says_why_there_is_no_vr(browser: Browser, page: Page) -> None:
    assert page.locator("#no-vr").is_hidden(), "a page of this machine is as good as one by TLS"
    away = next((str(address) for address in addresses() if not address.is_loopback and address.version == 4), None)
    if away is None:
        pytest.skip("this machine has no address but loopback")
    port = ScriptedPort()
    with serving(port, opened=lambda number: open_entrance(Access(away, insecure=True), number)) as origin:
        made = browser.new_page()
        goto(made, origin.replace("127.0.0.1", away), port)
        words = made.inner_text("#no-vr")
        made.keyboard.press("e")
        made.wait_for_selector('body[data-state="AWAIT_LABEL"]')
        made.keyboard.press("1")
        made.wait_for_selector('body[data-state="AWAIT_RESET"]')
        made.keyboard.press("Escape")
        made.wait_for_selector('body[data-state="STOPPED"]')
        made.close()
    assert "No VR on this address" in words
    assert "robot-rl cert" in words
