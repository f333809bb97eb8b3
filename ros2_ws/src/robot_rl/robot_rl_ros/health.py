"""How a node is, from what it knows: pure functions, whose outcome `diagnostics` publishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from robot_rl.clock import MS, SECOND
from robot_rl.types import SafetyLevel, SafetyState

SLOW = 0.9
"""Share of the wanted rate below which a rate is one to look at."""
SILENT_S = 2.0
"""A camera that has shown nothing for so long is one to look at."""
STALE_S = 30.0
"""A learner that has said nothing for so long, while it works, hangs."""
LOW_DISK = 2**30
"""Bytes."""


class Level(IntEnum):
    """As diagnostic_msgs has it."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Health:
    """One status."""

    level: Level
    message: str
    values: Mapping[str, Any]


@dataclass
class Rate:
    """Counts what happens; `per_s` says how often since it was asked last."""

    begun_ns: int
    _count: int = field(default=0, repr=False)

    def tick(self) -> None:
        self._count += 1

    def per_s(self, now_ns: int) -> float:
        """0 when no time has gone by."""
        elapsed, count = now_ns - self.begun_ns, self._count
        self.begun_ns, self._count = now_ns, 0
        return count * SECOND / elapsed if elapsed > 0 else 0.0


def robot_health(safety: SafetyState, control_hz: float, rate_hz: float, age_ns: int) -> Health:
    """`rate_hz`: control periods carried out, of `control_hz`; `age_ns`: of the newest observation."""
    causes = "; ".join(f"{cause.kind}: {cause.detail}" for cause in safety.causes)
    values = {
        "safety": safety.level.name,
        "epoch": safety.epoch,
        "causes": causes,
        "control rate [Hz]": f"{rate_hz:.2f}",
        "wanted rate [Hz]": f"{control_hz:.2f}",
        "observation age [ms]": f"{age_ns / MS:.1f}",
    }
    if safety.level >= SafetyLevel.STOP:
        return Health(Level.ERROR, f"{safety.level.name}: {causes}", values)
    if rate_hz < SLOW * control_hz:
        return Health(Level.WARN, f"{rate_hz:.1f} Hz of {control_hz:g}", values)
    if safety.level is SafetyLevel.HOLD:
        return Health(Level.OK, f"holds: {causes}", values)
    return Health(Level.OK, "moves", values)


def learner_health(status: Mapping[str, Any] | None, age_s: float) -> Health:
    """`status`: learner.json, None before its first word; `age_s`: since it was written."""
    if status is None:
        return Health(Level.STALE, "has not said anything yet", {})
    names = {"updates": "updates", "version": "adapter version", "chunks": "chunks", "utd_wanted": "UTD wanted"}
    values = {words: status.get(name, "") for name, words in names.items()}
    values["UTD reached"] = f"{float(status.get('utd_reached') or 0.0):.2f}"
    values["updates per second"] = f"{float(status.get('updates_per_second') or 0.0):.1f}"
    values["status age [s]"] = f"{age_s:.1f}"
    reason, alarms = str(status.get("utd_reason") or ""), [str(alarm) for alarm in status.get("alarms", ())]
    if alarms:
        return Health(Level.WARN, "; ".join(alarms), values)
    return Health(Level.OK, reason or "learns", values)


def camera_health(rates_hz: Mapping[str, float], silent_s: Mapping[str, float]) -> Health:
    """Camera -> frames per second, and -> seconds since its newest one."""
    values = {f"{name} [Hz]": f"{rate:.1f}" for name, rate in rates_hz.items()}
    late = [name for name, seconds in silent_s.items() if seconds > SILENT_S]
    if late:
        return Health(Level.WARN, f"no picture for {SILENT_S:g} s: {', '.join(late)}", values)
    return Health(Level.OK, "shows", values)


def recorder_health(disk_free: int, labels: int) -> Health:
    """`disk_free`: bytes where the run is; `labels`: of the run, by the newest one's revision."""
    values = {"disk free [GiB]": f"{disk_free / 2**30:.2f}", "labels": labels}
    if disk_free < LOW_DISK:
        return Health(Level.WARN, f"{disk_free / 2**20:.0f} MiB of disk left", values)
    return Health(Level.OK, "records", values)


def actor_health(state: str, why: str, episode: int, verdicts: Mapping[str, int]) -> Health:
    """`verdicts` on commands since the actor began: pass, clipped, held, rejected."""
    values = {"state": state, "episode": episode, **{f"commands {name}": count for name, count in verdicts.items()}}
    asked: Sequence[str] = ("STOPPED", "FAULT")
    return Health(Level.ERROR if state in asked else Level.OK, f"{state}: {why}", values)
