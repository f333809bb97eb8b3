"""What weights are of: the task and the policy's spec in their manifest, and the refusal of those of another run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from robot_rl.errors import SpecMismatch
from robot_rl.types import PolicySpec


def origin_of(task: str, spec: PolicySpec) -> dict[str, Any]:
    """The entries of a manifest that `require_origin` reads."""
    return {"task": task, "policy_id": spec.policy_id, "spec_hash": spec.hash, "spec": asdict(spec)}


def require_origin(what: str, manifest: Mapping[str, Any], task: str, spec: PolicySpec) -> None:
    """Raises `SpecMismatch`, naming both sides, unless `manifest` is of this task and of a policy of `spec`.

    Manifests written before 0.2 name neither task nor spec, only the spec's hash.
    """
    if (found := manifest.get("task", task)) != task:
        raise SpecMismatch(f"{what} is of task {found!r}, this run is of {task!r}; not used")
    if manifest.get("spec_hash") != spec.hash:
        theirs = f"{manifest.get('policy_id')} (spec {manifest.get('spec_hash')!s:.12})"
        raise SpecMismatch(
            f"{what} was trained on policy {theirs}, this run has {spec.policy_id} (spec {spec.hash[:12]})"
            f"{_differences(spec, manifest.get('spec'))}; not used"
        )


def _differences(spec: PolicySpec, found: object) -> str:
    """Each entry in which a stored spec differs, with both values; nothing where none was stored."""
    if not isinstance(found, Mapping):
        return ""
    mine: dict[str, Any] = json.loads(json.dumps(asdict(spec)))
    names = [name for name in mine if mine[name] != found.get(name)]
    return "".join(f"; {name}: theirs {found.get(name)}, ours {mine[name]}" for name in names)
