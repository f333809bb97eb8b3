"""`python -m benchmarks.learner [--quick]`: updates per second, against stable-baselines3's SAC of the same sizes.

Both do the same soft actor-critic update (entropy in the target, minimum over the critics, temperature learnt) on 64
features and 40 action entries with batches of 256: ours is `Learner.learn` with `dsrl-sac`, sampling and the published
average included, and multiplies matrices by the path that its start-up probe chose; theirs is stock `SAC.train` on
their own replay. Networks are ReLU MLPs without layer norm, "1024x3" being three hidden layers of 1024.

Each repeat times both, in turn, in this process, on one thread. **The headline is the ratio of CPU times** (theirs by
ours, the median over repeats): on an idle machine it is the ratio of wall times, which stands beside it, and on a
loaded one it is the fair one. `ratio_low` and `ratio_high` are the smallest and largest of the repeats.

`gemm_fraction` is the rate of the update's matrix products, as if they took all of its CPU time, by the best rate that
a plain product [E, B, H] @ [E, H, H] reached on either path in any of the cells' shapes. Counted are 2 B operations per
weight for every product that an update cannot do without: for the critics target, value and the actor's value forward,
the gradients to weights and hidden layers, and in the actor's step those to all inputs (the first layer's input needs
none in the critic's); for the actor two passes forward and one back.

Noise-aliased distillation from a pool adds two things to such an update, measured apart for `dsrl-na` at 256x3 with two
critics: `pool_draw_cost` is what drawing and gathering (noise, chunk) pairs adds to sampling, as a factor on the whole
SAC update; `distillation_cost` is the factor of the whole DSRL-NA update, which has a second critic's regression in it
whatever its pairs come from, and `fresh_decode_cost` the same with the pairs decoded afresh by a 0.9M flow.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # both before torch is imported

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.sb3 import sb3_sac
from robot_rl.learn.learner import Learner
from robot_rl.learn.matmul import MatmulPath, matmul_path, probe
from robot_rl.learn.memory import keep_memory
from robot_rl.learn.steering import Decoder
from robot_rl.policy.flow import TIME_FEATURES, FlowPolicy
from robot_rl.policy.torch_flow import TorchFlow
from robot_rl.task_files import method_config
from robot_rl.types import ActionSpace, Array, LabelValue, PolicySpec, Transition

FEATURES, HORIZON, ACTION = 64, 10, 4
STEER = HORIZON * ACTION
BATCH, LAYERS, ROWS, EPISODE, PAIRS = 256, 3, 4096, 32, 16
SPEC = PolicySpec(
    policy_id="benchmark",
    observation={"tcp_pose": (7,)},
    action_space=ActionSpace("ee_delta", ("dx", "dy", "dz", "gripper"), ("m",) * 4, (-1.0,) * 4, (1.0,) * 4),
    horizon=HORIZON,
    step_s=0.05,
    noise_shape=(HORIZON, ACTION),
    features=FEATURES,
    latent=None,
    deterministic=True,
    decodes_from_features=True,
)
Work = Callable[[int], object]
"""Does so many updates."""


@dataclass(frozen=True)
class Cell:
    """Sizes of one comparison."""

    hidden: int
    critics: int

    @property
    def name(self) -> str:
        return f"{self.hidden}x{LAYERS}_critics_{self.critics}"

    @property
    def operations(self) -> float:
        """Of one update's matrix products, see above."""

        def weights(inputs: int, outputs: int) -> tuple[int, int]:
            return inputs * self.hidden, (LAYERS - 1) * self.hidden**2 + self.hidden * outputs

        first, rest = weights(FEATURES + STEER, 1)
        critic = 3 * (first + rest) + (first + rest) + rest + (first + rest)
        first, rest = weights(FEATURES, 2 * STEER)
        actor = 2 * (first + rest) + (first + rest) + rest
        return 2.0 * BATCH * (self.critics * critic + actor)


CELLS = [Cell(hidden, critics) for hidden in (256, 1024, 2048) for critics in (2, 5, 10)]
QUICK_CELLS = [Cell(256, 2), Cell(256, 5), Cell(512, 2)]


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    repeats: int
    seconds: float
    """Of CPU, that a repeat of one side takes at least."""


FULL, QUICK = Effort(7, 0.4), Effort(3, 0.1)


@dataclass(frozen=True)
class Times:
    """Seconds per update, one entry a repeat."""

    cpu: list[float]
    wall: list[float]


def interleaved(works: Mapping[str, Work], effort: Effort) -> dict[str, Times]:
    """Time each of `works` once a repeat, in an order that turns round from one repeat to the next."""
    counts = {}
    for name, work in works.items():
        work(1)  # first calls allocate
        started = time.process_time()
        work(1)
        counts[name] = max(1, round(effort.seconds / max(time.process_time() - started, 1e-6)))
    times = {name: Times([], []) for name in works}
    for repeat in range(effort.repeats):
        for name in sorted(works, reverse=bool(repeat % 2)):
            cpu, wall = time.process_time(), time.perf_counter()
            works[name](counts[name])
            times[name].cpu.append((time.process_time() - cpu) / counts[name])
            times[name].wall.append((time.perf_counter() - wall) / counts[name])
    return times


# --- what is measured -----------------------------------------------------------------------------------------------


class Undecoded:
    """A decoder for methods that never decode."""

    def decode(self, features: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("this benchmark's replay has its pairs stored")


def make_learner(method: str, cell: Cell, path: MatmulPath, decoder: Decoder | None = None, **settings: Any) -> Learner:
    """`method` at the cell's sizes, with `ROWS` random chunks in its replay."""
    config = method_config(
        method,
        hidden=cell.hidden,
        layers=LAYERS,
        critics=cell.critics,
        layer_norm=False,
        batch=BATCH,
        warmup_episodes=0,
        entropy_in_target=True,
        clip_targets=False,
        timeouts_terminal=False,
        **settings,
    )
    learner = Learner(SPEC, method, config, decoder or Undecoded(), seed=0, matmul=path)
    rng = np.random.default_rng(0)
    episodes = range(1, ROWS // EPISODE + 1)
    for episode in episodes:
        learner.add_episode(
            [_transition(rng, episode, index, learner.layout.size, config.pool) for index in range(EPISODE)]
        )
    learner.set_labels({episode: LabelValue.SUCCESS if episode % 2 else LabelValue.FAILURE for episode in episodes})
    return learner


def _transition(rng: np.random.Generator, episode: int, index: int, steer: int, pairs: int) -> Transition:
    def draw(*shape: int) -> Array:
        return rng.uniform(-1, 1, shape).astype(np.float32)

    return Transition(
        episode=episode,
        index=index,
        features=draw(FEATURES),
        next_features=draw(FEATURES),
        noise=draw(HORIZON, ACTION),
        steer=draw(steer),
        base_chunk=draw(HORIZON, ACTION),
        executed_chunk=draw(HORIZON, ACTION),
        k_executed=HORIZON,
        discount=0.99,
        terminal=index == EPISODE - 1,
        truncated=False,
        pool_noise=draw(pairs, HORIZON, ACTION) if pairs else None,
        pool_chunks=draw(pairs, HORIZON, ACTION) if pairs else None,
    )


def flow_policy(hidden: int = 640, steps: int = 8) -> FlowPolicy:
    """A flow of 0.9M random weights: what a fresh decode costs does not depend on what was learnt."""
    rng = np.random.default_rng(0)
    sizes = {
        "embed": [FEATURES, FEATURES],
        "chunk": [STEER + TIME_FEATURES + FEATURES, *[hidden] * LAYERS, STEER],
        "bottleneck": [FEATURES, 2],
        "reconstruct": [1, FEATURES],
    }
    weights = {"features.mean": np.zeros(FEATURES, np.float32), "features.scale": np.ones(FEATURES, np.float32)}
    weights |= {"chunk.mean": np.zeros(STEER, np.float32), "chunk.scale": np.ones(STEER, np.float32)}
    for name, widths in sizes.items():
        for layer, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            matrix = rng.standard_normal((inputs, outputs)) / np.sqrt(inputs)
            weights[f"{name}.{layer}.weight"] = matrix.astype(np.float32)
            weights[f"{name}.{layer}.bias"] = np.zeros(outputs, np.float32)
    return FlowPolicy(SPEC, weights, steps)


def products(cell: Cell, path: MatmulPath) -> Work:
    """Plain products [E, B, H] @ [E, H, H], into memory that is there."""
    x, weight = torch.randn(cell.critics, BATCH, cell.hidden), torch.randn(cell.critics, cell.hidden, cell.hidden)
    out = torch.empty_like(x)

    def work(count: int) -> None:
        with matmul_path(path):
            for _ in range(count):
                torch.bmm(x, weight, out=out)

    return work


def compare(cell: Cell, effort: Effort) -> dict[str, Any]:
    """Ours and theirs at one cell's sizes, and the best rate of a plain product there."""
    measured = probe(batch=BATCH, hidden=cell.hidden, members=cell.critics)
    paths: dict[str, MatmulPath] = {"products by default": "default", "products by onednn": "onednn"}
    plain = interleaved({name: products(cell, path) for name, path in paths.items()}, Effort(effort.repeats, 0.05))
    plain_operations = 2.0 * cell.critics * BATCH * cell.hidden**2
    learner = make_learner("dsrl-sac", cell, measured.path)
    theirs = sb3_sac(FEATURES, STEER, width=cell.hidden, layers=LAYERS, critics=cell.critics, batch=BATCH, rows=ROWS)
    times = interleaved({"ours": learner.learn, "theirs": theirs}, effort)
    ratios = [b / a for a, b in zip(times["ours"].cpu, times["theirs"].cpu, strict=True)]
    ours = statistics.median(times["ours"].cpu)
    return {
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "wall_ratio": statistics.median(times["theirs"].wall) / statistics.median(times["ours"].wall),
        "updates_per_cpu_second": 1 / ours,
        "sb3_updates_per_cpu_second": 1 / statistics.median(times["theirs"].cpu),
        "gflops": cell.operations / ours / 1e9,
        "best_product_gflops": max(plain_operations / min(each.cpu) for each in plain.values()) / 1e9,
        "matmul": measured.path,
        "onednn_speedup": measured.speedup,
        "onednn_error": measured.error,
    }


def distillation(effort: Effort) -> dict[str, float]:
    """What noise aliasing adds to a SAC update at 256x3 with two critics, as factors on it."""
    cell = Cell(256, 2)
    path = probe(batch=BATCH, hidden=cell.hidden, members=cell.critics).path
    plain = make_learner("dsrl-sac", cell, path)
    aliased = {"pool": PAIRS, "bootstrap": "distilled"}
    pooled = make_learner("dsrl-na", cell, path, **aliased)
    decoded = make_learner("dsrl-na", cell, path, TorchFlow.from_policy(flow_policy()), **{**aliased, "pool": 0})

    def sampling(learner: Learner) -> Work:
        generator = torch.Generator().manual_seed(0)

        def work(count: int) -> None:
            for _ in range(count):
                learner.replay.sample(BATCH, generator)

        return work

    works: dict[str, Work] = {
        "sac": plain.learn,
        "pooled": pooled.learn,
        "decoded": decoded.learn,
        "sampling": sampling(plain),
        "sampling with pool": sampling(pooled),
    }
    cpu = {name: statistics.median(times.cpu) for name, times in interleaved(works, effort).items()}
    return {
        "pool_draw_cost": 1 + (cpu["sampling with pool"] - cpu["sampling"]) / cpu["sac"],
        "distillation_cost": cpu["pooled"] / cpu["sac"],
        "fresh_decode_cost": cpu["decoded"] / cpu["sac"],
    }


# --- what is said of it ---------------------------------------------------------------------------------------------


def summarise(cells: Mapping[Cell, Mapping[str, Any]], aliasing: Mapping[str, float]) -> dict[str, Any]:
    """The figures of the last line."""
    best = max(figures["best_product_gflops"] for figures in cells.values())
    fractions = {cell: figures["gflops"] / best for cell, figures in cells.items()}
    ratios = [figures["ratio"] for figures in cells.values()]
    wall = [figures["wall_ratio"] for figures in cells.values()]
    return {
        "median_ratio_fp32": statistics.median(ratios),
        "min_ratio_fp32": min(ratios),
        "median_wall_ratio_fp32": statistics.median(wall),
        "min_wall_ratio_fp32": min(wall),
        "headline": "cpu time",
        "best_product_gflops": best,
        "median_gemm_fraction": statistics.median(fractions.values()),
        "max_gemm_fraction": max(fractions.values()),
        **aliasing,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "cells": {cell.name: {**figures, "gemm_fraction": fractions[cell]} for cell, figures in cells.items()},
    }


def show(console: Console, summary: Mapping[str, Any]) -> None:
    """The table, and the figures of distillation below it."""
    table = Table("sizes", "ratio", "spread", "by wall", "updates/s", "SB3", "of best GEMM", "products by")
    for name, figures in summary["cells"].items():
        table.add_row(
            name.replace("_critics_", " "),
            f"{figures['ratio']:.2f}",
            f"{figures['ratio_low']:.2f} to {figures['ratio_high']:.2f}",
            f"{figures['wall_ratio']:.2f}",
            f"{figures['updates_per_cpu_second']:.1f}",
            f"{figures['sb3_updates_per_cpu_second']:.1f}",
            f"{figures['gemm_fraction']:.0%}",
            figures["matmul"],
        )
    console.print(table)
    console.print(
        f"median ratio {summary['median_ratio_fp32']:.2f}, lowest {summary['min_ratio_fp32']:.2f}; on top of a SAC "
        f"update: drawing from the pool x {summary['pool_draw_cost']:.3f}, distillation with it "
        f"x {summary['distillation_cost']:.2f}, decoding afresh x {summary['fresh_decode_cost']:.2f}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every cell, print the table; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learner", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small networks, few repeats: does it run?")
    arguments = parser.parse_args(argv)
    cells, effort = (QUICK_CELLS, QUICK) if arguments.quick else (CELLS, FULL)
    torch.set_num_threads(1)
    keep_memory()  # as the learner's own process does; theirs has it too, being in the same one
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    results: dict[Cell, dict[str, Any]] = {}
    with Progress(*columns, console=console) as bar:
        row = bar.add_task("sizes", total=len(cells) + 1)
        for cell in cells:
            bar.update(row, description=cell.name)
            results[cell] = compare(cell, effort)
            bar.advance(row)
        bar.update(row, description="distillation")
        aliasing = distillation(effort)
        bar.advance(row)
    summary = summarise(results, aliasing)
    show(console, summary)
    console.file.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
