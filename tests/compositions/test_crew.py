"""Workers as processes: turns go out, what was played comes in, and whoever dies is seen and started again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from robot_rl.compositions import crew as crew_module
from robot_rl.compositions.crew import Crew, Deal, Loss, Played
from robot_rl.errors import ProcessEnded, WireError
from robot_rl.processes import Children
from robot_rl.store.run import RunDirectory
from robot_rl.wire.rpc import RpcClient

TURN: dict[str, Any] = {"kind": "train", "episode": 5, "due": 2}
SAID = {
    "kind": "train", "episode": 5, "ended_by": "success", "complete": True, "why": "opened", "version": 4, "alarms": [],
}  # fmt: skip
PATIENCE_S = 20.0


@contextmanager
def crew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, size: int = 1, deal: Deal = lambda: TURN
) -> Iterator[Crew]:
    """Processes that do `body`."""
    (tmp_path / "stand_in.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    children = Children(tmp_path / "logs")
    endpoint = f"ipc://{tmp_path}/turns"
    try:
        with closing(Crew(RunDirectory(tmp_path), children, endpoint, size, deal, "stand_in")) as made:
            yield made
    finally:
        children.stop()


def wait(look: Callable[[], Any]) -> Any:
    """What `look` gives, once it gives anything."""
    end = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def ask(subject: Crew, call: str, said: dict[str, Any]) -> Any:
    """The answer to a call in the place of a worker; what is raised there is returned."""
    answer: list[Any] = []

    def work() -> None:
        with closing(RpcClient(subject._server.endpoint)) as client:
            try:
                answer.append(client.call(call, said, timeout_s=PATIENCE_S)[0])
            except WireError as error:
                answer.append(error)

    thread = Thread(target=work)
    thread.start()
    news: list[Played] = []
    while thread.is_alive():
        news += subject.poll(5)
    thread.join()
    return answer[0] if call == "turn" or not news else news[0]


SLEEPS = "import time; time.sleep(60)"
DIES = "import sys; print('no twin here'); sys.exit(3)"


def test_a_turn_goes_out_and_what_became_of_it_comes_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with crew(tmp_path, monkeypatch, SLEEPS) as subject:
        assert ask(subject, "turn", {"worker": "worker-1"}) == TURN
        played = ask(subject, "played", {"worker": "worker-1", **SAID})
        assert (played.episode, played.ended_by, played.version) == (5, "success", 4)
        assert played.stage.parent == RunDirectory(tmp_path).staged
        assert subject.losses() == []


def test_one_that_asks_again_gets_the_turn_that_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer was lost, or a process before it had asked: no other turn is dealt, and none is forgotten."""
    turns = [{"kind": "wait"}, TURN, {"kind": "base", "episode": 1}]
    with crew(tmp_path, monkeypatch, SLEEPS, deal=lambda: turns.pop(0)) as subject:
        answers = [ask(subject, "turn", {"worker": "worker-1"}) for _ in range(3)]
        assert answers == [{"kind": "wait"}, TURN, TURN]


@pytest.mark.parametrize(
    ("call", "said", "words"),
    [
        ("turn", {"worker": "worker-9"}, "expected one of worker-1, got worker 'worker-9'"),
        ("turn", {}, "expected one of worker-1"),
        ("played", {"worker": "worker-1", **SAID}, "expected what became of None, got train 5"),
    ],
)
def test_nobody_else_is_listened_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, said: dict[str, Any], words: str
) -> None:
    with crew(tmp_path, monkeypatch, SLEEPS) as subject:
        answer = ask(subject, call, said)
        assert isinstance(answer, WireError)
        assert words in str(answer)


def test_one_that_dies_is_named_with_what_it_played_and_runs_again_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crew(tmp_path, monkeypatch, SLEEPS, size=2) as subject:
        ask(subject, "turn", {"worker": "worker-2"})
        before = subject._workers["worker-2"].stage
        os.kill(subject.pids["worker-2"], 9)
        (loss,) = wait(subject.losses)
        assert loss == Loss("worker-2", ("train", 5), before, "worker-2 ended with status -9 (without a word)")
        assert subject._workers["worker-2"].stage != before, "what is left of it can write where it was"
        assert subject.losses() == []


def test_three_deaths_in_a_row_are_the_end_with_their_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crew(tmp_path, monkeypatch, DIES) as subject:
        for _ in range(2):
            (loss,) = wait(subject.losses)
            assert loss.why == "worker-1 ended with status 3 (no twin here)"
        with pytest.raises(ProcessEnded, match=r"no twin here\nworker-1 has died 3 times, and played nothing"):
            wait(subject.losses)


def test_a_death_after_something_was_played_is_the_first_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with crew(tmp_path, monkeypatch, DIES) as subject:
        for _ in range(2):
            for _ in range(2):
                wait(subject.losses)
            ask(subject, "turn", {"worker": "worker-1"})
            ask(subject, "played", {"worker": "worker-1", **SAID})
        assert wait(subject.losses)


def test_one_that_is_stuck_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with crew(tmp_path, monkeypatch, SLEEPS) as subject:
        assert subject.losses() == []
        monkeypatch.setattr(crew_module, "PATIENCE_S", -1.0)
        assert subject.losses() == [], "it plays nothing"
        ask(subject, "turn", {"worker": "worker-1"})
        (loss,) = wait(subject.losses)
        assert loss.turn == ("train", 5)
