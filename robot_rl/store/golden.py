"""The golden observation: what a run's policy and adapters made of it once, they must make of it again before it moves.

RUN/golden.npz is written when the run first starts, and golden.json with its sha256: an observation, as far as the
policy reads it, one decoder noise, and what the policy made of them: features, z, a chunk. Every adapter version says
in its manifest (`golden`) what its mode is at those features. A resumed run computes all of this anew from the files
that it is about to act with. sha256 sees a changed file; this sees a changed package, formula or policy server.

How near is near enough: on the machine and numpy that the figures were made with, bit for bit, because the same code
on the same numbers has no other choice. Elsewhere, a policy server included, `TOLERANCE` of the largest entry: another
BLAS kernel or vector width sums float32 products in another order, which moves a sum by some 1e-7 of it, and a chunk is
ten Euler steps of a few layers; a formula that has really changed moves it by more than that.
"""

from __future__ import annotations

import hashlib
import io
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from robot_rl import __version__
from robot_rl.errors import BadObservation, IntegrityError, SpecMismatch, StoreError
from robot_rl.protocols import Adapter, FrozenPolicy
from robot_rl.store.files import atomic_write, read_json, write_json
from robot_rl.store.run import RunDirectory
from robot_rl.types import Array, Context, Observation, PolicySpec
from robot_rl.wire.observations import PROPRIOCEPTION, check_observation, content_name, trim

TOLERANCE = 1e-5
"""Of the largest entry, where machine or numpy are others."""
SEED = 0
"""Of the noise, and of what an adapter draws of the base policy's noise."""


@dataclass(frozen=True)
class Golden:
    """One observation and what the frozen policy made of it."""

    observation: Observation
    name: str
    """Of its content (`wire.observations.content_name`), hexadecimal."""
    context: Context
    """Features [1, F] and z [1, Z], without a handle."""
    noise: Array
    """[*noise_shape]."""
    chunk: Array
    """[T, A] SI, decoded from `context` and `noise`."""
    made_by: Mapping[str, str]
    """Versions and machine (`makers`)."""


def make_golden(observation: Observation, policy: FrozenPolicy) -> Golden:
    """Raises what the policy raises, and `BadObservation` for an observation that is not whole."""
    check_observation(observation, policy.spec)
    noise = np.random.default_rng(SEED).standard_normal(policy.spec.noise_shape).astype(np.float32)
    context = policy.encode([observation])
    chunk = policy.decode(context, noise[None])[0]
    name = content_name(observation, policy.spec).hex()
    kept = Context(context.features, context.z)
    return Golden(trim(observation, policy.spec), name, kept, noise, chunk, makers())


def write_golden(run: RunDirectory, golden: Golden) -> None:
    """Raises `DiskError`."""
    seen = golden.observation
    named = {"images": seen.images, "extra": seen.extra}
    arrays: dict[str, Any] = {f"observation.{key}": np.asarray(getattr(seen, key)) for key in PROPRIOCEPTION}
    arrays |= {f"observation.{group}.{name}": array for group, of in named.items() for name, array in of.items()}
    arrays |= {"features": golden.context.features, "noise": golden.noise, "chunk": golden.chunk}
    arrays |= {} if golden.context.z is None else {"z": golden.context.z}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    body = buffer.getvalue()
    atomic_write(run.golden, body)
    manifest = {"made_by": dict(golden.made_by), "sha256": hashlib.sha256(body).hexdigest()}
    write_json(run.golden.with_suffix(".json"), manifest)


def read_golden(run: RunDirectory, spec: PolicySpec) -> Golden | None:
    """The run's, or None if it has none yet. Raises `IntegrityError` for a damaged one, and says what to do."""
    path = run.golden.with_suffix(".json")
    if not path.exists():
        return None
    try:
        manifest, body = read_json(path), run.golden.read_bytes()
        if (found := hashlib.sha256(body).hexdigest()) != manifest["sha256"]:
            raise IntegrityError(f"expected sha256 {manifest['sha256']:.12}, got {found:.12}")
        with np.load(io.BytesIO(body), allow_pickle=False) as stored:
            arrays = dict(stored)
        observation = Observation(
            seq=0,
            stamps_ns={},
            q=arrays["observation.q"],
            dq=arrays["observation.dq"],
            tcp_pose=arrays["observation.tcp_pose"],
            gripper_width=float(arrays["observation.gripper_width"]),
            wrench=arrays["observation.wrench"],
            images=_under("observation.images.", arrays),
            extra=_under("observation.extra.", arrays),
        )
        check_observation(observation, spec)
        name = content_name(observation, spec).hex()
        context = Context(arrays["features"], arrays.get("z"))
        return Golden(observation, name, context, arrays["noise"], arrays["chunk"], dict(manifest["made_by"]))
    except (StoreError, BadObservation, BadZipFile, OSError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{run.golden}: the run's golden observation cannot be read ({error}): whether policy and adapters act as "
            f"they did cannot be seen. Put it back; or remove {path.name}, and the run goes on without this check"
        ) from error


def require_policy(golden: Golden, policy: FrozenPolicy) -> None:
    """Raises `SpecMismatch` unless `policy` makes of the golden observation what it made of it."""
    context = policy.encode([golden.observation])
    expected: dict[str, Array] = {"features": golden.context.features}
    found: dict[str, Array] = {"features": context.features}
    if golden.context.z is not None and context.z is not None:
        expected["z"], found["z"] = golden.context.z, context.z
    if policy.spec.deterministic:
        expected["chunk"], found["chunk"] = golden.chunk, policy.decode(context, golden.noise[None])[0]
    what = f"the frozen policy {policy.spec.policy_id}"
    _require_same(what, expected, found, golden.made_by, here=not context.handle)


def adapter_output(golden: Golden, adapter: Adapter) -> dict[str, Any]:
    """What a manifest keeps as `golden`: the adapter's mode at the golden features."""
    return {
        "observation": golden.name,
        "made_by": makers(),
        "output": {name: array.tolist() for name, array in _mode(golden, adapter).items()},
    }


def require_adapter(golden: Golden, adapter: Adapter, said: Mapping[str, Any]) -> None:
    """Raises `SpecMismatch` unless `adapter` does what its manifest said (`adapter_output`) that it does.

    What was said of another golden observation cannot be compared, and passes.
    """
    if said.get("observation") != golden.name:
        return
    expected = {name: np.asarray(values) for name, values in said["output"].items()}
    _require_same(f"adapter version {adapter.version}", expected, _mode(golden, adapter), said["made_by"])


@cache
def makers() -> dict[str, str]:
    """What decides the bits of a result: versions, and the processor as far as it can be told."""
    found = {"robot_rl": __version__, "machine": _machine()}
    for package in ("numpy", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def _machine() -> str:
    """The processor's name and a hash of what it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:  # not Linux
        return f"{platform.machine()} {platform.processor()}"
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    able = "".join(facts.get(key, "") for key in ("cpu family", "model", "stepping", "flags", "Features"))
    return f"{facts.get('model name', platform.machine())} {hashlib.sha256(able.encode()).hexdigest()[:8]}"


def _under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _mode(golden: Golden, adapter: Adapter) -> dict[str, Array]:
    steering = adapter.steer(golden.context, np.random.default_rng(SEED), explore=False)
    parts = {name: getattr(steering, name) for name in ("steer", "noise", "residual", "latent", "chunk")}
    return {name: np.asarray(array) for name, array in parts.items() if array is not None}


def _require_same(
    what: str,
    expected: Mapping[str, Array],
    found: Mapping[str, Array],
    made_by: Mapping[str, str],
    *,
    here: bool = True,
) -> None:
    """`here`: computed in this process; where a server computes, nobody knows by what."""
    now = makers()
    exact = here and all(made_by.get(key) == now[key] for key in ("machine", "numpy"))
    for name in {**expected, **found}:
        before, after = (np.asarray(side.get(name, ()), np.float64) for side in (expected, found))
        allowed = 0.0 if exact else TOLERANCE * float(np.abs(before).max(initial=0.0))
        apart = float(np.abs(after - before).max(initial=0.0)) if before.shape == after.shape else np.inf
        if not apart <= allowed:
            changed = [f"{key} {made_by.get(key)} -> {now[key]}" for key in now if made_by.get(key) != now[key]]
            raise SpecMismatch(
                f"{what} does not act as it did: on the run's golden observation its {name} was {_figures(before)}, "
                f"now it is {_figures(after)}: {apart:.3g} apart, {allowed:.3g} allowed. "
                f"Changed since: {', '.join(changed) or 'no version that is known here'}. "
                "Go back to what it was made with, or begin a new run"
            )


def _figures(values: Array) -> str:
    first = ", ".join(f"{value:.6g}" for value in values.ravel()[:3])
    return f"[{first}, ...] (sha256 {hashlib.sha256(values.tobytes()).hexdigest()[:12]})"
