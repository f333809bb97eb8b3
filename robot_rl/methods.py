"""The methods by name: what each must steer, the settings it reads, and those of its paper that differ from the common.

`SHARED` settings are read by all; beside these a method reads what it lists, and a task file that sets anything else
for it is refused: a setting without effect hides a mistake. The learning halves are in `robot_rl.adapters`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from robot_rl.errors import nearest

SHARED = frozenset(
    {
        *("warmup_episodes", "utd", "gamma", "td_steps", "tau", "batch", "prior_share"),
        *("learning_rate", "actor_learning_rate", "actor_average", "actor_delay"),
        *("hidden", "layers", "layer_norm", "critics", "critic_reduce", "clip_targets", "timeouts_terminal"),
    }
)
SAMPLED = frozenset({"initial_temperature", "target_entropy", "entropy_in_target", "exploration_correlation"})
"""Of methods whose actor is a distribution."""
NOISE = frozenset({"noise_layout", "noise_rank", "noise_seed", "noise_bound"})
RESIDUAL = frozenset({"residual_layout", "residual_scale", "residual_std"})
ALIASED = frozenset({"distill_steps", "pool", "bootstrap", "demonstrations"})
"""Of methods that learn from executed chunks and distil: an expert's will do, though nobody knows their steers."""

LARGEST: Mapping[str, float] = {
    "hidden": 4096,
    "layers": 32,
    "critics": 100,
    "batch": 65536,
    "pool": 1024,
    "distill_steps": 100,
    "utd": 1000,
    "td_steps": 1000,
    "actor_delay": 1000,
    "noise_bound": 10,
    "latent_scale": 100,
    "initial_temperature": 100,
    "dual_rate": 1,
}
"""What no run should be begun beyond: far above what the papers have, it catches a slip of the finger."""

UNALIASED: Mapping[str, Any] = {"pool": 0}
"""A single critic has nothing to distil from, and asks for no pool."""


@dataclass(frozen=True)
class MethodEntry:
    """One method, as task files and manifests know it."""

    steers: frozenset[str]
    """Of "noise", "residual" and "latent", those without which it is not this method."""
    reads: frozenset[str]
    """Settings that it reads beside `SHARED`."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Settings whose default is another than the common one: the paper's, or what makes it this method."""
    kind: str = "squashed"
    """How it acts (`robot_rl.adapters.acting.make_adapter`): squashed, latent, perturbation or chunk."""
    gated_warmup: bool = False
    """The untrained actor acts in the warm-up as its gate lets it, not the base policy alone."""
    may_steer: frozenset[str] = frozenset()
    """What it steers beside these where its settings say so; the others it leaves alone."""
    extras: str = ""
    """What its replay holds beside the common row (`robot_rl.learn.extras`): latents, base_chunks or nothing."""


METHODS: Mapping[str, MethodEntry] = {
    "usr": MethodEntry(
        frozenset({"noise"}),
        SAMPLED | NOISE | RESIDUAL | ALIASED | {"residual_horizon"},
        may_steer=frozenset({"residual"}),
    ),
    "usr-sac": MethodEntry(
        frozenset({"noise", "residual"}), SAMPLED | NOISE | RESIDUAL | {"residual_horizon"}, UNALIASED
    ),
    "dsrl-na": MethodEntry(frozenset({"noise"}), SAMPLED | NOISE | ALIASED),
    "dsrl-sac": MethodEntry(frozenset({"noise"}), SAMPLED | NOISE, UNALIASED),
    "policy-decorator": MethodEntry(
        frozenset({"residual"}),
        SAMPLED | RESIDUAL | {"residual_horizon"},
        {**UNALIASED, "noise_layout": "none", "learning_rate": 1e-4, "actor_learning_rate": 1e-4},
        gated_warmup=True,
        extras="base_chunks",
    ),
    "residual-rl": MethodEntry(
        frozenset({"residual"}),
        SAMPLED | {"residual_layout", "residual_std"},
        {**UNALIASED, "noise_layout": "none", "residual_layout": "constant", "residual_scale": "full"},
        extras="base_chunks",
    ),
    "zprl": MethodEntry(
        frozenset({"latent"}),
        SAMPLED | {"latent_scale", "latent_rank"},
        {
            **UNALIASED,
            "noise_layout": "none",
            "latent_scale": 0.2,
            "actor_learning_rate": 1e-4,
            "tau": 0.005,
            "gamma": 0.99,
            "layers": 4,
            "critics": 5,
            "initial_temperature": 0.01,
        },
        kind="latent",
        extras="latents",
    ),
    "lp-ds": MethodEntry(
        frozenset({"noise"}),
        NOISE | ALIASED | {"trust_region", "dual_rate", "critic"},
        {"noise_bound": 2.5, "gamma": 0.99, "distill_steps": 10},
        kind="perturbation",
    ),
    "rlpd": MethodEntry(
        frozenset({"residual"}),
        SAMPLED | {"residual_layout", "demonstrations"},
        {
            **UNALIASED,
            "prior_share": 0.5,
            "noise_layout": "none",
            "residual_layout": "per_step",
            "residual_scale": "full",
            "critics": 10,
            "gamma": 0.99,
            "tau": 0.005,
        },
        kind="chunk",
    ),
}


def method_of(name: str) -> str:
    """The method that an entry of a task file is of: "lp-ds" of "lp-ds", and of its variant "lp-ds:paper"."""
    return name.partition(":")[0]


def entry_of(name: str) -> MethodEntry:
    """The entry of the method that `name` is, or is a variant of. Raises `KeyError`."""
    return METHODS[method_of(name)]


def with_defaults(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` over the defaults of the method of `name`."""
    return {**entry_of(name).defaults, **settings}


def objections(name: str, settings: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """What is wrong with `settings` for entry `name`, one line each; settings that are not `known` are left."""
    method, colon, variant = name.partition(":")
    if method not in METHODS or bool(colon) != bool(variant):
        return [f"methods.{name}: no such method{nearest(method, METHODS)}; a variant is METHOD:VARIANT"]
    entry = METHODS[method]
    reads = SHARED | entry.reads
    lines = [
        f"methods.{name}.{setting}: {method} does not read this setting; take it out{nearest(setting, reads)}"
        for setting in settings
        if setting in known and setting not in reads
    ]
    chosen = with_defaults(name, settings)
    if "noise" in entry.steers and chosen.get("noise_layout") == "none":
        lines.append(f"methods.{name}.noise_layout: {method} steers the noise: expected full, repeat or low_rank")
    if method == "lp-ds" and settings.get("demonstrations") is not None and chosen.get("critic") == "td":
        lines.append(f"methods.{name}.demonstrations: critic: td judges steers, and an expert has none; take one out")
    if "noise_rank" in settings and chosen.get("noise_layout") != "low_rank":
        lines.append(f"methods.{name}.noise_rank: is read with noise_layout: low_rank only; take it out")
    if "residual" in entry.steers and chosen.get("residual_layout", "none") == "none":
        lines.append(f"methods.{name}.residual_layout: {method} needs one: expected constant or per_step")
    return lines


def reservations(name: str, settings: Mapping[str, Any]) -> list[str]:
    """What no run should be begun with, one line each, of settings without `objections`.

    They have no effect where they stand, or not the one that is meant; a run that was begun with them goes on.
    """
    entry, chosen = entry_of(name), with_defaults(name, settings)
    lines = []
    if chosen.get("residual_layout", "none") == "none":
        lines += [
            f"methods.{name}.{setting}: is read with a residual_layout only; give one (constant or per_step)"
            for setting in ("residual_scale", "residual_std", "residual_horizon")
            if setting in settings and setting in entry.reads
        ]
    if "noise_seed" in settings and chosen.get("noise_layout") != "low_rank":
        lines.append(f"methods.{name}.noise_seed: is read with noise_layout: low_rank only; take it out")
    if chosen.get("critic") == "td":
        lines += [
            f"methods.{name}.{setting}: critic: td distils nothing; take it out"
            for setting in ("distill_steps", "bootstrap")
            if setting in settings
        ]
    if chosen.get("entropy_in_target") and chosen.get("clip_targets", True):
        lines.append(
            f"methods.{name}.entropy_in_target: the entropy's worth is not between 0 and 1, where targets are clipped; "
            "set clip_targets: false with it"
        )
    return lines
