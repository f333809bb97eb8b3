"""The workers of `robot-rl adapt` as seen from the run's process: turns are handed out, and a death is noticed.

A worker that dies is started again, and whoever asks hears what it was playing. `DEATHS` of one worker in a row, with
nothing that it has played in between, end the run: whatever kills it would go on to.
"""

from __future__ import annotations

import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_rl.compositions.rollout_worker import BASE, TRAIN
from robot_rl.errors import ProcessEnded, WireError
from robot_rl.processes import Children
from robot_rl.store.run import RunDirectory
from robot_rl.types import Array
from robot_rl.wire.rpc import Reply, RpcServer
from robot_rl.wire.values import Header

log = logging.getLogger(__name__)

WORKER = "robot_rl.compositions.rollout_worker"
DEATHS = 3
PATIENCE_S = 300.0
"""After which a worker that plays is taken to be stuck, and is killed: an episode takes about a second."""

Deal = Callable[[], Mapping[str, Any]]
"""The next turn of whoever asks, of a kind that `rollout_worker` names."""


@dataclass(frozen=True)
class Played:
    """What a worker says of a turn that is over."""

    kind: str
    episode: int
    ended_by: str
    complete: bool
    why: str
    version: int
    alarms: tuple[str, ...]
    stage: Path
    """Where an episode of the run is, closed."""


@dataclass(frozen=True)
class Loss:
    """A worker that died, and what it was playing: kind and episode, or None."""

    worker: str
    turn: tuple[str, int] | None
    stage: Path
    why: str
    """In one line."""


@dataclass
class _Worker:
    stage: Path
    turn: dict[str, Any] | None = None
    """What it plays."""
    since_s: float = 0.0
    deaths: int = 0
    """In a row."""


class Crew:
    """`size` workers of `run`; `poll` serves them, `losses` tends them. They end when `children` are stopped."""

    def __init__(
        self, run: RunDirectory, children: Children, endpoint: str, size: int, deal: Deal, module: str = WORKER
    ) -> None:
        """Starts them, as `children` that nobody else tends. Raises `ConfigError` for an endpoint that is taken."""
        self._run, self._children, self._deal, self._module = run, children, deal, module
        self._server = RpcServer(endpoint, {"turn": self._on_turn, "played": self._on_played})
        self._workers: dict[str, _Worker] = {}
        self._news: list[Played] = []
        for number in range(1, size + 1):
            self._start(f"worker-{number}", 0)

    def poll(self, timeout_ms: float) -> list[Played]:
        """Serve them for up to so long, and what they have played."""
        self._server.poll(timeout_ms)
        news, self._news = self._news, []
        return news

    def losses(self) -> list[Loss]:
        """Who has died since the last look; they run again. Raises `ProcessEnded` when one dies again and again."""
        now, found = time.monotonic(), []
        for name, worker in self._workers.items():
            if worker.turn is not None and now - worker.since_s > PATIENCE_S and self._children.alive(name):
                log.error("%s has played for more than %g s and is killed", name, PATIENCE_S)
                os.kill(self._children.pids[name], signal.SIGKILL)
                worker.since_s = now
            if self._children.alive(name):
                continue
            words = self._children.last_words(name) or ""
            deaths = worker.deaths + 1
            if deaths == DEATHS:
                raise ProcessEnded(
                    f"{words}\n{name} has died {DEATHS} times, and played nothing in between. What was closed is kept; "
                    f"go on with `robot-rl adapt --resume {self._run.path}`"
                )
            why = f"{name} {words.splitlines()[0].partition(' ')[2].partition(';')[0]}"
            why += f" ({self._children.log_tail(name, 1) or 'without a word'})"
            found.append(Loss(name, _named(worker.turn), worker.stage, why))
            self._start(name, deaths)
        return found

    @property
    def pids(self) -> Mapping[str, int]:
        """Name -> process id."""
        return self._children.pids

    def close(self) -> None:
        self._server.close()

    def _start(self, name: str, deaths: int) -> None:
        """In a folder that no process before it can still write to."""
        stage = self._run.staged / f"{name}-{uuid.uuid4().hex[:8]}"
        self._workers[name] = _Worker(stage, deaths=deaths)
        arguments = [str(self._run.path), "--name", name, "--stage", str(stage), "--endpoint", self._server.endpoint]
        self._children.start(name, self._module, arguments)

    def _of(self, header: Header) -> _Worker:
        worker = self._workers.get(str(header.get("worker")))
        if worker is None:
            raise WireError(
                f"expected one of {', '.join(self._workers)}, got worker {str(header.get('worker'))[:64]!r}"
            )
        return worker

    def _on_turn(self, header: Header, arrays: list[Array]) -> Reply:
        """One that asks again has not got the answer, or the one before it has: a turn is dealt once."""
        worker = self._of(header)
        turn = worker.turn or dict(self._deal())
        if turn["kind"] in (BASE, TRAIN):
            worker.turn, worker.since_s = turn, time.monotonic()
        return turn, ()

    def _on_played(self, header: Header, arrays: list[Array]) -> Reply:
        worker = self._of(header)
        said = {name: header[name] for name in ("kind", "episode", "ended_by", "complete", "why", "version")}
        if _named(worker.turn) != (said["kind"], said["episode"]):
            raise WireError(f"expected what became of {_named(worker.turn)}, got {said['kind']} {said['episode']}")
        worker.turn, worker.deaths = None, 0
        self._news.append(Played(**said, alarms=tuple(header["alarms"]), stage=worker.stage))
        return {}, ()


def _named(turn: Mapping[str, Any] | None) -> tuple[str, int] | None:
    return None if turn is None else (str(turn["kind"]), int(turn["episode"]))
