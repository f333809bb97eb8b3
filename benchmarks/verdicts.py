"""What a table of methods says in words: who is better than the frozen policy, near its ceiling, best, most diverse.

Every sentence is computed from the summary (`benchmarks.summary`), whichever way it comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.summary import REFERENCE, key_of
from robot_rl.task_files import load_task

NEAR = 0.15
"""Of its interface's ceiling, from which a method counts as having learnt what could be learnt."""
APART = 0.15
"""What both parts of USR are worth on the strict task, over a bounded residual alone."""
DIVERSE, STEERED = "lp-ds", ("dsrl-na", "dsrl-sac")
STRICT, BOUNDED = "lid_opening_strict", "policy-decorator"


def sentences(task: str, methods: Sequence[str], summary: Mapping[str, Any]) -> list[str]:
    """Of the `methods` that `task` has on record, in the table's order."""
    found = [_better(task, methods, summary), _near(task, methods, summary), _best(task, methods, summary)]
    found += [_needs_both(task, methods, summary)]
    found += [_diversity(task, other, summary) for other in STEERED if {DIVERSE, other} <= set(methods)]
    found += [_dual(task, summary)] if DIVERSE in methods else []
    found += [_latched(task, methods, summary), _diverged(task, methods, summary)]
    return [words for words in found if words]


def in_short(task: str, methods: Sequence[str], summary: Mapping[str, Any]) -> str:
    """The most important of the `sentences`, as a paragraph."""
    found = (_near(task, methods, summary), _best(task, methods, summary), _needs_both(task, methods, summary))
    return " ".join(words for words in found if words)


def _better(task: str, methods: Sequence[str], summary: Mapping[str, Any]) -> str:
    highest = summary[f"{task}_base_interval"][1]
    better = [method for method in methods if summary[f"{key_of(task, method)}_interval"][0] > highest]
    return (
        f"Better than the frozen policy ({summary[f'{task}_base']:.2f}), their 95 % intervals apart: "
        f"{_listed(better)}; not: {_listed(method for method in methods if method not in better)}."
    )


def _near(task: str, methods: Sequence[str], summary: Mapping[str, Any]) -> str:
    """Beside each that lies further below: what its critic expects, a sign of whether it overrates its own actor."""
    measured = [method for method in methods if f"{key_of(task, method)}_ceiling" in summary]
    if not measured:
        return ""
    near, far = [], []
    for method in measured:
        key = key_of(task, method)
        mean, ceiling = summary[f"{key}_mean"], summary[f"{key}_ceiling"]
        if mean >= ceiling - NEAR:
            near.append(method)
        else:
            expected = f"its critic expects {summary[f'{key}_actor_value']:.2f}"
            far.append(f"`{method}` ({mean:.2f} of {ceiling:.2f}; {expected})")
    words = f"No more than {100 * NEAR:.0f} points below its ceiling: {_listed(near)}; further below: "
    words += f"{', '.join(far) or 'none'}."
    return words + (
        " A critic that expects far more than the success that was measured overrates its actor." if far else ""
    )


def _best(task: str, methods: Sequence[str], summary: Mapping[str, Any]) -> str:
    if REFERENCE not in methods or len(methods) == 1:
        return ""
    best = max(methods, key=lambda method: summary[f"{key_of(task, method)}_mean"])
    lowest = summary[f"{key_of(task, best)}_interval"][0]
    alike = [m for m in methods if m != best and summary[f"{key_of(task, m)}_interval"][1] >= lowest]
    return f"Highest mean: `{best}`; with intervals that overlap its own: {_listed(alike)}."


def _needs_both(task: str, methods: Sequence[str], summary: Mapping[str, Any]) -> str:
    if task != STRICT or not {REFERENCE, BOUNDED} <= set(methods):
        return ""
    key = f"{task}_usr_minus_policy_decorator"
    word = "at least" if summary[key] >= APART else "less than"
    return (
        f"`{REFERENCE}` minus `{BOUNDED}`, paired by seed: {summary[key]:+.2f} (lower end, 95 %, one-sided: "
        f"{summary[f'{key}_lower_95']:+.2f}): {word} the margin of {APART:.2f} that was set beforehand for this task."
    )


def _diversity(task: str, other: str, summary: Mapping[str, Any]) -> str:
    """LP-DS against DSRL."""
    mine, theirs = key_of(task, DIVERSE), key_of(task, other)
    entropies = [summary[f"{key}_action_entropy"] for key in (mine, theirs, f"{task}_base")]
    (low, high), (other_low, other_high) = (summary[f"{key}_interval"] for key in (mine, theirs))
    apart = high < other_low or other_high < low
    return (
        f"`{DIVERSE}` keeps {'more' if entropies[0] > entropies[1] else 'less'} k-NN entropy of its chunks than "
        "`{}` ({:.0f} and {:.0f} nats, the frozen policy {:.0f}), ".format(other, *entropies)
        + f"at success {summary[f'{mine}_mean']:.2f} and {summary[f'{theirs}_mean']:.2f}, intervals "
        f"{'apart' if apart else 'overlapping'}."
    )


def _dual(task: str, summary: Mapping[str, Any]) -> str:
    """Where LP-DS's dual has brought the shift of the noise."""
    shift, region = summary[f"{key_of(task, DIVERSE)}_shift_squared"], load_task(task).method(DIVERSE).trust_region
    return (
        f"`{DIVERSE}` ends with ||Delta||^2 = {shift:.2f}, mean over states and seeds; its dual aims at {region:.2f}."
    )


def _latched(task: str, methods: Sequence[str], summary: Mapping[str, Any]) -> str:
    named = []
    for method in methods:
        stopped = summary.get(f"{key_of(task, method)}_latched_after", {})
        named += [f"`{method}` seed {seed} after {episodes}" for seed, episodes in stopped.items()]
    if not named:
        return ""
    return (
        f"Stopped for good by the guard before episode {summary[f'{task}_episodes']}, and judged by what was learnt "
        f"until then: {', '.join(named)}."
    )


def _diverged(task: str, methods: Sequence[str], summary: Mapping[str, Any]) -> str:
    seeds = {method: summary.get(f"{key_of(task, method)}_diverged_seeds", []) for method in methods}
    named = [f"`{method}` seed {seed}" for method, those in seeds.items() for seed in those]
    return f"Learning diverged, and what was learnt before is judged: {', '.join(named)}." if named else ""


def _listed(methods: Iterable[str]) -> str:
    return ", ".join(f"`{method}`" for method in methods) or "none"
