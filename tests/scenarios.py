"""What a person types from beginning to end, and the pool in which it runs beside the tests.

A scenario is some commands, one after the other, in a folder of its own; `tests/test_end_to_end.py` looks at what came
of each that measures no time, beside the tests of that kind, and `tests/test_kill_loop.py` at the one that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.commands import Done, module, robot_rl
from tests.small_task import write_small_task

KILLS = 20
LIMIT_S = 600.0
HEADLESS = ("--no-console", "--trials", "0")


def kill_loop(folder: Path) -> Done:
    # Behind the tests that measure time, and before all that gets what those leave: a store that has no CPU for a
    # second loses one.
    return module("benchmarks.kill_loop", "--kills", str(KILLS), timeout_s=LIMIT_S, nice=5)


def trained(folder: Path) -> dict[str, Any]:
    """A run, and all that a person does with one afterwards."""
    task, run = write_small_task(folder), folder / "run"
    done: dict[str, Any] = {"run": robot_rl("run", str(task), "--episodes", "4", "--out", str(run), *HEADLESS)}
    kept = {path: path.read_bytes() for path in run.rglob("*") if path.suffix in (".json", ".mcap")}
    done["critics"] = robot_rl("critics", str(run))
    done["changed"] = [path for path, content in kept.items() if path.read_bytes() != content]
    done["offline"] = robot_rl("train-offline", str(run), "--method", "dsrl-na", "--out", str(folder / "offline"))
    done["rerun"] = robot_rl("rerun", str(run / "episodes" / "000003"))
    done["export"] = robot_rl("export", "lerobot", str(run), str(folder / "dataset"))
    done["eval"] = robot_rl("eval", str(run), "--trials", "5", "--seed", "3")
    done["again"] = robot_rl("run", str(task), "--out", str(run), *HEADLESS)
    done["other"] = robot_rl("run", "--resume", str(run), "--method", "dsrl-na", *HEADLESS)
    done["absent"] = robot_rl("eval", str(run), "--version", "99")
    done["more"] = robot_rl("run", "--resume", str(run), "--episodes", "5", *HEADLESS)
    return done


def cloned(folder: Path) -> dict[str, Done]:
    small = {"checkpoint": str(folder / "clone.safetensors"), "demonstrations": 3, "hidden": 16, "layers": 1}
    steps = {"embedding": 8, "latent": 2, "train_steps": 20, "bottleneck_steps": 10, "batch": 32}
    task, demos = str(write_small_task(folder, policy=small | steps)), str(folder / "demos.npz")
    return {
        "demos": robot_rl("demos", task, "--out", demos),
        "pretrain": robot_rl("pretrain", task, "--demonstrations", demos),
    }


def authority(folder: Path) -> Done:
    out = str(folder / "authority")
    return robot_rl("authority", str(write_small_task(folder)), "--quick", "--out", out, timeout_s=LIMIT_S)


def short_benchmark(folder: Path) -> Done:
    small = ("--short", "--task", "lid_opening", "--method", "usr", "--out", str(folder))
    return module("benchmarks.lid_opening", *small, timeout_s=LIMIT_S)


def learner(folder: Path) -> Done:
    return module("benchmarks.learner", "--quick", timeout_s=LIMIT_S)


def ticks(folder: Path) -> Done:
    return module("benchmarks.ticks", "--minutes", "0.03", timeout_s=LIMIT_S)


def recording(folder: Path) -> Done:
    return module("benchmarks.recording", "--minutes", "0.05", timeout_s=LIMIT_S)


def store(folder: Path) -> Done:
    return module("benchmarks.store", "--quick", "--store", str(folder / "run"), timeout_s=LIMIT_S)


TIMELESS: tuple[Callable[[Path], Any], ...] = (
    *(short_benchmark, trained, authority, learner, ticks, recording, cloned, store),
)
"""The longest first."""


class Scenarios:
    """What comes of them, by name; each has a folder of its own."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self._folder, self._pool = folder, pool
        self._begun: dict[str, Future[Any]] = {}

    def begin(self, scenario: Callable[[Path], Any]) -> None:
        """Have it run."""
        self.folder(scenario.__name__).mkdir()
        self._begun[scenario.__name__] = self._pool.submit(scenario, self.folder(scenario.__name__))

    def folder(self, name: str) -> Path:
        """Where `name` works."""
        return self._folder / name

    def __getitem__(self, name: str) -> Any:
        """What `name` returns, or raises, as soon as it does."""
        return self._begun[name].result()

    def cancel(self) -> None:
        """Those that have not begun never do."""
        for future in self._begun.values():
            future.cancel()


@contextmanager
def beginning(folder: Path, scenarios: Sequence[Callable[[Path], Any]]) -> Iterator[Scenarios]:
    """All of them, two at a time; those that have not begun at the end of the block never do."""
    with ThreadPoolExecutor(2) as pool:
        begun = Scenarios(folder, pool)
        try:
            for scenario in scenarios:
                begun.begin(scenario)
            yield begun
        finally:
            begun.cancel()
