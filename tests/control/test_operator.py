from __future__ import annotations

import pytest

from robot_rl.control.operator import AutoOperator
from robot_rl.control.progress import State
from robot_rl.errors import SpecMismatch
from tests.control.cell import HOME, Cell, MemoryBook, PointTwin, Row


class Bench:
    """A cell whose twin is worked by the automatic operator."""

    def __init__(self, book: MemoryBook | None = None, first: int = 1) -> None:
        self.cell = Cell(book, first=first)
        self.session = self.cell.session
        self.twin = PointTwin(self.cell.robot)
        self.operator = AutoOperator(self.session, self.cell.guard, self.cell.book, self.twin, self.cell.clock)

    def poll(self, times: int = 1) -> State:
        for _ in range(times):
            self.operator.poll()
        return self.session.state

    def end_episode(self) -> None:
        self.session.end_episode("timeout", "")
        self.close()

    def close(self) -> None:
        self.cell.book.close_episode(self.session.episode)
        self.session.close_episode(True)
        self.session.homed()

    def labels(self) -> list[tuple[int, str, str]]:
        return [(e.label.episode, e.label.value.value, e.label.author) for e in self.cell.book.log]


def test_it_arms_and_runs_by_the_commands_of_a_person() -> None:
    bench = Bench()
    assert [bench.poll(), bench.poll(), bench.poll()] == [State.PAUSED, State.RUNNING, State.RUNNING]
    assert [(kind, author) for kind, author, _ in bench.cell.book.audit] == [
        ("command.arm", "auto"),
        ("command.run", "auto"),
    ]


def test_it_presses_1_at_success_and_0_when_nothing_can_be_saved() -> None:
    bench = Bench()
    bench.twin.doomed = {2}
    for episode, value in ((1, "success"), (2, "failure")):
        bench.poll(2)
        assert bench.session.begin_episode()
        bench.twin.reset(episode)
        assert bench.poll() is State.RUNNING
        bench.cell.robot.xyz[0] = HOME[0] + 0.2
        assert bench.poll() is State.HOMING
        assert bench.session.now.ended_by == value
        bench.close()
    assert bench.labels() == [(1, "success", "auto"), (2, "failure", "auto")]


def test_it_judges_by_what_was_seen_before_the_arm_retreated() -> None:
    bench = Bench()
    bench.poll(2)
    bench.session.begin_episode()
    bench.poll()
    bench.end_episode()
    bench.cell.robot.xyz[0] = HOME[0] + 0.2  # the retreating arm touched something
    assert bench.poll() is State.AWAIT_RESET
    assert bench.labels() == [(1, "failure", "auto")]
    assert bench.poll() is State.RUNNING


@pytest.mark.parametrize("interruption", ["pause", "stop"])
def test_after_a_person_interrupted_it_waits_for_a_person(interruption: str) -> None:
    bench = Bench()
    bench.poll(2)
    bench.session.begin_episode()
    bench.cell.press(interruption)
    if interruption == "stop":
        assert bench.poll(5) is State.STOPPED, "a stop is not cleared by a machine"
        bench.cell.press("clear", cause_id=bench.cell.causes()[0])
    assert bench.poll(5) is State.PAUSED
    bench.cell.press("run")
    assert bench.poll(5) in (State.RUNNING, State.HOMING)


def test_it_renews_the_operators_deadline() -> None:
    bench = Bench()
    bench.cell.renew = False
    bench.poll(2)
    bench.session.begin_episode()
    bench.cell.motion.begin()
    for _ in range(30):
        bench.poll()
        bench.cell.motion.hold()
    assert "operator_silent" not in {cause.kind for cause in bench.cell.guard.history}


def test_it_labels_what_a_killed_process_closed_but_did_not_label() -> None:
    book = MemoryBook()
    for episode, by, complete in ((1, "success", True), (2, "timeout", True), (3, "aborted", False)):
        book.rows[episode] = Row(episode, complete, by)
    bench = Bench(book, first=4)
    bench.poll()
    assert bench.labels() == [(1, "success", "auto"), (2, "failure", "auto")]


def test_it_accepts_nothing_but_a_twin() -> None:
    bench = Bench()
    bench.twin.is_twin = False
    with pytest.raises(SpecMismatch, match="twin"):
        AutoOperator(bench.session, bench.cell.guard, bench.cell.book, bench.twin, bench.cell.clock)
