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
TIMELESS = ("adapters", "authority", "export", "learn", "policy", "sim_twin", "store")
"""Folders whose tests measure no time."""
END_TO_END = "test_end_to_end.py"


def turn(item: pytest.Item) -> int:
    part = item.path.relative_to(HERE).parts[0]
    return 0 if part in TIMELESS else 1 if part == END_TO_END else 2


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
