"""Twelve digits that name everything a result depends on: code, settings, frozen policy.

Only what computes a result counts, so that hours of cells outlive a change of the page, of the store, or of words:
comments and docstrings are left out. So is what wires, carries and keeps (compositions, sessions, store, wire, the
learner's process): the tests of each hold that what goes in comes out as it was, and in its order. What makes the
frozen policy is left out because its weights count.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from robot_rl.compositions.plan import checkpoint_path
from robot_rl.config import TaskConfig
from robot_rl.methods import NOISE, RESIDUAL, entry_of
from robot_rl.store.files import sha256_file
from robot_rl.task_files import load_task, task_path
from robot_rl.types import canonical_hash

ROOT = Path(__file__).parent.parent
DIGITS = 12
DECIDING = (
    *(f"robot_rl/{name}.py" for name in ("types", "config", "methods")),
    *(f"robot_rl/control/{name}.py" for name in ("chunk_buffer", "episode", "homing", "motion")),
    *(f"robot_rl/safety/{name}.py" for name in ("filter", "limits")),
    *(f"robot_rl/{package}/*.py" for package in ("adapters", "learn", "policy")),
    "sim_twin/*.py",
)
CARRYING = frozenset(
    {
        "robot_rl/adapters/files.py",
        *(
            f"robot_rl/learn/{name}.py"
            for name in ("__main__", "checkpoint", "device", "inheritance", "offline", "process", "run_learner", "utd")
        ),
        *(f"robot_rl/policy/{name}.py" for name in ("cloning", "latent_axes", "remote")),
        *(f"sim_twin/{name}.py" for name in ("camera_process", "cameras", "env", "placing", "randomised")),
    }
)
JUDGING = (
    "robot_rl/types.py",
    *(f"robot_rl/adapters/{name}.py" for name in ("acting", "kinds", "latent", "layout")),
    *(f"robot_rl/authority/{name}.py" for name in ("ceilings", "guide", "interface", "oracle")),
    "robot_rl/policy/*.py",
    "sim_twin/*.py",
)
"""What a controller that knows the answer reaches: nothing is learnt there."""
STEERING = NOISE | RESIDUAL | {"latent_scale", "latent_rank", "trust_region"}
"""Settings that say how far a method can move a chunk (`robot_rl.authority.interface`)."""
STUDIED = (
    *(f"robot_rl/{name}.py" for name in ("types", "config", "methods")),
    *(f"robot_rl/{package}/*.py" for package in ("adapters", "learn", "policy")),
)
"""The learning code, without a twin."""
TRANSFERRING = tuple(
    f"robot_rl/{name}.py" for name in ("compositions/taken_over", "compositions/transfer", "learn/inheritance")
)
"""What a run that is begun from another one begins with."""
SEEING = ("robot_rl/policy/backbones/*.py", "sim_twin/vision/*.py")
"""For tasks whose policy is a backbone; what others' results depend on is above."""
BACKBONE = ("decoder", "fitting", "heads", "layers", "objectives", "settings")
GYM = (
    *(f"benchmarks/gym/{name}.py" for name in ("judging", "metaworld", "policy", "settings", "tasks", "world")),
    "benchmarks/studies/lockstep.py",
    "robot_rl/compositions/adapter_source.py",
    *(f"robot_rl/policy/backbones/{name}.py" for name in BACKBONE),
)
"""Beside `STUDIED`: other people's environments (`benchmarks.gym`), whose frozen policies are made on the spot."""
CLONING = tuple(f"robot_rl/policy/{name}.py" for name in ("cloning", "latent_axes"))
"""Beside both, though where a policy's weights count they are of no consequence (`CARRYING`)."""


def cell_digest(task: str, method: str) -> str:
    """Of one method on one task: another method's settings, and how the results are judged together, do not count."""
    config = load_task(task)
    settings = config.model_dump(mode="json", exclude={"protocol", "methods", "oracle"})
    settings["method"] = config.method(method).model_dump(mode="json")
    return _digest(deciding(config), settings, checkpoint_path(config, task_path(task)))


def ceilings_digest(task: str) -> str:
    """Of a task's ceilings: those settings of its methods count that say what their interfaces are."""
    config = load_task(task)
    settings = config.model_dump(mode="json", exclude={"protocol", "methods"})
    settings["interfaces"] = {
        method: {name: value for name, value in own.model_dump(mode="json").items() if name in STEERING}
        | {"kind": entry_of(method).kind}
        for method, own in config.methods.items()
    }
    patterns = JUDGING if config.policy.backbone is None else (*JUDGING, *SEEING)
    return _digest(patterns, settings, checkpoint_path(config, task_path(task)))


def transfer_digest(task: str, method: str) -> str:
    """Of a cell of `benchmarks.transfer`: what its nominal run depends on, and what is handed over after it."""
    handing_over = _code_of([ROOT / path for path in TRANSFERRING], without_words)
    return hashlib.sha256((cell_digest(task, method) + handing_over).encode()).hexdigest()[:DIGITS]


def study_digest(name: str) -> str:
    """Of a study (`benchmarks.studies`): the learning code, what clones its policy, its own file and those it shares.

    How a study is judged and drawn does not count.
    """
    return hashlib.sha256((_code(STUDIED) + _code_of(study_files(name), computing)).encode()).hexdigest()[:DIGITS]


def gym_digest(settings: Mapping[str, Any], expert: str) -> str:
    """Of an environment's `settings`, the source of its expert's module, the learning code and what lies between."""
    parts = (_code((*STUDIED, *GYM)), _cloning(), without_words(expert), canonical_hash(settings))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:DIGITS]


def study_files(name: str) -> list[Path]:
    """Those that count for one study beside the learning code: its own, and of the shared ones those it names."""
    source = (ROOT / f"benchmarks/studies/{name}.py").read_text(encoding="utf-8")
    problems = [part for part in ("plane", "two_modes") if part in source]
    cloning = ["cloning", "latent_axes"] if "plane" in problems else []
    paths = [f"robot_rl/policy/{part}.py" for part in cloning]
    return [
        ROOT / path for path in (*paths, *(f"benchmarks/studies/{part}.py" for part in ("lockstep", *problems, name)))
    ]


def computing(source: str) -> str:
    """Python `source` without words, and without what only judges and draws: `figures`, `judge`, `draw`, `STUDY`.

    And functions called `_because...`, which put a verdict's reason in words.
    """
    lines = source.splitlines()
    for node in ast.parse(source).body:
        names = [getattr(node, "name", "")] + [getattr(target, "id", "") for target in getattr(node, "targets", [])]
        if {"figures", "judge", "draw", "STUDY"} & set(names) or names[0].startswith("_because"):
            last = node.end_lineno or node.lineno
            lines[node.lineno - 1 : last] = [""] * (last - node.lineno + 1)
    return without_words("\n".join(lines))


def deciding(task: TaskConfig) -> tuple[str, ...]:
    """Patterns of the files that compute the results of `task`."""
    return DECIDING if task.policy.backbone is None else (*DECIDING, *SEEING)


def _digest(patterns: tuple[str, ...], settings: Mapping[str, Any], frozen_policy: Path) -> str:
    parts = (_code(patterns), canonical_hash(settings), sha256_file(frozen_policy))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:DIGITS]


def files(patterns: tuple[str, ...]) -> list[Path]:
    """Those that count, of those that match."""
    found = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return sorted(path for path in found if path.relative_to(ROOT).as_posix() not in CARRYING)


@cache
def _cloning() -> str:
    return _code_of([ROOT / path for path in CLONING], without_words)


@cache
def _code(patterns: tuple[str, ...]) -> str:
    return _code_of(files(patterns), without_words)


def _code_of(paths: Sequence[Path], of: Callable[[str], str]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(ROOT).as_posix()}\n{of(path.read_text(encoding='utf-8'))}".encode())
    return digest.hexdigest()


def without_words(source: str) -> str:
    """Python `source` without its comments, bare strings (docstrings) and empty lines; the same in every version."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            last = node.end_lineno or node.lineno
            lines[node.lineno - 1 : last] = [""] * (last - node.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())
