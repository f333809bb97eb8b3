"""A recorded episode is looked at again on the page of the run: the frame asked for, and only while nothing moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from robot_rl.clock import SECOND
from robot_rl.console.__main__ import make_server
from robot_rl.console.again import Recordings
from robot_rl.errors import NoSuchEpisode
from robot_rl.store.episode import EpisodeWriter
from robot_rl.store.run import RunDirectory, RunInfo
from tests.console.recorded import step
from tests.console.scripted import ScriptedPort
from tests.console.serving import eventually, running
from tests.console.test_page import labels, shows
from tests.pictures import jpeg
from tests.store.examples import SUCCESS, header

STEPS = 16


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Episode 41 with cameras at half and at a quarter of its rate and with one frame alone, and 40 without any.

    38 has no step, and of 37 somebody has removed the manifest.
    """
    run = RunDirectory.create(tmp_path_factory.mktemp("run") / "run", RunInfo("lid_opening", "usr", 3, "ab", "0.1.0"))
    for episode in (40, 41):
        writer = EpisodeWriter(run, header(episode))
        for i in range(STEPS):
            stamp = 7 * SECOND + i * SECOND // 20
            for camera, every in (("front", 2), ("side", 4), ("wrist", 16)) if episode == 41 else ():
                if i % every == 0:
                    writer.write_image(camera, stamp, jpeg(10 * i + every, (64, 48)))
            writer.write("/steps", stamp, step(i))
        writer.close(SUCCESS)
    for episode in (37, 38):
        writer = EpisodeWriter(run, header(episode))
        writer.write("/rejected", 7 * SECOND, {"chunk": 1, "reason": "outside", "final": [[0.0]]})
        writer.close(SUCCESS)
    (run.episode(37) / "manifest.json").unlink()
    return run


@pytest.fixture(scope="module")
def served(run: RunDirectory) -> Iterator[tuple[ScriptedPort, str]]:
    port = ScriptedPort()
    recordings = Recordings(run)
    with running(lambda entrance: make_server(port, entrance.door, entrance.pem, recordings)) as origin:
        yield port, origin


@pytest.fixture
def page(browser: Browser, port: ScriptedPort, origin: str) -> Iterator[Page]:
    port.become("AWAIT_LABEL")
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.set_default_timeout(10_000)
    made = context.new_page()
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.goto(origin)
    shows(made, "AWAIT_LABEL")
    made.click("#help-close")
    yield made
    context.close()
    assert errors == []


def test_the_frames_shown_are_those_of_the_moment_asked_for(page: Page) -> None:
    page.locator(".episode").first.click()
    page.click(".view-again")
    page.wait_for_selector("#again:not([hidden])")
    assert page.inner_text("#again-title") == "Episode 41, recorded"
    page.locator("#again-time").fill("0.46")
    assert page.inner_text("#again-play") == "Play", "moved by hand, it plays no further"
    pictures = page.locator("#again-pictures img")
    sources = [image.get_attribute("src") for image in pictures.all()]
    assert sources == [f"/api/episode/41/frame/{shown}" for shown in ("front/4", "side/2", "wrist/0")]
    captions = page.locator("#again-pictures figcaption")
    assert captions.all_inner_texts() == ["front", "side", "wrist"]
    page.locator("#again-time").fill("0.7")
    assert captions.all_inner_texts() == ["front", "side", "wrist, taken 0.7 s before"]
    eventually(lambda: pictures.last.evaluate("image => image.naturalWidth") == 64)
    large, small = (page.locator("#again-pictures img").nth(n).bounding_box() for n in (0, 1))
    assert large is not None
    assert small is not None
    assert large["width"] > 0.75 * large["height"] > 250 > small["height"], "one picture fills the room, as live"
    page.click('#again-pictures figure:has(img[alt$="side"])')
    assert page.locator("#again-pictures .main img").get_attribute("alt") == "recorded picture of camera side"
    page.click("#again-play")
    eventually(lambda: page.inner_text("#again-now") == "0.8 of 0.8 s")
    eventually(lambda: page.inner_text("#again-play") == "Play")
    assert page.inner_text("#again-close") == "Back to live v"
    page.keyboard.press("v")
    assert page.locator("#again").is_hidden()


def test_whoever_has_moved_the_slider_may_label_at_once(page: Page, port: ScriptedPort) -> None:
    port.restart("AWAIT_LABEL", episode=41)
    port.closed = True  # recorded, and asked for
    page.wait_for_selector('.episode:has-text("41"):has-text("awaited")')
    page.keyboard.press("v")
    page.wait_for_selector("#again:not([hidden])")
    page.focus("#again-time")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("1")
    shows(page, "AWAIT_RESET")
    assert labels(port) == [(41, "success")]
    page.focus("#again-time")
    page.keyboard.press("Escape")
    shows(page, "STOPPED")


def test_who_looks_at_another_episode_does_not_label_the_one_that_is_asked_for(page: Page, port: ScriptedPort) -> None:
    page.keyboard.press("v")
    page.wait_for_selector("#again:not([hidden])")
    assert page.inner_text("#again-title") == "Episode 41, recorded"
    why = "41 is shown: close it (v), then label 42"
    for key, name in (("1", "Success"), ("0", "Failure"), ("d", "Discard")):
        page.keyboard.press(key)
        page.wait_for_selector(f'#message:text-is("{name}: {why}")')
    assert page.inner_text("#reason-success") == why
    page.keyboard.press("v")
    page.wait_for_selector('#action-failure[aria-disabled="false"]')
    page.keyboard.press("0")
    shows(page, "AWAIT_RESET")
    assert labels(port) == [(42, "failure")]


def test_what_moves_is_seen_live(page: Page, port: ScriptedPort) -> None:
    page.keyboard.press("v")
    page.wait_for_selector("#again:not([hidden])")
    port.become("RUNNING")
    page.wait_for_selector("#again", state="hidden")
    assert page.inner_text("#message") == "The robot moves: here it is live"
    page.keyboard.press("v")
    eventually(lambda: page.inner_text("#message") == "View it again when nothing moves")
    assert page.locator("#again").is_hidden()
    port.auto_label = True  # nobody is beside a twin that labels by itself
    page.wait_for_selector('#labels:has-text("twin labels")')
    page.keyboard.press("v")
    page.wait_for_selector("#again:not([hidden])")
    page.keyboard.press("v")
    page.wait_for_selector("#again", state="hidden")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (1, "Episode 40: no pictures were recorded of it"),
        (2, "Episode 39: episode 39 is not recorded, or not closed yet"),
        (3, "Episode 38: no recorded commands: there is nothing to show"),
        (4, "Episode 37: cannot read 000037/manifest.json: No such file or directory"),
    ],
)
def test_where_there_are_no_pictures_it_is_said(page: Page, row: int, why: str) -> None:
    page.locator(".episode").nth(row).click()
    page.click(".view-again")
    eventually(lambda: page.inner_text("#message") == why)
    assert page.locator("#again").is_hidden()


def test_frames_are_those_that_were_recorded_and_there_are_no_others(origin: str) -> None:
    frame = httpx.get(f"{origin}/api/episode/41/frame/side/3")
    assert (frame.status_code, frame.content) == (200, jpeg(124, (64, 48)))
    for path in ("41/frame/side/4", "41/frame/top/0", "41/frame/..%2f..%2frun.json/0", "7", "7/frame/side/0"):
        assert httpx.get(f"{origin}/api/episode/{path}").status_code == 404
    for episode in (37, 38):
        assert httpx.get(f"{origin}/api/episode/{episode}").status_code == 409
    assert httpx.get(f"{origin}/api/episode/0").status_code == 422
    assert httpx.get(f"{origin}/api/episode/41", headers={"host": "evil.example"}).status_code == 403


def test_one_that_is_closed_later_is_found_then(run: RunDirectory, tmp_path: Path) -> None:
    another = RunDirectory.create(tmp_path / "run", run.read_info())
    recordings = Recordings(another)
    with pytest.raises(NoSuchEpisode, match="not closed yet"):
        recordings.load(1)
    writer = EpisodeWriter(another, header(1))
    writer.write("/steps", 0, step(0))
    with pytest.raises(NoSuchEpisode, match="not closed yet"):
        recordings.load(1)
    writer.close(SUCCESS)
    assert recordings.load(1).view["episode"] == 1
    assert recordings.load(1) is recordings.load(1)
