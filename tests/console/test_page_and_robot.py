"""The page in front of a robot: a real Chromium, and all of a real-time run's processes with the fast twin behind them.

One run for all of it: its processes need seconds to start.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from robot_rl.clock import SECOND
from robot_rl.services.guard import GuardClient
from robot_rl.store.files import read_json
from robot_rl.store.run import RunDirectory
from robot_rl.types import LabelValue, SafetyLevel
from tests.realtime_run import labels, short_run, started, wait_for

HELD_S = 0.6
HIDE = """() => {
  Object.defineProperty(document, 'hidden', { get: () => true, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
SHOW = "() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); }"
HANG = "() => { setTimeout(() => { const end = performance.now() + 2000; while (performance.now() < end); }, 0); }"


def address(run: RunDirectory) -> str:
    """Of the page, from what the console has said."""
    log = run.path / "logs" / "console.log"
    return wait_for(lambda: re.search(r"http://\S+", log.read_text()) if log.exists() else None, "the page")[0]


def opened(browser: Browser, url: str) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(url)
    page.wait_for_selector("#lease", state="hidden")
    return page


def shows(page: Page, state: str) -> None:
    page.wait_for_selector(f'body[data-state="{state}"]')


def held_after(guard: GuardClient, silence: Callable[[], object]) -> float:
    """Seconds from the beginning of `silence` to the guard's hold for want of an operator, by the guard's own clock."""
    wait_for(lambda: guard.state().level is SafetyLevel.OK, "a robot that may move")
    began_ns = time.monotonic_ns()
    silence()
    causes = wait_for(lambda: [c for c in guard.state().causes if c.kind == "operator_silent"], "the hold", 3)
    return (causes[0].stamp_ns - began_ns) / SECOND


@pytest.mark.timeout(120)
def test_one_person_one_page_one_robot(browser: Browser, tmp_path: Path) -> None:
    run = short_run(tmp_path, max_steps=4000)
    with started(run, 100, "--page", "--human") as realtime:
        guard, actor = realtime.connect()
        url = address(run)
        page = opened(browser, url)
        page.click("#help-close")
        page.click('#action-arm[aria-disabled="false"]')
        page.click('#action-run[aria-disabled="false"]')
        shows(page, "RUNNING")
        wait_for(realtime.begun, "the first episode")
        page.wait_for_timeout(1000)  # some chunks
        page.keyboard.press("0")
        shows(page, "AWAIT_RESET")

        # What was recorded is looked at again; a busy machine may have drawn no picture of it, which is said.
        page.keyboard.press("v")
        wait_for(
            lambda: page.locator("#again").is_visible() or "no pictures" in page.inner_text("#message"),
            "the recorded episode",
        )
        page.keyboard.press("v")

        # A correction changes what the learner follows and the curve; undo takes it back.
        page.wait_for_selector('#success:text("0 %")')
        for act, value, shown in (
            (lambda: page.click('.corrections button:has-text("success")'), LabelValue.SUCCESS, "100 %"),
            (lambda: page.keyboard.press("u"), LabelValue.FAILURE, "0 %"),
        ):
            if value is LabelValue.SUCCESS:
                page.click(".episode")
            act()
            page.wait_for_selector(f'#success:text-is("{shown}")')
            wait_for(lambda value=value: labels(run)[1][1] is value, "the label log")
            page.wait_for_selector('#action-undo[aria-disabled="false"]')  # this page has been told, too
        wait_for(run.learner_json.exists, "the learner's first word")
        page.wait_for_selector('.ended:text("not learnt from yet")', state="detached")
        assert read_json(run.learner_json)["label_watermark"] == 3

        # Whatever silences the page holds the robot.
        page.keyboard.press("r")
        shows(page, "RUNNING")
        took = {"busy for 2 s": held_after(guard, lambda: page.evaluate(HANG))}
        took["hidden"] = held_after(guard, lambda: page.evaluate(HIDE))
        page.evaluate(SHOW)
        took["web process killed"] = held_after(guard, lambda: os.kill(realtime.pids()["console"], signal.SIGKILL))
        shows(page, "NO_CONTACT")
        shows(page, "PAUSED")  # the new console knows no page that has looked
        page.click('#action-run[aria-disabled="false"]')
        shows(page, "RUNNING")
        took["closed"] = held_after(guard, page.close)
        print("held after, ms: " + ", ".join(f"{how} {1000 * seconds:.0f}" for how, seconds in took.items()))
        assert max(took.values()) < HELD_S

        # A cleared cause leaves everything paused; one that was cleared before clears nothing.
        page = opened(browser, url)
        shows(page, "PAUSED")
        page.keyboard.press("Escape")
        shows(page, "STOPPED")
        page.reload()
        shows(page, "STOPPED")
        page.evaluate("window.stale = document.querySelector('#causes .clear')")
        page.click('#causes .clear[aria-disabled="false"]')
        shows(page, "PAUSED")
        page.keyboard.press("Escape")
        shows(page, "STOPPED")
        page.evaluate("window.stale.click()")
        page.wait_for_selector('#message:has-text("Refused")')
        assert guard.state().level is SafetyLevel.STOP
        page.click('#causes .clear[aria-disabled="false"]')
        shows(page, "PAUSED")
        page.close()
        guard.close()
        actor.close()
