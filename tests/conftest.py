"""One thread for torch, as in the learner's own process: with another number its sums differ in their last bits.

And where the tests run. Most of those that measure time wait for most of it, on a machine that must have a core free
whenever they want one; most of the others want a core all the time. So `make test` gives the first kind a process of
its own (pytest-xdist), and the others, with the long commands of `tests/scenarios.py` beside them, get what that one
leaves, in two more processes: those are in the scheduler's class for idle time, and are two because what is left is
more than one core. With two processes each kind has one; without xdist they run one after the other, the others first.

Who else is on the machine nobody knows. There, one that measures time and fails is tried once more, by the same
bounds; pytest's closing line counts those ("1 rerun") and the summary names them. What fails twice, fails.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
import pytest_timeout
from hypothesis import settings

from tests.scenarios import TIMELESS as TIMELESS_SCENARIOS
from tests.scenarios import Scenarios, beginning, kill_loop

os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background; what is started here is to hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
BESIDE = "PYTEST_XDIST_WORKER" in os.environ
"""This is one of several processes."""
if BESIDE:
    settings.register_profile("beside", deadline=None)  # of an example; one that waits for its turn is no failure
    settings.load_profile("beside")

TIMELESS = (
    *("adapters", "authority", "export", "learn", "policy", "sim_twin", "store", "testing"),
    *(f"safety/test_{name}.py" for name in ("filter", "latch", "limits", "supervisor")),
    *(f"wire/test_{name}.py" for name in ("codec", "pictures", "schemas")),
    *(f"control/test_{name}.py" for name in (
        *("chunk_buffer", "effect", "episode", "overlap", "progress", "scatter", "session", "session_properties"),
    )),
    *(f"serve/test_{name}.py" for name in ("callables", "lerobot", "openpi")),
    *(f"faults/test_{name}.py" for name in ("checkpoint_disk", "disk_full")),
    *(f"compositions/test_{name}.py" for name in (
        *("adapt", "adapter_source", "crew", "doctor", "evaluate", "export_lerobot", "housekeeping", "lockstep"),
        *("plan", "report", "rerun", "results", "rollout", "rota", "running", "train_offline", "transfer"),
        "visual_run",
    )),
    *(f"test_{name}.py" for name in ("benchmarks", "cli", "config", "errors", "imports", "twins", "types")),
    *(f"test_benchmark_{name}.py" for name in ("gym", "soak", "studies", "transfer", "tuning")),
)  # fmt: skip
"""Folders and files whose tests measure no time."""
WITH_SCENARIOS = ("adapters", "authority", "compositions", "export", "test_end_to_end.py")
"""Of these the ones that share a process where there are two: beside the scenarios about as much work as the rest."""
END_TO_END, KILL_LOOP = "test_end_to_end.py", "test_kill_loop.py"
PATIENCE_S = 300
"""For a test that gets what is left of the CPU."""


def turn(nodeid: str) -> int:
    """0: measures no time; 1: looks at what came of such scenarios; 2: measures time; 3: looks at the kill loop."""
    path = PurePosixPath(nodeid.partition("::")[0]).relative_to("tests")
    timeless = path.parts[0] in TIMELESS or str(path) in TIMELESS
    return 0 if timeless else {END_TO_END: 1, KILL_LOOP: 3}.get(path.name, 2)


def process(nodeid: str, processes: int) -> str:
    """Which of so many a test runs in."""
    if turn(nodeid) >= 2:
        return "clock"
    folder = PurePosixPath(nodeid).relative_to("tests").parts[0].partition("::")[0]
    return "timeless" if processes < 3 or folder in WITH_SCENARIOS else "timeless, without scenarios"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: turn(item.nodeid))
    for item in items:
        if BESIDE and turn(item.nodeid) < 2:
            item.add_marker(pytest.mark.timeout(PATIENCE_S))  # behind the test's own, if it has one
        elif BESIDE:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One process for those that measure time, and the rest for all others."""
    from xdist.scheduler import LoadScopeScheduling

    class TwoKinds(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return process(nodeid, self.numnodes)

    return TwoKinds(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if getattr(item, "execution_count", 1) > 1:  # pytest-timeout has set its timer for the first try alone
        item.config.hook.pytest_timeout_set_timer(item=item, settings=pytest_timeout._get_item_settings(item))
    if BESIDE and turn(item.nodeid) < 2 and hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # children inherit it


@pytest.fixture(scope="session")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenarios]:
    with beginning(tmp_path_factory.mktemp("scenarios"), TIMELESS_SCENARIOS) as begun:
        yield begun


@pytest.fixture(scope="session")
def measured_scenarios(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenarios]:
    with beginning(tmp_path_factory.mktemp("scenarios"), [kill_loop]) as begun:
        yield begun


@pytest.fixture(autouse=True)
def beside(request: pytest.FixtureRequest) -> None:
    """Scenarios begin with the first test of the process that looks at them, if any test does."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    here = process(request.node.nodeid, processes)
    for fixture, file in (("scenarios", END_TO_END), ("measured_scenarios", KILL_LOOP)):
        asked = any(item.path.name == file for item in request.session.items)
        if asked and process(f"tests/{file}", processes) == here:
            request.getfixturevalue(fixture)
