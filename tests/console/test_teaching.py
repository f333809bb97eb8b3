"""What made a person stumble who labelled twenty episodes without having read anything: the page says it now."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
from playwright.sync_api import Page

from robot_rl.errors import DeadlineMissed
from tests.console.scripted import PHASES, ScriptedPort, place
from tests.console.serving import eventually
from tests.console.test_page import labels, page, shows, watched

__all__ = ["page", "watched"]


def says(page: Page, selector: str, words: str) -> None:
    """In words, at once or a moment later."""
    eventually(lambda: page.inner_text(selector) == words)


def test_what_is_labelled_is_counted_beside_the_number_of_the_episode(page: Page, port: ScriptedPort) -> None:
    """Discarded and cut-off episodes are numbered and do not count: episode 27 may be the 25th that is labelled."""
    says(page, "#labelled", "41")
    assert (page.inner_text("#episode"), page.inner_text("#episodes-planned")) == ("42", "of 100")
    page.locator(".episode").first.click()
    page.click('.corrections button:has-text("discard")')
    says(page, "#labelled", "40")
    assert page.inner_text("#episode") == "42"


def test_a_label_a_moment_late_is_taken_while_the_arm_goes_back(page: Page, port: ScriptedPort) -> None:
    port.become("HOMING")
    shows(page, "HOMING")
    says(page, "#prompt", "Hands out: the arm retreats. Did it succeed? 1 or 0.")
    page.keyboard.press("1")
    eventually(lambda: labels(port) == [(42, "success")])


def test_undo_says_beforehand_what_it_takes_back_and_then_what_it_did(page: Page, port: ScriptedPort) -> None:
    page.keyboard.press("d")
    says(page, "#reason-undo", "discard of 42")
    row = page.locator(".episode").first.locator(".word")
    assert row.inner_text() == "discarded"
    page.keyboard.press("u")
    says(page, "#message", "episode 42: label taken back")
    says(page, "#reason-undo", "label 42 as before")
    eventually(lambda: row.inner_text() == "awaited")
    page.keyboard.press("u")
    says(page, "#message", "episode 42: discard again")
    assert port.state == "AWAIT_RESET"


def test_a_first_label_is_not_taken_back_while_nobody_would_be_asked_for_another(
    page: Page, port: ScriptedPort
) -> None:
    """The next key would label the episode that is under way."""
    says(page, "#reason-undo", "to correct 41, click it")
    page.keyboard.press("u")
    says(page, "#message", "Undo: to correct 41, click it")
    assert len(port.history(41)) == 1


def test_undo_waits_for_an_episode_that_has_just_ended(page: Page, port: ScriptedPort) -> None:
    """Else it would take back the label of the episode before."""
    port.become("HOMING")
    says(page, "#reason-undo", "a moment: it is stored")
    page.keyboard.press("u")
    says(page, "#message", "Undo: a moment: it is stored")
    port.labels.append((42, "failure"))
    port.closed = True
    says(page, "#reason-undo", "failure of 42")
    page.keyboard.press("u")
    eventually(lambda: port.history(42) == ["failure", "discard"])
    assert len(port.history(41)) == 1


def test_nothing_is_said_of_labels_while_a_label_is_under_way(
    page: Page, port: ScriptedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the page's word would be of another episode: an undo of the one that was labelled before."""
    acknowledge, honest = threading.Event(), port.command

    def slow(name: str, args: dict[str, Any], author: str) -> dict[str, Any]:
        assert acknowledge.wait(20)
        return honest(name, args, author)

    port.labels.append((41, "discard"))
    says(page, "#reason-undo", "discard of 41")
    monkeypatch.setattr(port, "command", slow)
    page.keyboard.press("1")
    for key, name in (("u", "Undo"), ("r", "Reset done"), ("0", "Failure")):
        page.keyboard.press(key)
        says(page, "#message", f"{name}: sending …")
    page.locator(".episode").nth(2).click()
    page.click('.corrections button:has-text("discard")')
    says(page, "#message", "Not sent: label is not acknowledged yet; try again")
    acknowledge.set()
    says(page, "#reason-undo", "success of 42")
    acknowledge.clear()
    page.keyboard.press("u")
    page.keyboard.press("0")
    says(page, "#message", "Failure: sending …")
    acknowledge.set()
    says(page, "#message", "episode 42: label taken back")
    assert [name for name, _ in port.commands] == ["label", "undo"]


@pytest.mark.parametrize(
    ("phase", "leads_to"),
    [("RUNNING", "the episode goes on"), ("HOMING", "the arm retreats"), ("AWAIT_LABEL", "it asks for the label")],
)
def test_a_pause_says_what_run_leads_to(page: Page, port: ScriptedPort, phase: str, leads_to: str) -> None:
    port.become(phase)
    port.become("PAUSED")
    shows(page, "PAUSED")
    assert leads_to in page.inner_text("#prompt")
    assert page.inner_text("#reason-run") == leads_to


def test_no_sentence_takes_a_second_line_beside_all_the_counters(page: Page, port: ScriptedPort) -> None:
    """The pictures below would change their size with the state."""
    port.place = place(3)
    page.wait_for_selector("#place-box:not([hidden])")
    cut = []
    for twin, state, paused in itertools.product((False, True), PHASES, (False, True)):
        port.twin = twin
        port.become(state)
        if paused:
            port.become("PAUSED")
        shows(page, "PAUSED" if paused else state)
        if page.locator("#prompt").evaluate("p => p.clientHeight > 1.5 * parseFloat(getComputedStyle(p).lineHeight)"):
            cut.append(page.inner_text("#prompt"))
    assert cut == []


def test_what_closes_the_first_visits_panel_is_in_sight(page: Page) -> None:
    panel = page.locator("#help").bounding_box()
    button = page.locator("#help-close").bounding_box()
    assert panel is not None
    assert button is not None
    assert button["y"] + button["height"] <= panel["y"] + panel["height"]
    assert page.evaluate(
        "(({ scrollHeight, clientHeight }) => scrollHeight <= clientHeight)(document.getElementById('help'))"
    )


def test_nobody_is_alarmed_that_a_paused_robot_gets_no_commands(page: Page, port: ScriptedPort) -> None:
    port.held, port.holds_for = True, "command_late"
    page.wait_for_selector('.cause:has-text("command late")')
    port.become("PAUSED")
    shows(page, "PAUSED")
    page.wait_for_selector("#causes .cause", state="detached")
    port.holds_for = "operator_silent"
    page.wait_for_selector('.cause:has-text("operator silent")')


def test_nobody_is_asked_to_put_a_twins_objects_back(page: Page, port: ScriptedPort) -> None:
    port.become("AWAIT_RESET")
    says(page, "#prompt", "Put the object back, then press r.")
    port.twin = True
    eventually(lambda: "the twin resets its scene" in page.inner_text("#prompt"))


def test_an_episode_that_was_cut_off_says_so_and_asks_for_nothing(page: Page, port: ScriptedPort) -> None:
    port.cut_off = {40: "fault", 41: "aborted"}
    rows = page.locator(".episode")
    eventually(lambda: rows.nth(0).locator(".ended").inner_text() == "stopped: not learnt from")
    assert rows.nth(1).locator(".ended").inner_text() == "fault: not learnt from"
    rows.first.click()
    assert page.locator(".corrections button").all_inner_texts() == ["▶ view"]
    assert "needs no label" in page.inner_text(".corrections")


def test_who_puts_the_object_back_after_a_fault_hears_first_that_it_does_not_count(
    page: Page, port: ScriptedPort
) -> None:
    port.closed, port.cut_off = True, {42: "fault"}
    port.become("AWAIT_RESET")
    says(page, "#prompt", "Episode 42 does not count. Put the object back, then press r.")
    port.twin = True
    says(page, "#prompt", "Episode 42 does not count. Press r: the twin resets its scene.")
    port.cut_off = {}
    says(page, "#prompt", "Press r: the twin resets its scene.")


def test_the_newest_episode_is_in_sight_unless_another_one_is_looked_at(page: Page, port: ScriptedPort) -> None:
    def top() -> int:
        return int(page.evaluate("document.getElementById('episodes').scrollTop"))

    def next_episode() -> None:
        port.episode += 1
        page.wait_for_selector(f'.episode .number:text-is("{port.episode - 1}")')

    page.evaluate("document.getElementById('episodes').scrollTop = 300")
    next_episode()
    assert top() == 0
    page.locator(".episode").nth(12).click()
    before = top()
    next_episode()
    assert before > 0
    assert top() > 0


def test_the_end_of_a_run_is_no_alarm(page: Page, port: ScriptedPort) -> None:
    port.become("FINISHED")
    says(page, "#prompt", "All done. The learner finishes, then the run ends.")
    port.lost = DeadlineMissed("snapshot: no answer from the actor")
    says(page, "#prompt", "All done. The run has ended, or cannot be reached.")
    assert page.get_attribute("body", "data-state") == "FINISHED"
    assert page.get_attribute("body", "data-tone") == "idle"
    says(page, "#link", "run over")
    assert page.inner_text("#reason-undo") == "no contact"


def test_a_learner_that_has_learnt_nothing_yet_is_not_said_to_learn(page: Page, port: ScriptedPort) -> None:
    says(page, "#learner-state", "learning")
    port.updates = 0
    says(page, "#learner-state", "no update yet")
