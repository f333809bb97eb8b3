"""One thread for torch, as in the learner's own process: with another number its sums differ in their last bits.

And the order of the tests: first those that measure no time, with the long commands of `tests/scenarios.py` beside
them on the other core; then, on a machine of their own, all others.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios import Scenarios, beginning

os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent
TIMELESS = (
    *("adapters", "authority", "export", "learn", "policy", "sim_twin", "store", "testing"),
    *(f"safety/test_{name}.py" for name in ("filter", "latch", "limits")),
    *(f"compositions/test_{name}.py" for name in (
        *("adapter_source", "doctor", "evaluate", "export_lerobot", "golden", "housekeeping", "lockstep", "plan"),
        *("report", "rerun", "results", "running", "train_offline", "visual_run"),
    )),
    *(f"test_{name}.py" for name in ("benchmarks", "benchmark_soak", "benchmark_tuning", "cli", "config")),
    *("test_imports.py", "test_types.py"),
)  # fmt: skip
"""Folders and files whose tests measure no time."""
END_TO_END = "test_end_to_end.py"


def turn(item: pytest.Item) -> int:
    path = item.path.relative_to(HERE)
    timeless = path.parts[0] in TIMELESS or path.as_posix() in TIMELESS
    return 0 if timeless else 1 if path.name == END_TO_END else 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=turn)


@pytest.fixture(scope="session", autouse=True)
def scenarios(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenarios | None]:
    """Begun with the first test, whichever it is; None where no test asks for them."""
    if not any(item.path.name == END_TO_END for item in request.session.items):
        yield None
        return
    with beginning(tmp_path_factory.mktemp("scenarios")) as begun:
        yield begun
