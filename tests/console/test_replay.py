"""The page of a recorded episode, in a real Chromium; and what is no episode is refused."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from robot_rl.clock import SECOND
from robot_rl.console.__main__ import server_of
from robot_rl.console.recording import load_recording
from robot_rl.console.replay import create_replay
from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.episode import EpisodeWriter
from robot_rl.store.run import RunDirectory, RunInfo
from tests.console.recorded import step
from tests.console.serving import eventually, running
from tests.pictures import jpeg
from tests.store.examples import SUCCESS, header

STEPS = 16
BEGIN_NS = 7 * SECOND


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.8 s of a robot, a camera at half its rate, a chunk that was refused, and a guard that held."""
    run = RunDirectory.create(tmp_path_factory.mktemp("run") / "run", RunInfo("lid_opening", "usr", 3, "ab", "0.1.0"))
    writer = EpisodeWriter(run, header(1))
    for i in range(STEPS):
        stamp = BEGIN_NS + i * SECOND // 20
        if i % 2 == 0:
            writer.write_image("front", stamp, jpeg(16 * i, (64, 48)))
        if i == 8:
            writer.write("/rejected", stamp, {"chunk": 9, "reason": "a leap", "final": []})
            cause = {"id": "bad_action-1", "kind": "bad_action", "detail": "a leap"}
            writer.write("/safety", stamp, {"level": "HOLD", "epoch": 1, "causes": [cause]})
        if i == 10:
            writer.write("/safety", stamp, {"level": "OK", "epoch": 1, "causes": []})
        writer.write("/steps", stamp, step(i))
    writer.close(SUCCESS)
    return run.episode(1)


@pytest.fixture(scope="module")
def origin(folder: Path) -> Iterator[str]:
    recording = load_recording(folder, "failure")
    with running(lambda entrance: server_of(create_replay(recording, entrance.door))) as address:
        yield address


@pytest.fixture
def page(browser: Browser, origin: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.set_default_timeout(10_000)
    made = context.new_page()
    complaints: list[str] = []
    made.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.goto(origin)
    made.wait_for_selector("#now:not(:empty)")
    yield made
    context.close()
    assert complaints == []


def move_to(page: Page, seconds: float) -> str:
    """Move the cursor; what is said of that moment."""
    page.evaluate(
        "t => { const s = document.getElementById('time'); s.value = t; s.dispatchEvent(new Event('input')); }", seconds
    )
    return page.inner_text("#now")


def test_the_page_says_which_episode_it_shows(page: Page) -> None:
    assert page.inner_text("#title") == "lid_opening, episode 1"
    assert page.inner_text("#method").lower() == "usr v4"
    assert page.inner_text("#outcome") == "ended by success, labelled failure"
    assert "16 steps in 0.75 s" in (page.get_attribute("#timeline", "aria-label") or "")


def test_one_cursor_moves_commands_verdicts_and_pictures(page: Page) -> None:
    assert "step 1 of 16" in page.inner_text("#now")
    words = move_to(page, 0.46)
    for part in ("step 10 of 16", "chunk 4 row 1", "sent 2.0, 0.0, 0.0 mm", "clipped: seam", "guard HOLD: bad_action"):
        assert part in words
    assert page.get_attribute("img", "src") == "/api/frame/front/4"
    eventually(lambda: page.evaluate("document.querySelector('img').naturalWidth") == 64)
    words = move_to(page, 0.75)
    assert "step 16 of 16" in words
    assert "guard" not in words


def test_the_time_axis_is_drawn_and_the_cursor_on_it(page: Page) -> None:
    drawn = "document.getElementById('timeline').toDataURL()"
    move_to(page, 0.1)
    before = page.evaluate(drawn)
    move_to(page, 0.6)
    assert page.evaluate(drawn) != before
    colours = page.evaluate(
        """() => {
          const canvas = document.getElementById('timeline');
          const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
          const seen = new Set();
          for (let i = 0; i < pixels.length; i += 4) seen.add(`${pixels[i]},${pixels[i + 1]},${pixels[i + 2]}`);
          return [...seen];
        }"""
    )
    assert {"99,210,166", "244,189,80"} <= set(colours), "verdicts pass and clipped have their colours"


def test_it_plays_to_its_end_and_stops(page: Page) -> None:
    page.click("#play")
    assert page.inner_text("#play") == "Pause"
    page.wait_for_selector("#play[aria-pressed=false]")
    assert "step 16 of 16" in page.inner_text("#now")
    page.click("#play")
    page.click("#play")
    assert page.inner_text("#play") == "Play"


def get(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_frames_are_those_that_were_recorded_and_there_are_no_others(origin: str) -> None:
    assert get(f"{origin}/api/frame/front/3") == (200, jpeg(16 * 6, (64, 48)))
    for path in ("front/8", "front/-1", "side/0", "..%2f..%2fmanifest.json/0"):
        assert get(f"{origin}/api/frame/{path}")[0] == 404
    view = json.loads(get(f"{origin}/api/episode")[1])
    assert view["cameras"]["front"][:2] == [0.0, 0.1]
    assert view["steps"][9]["t"] == pytest.approx(0.45)
    assert get(f"{origin}/api/episode", Host="evil.example")[0] == 403


def test_it_changes_nothing(origin: str) -> None:
    request = urllib.request.Request(f"{origin}/api/episode", b"{}", {"Origin": origin}, method="POST")
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(request, timeout=10)


def test_what_is_no_episode_is_refused(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", RunInfo("lid_opening", "usr", 3, "ab", "0.1.0"))
    EpisodeWriter(run, header(1)).close(SUCCESS)
    foreign = EpisodeWriter(run, header(2))
    foreign.write("/steps", 0, {"target": "up"})
    foreign.close(SUCCESS)
    with pytest.raises(StoreError, match="no recorded commands"):
        load_recording(run.episode(1), None)
    with pytest.raises(IntegrityError, match="not what its topic holds"):
        load_recording(run.episode(2), None)
    with pytest.raises(StoreError, match="cannot read"):
        load_recording(run.episode(3), None)
