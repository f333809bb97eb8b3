"""`python -m tests.console.screenshots OUT`: the page in its states, on screens and a tablet, to be looked at."""

from __future__ import annotations

import sys
from pathlib import Path

from robot_rl.errors import DeadlineMissed
from tests.console.scripted import ScriptedPort, place
from tests.console.serving import chromium, serving

STATES = ["DISARMED", "PAUSED", "RUNNING", "HOMING", "AWAIT_LABEL", "AWAIT_RESET", "STOPPED", "FAULT", "FINISHED"]
SIZES = [(1280, 720), (1920, 1080), (1024, 768), (800, 1280)]


def main(out: Path, states: list[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    port = ScriptedPort()
    with serving(port) as origin, chromium() as browser:
        for width, height in SIZES:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(origin)
            page.wait_for_selector('.camera.main[data-age="live"]')
            page.screenshot(path=out / f"first_visit-{width}x{height}.png")
            page.click("#help-close")
            for state in states:
                port.become(state)
                page.wait_for_selector(f'body[data-state="{state}"]')
                page.wait_for_timeout(300)
                page.screenshot(path=out / f"{state.lower()}-{width}x{height}.png")
            port.become("RUNNING")
            for name in ("waits", "held"):
                setattr(port, name, True)
                page.wait_for_timeout(500)
                page.screenshot(path=out / f"{name}-{width}x{height}.png")
                setattr(port, name, False)
            port.place = place(3)
            for state in ("RUNNING", "AWAIT_RESET"):
                port.become(state)
                page.wait_for_selector(f'body[data-state="{state}"] .spot')
                page.screenshot(path=out / f"placed_{state.lower()}-{width}x{height}.png")
            port.place = None
            port.become("RUNNING")
            page.click("#by-minute")
            page.click("#show-learning")
            page.wait_for_timeout(300)
            page.screenshot(path=out / f"learning-{width}x{height}.png")
            page.click("#show-run")
            page.click("#by-episode")
            page.locator(".episode").nth(1).click()
            port.become("PAUSED")
            port.frozen_camera = "side"
            page.keyboard.press("1")
            page.wait_for_selector('.camera[data-age="stale"]')
            page.screenshot(path=out / f"refused-{width}x{height}.png")
            port.lost = DeadlineMissed("snapshot: no answer from the actor within 1 s")
            page.wait_for_selector('body[data-state="NO_CONTACT"]')
            page.screenshot(path=out / f"no_contact-{width}x{height}.png")
            watching = browser.new_page(viewport={"width": width, "height": height})
            port.lost = None
            watching.goto(origin)
            watching.click("#help-close")
            watching.wait_for_selector("#lease:not([hidden])")
            watching.screenshot(path=out / f"watching-{width}x{height}.png")
            watching.close()
            page.close()
            port.lost = port.frozen_camera = None


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or STATES)
