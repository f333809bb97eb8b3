"""The page in a real Chromium, against the service as it ships and a scripted session."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, WebSocketRoute

from robot_rl.errors import DeadlineMissed
from tests.console.scripted import ScriptedPort, place
from tests.console.serving import eventually, goto, serving

NewPage = Callable[..., Page]


class Watched:
    """A page, what it said on its console, and where it sent requests."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))


@pytest.fixture
def watched(browser: Browser, origin: str) -> Iterator[Watched]:  # closed before the console is looked at
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.set_default_timeout(10_000)
    yield Watched(context.new_page())
    context.close()


@pytest.fixture
def page(watched: Watched, origin: str, port: ScriptedPort) -> Iterator[Page]:
    goto(watched.page, origin, port)
    yield watched.page
    assert watched.complaints == []


@pytest.fixture
def new_page(browser: Browser, port: ScriptedPort) -> Iterator[NewPage]:
    """More pages, closed before `port` waits until all have left, also where the test fails."""
    opened: list[Page] = []

    def opens(**options: Any) -> Page:
        opened.append(browser.new_page(**options))
        return opened[-1]

    yield opens
    for page in opened:
        page.close()


def shows(page: Page, state: str) -> None:
    page.wait_for_selector(f'body[data-state="{state}"]')


def labels(port: ScriptedPort) -> list[tuple[int, str]]:
    return [(args["episode"], args["value"]) for name, args in port.commands if name == "label"]


def test_everything_comes_from_this_origin_and_nothing_complains(page: Page, watched: Watched, origin: str) -> None:
    page.wait_for_selector('.camera.main[data-age="live"]')
    page.wait_for_timeout(300)
    hosts = {url.split("://")[1].split("/")[0] for url in watched.requests}
    assert hosts == {origin.split("://")[1]}
    assert any(url.startswith("ws://") for url in watched.requests)
    assert watched.complaints == []


def test_esc_stops_and_stays_stopped_over_a_reload(page: Page, port: ScriptedPort) -> None:
    page.keyboard.press("Escape")
    shows(page, "STOPPED")
    stops = len(port.stops)  # 2 on a busy machine: not confirmed at once, it went by POST as well
    page.reload()
    shows(page, "STOPPED")
    assert page.inner_text("#state") == "Stopped"
    assert len(port.stops) == stops >= 1


def test_esc_reaches_the_guard_and_the_page_within_50_ms(
    page: Page, port: ScriptedPort, record_property: Callable[[str, object], None]
) -> None:
    page.evaluate(
        """() => {
          let pressed = 0;
          window.latencies = [];
          addEventListener('keydown', () => { pressed = performance.now(); }, { capture: true });
          new MutationObserver(() => {
            if (document.body.dataset.state !== 'STOPPED' || pressed === 0) return;
            latencies.push(performance.now() - pressed);
            pressed = 0;
          }).observe(document.body, { attributes: true, attributeFilter: ['data-state'] });
        }"""
    )
    for _ in range(20):
        page.keyboard.press("Escape")
        shows(page, "STOPPED")
        port.become("RUNNING")
        port.epoch += 1
        shows(page, "RUNNING")
    latencies = sorted(page.evaluate("latencies"))
    assert len(latencies) == 20
    assert len(port.stops) >= 20  # on a busy machine some go by POST as well
    median, worst = statistics.median(latencies), latencies[-1]
    record_property("esc_to_stopped_ms", {"median": median, "worst": worst})
    print(f"Esc -> STOPPED on the page: median {median:.1f} ms, worst of 20 {worst:.1f} ms")
    assert median < 50


def test_stop_goes_by_post_when_the_socket_is_gone(watched: Watched, origin: str, port: ScriptedPort) -> None:
    page = watched.page
    page.route_web_socket("**/ws/control", lambda socket: socket.close())
    page.goto(origin)
    with page.expect_request("**/api/stop") as posted:
        page.keyboard.press("Escape")
    assert posted.value.method == "POST"
    shows(page, "STOPPED")
    assert len(port.stops) == 1


def test_a_stop_that_nobody_confirms_is_said_in_the_largest_letters(watched: Watched, origin: str) -> None:
    page = watched.page

    def refuse(route: Route) -> None:
        route.abort()

    page.route_web_socket("**/ws/control", lambda socket: socket.close())
    page.route("**/api/stop", refuse)
    page.goto(origin)
    page.keyboard.press("Escape")
    shows(page, "STOP_UNCONFIRMED")
    assert "hardware e-stop" in page.inner_text("#prompt")


def test_esc_works_with_focus_in_a_text_field(page: Page, port: ScriptedPort) -> None:
    page.evaluate("document.body.append(Object.assign(document.createElement('input'), { id: 'field' }))")
    page.focus("#field")
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    shows(page, "STOPPED")
    assert len(port.stops) == 1
    assert labels(port) == []


def test_one_press_is_one_label(page: Page, port: ScriptedPort) -> None:
    port.become("AWAIT_LABEL")
    shows(page, "AWAIT_LABEL")
    page.keyboard.press("1")
    page.keyboard.press("1")
    page.keyboard.press("0")
    shows(page, "AWAIT_RESET")
    page.keyboard.press("1")
    page.wait_for_timeout(200)
    assert labels(port) == [(42, "success")]


def test_a_late_key_does_not_label_the_next_episode(page: Page, port: ScriptedPort) -> None:
    port.become("AWAIT_LABEL")
    shows(page, "AWAIT_LABEL")
    page.keyboard.press("0")
    shows(page, "AWAIT_RESET")
    page.wait_for_selector('#action-reset_done[aria-disabled="false"]')  # once the label is acknowledged
    page.keyboard.press("r")
    shows(page, "RUNNING")
    assert labels(port) == [(42, "failure")]
    assert port.episode == 43
    assert page.inner_text("#episode") == "43"


def test_a_key_held_since_before_the_question_is_no_answer(page: Page, port: ScriptedPort) -> None:
    port.become("PAUSED")
    shows(page, "PAUSED")
    page.keyboard.down("1")
    port.become("AWAIT_LABEL")
    shows(page, "AWAIT_LABEL")
    for _ in range(4):
        page.keyboard.down("1")  # a repeat: it has not been up
        page.wait_for_timeout(30)
    assert labels(port) == []
    page.keyboard.up("1")
    page.keyboard.press("1")
    shows(page, "AWAIT_RESET")
    assert labels(port) == [(42, "success")]


def test_no_label_in_a_state_that_has_none_to_give(page: Page, port: ScriptedPort) -> None:
    for state in ("DISARMED", "PAUSED", "AWAIT_RESET", "STOPPED", "FINISHED"):
        port.become(state)
        shows(page, state)
        page.evaluate("document.getElementById('message').textContent = ''")  # what the state before has said
        for key in ("1", "0", "d"):
            page.keyboard.press(key)
        page.click("#action-success", force=True)
        assert "only in await label" in page.inner_text("#message"), state
        page.wait_for_timeout(100)
        assert port.commands == [], state


def test_modifiers_and_space_do_nothing(page: Page, port: ScriptedPort) -> None:
    for chord in ("Control+1", "Alt+1", "Shift+E", "Meta+0", "Space"):
        page.keyboard.press(chord)
        page.wait_for_timeout(100)
        assert port.commands == [], chord
        assert port.stops == [], chord


def test_a_clicked_button_is_not_pressed_again_by_space_or_a_held_enter(page: Page, port: ScriptedPort) -> None:
    port.become("PAUSED")
    shows(page, "PAUSED")
    page.click("#action-run")
    shows(page, "RUNNING")
    port.become("PAUSED")
    shows(page, "PAUSED")
    page.keyboard.press("Space")
    page.focus("#action-run")
    for _ in range(4):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    shows(page, "RUNNING")
    page.wait_for_timeout(100)
    assert port.commands == [("run", {}), ("run", {})]
    assert page.inner_text("#message") == "run"


def test_what_was_done_is_old_news_in_another_state_and_what_was_refused_stays(page: Page, port: ScriptedPort) -> None:
    page.keyboard.press("p")
    page.wait_for_selector('#message:text-is("pause")')
    port.become("STOPPED")
    shows(page, "STOPPED")
    assert page.inner_text("#message") == ""
    page.keyboard.press("p")
    assert page.inner_text("#message") == "Pause: only in running or homing"
    port.become("PAUSED")
    shows(page, "PAUSED")
    assert page.inner_text("#message").startswith("Pause:")
    page.click("#action-run")
    page.wait_for_selector('#message:text-is("run")')


def test_a_disabled_button_says_why(page: Page, port: ScriptedPort) -> None:
    port.become("STOPPED")
    shows(page, "STOPPED")
    buttons = page.locator('.action[aria-disabled="true"]')
    assert buttons.count() >= 8
    for button in buttons.all():
        assert button.locator(".reason").inner_text().startswith(("only in", "to correct 41, click it"))
        assert button.get_attribute("title")
        assert button.get_attribute("aria-describedby")


def test_clear_names_the_cause_and_lands_in_paused(page: Page, port: ScriptedPort) -> None:
    page.click("#stop")
    shows(page, "STOPPED")
    page.click("#causes .clear")
    shows(page, "PAUSED")
    assert port.commands == [("clear", {"cause_id": f"stop-{port.epoch}"})]
    assert page.locator("#causes .cause").count() == 0


def test_what_is_wrong_with_the_files_is_shown(page: Page, port: ScriptedPort) -> None:
    assert page.locator("#alarms").is_hidden()
    port.alarms = ["adapter version 41 is not used: 000041.json: its checksum is not that of its content"]
    port.become("RUNNING")
    page.wait_for_selector('#alarms :text("version 41 is not used")')


def test_the_utd_stands_beside_its_reason(page: Page) -> None:
    eventually(lambda: page.inner_text("#utd").startswith("4.96 of 5"))
    assert page.inner_text("#utd-reason").startswith("updates take 36 ms each and 18 are owed")
    assert str(page.get_attribute("#utd-reason", "title")).endswith("(27.8 updates/s)")


def test_a_correction_names_its_revision_and_moves_the_curve(page: Page, port: ScriptedPort) -> None:
    before = page.inner_text("#success")
    first = page.locator(".episode").first
    assert first.locator(".number").inner_text() == "41"
    first.click()
    page.click('.corrections button:has-text("failure")')
    page.wait_for_selector('.episode[data-label="failure"] >> text="41"')
    assert port.commands[0][1].items() >= {"episode": 41, "value": "failure", "expected_revision": 41}.items()
    assert page.inner_text("#success") != before


def test_the_labels_of_a_row_at_the_lists_lower_edge_come_into_view(page: Page) -> None:
    box = page.locator("#episodes").bounding_box()
    assert box is not None
    edge = page.evaluate(
        """([x, y]) => document.elementFromPoint(x, y).closest('.episode').querySelector('.number').textContent""",
        [box["x"] + 30, box["y"] + box["height"] - 8],
    )
    page.locator(f'.episode:has(.number:text-is("{edge}"))').click()
    choices = page.locator(".corrections").bounding_box()
    assert choices is not None
    assert choices["y"] + choices["height"] <= box["y"] + box["height"] + 1
    top = page.locator(".episode").evaluate_all(
        "(rows, y) => rows.map((row) => row.getBoundingClientRect().y - y)", box["y"]
    )
    assert min(top, key=abs) == pytest.approx(0, abs=1), "and no row is cut at the upper edge"


def test_the_labels_of_a_row_take_its_own_line_and_the_newest_stays_in_sight(page: Page) -> None:
    before = page.locator(".episode").nth(2).bounding_box()
    page.locator(".episode").nth(1).click()
    assert page.locator(".corrections").is_visible()
    after = page.locator(".episode").nth(2).bounding_box()
    assert before is not None
    assert after is not None
    assert after["y"] == pytest.approx(before["y"], abs=4)
    page.locator(".episode").nth(1).click()
    assert page.locator(".corrections").count() == 0


def test_a_stale_correction_conflicts_visibly(page: Page, port: ScriptedPort) -> None:
    page.locator(".episode").first.click()
    page.evaluate("window.seen = document.querySelector('.corrections button:nth-child(2)')")
    port.labels.append((41, "discard"))  # someone else; this page has not heard of it when its button is pressed
    page.evaluate("window.seen.click()")
    page.wait_for_selector('#message:has-text("labelled since")')
    assert port.history(41) == ["success", "discard"]


def test_undo_is_of_the_label_given_last_and_not_of_the_newest_episode(page: Page, port: ScriptedPort) -> None:
    page.locator(".episode").nth(3).click()  # 38
    (before,) = port.history(38)
    page.click('.corrections button:has-text("discard")')
    page.wait_for_selector('#message:text("Episode 38: discard")')
    page.keyboard.press("u")
    eventually(lambda: port.history(38) == [before, "discard", before])
    assert port.commands[-1] == ("undo", {"episode": 38})
    page.wait_for_selector(f'#message:text("episode 38: {before} again")')


def test_camera_frames_move_on(page: Page) -> None:
    seq = "() => [...document.querySelectorAll('.camera')].map((camera) => Number(camera.dataset.seq))"
    for name in ("front", "side", "wrist"):
        page.wait_for_selector(f'.camera[data-camera="{name}"][data-seq]')
    before = page.evaluate(seq)
    page.wait_for_timeout(1000)
    steps = [after - earlier for earlier, after in zip(before, page.evaluate(seq), strict=True)]
    assert len(steps) == 3
    assert min(steps) >= 10
    assert "ms" in page.inner_text(".camera.main .age")


def test_a_stalled_camera_says_stale(page: Page, port: ScriptedPort) -> None:
    page.wait_for_selector('.camera[data-camera="side"][data-age="live"]')
    port.frozen_camera = "side"
    page.wait_for_selector('.camera[data-camera="side"][data-age="stale"]')
    assert page.inner_text('.camera[data-camera="side"] .age').startswith("STALE")
    assert page.get_attribute('.camera[data-camera="front"]', "data-age") == "live"
    assert "watch the robot" not in page.inner_text("#prompt")
    port.frozen_camera = "all"
    page.wait_for_selector('#prompt:text-is("The pictures are old: watch the robot itself, or press Esc.")')
    port.auto_label = True  # nobody is beside it
    page.wait_for_selector('#prompt:text-is("The policy moves the twin.")')
    port.auto_label, port.frozen_camera = False, None
    page.wait_for_selector('#prompt:has-text("Keep your hands out")')


def test_the_heartbeat_renews_at_10_hz_and_ends_with_the_page(page: Page, port: ScriptedPort) -> None:
    before = len(port.renewals)
    page.wait_for_timeout(1000)
    assert 7 <= len(port.renewals) - before <= 12
    page.evaluate("() => { const end = performance.now() + 800; while (performance.now() < end); }")
    page.wait_for_timeout(250)
    gaps = [later - earlier for earlier, later in zip(port.renewals, port.renewals[1:], strict=False)]
    assert max(gaps) > 0.7, "a stuck page must not renew"
    page.close()
    time.sleep(0.2)
    silent = len(port.renewals)
    time.sleep(0.4)
    assert len(port.renewals) == silent


def test_an_actor_that_does_not_answer_is_no_contact(page: Page, port: ScriptedPort) -> None:
    port.lost = DeadlineMissed("snapshot: no answer from the actor")
    shows(page, "NO_CONTACT")
    assert page.inner_text("#why") == "snapshot: no answer from the actor"
    page.keyboard.press("e")
    page.wait_for_timeout(100)
    assert port.commands == []
    page.keyboard.press("Escape")
    eventually(lambda: len(port.stops) == 1)
    shows(page, "STOPPED")
    port.lost = None
    page.wait_for_selector("#causes .clear")


def test_the_page_returns_when_the_service_does(watched: Watched) -> None:
    port = ScriptedPort()
    port.become("PAUSED")
    page = watched.page
    with serving(port) as origin:
        page.goto(origin)
        shows(page, "PAUSED")
    shows(page, "NO_CONTACT")
    assert page.inner_text("#reason-run") == "no contact"
    number = int(origin.rsplit(":", 1)[1])
    with serving(port, number):
        shows(page, "PAUSED")


def test_a_command_that_the_connection_took_with_it_may_be_given_again_at_once(
    watched: Watched, origin: str, port: ScriptedPort
) -> None:
    page, lost = watched.page, []

    def lose_the_first(ours: WebSocketRoute) -> None:
        console = ours.connect_to_server()

        def forward(message: str | bytes) -> None:
            if '"arm"' not in str(message) or lost:
                return console.send(message)
            lost.append(message)
            console.close()
            return ours.close()

        ours.on_message(forward)

    page.route_web_socket("**/ws/control*", lose_the_first)
    port.become("DISARMED")
    page.goto(origin)
    shows(page, "DISARMED")
    page.click("#action-arm")
    page.wait_for_selector('#message:text("Not acknowledged: the connection broke; look at the state")')
    assert port.state == "DISARMED"
    page.click('#action-arm[aria-disabled="false"]', timeout=4000)  # sooner than an answer is waited for
    shows(page, "PAUSED")


def test_between_two_episodes_it_does_not_say_that_one_runs(page: Page, port: ScriptedPort) -> None:
    port.waits = True
    shows(page, "READY")
    assert page.inner_text("#why") == "waiting for the learner"
    assert page.inner_text("#prompt") == "The next episode begins by itself. Keep your hands out."
    assert page.inner_text("#step") == "–"
    port.waits = False
    shows(page, "RUNNING")
    assert page.inner_text("#step") == "37"


def test_a_robot_that_the_guard_holds_is_not_said_to_move(page: Page, port: ScriptedPort) -> None:
    assert "moves" in page.inner_text("#prompt")
    port.held = True
    page.wait_for_selector('.cause:has-text("clears by itself")')
    assert page.inner_text("#prompt") == "Held by the guard; goes on by itself. Keep your hands out."


@pytest.mark.parametrize("state", ["RUNNING", "HOMING"])
def test_nobody_is_told_to_keep_hands_out_of_a_twin(page: Page, port: ScriptedPort, state: str) -> None:
    port.restart(auto_label=True)
    port.become(state)
    page.wait_for_selector(f'body[data-state="{state}"] #labels:has-text("twin labels")')
    assert "hands" not in page.inner_text("#prompt")


def test_the_guards_word_stands_over_an_actor_that_lags(
    page: Page, port: ScriptedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, steps = port.snapshot(), itertools.count(38)
    monkeypatch.setattr(port, "snapshot", lambda: {**before, "step": next(steps)})
    page.keyboard.press("Escape")
    shows(page, "STOPPED")
    page.wait_for_timeout(3500)
    assert page.get_attribute("body", "data-state") == "STOPPED"
    assert page.inner_text("#why") == "operator stop: STOP on the operator's page (by page)"
    assert page.get_attribute("#causes .clear", "data-cause") == f"stop-{port.epoch}"
    assert page.inner_text("#safety-level") == "STOP"
    monkeypatch.undo()
    page.click('#causes .clear[aria-disabled="false"]')
    shows(page, "PAUSED")


def test_the_guards_word_does_not_stand_over_another_run(
    page: Page, port: ScriptedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.keyboard.press("Escape")
    shows(page, "STOPPED")
    port.restart()
    port.epoch = 0  # of its own guard
    monkeypatch.setattr(port, "snapshot", lambda honest=port.snapshot: {**honest(), "run": "another"})
    shows(page, "RUNNING")


def test_what_counts_as_success_is_read_where_the_keys_are(page: Page, port: ScriptedPort) -> None:
    assert page.inner_text("#briefing").splitlines() == port.briefing.splitlines()
    assert page.get_attribute("#title", "title") == port.briefing
    port.briefing = ""  # of a task that has none
    page.wait_for_selector("#briefing", state="hidden")


def test_the_first_visit_explains_the_keys_and_takes_none_of_them(page: Page, port: ScriptedPort) -> None:
    text = page.inner_text("#help")
    for key in ("1", "0", "r", "Esc", "p", "e", "d", "u", "?"):
        assert key in text
    port.become("AWAIT_LABEL")
    shows(page, "AWAIT_LABEL")
    page.keyboard.press("1")
    shows(page, "AWAIT_RESET")
    page.keyboard.press("Escape")
    shows(page, "STOPPED")
    assert page.locator("#help").is_visible()
    page.click("#help-close")
    page.reload()
    shows(page, "STOPPED")
    assert page.locator("#help").is_hidden()
    page.keyboard.press("Shift+?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Shift+?")
    assert page.locator("#help").is_hidden()


def focus_by_tab(page: Page, wanted: str) -> None:
    """Press Tab until `wanted` (a CSS selector) has the focus, as somebody without a mouse does."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("wanted => document.activeElement.matches(wanted)", wanted):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", "it is seen"
            return
    raise AssertionError(f"{wanted} cannot be reached")


def test_everything_is_done_without_a_mouse(page: Page, port: ScriptedPort) -> None:
    port.restart("DISARMED")
    shows(page, "DISARMED")
    for wanted, state in (("#help-close", ""), ("#action-arm", "PAUSED"), ("#action-run", "RUNNING")):
        focus_by_tab(page, wanted)
        page.keyboard.press("Enter")
        if state:
            shows(page, state)
    page.keyboard.press("e")
    shows(page, "AWAIT_LABEL")
    page.keyboard.press("1")
    shows(page, "AWAIT_RESET")
    focus_by_tab(page, ".episode")
    page.keyboard.press("Enter")
    focus_by_tab(page, ".corrections button:nth-child(2)")
    page.keyboard.press("Enter")
    eventually(lambda: port.history(42) == ["success", "failure"])
    focus_by_tab(page, '.camera[data-camera="side"] .camera-name')
    page.keyboard.press("Enter")
    page.wait_for_selector('.camera.main[data-camera="side"]')
    for wanted, shown in (("#show-learning", "#moves"), ("#by-minute", "#curve"), ("#show-run", "#episodes")):
        focus_by_tab(page, wanted)
        page.keyboard.press("Enter")
        assert page.locator(shown).is_visible()
    page.keyboard.press("Escape")
    shows(page, "STOPPED")
    focus_by_tab(page, "#causes .clear")
    page.keyboard.press("Enter")
    shows(page, "PAUSED")


NAMELESS = """() => [...document.querySelectorAll('canvas, img, svg, button, [role=dialog], section, nav, input')]
  .filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('alt') || e.getAttribute('aria-labelledby')
    || e.getAttribute('aria-hidden') === 'true' || e.closest('[aria-hidden=true]')
    || (e.matches('button') && e.textContent.trim())))
  .map((e) => e.outerHTML.slice(0, 120))"""


def test_whatever_is_not_words_has_words(page: Page, port: ScriptedPort) -> None:
    page.wait_for_selector('.camera[data-camera="wrist"][data-seq]')
    page.locator(".episode").first.click()
    port.place = place(0)
    port.become("STOPPED")
    shows(page, "STOPPED")
    page.wait_for_selector(".spot")
    assert page.evaluate(NAMELESS) == []
    page.evaluate("document.body.append(document.createElement('canvas'))")
    assert page.evaluate(NAMELESS) == ["<canvas></canvas>"]


def test_states_are_told_apart_without_colour(page: Page, port: ScriptedPort) -> None:
    looks = {}
    for state in (
        "DISARMED",
        "PAUSED",
        "RUNNING",
        "HOMING",
        "AWAIT_LABEL",
        "AWAIT_RESET",
        "STOPPED",
        "FAULT",
        "FINISHED",
    ):
        port.become(state)
        shows(page, state)
        icon = page.get_attribute("#state-icon", "href")
        assert icon is not None
        assert page.locator(icon).count() == 1
        looks[state] = (page.inner_text("#state"), icon)
    assert len(set(looks.values())) == len({word for word, _ in looks.values()}) == 9


TONES = """() => {
  window.tones = 0;
  const start = OscillatorNode.prototype.start;
  OscillatorNode.prototype.start = function (...at) { window.tones += 1; return start.apply(this, at); };
}"""


ORDER = """() => {
  window.order = [];
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) {
    if (text.includes('"stop"')) window.order.push('stop');
    return send.call(this, text);
  };
  window.AudioContext = class { constructor() { window.order.push('audio'); } };
}"""


def test_a_first_key_that_is_a_stop_is_sent_before_anything_is_made_for_sounds(page: Page) -> None:
    page.evaluate(ORDER)
    page.keyboard.press("Escape")
    eventually(lambda: len(page.evaluate("order")) == 2)
    assert page.evaluate("order") == ["stop", "audio"]


def test_what_is_awaited_is_heard_and_stands_in_the_title_until_it_is_switched_off(
    page: Page, port: ScriptedPort
) -> None:
    page.evaluate(TONES)
    page.click("#help-close")  # a browser lets no page sound that nobody has touched
    port.become("AWAIT_LABEL")
    shows(page, "AWAIT_LABEL")
    eventually(lambda: page.evaluate("tones") == 2)
    assert page.title() == "● Await label · Open the lid of a bin"
    port.become("HOMING")
    shows(page, "HOMING")
    assert page.title() == "Homing · Open the lid of a bin"
    page.click("#notice")
    assert page.inner_text("#notice") == "sound off"
    port.become("AWAIT_RESET")
    shows(page, "AWAIT_RESET")
    assert page.title() == "Await reset · Open the lid of a bin"
    page.reload()
    shows(page, "AWAIT_RESET")
    assert page.inner_text("#notice") == "sound off"
    page.click("#notice")
    page.evaluate(TONES)
    eventually(lambda: page.title().startswith("●"))
    port.restart("AWAIT_LABEL", auto_label=True)
    page.wait_for_selector('#labels:has-text("twin labels")')
    assert page.evaluate("tones") == 0
    assert page.title() == "Await label · Open the lid of a bin"


def test_interval_pace_and_labels_that_wait_for_the_learner_are_shown(page: Page, port: ScriptedPort) -> None:
    eventually(lambda: page.inner_text("#success-interval") == "76 to 99 %")
    assert page.inner_text("#pace-of-episodes") == "75 per hour"
    assert page.locator(".episode .ended").first.inner_text() == ""
    port.heard = 40
    page.wait_for_selector('.episode:has(.number:text-is("41")) .ended:text("not learnt from yet")')
    assert page.locator('.ended:text("not learnt from yet")').count() == 1
    port.heard = 41
    page.wait_for_selector('.ended:text("not learnt from yet")', state="detached")
    port.labels.append((38, "discard"))  # the learner has not heard of it, and has nothing to learn from it
    page.wait_for_selector('.episode:has(.number:text-is("38")) .ended:text-is("never learnt from")')
    assert page.locator('.ended:text("not learnt from yet")').count() == 0


INK = """id => {
  const canvas = document.getElementById(id);
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const seen = new Set();
  for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] === 255) seen.add(`${pixels.slice(i, i + 3)}`);
  return [...seen];
}"""
"""The opaque colours of a canvas."""
BASE, STEERED, FINAL = "180,188,198", "125,180,245", "99,210,166"


def figures(page: Page, which: str) -> dict[str, str]:
    """Name -> value of a list."""
    rows = page.locator(f"#{which} > div:has(dt)").all()
    return {row.locator("dt").inner_text(): row.locator("dd").inner_text() for row in rows}


def test_how_far_the_adapter_moves_the_policy_is_shown_in_figures_and_points(page: Page, port: ScriptedPort) -> None:
    page.click("#show-learning")
    assert page.locator("#episodes").is_hidden()
    assert page.inner_text("#scatter-of") == "episode 41, v39"
    assert figures(page, "moves") == {
        "noise RMS": "0.313", "residual RMS": "0.82 mm/step", "spread": "23.6 → 2.04 mm", "moved": "23.2 mm",
    }  # fmt: skip
    assert figures(page, "smoothness") == {
        "hand velocity": "0.143 m/s · frozen 0.152", "hand acceleration": "1.26 m/s² · frozen 1.87",
    }  # fmt: skip
    assert figures(page, "all-losses") == {"td loss": "0.0124", "q": "0.613", "entropy": "0.0213"}
    assert {BASE, STEERED, FINAL} <= set(page.evaluate(INK, "scatter"))
    words = page.get_attribute("#scatter", "aria-label") or ""
    assert "along y and z" in words
    assert "moved by 23 mm" in words
    page.reload()
    shows(page, "PAUSED")  # nobody has looked yet
    assert page.locator("#moves").is_visible(), "this browser remembers what was chosen"
    page.click("#show-run")
    assert page.locator("#episodes").is_visible()


def test_of_what_was_not_measured_there_is_no_figure(page: Page, port: ScriptedPort) -> None:
    page.click("#show-learning")
    page.wait_for_selector("#moves dt")
    port.effect, port.scatter, port.losses = {"newest": None, "frozen": None}, None, {}
    page.wait_for_selector("#moves .none")
    assert [figures(page, which) for which in ("moves", "smoothness", "all-losses")] == [{}, {}, {}]
    eventually(lambda: page.evaluate(INK, "scatter") == [])
    assert page.get_attribute("#scatter", "aria-label") == "No chunks were drawn yet"


def test_the_figures_of_other_methods_stand_where_they_belong(page: Page, port: ScriptedPort) -> None:
    page.click("#show-learning")
    assert port.scatter is not None
    port.scatter = port.scatter | {"final": None}
    port.effect["newest"] |= {"residual_mm": None, "latent_shift": 0.2, "latent_rms": 1.0}
    port.losses = {"td_loss": 0.1, "latent_mahalanobis": 4.2, "multiplier": 0.31, "shift_squared": 3.9}
    page.wait_for_selector('#moves dt:text("Mahalanobis")')
    found = figures(page, "moves")
    assert found.items() >= {
        "latent shift": "0.2 (20 %)", "Mahalanobis": "4.2", "multiplier": "0.31", "|Δ|²": "3.9",
    }.items()  # fmt: skip
    assert "residual RMS" not in found
    assert figures(page, "all-losses") == {"td loss": "0.1"}
    assert page.locator('[data-cloud="final"]').is_hidden()


def test_the_curve_is_by_episode_or_by_minute_with_the_frozen_policys_interval_and_where_learning_began(
    page: Page, port: ScriptedPort
) -> None:
    drawn = "document.getElementById('curve').toDataURL()"
    eventually(lambda: page.inner_text("#base-interval") == "32 to 51 %")
    before = page.evaluate(drawn)
    page.click("#by-minute")
    assert page.get_attribute("#by-minute", "aria-pressed") == "true"
    assert page.get_attribute("#by-episode", "aria-pressed") == "false"
    assert page.evaluate(drawn) != before
    page.click("#by-episode")
    assert page.evaluate(drawn) == before
    assert "episode 12 is the first with what was learnt" in str(page.get_attribute("#curve", "title"))
    assert str(page.get_attribute("#adapter-box", "title")).endswith(
        "below v10, in the warm-up, it is the frozen policy itself"
    )
    port.warmup = {"episodes": 0, "frozen": True}  # as of a run that goes on with another one's adapter
    eventually(lambda: "learnt" not in str(page.get_attribute("#curve", "title")))
    assert page.evaluate(drawn) != before
    assert page.get_attribute("#adapter-box", "title") == "its number counts labelled episodes"


def test_how_long_the_policy_takes_is_shown(page: Page) -> None:
    eventually(lambda: page.inner_text("#policy-ms") == "23.4 ms")
    assert page.inner_text("#policy-name") == "policy server"
    hint = page.get_attribute("#policy-ms", "title") or ""
    assert "newest 64 chunks" in hint
    assert "to the server and back" in hint


def test_where_the_object_goes_is_marked_in_the_pictures_and_said(page: Page, port: ScriptedPort) -> None:
    page.wait_for_selector('.camera[data-camera="front"][data-seq]')
    assert page.locator(".spot").count() == 0
    assert page.locator("#place-box").is_hidden()
    port.place = place(3)
    port.become("AWAIT_RESET")
    page.wait_for_selector(".spot.due")
    assert page.inner_text("#prompt") == "Object to place 4 (x 0.63, y −0.05 m), then press r."
    assert page.inner_text("#place-box").split() == ["place", "4", "of", "10"]
    marks = {name: page.locator(f'.camera[data-camera="{name}"] .spot') for name in ("front", "side", "wrist")}
    assert {name: found.count() for name, found in marks.items()} == {"front": 9, "side": 10, "wrist": 0}
    picture = page.locator('.camera[data-camera="side"] canvas').bounding_box()
    due = page.locator('.camera[data-camera="side"] .spot.due ellipse').bounding_box()
    assert picture is not None
    assert due is not None
    # The picture is as wide as its frame, 4 to 3, and in the middle of its height.
    across, shown = place(3)["marks"]["side"][3], picture["width"] * 0.75
    middle = picture["y"] + (picture["height"] - shown) / 2 + across[1] * shown
    assert due["x"] + due["width"] / 2 == pytest.approx(picture["x"] + across[0] * picture["width"], abs=2)
    assert due["y"] + due["height"] / 2 == pytest.approx(middle, abs=2)
    port.become("RUNNING")
    page.wait_for_selector(".spot.present")
    assert page.locator(".spot.due").count() == 0
    port.place = None
    page.wait_for_selector(".spot", state="detached")


CUT = """() => [...document.querySelectorAll('button, h1, h2, dt, dd, #prompt, .figures p, .reason, header span')]
  .filter((e) => !e.closest('#episodes'))
  .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
  .map((e) => e.outerHTML.slice(0, 120))"""
SIZES = """() => [document.getElementById('state'), ...document.querySelectorAll('button, dd b')]
  .map((e) => parseFloat(getComputedStyle(e).fontSize))"""


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1920, 1080), (1024, 768), (800, 1280)])
def test_nothing_is_cut_off(new_page: NewPage, origin: str, port: ScriptedPort, width: int, height: int) -> None:
    page = new_page(viewport={"width": width, "height": height})
    page.goto(origin)
    page.wait_for_selector(".camera.main canvas")
    for state in ("RUNNING", "AWAIT_LABEL", "AWAIT_RESET", "STOPPED", "FAULT", "PAUSED"):
        port.become(state)
        shows(page, state)
        if state == "PAUSED":
            page.click("#help-close")
            page.click("#show-learning")
        page.evaluate("document.getElementById('link').textContent = 'guard 1888 ms'")  # of a machine that is busy
        assert page.evaluate(CUT) == [], state
        assert not page.evaluate("document.documentElement.scrollHeight > innerHeight"), state
        sizes = page.evaluate(SIZES)
        assert sizes[0] == max(sizes), f"{state}: the state is the largest thing on the page"
        box = page.locator(".camera.main").bounding_box()
        assert box is not None
        room = box["width"] * box["height"] / (width * height)
        assert room > 0.24, f"{state}: cameras take the room that is left"
    page.click("#show-run")
    port.alarms = ["a camera", "a disk"]
    port.labels += [(episode, "success") for episode in range(1, 42)]
    page.wait_for_selector('#success:text-is("100 %")')
    assert page.evaluate(CUT) == []
    lists = page.evaluate(
        "['view-run', 'episodes'].map((id) => document.getElementById(id).getBoundingClientRect().bottom)"
    )
    assert max(lists) <= page.evaluate("document.querySelector('main').getBoundingClientRect().bottom") + 1


def test_a_second_page_watches_until_it_takes_over(page: Page, port: ScriptedPort, new_page: NewPage) -> None:
    assert page.locator("#lease").is_hidden()
    another = new_page()
    another.goto(page.url)
    shows(another, "RUNNING")
    another.wait_for_selector('#lease:has-text("Another page is in charge")')
    assert another.inner_text("#reason-pause") == "this page only watches"
    another.keyboard.press("e")
    another.wait_for_selector('#message:has-text("only watches")')
    assert port.commands == []
    another.click("#take-over")
    shows(another, "PAUSED")
    another.wait_for_selector("#lease", state="hidden")
    page.wait_for_selector('#message:has-text("Another page took over")')
    assert page.inner_text("#reason-run") == "this page only watches"
    page.keyboard.press("Escape")
    shows(another, "STOPPED")
    another.close()
    page.wait_for_selector('#lease:has-text("Nobody is in charge")')
    page.click("#take-over")
    page.click('#causes .clear[aria-disabled="false"]')
    shows(page, "PAUSED")


def test_a_page_that_watches_says_whether_the_robot_holds_when_nobody_is_in_charge(
    page: Page, port: ScriptedPort, new_page: NewPage
) -> None:
    port.restart("PAUSED", auto_label=True)
    another = new_page()
    another.goto(page.url)
    another.click("#take-over")
    another.wait_for_selector("#lease", state="hidden")
    another.close()
    page.wait_for_selector('#lease:has-text("Nobody is in charge: the robot holds.")')
    port.become("RUNNING")  # by a script, which nobody watches
    page.wait_for_selector('#lease:has-text("Nobody is in charge: the twin goes on by itself.")')


def test_many_viewers_share_one_poll(
    origin: str, port: ScriptedPort, new_page: NewPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    honest = port.snapshot
    counting = threading.Lock()

    def counted() -> dict[str, object]:
        nonlocal asked
        with counting:
            asked += 1
        return honest()

    monkeypatch.setattr(port, "snapshot", counted)
    pages = [new_page() for _ in range(3)]
    for viewer in pages:
        viewer.goto(origin)
        shows(viewer, "PAUSED")
    asked, began = 0, time.monotonic()
    pages[0].wait_for_timeout(1000)
    polls, seconds = asked, time.monotonic() - began  # a busy machine waits longer than it was asked to
    assert polls <= 10 * seconds + 2
