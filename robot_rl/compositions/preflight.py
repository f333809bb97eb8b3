"""`robot-rl preflight`: do task, robot, cameras, policy and adapters fit, and is the policy fast enough?

Nothing real moves: the twin is looked at as its first start has it, and the frozen policy tries the task there. Each
check is a row with a verdict: `ok`, `look` (it works, but a person should read it) or `no` (a run would be refused, or
would be of no use).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from robot_rl.adapters.acting import BaseAdapter
from robot_rl.adapters.fitting import fitting_layout
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.clock import SteppedClock
from robot_rl.compositions.evaluate import evaluate
from robot_rl.compositions.plan import LOCAL, load_policy
from robot_rl.config import MethodConfig, TaskConfig
from robot_rl.errors import RobotRLError
from robot_rl.policy.remote import RemotePolicy
from robot_rl.protocols import FrozenPolicy
from robot_rl.task_files import load_task, task_path
from robot_rl.twins import Split, TwinRobot, load_twin
from robot_rl.types import Array, Observation, PolicySpec, canonical_hash
from robot_rl.wire.keys import ClientKeys, read_keys
from robot_rl.wire.observations import check_observation, example_observation

CONNECT_S = 10.0
TRIPS = 50
"""Round trips that are timed."""
DRAWS = 64
"""Noises of each layout that are decoded."""
BUSY = 0.5
"""Share of a chunk's duration that a round trip may take at its 99th percentile."""
LAYOUTS = ("full", "repeat", "low_rank")
RANK = 8
"""Of the low-rank layout that is looked at."""
TRIALS = 20
"""Episodes of each layout by which base success is estimated, where nothing else is said."""


@dataclass(frozen=True)
class Row:
    """One check."""

    check: str
    verdict: str
    """ok, look or no."""
    found: str


def preflight(
    task_name: str, endpoint: str | None, keys: Path | None, console: Console, *, trials: int = TRIALS
) -> bool:
    """Check, and print a table and a line of JSON; whether no row says `no`.

    The frozen policy tries the task `trials` times in the twin under each noise layout, from the same starts.
    Raises `ConfigError` for a task or a key file that is none; a server that does not answer is a row.
    """
    task = load_task(task_name)
    twin = load_twin(task, "twin", SteppedClock())
    twin.reset(twin.draw(Split.EVALUATE, 0, 0))
    rows: list[Row] = []
    figures: dict[str, Any] = {}
    try:
        policy = _connect(task, task_name, endpoint, keys)
    except RobotRLError as error:
        rows.append(Row("policy", "no", str(error)))
    else:
        rows += _spec_rows(task, task_name, twin, policy.spec, endpoint)
        rows += _adapter_rows(task, policy.spec)
        rows += _measured(policy, twin, figures)
        if trials and all(row.verdict != "no" for row in rows):
            rows += _success_rows(task, policy, trials, figures)
        if isinstance(policy, RemotePolicy):
            policy.close()
    table = Table("check", "verdict", "what was found", title=f"preflight of {escape(task.title)}")
    for row in rows:
        colour = {"ok": "green", "look": "yellow", "no": "red"}[row.verdict]
        table.add_row(escape(row.check), f"[{colour}]{row.verdict}[/{colour}]", escape(row.found))
    console.print(table)
    passed = all(row.verdict != "no" for row in rows)
    console.file.write(json.dumps({"passed": passed, **figures, "rows": [asdict(row) for row in rows]}) + "\n")
    return passed


def _connect(task: TaskConfig, name: str, endpoint: str | None, keys: Path | None) -> FrozenPolicy:
    if endpoint in (None, LOCAL):
        return load_policy(task, task_path(name))
    return RemotePolicy(
        endpoint, timeout_s=5.0, connect_timeout_s=CONNECT_S, keys=None if keys is None else read_keys(keys, ClientKeys)
    )


def _spec_rows(task: TaskConfig, name: str, twin: TwinRobot, spec: PolicySpec, endpoint: str | None) -> Iterator[Row]:
    """What the specs say of each other."""
    where = "in this process" if endpoint in (None, LOCAL) else f"at {endpoint}"
    yield Row("policy", "ok", f"{spec.policy_id} (spec {spec.hash[:12]}) {where}")
    if endpoint not in (None, LOCAL):
        yield _same_model(task, name, spec)
    ours, theirs = spec.action_space, twin.spec.action_space
    same = canonical_hash(asdict(ours)) == canonical_hash(asdict(theirs))
    said = f"{ours.kind}: {', '.join(f'{n} [{u}]' for n, u in zip(ours.names, ours.units, strict=True))}"
    yield Row("actions and units", "ok" if same else "no", said if same else f"policy {ours}, robot {theirs}")
    hz = twin.spec.control_hz
    fits = abs(spec.step_s * hz - 1.0) < 1e-6
    yield Row("rate", "ok" if fits else "no", f"policy steps every {spec.step_s:g} s, robot at {hz:g} Hz")
    chunks = task.max_steps / spec.horizon
    yield Row("horizon", "ok" if chunks >= 2 else "look", f"{spec.horizon} steps, {chunks:.1f} chunks an episode")
    yield _camera_row(task, spec)
    yield _verdict("observation", lambda: _check_state(twin.observe(), spec))


def _camera_row(task: TaskConfig, spec: PolicySpec) -> Row:
    """The pictures that the policy reads, against the cameras that the task has."""
    there = {
        f"images.{name}": (int(camera["height"]), int(camera["width"]), 3)
        for name, camera in task.scene.get("cameras", {}).items()
    }
    wanted = {key: tuple(shape) for key, shape in spec.observation.items() if key.startswith("images.")}
    wrong = [
        f"{key}: expected {list(shape)}, got {list(there[key]) if key in there else 'no such camera'}"
        for key, shape in wanted.items()
        if there.get(key) != shape
    ]
    if wrong:
        return Row("cameras", "no", "; ".join(wrong))
    return Row("cameras", "ok", ", ".join(wanted) or "the policy reads none")


def _same_model(task: TaskConfig, name: str, spec: PolicySpec) -> Row:
    """A run's learner decodes with the task's own checkpoint: the server must have the same."""
    try:
        local = load_policy(task, task_path(name)).spec
    except RobotRLError as error:
        return Row("task's policy", "look", f"cannot be compared with the server's: {error}")
    if local.hash == spec.hash:
        return Row("task's policy", "ok", "is what the server has")
    return Row("task's policy", "no", f"is {local.policy_id} (spec {local.hash[:12]}), not what the server has")


def _check_state(seen: Observation, spec: PolicySpec) -> str:
    """All that the policy reads but pictures, as the robot gives it now. Raises `BadObservation`."""
    keys = {key: shape for key, shape in spec.observation.items() if not key.startswith("images.")}
    check_observation(seen, replace(spec, observation=keys))
    return ", ".join(f"{key} {list(shape)}" for key, shape in keys.items())


def _adapter_rows(task: TaskConfig, spec: PolicySpec) -> Iterator[Row]:
    for method in task.methods:
        yield _verdict(f"adapter {method}", partial(_layout, spec, method, task.method(method)))


def _layout(spec: PolicySpec, method: str, config: MethodConfig) -> str:
    layout = fitting_layout(spec, method, config)
    parts = {"noise": layout.noise_size, "residual": layout.residual_size, "latent": layout.latent_size}
    return ", ".join(f"{name} {size}" for name, size in parts.items() if size) + f" of {layout.size} dimensions"


def _verdict(check: str, ask: Callable[[], str]) -> Row:
    try:
        return Row(check, "ok", ask())
    except RobotRLError as error:
        return Row(check, "no", str(error))


def _measured(policy: FrozenPolicy, twin: TwinRobot, figures: dict[str, Any]) -> Iterator[Row]:
    """Round trips, and what noise does to chunks."""
    spec, rng, seen = policy.spec, np.random.default_rng(0), _whole(twin.observe(), policy.spec)
    noise = rng.standard_normal((1, *spec.noise_shape)).astype(np.float32)
    seconds = []
    try:
        for _ in range(TRIPS):
            began = time.perf_counter()
            chunk = policy.decode(policy.encode([seen]), noise)
            seconds.append(time.perf_counter() - began)
    except RobotRLError as error:
        yield Row("round trip", "no", str(error))
        return
    p50, p99 = (float(np.percentile(seconds, q)) for q in (50, 99))
    duration = spec.horizon * spec.step_s
    figures |= {"p50_ms": 1e3 * p50, "p99_ms": 1e3 * p99, "chunk_ms": 1e3 * duration}
    verdict = "ok" if p99 < BUSY * spec.step_s else "look" if p99 < BUSY * duration else "no"
    words = {
        "ok": "",
        "look": "; by a server in time if it is asked before the chunk is over, else the robot holds between chunks",
        "no": "; most of the time the robot would hold",
    }
    times = f"encode and decode {1e3 * p50:.1f} ms (p99 {1e3 * p99:.1f}), a chunk lasts {1e3 * duration:.0f} ms"
    yield Row("round trip", verdict, times + words[verdict])
    again = policy.decode(policy.encode([seen]), noise)
    repeats = bool(np.array_equal(chunk, again)) or not spec.deterministic
    said = "the same noise gives the same chunk" if repeats else "the same noise gave another chunk"
    yield Row("determinism", "ok" if repeats else "no", said if spec.deterministic else "the spec promises none")
    if not spec.noise_shape:
        yield Row("noise", "look", "the policy takes none: methods that steer noise have nothing to steer")
        return
    for layout in LAYOUTS:
        yield _spread(policy, seen, layout, rng, figures)


def _spread(
    policy: FrozenPolicy, seen: Observation, layout: str, rng: np.random.Generator, figures: dict[str, Any]
) -> Row:
    """How far chunks lie apart whose noise a layout draws from N(0, I): the standard deviation of where they end."""
    spec, name = policy.spec, f"spread, {layout}"
    try:
        span = _drawn_by(spec, layout).noise_map
        noise = (rng.standard_normal((DRAWS, len(span))).astype(np.float32) @ span).reshape(DRAWS, *spec.noise_shape)
        chunks = policy.decode(policy.encode([seen]).repeated(DRAWS), noise)
    except RobotRLError as error:
        return Row(name, "no", str(error))
    each = np.asarray(_ends(chunks, spec).std(0))
    figures[f"spread_{layout}"] = dict(zip(spec.action_space.names, map(float, each), strict=True))
    found = ", ".join(
        f"{n} {1e3 * s:.2f} mm" if unit == "m" else f"{n} {s:.3g} {unit}"
        for n, unit, s in zip(spec.action_space.names, spec.action_space.units, each, strict=True)
    )
    reach = np.asarray(spec.action_space.high) - np.asarray(spec.action_space.low)
    if (np.ptp(chunks, 0) <= 1e-6 * reach).all():
        return Row(name, "no", "other noise gave the same chunks: the policy ignores its noise")
    return Row(name, "ok", found)


def _success_rows(task: TaskConfig, policy: FrozenPolicy, trials: int, figures: dict[str, Any]) -> Iterator[Row]:
    """How often the frozen policy succeeds by itself, its noise drawn as each layout can express it."""
    spec, full = policy.spec, None
    for layout in LAYOUTS if spec.noise_shape else ("none",):
        check, adapter = f"base success, {layout}", BaseAdapter(_drawn_by(spec, layout))
        try:
            rate = evaluate(task, next(iter(task.methods)), policy, adapter, trials=trials, seed=0)
        except RobotRLError as error:
            yield Row(check, "no", str(error))
            return
        figures[f"success_{layout}"] = rate.rate
        full = rate if full is None else full
        if rate.successes == 0:
            yield Row(check, "look", f"{rate}: labels that are all 0 teach nothing")
        elif rate.interval[1] < full.rate:
            yield Row(check, "look", f"{rate}: less than with full noise; methods with this layout start from here")
        else:
            yield Row(check, "ok", str(rate))


def _drawn_by(spec: PolicySpec, layout: str) -> SteeringLayout:
    """The layout in which N(0, I) is drawn. Raises `SpecMismatch`."""
    rank = min(RANK, max(1, math.prod(spec.noise_shape)))
    config = {"noise_layout": layout, "noise_bound": 1.0, "noise_rank": rank}
    return SteeringLayout(spec, MethodConfig.model_validate(config))


def _ends(chunks: Array, spec: PolicySpec) -> Array:
    """[N, T, A] -> [N, A] where a chunk ends: the sum of changes, and the last of what is absolute (the gripper)."""
    ends = chunks.sum(1) if spec.action_space.kind == "ee_delta" else chunks[:, -1].copy()
    if spec.action_space.kind == "ee_delta":
        ends[:, 3:] = chunks[:, -1, 3:]
    return np.asarray(ends)


def _whole(seen: Observation, spec: PolicySpec) -> Observation:
    """The robot's observation; what the policy reads beyond it (pictures) is made up, of the right shape."""
    made = example_observation(spec)
    whole = replace(seen, images={**made.images, **seen.images}, extra={**made.extra, **seen.extra})
    try:
        check_observation(whole, spec)
    except RobotRLError:
        return made
    return whole
