"""The learner's benchmark: what it counts, what it makes of its figures, and that it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.learner import CELLS, Cell, Effort, interleaved, make_learner, summarise

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("cell", [Cell(32, 1), Cell(64, 3)])
def test_the_operations_of_an_update_are_those_that_torch_counts(cell: Cell) -> None:
    learner = make_learner("dsrl-sac", cell, "default")
    with FlopCounterMode(display=False) as counter:
        learner.learn(1)
    assert counter.get_total_flops() == cell.operations


def test_the_cells_are_all_pairs_of_width_and_critics() -> None:
    assert {(cell.hidden, cell.critics) for cell in CELLS} == {(h, c) for h in (256, 1024, 2048) for c in (2, 5, 10)}


def test_both_sides_are_timed_in_turn_and_as_often() -> None:
    order: list[str] = []
    times = interleaved({name: lambda count, name=name: order.append(name) for name in "ab"}, Effort(3, 0.0))
    assert order[-6:] == ["a", "b", "b", "a", "a", "b"]
    assert {name: (len(each.cpu), len(each.wall)) for name, each in times.items()} == {"a": (3, 3), "b": (3, 3)}


def test_the_summary_is_median_and_worst_cell_and_the_share_of_the_best_product() -> None:
    def figures(ratio: float, gflops: float, best: float) -> dict[str, Any]:
        return {"ratio": ratio, "wall_ratio": 2 * ratio, "gflops": gflops, "best_product_gflops": best}

    cells = {
        Cell(8, 2): figures(2.0, 50.0, 80.0),
        Cell(8, 5): figures(3.0, 75.0, 100.0),
        Cell(8, 9): figures(1.5, 1, 1),
    }
    summary = summarise(cells, {"pool_draw_cost": 1.01})
    assert (summary["median_ratio_fp32"], summary["min_ratio_fp32"]) == (2.0, 1.5)
    assert summary["median_wall_ratio_fp32"] == 4.0
    assert summary["cells"]["8x3_critics_5"]["gemm_fraction"] == 0.75
    assert summary["median_gemm_fraction"] == 0.5
    assert summary["pool_draw_cost"] == 1.01
