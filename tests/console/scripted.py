"""A scripted `OperatorPort`: the console's tests and its screenshots need a session without an actor or a twin.

It follows the states of a session closely enough for a page (who may do what when), counts what reached it, and paints
its own camera pictures. What the real session allows is tested with the session.
"""

from __future__ import annotations

import functools
import io
import math
import random
import threading
import time
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

from robot_rl.console.port import Frame
from robot_rl.errors import IllegalTransition, LabelConflict
from robot_rl.task_files import TASKS_DIR

LEGAL = {
    "arm": ("DISARMED",),
    "run": ("PAUSED",),
    "pause": ("RUNNING", "HOMING"),
    "end": ("RUNNING",),
    "label": ("AWAIT_LABEL", "RUNNING", "HOMING"),
    "reset_done": ("AWAIT_RESET",),
    "clear": ("STOPPED", "FAULT"),
}
PHASES = {
    "DISARMED": "ready",
    "RUNNING": "episode",
    "HOMING": "homing",
    "AWAIT_LABEL": "label",
    "AWAIT_RESET": "reset",
    "FINISHED": "finished",
}
"""Of the states that are a phase's own; where nothing is acted upon, `ScriptedPort.phase` stays."""
WHY = {
    "DISARMED": "not armed yet",
    "PAUSED": "paused by the operator",
    "RUNNING": "adapter version 41",
    "HOMING": "time limit of 120 steps",
    "AWAIT_LABEL": "time limit of 120 steps",
    "AWAIT_RESET": "labelled success by the operator",
    "STOPPED": "operator_stop: STOP on the operator's page (by page)",
    "FAULT": "robot_fault: joint 4 torque reflex",
    "FINISHED": "labelled success by the operator",
}


class ScriptedPort:
    """Everything that was asked of it is in `commands`, `stops` and `renewals`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._started = time.monotonic()
        self.briefing = (TASKS_DIR / "lid_opening.txt").read_text().strip()
        self._pictures = {name: _pictures(name) for name in ("front", "side", "wrist")}
        self._frames: dict[str, Frame] = {}
        self.epoch = 3
        """Of the guard, which outlives sessions: it never goes back."""
        self.restart()

    def restart(self, state: str = "RUNNING", episode: int = 42, auto_label: bool = False) -> None:
        """Forget everything: a new session in `state`, with `episode` - 1 labelled episodes behind it."""
        self.state = state
        self.episode = episode
        self.auto_label = auto_label
        self.epoch += 1
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.stops: list[float] = []
        self.renewals: list[float] = []
        self.labels: list[tuple[int, str]] = []
        """(episode, value), append-only; an episode's revision is the number of its newest."""
        self.lost: Exception | None = None
        """Raised by `snapshot` when set: the actor does not answer."""
        self.waits = False
        """RUNNING, but the learner is not there yet and no episode has begun."""
        self.twin = False
        self.phase = PHASES.get(state, "episode")
        self.closed = False
        """The present episode is in the store."""
        self.cut_off: dict[int, str] = {}
        """Episode -> how it ended, of those that are not complete."""
        self.alarms: list[str] = []
        self.heard: int | None = None
        """The newest label that the learner follows; None: all of them."""
        self.held = False
        """RUNNING or PAUSED, but the guard holds the robot."""
        self.holds_for = "operator_silent"
        self.updates = 1640
        self.frozen_camera: str | None = None
        """Its name, or "all"."""
        self._revision = 1
        rng = random.Random(7)
        self.effect: dict[str, Any] = {
            "newest": {
                "episode": episode - 1, "adapter_version": max(0, episode - 3), "chunks": 9, "noise_rms": 0.3128,
                "residual_mm": 0.8204, "latent_shift": None, "latent_rms": None, "speed_m_s": 0.1432,
                "acceleration_m_s2": 1.263,
            },
            "frozen": {"episodes": 10, "speed_m_s": 0.1518, "acceleration_m_s2": 1.871},
        }  # fmt: skip
        """None of both before the first episode is over."""
        self.place: dict[str, Any] | None = None
        """Where the object of an evaluation goes."""
        self.warmup = {"episodes": 10, "frozen": True}
        self.losses = {"td_loss": 0.0124, "q": 0.613, "temperature": float("nan"), "entropy": 0.0213}
        self.scatter: dict[str, Any] | None = _scatter(random.Random(8), episode)
        for past in range(1, episode):
            rises = 0.38 + 0.54 / (1 + math.exp(-(past - 17) / 5))
            self.labels.append((past, "success" if rng.random() < rises else "failure"))

    # --- the port ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        if self.lost is not None:
            raise self.lost
        with self._lock:
            latched = self.state in ("STOPPED", "FAULT")
            labels = dict(self.labels)
            curve = [[e, int(v == "success")] for e, v in sorted(labels.items()) if v != "discard"]
            return {
                "revision": self._revision,
                "lists": f"{id(self)}.{self.episode}.{len(labels)}",
                "state": self.state,
                "phase": self.phase,
                "why": "waiting for the learner" if self.waits else WHY[self.state],
                "task": "lid_opening",
                "title": "Open the lid of a bin",
                "briefing": self.briefing,
                "method": "usr",
                "run": "lid_opening-usr-0",
                "pace": "real time",
                "episode": self.episode,
                "episodes_planned": 100,
                "step": 37,
                "max_steps": 120,
                "adapter_version": self.episode - 1,
                "auto_label": self.auto_label,
                "twin": self.twin,
                "awaiting_label": self.episode if self.state == "AWAIT_LABEL" else None,
                "safety": {
                    "level": {"STOPPED": "STOP", "FAULT": "FAULT"}.get(self.state, "HOLD" if self.held else "OK"),
                    "epoch": self.epoch,
                    "causes": [self._cause()] if latched or self.held else [],
                },
                "verdicts": {"pass": 2914, "clipped": 61, "held": 3, "rejected": 0},
                "learner": {
                    "alive": True,
                    "updates": self.updates,
                    "version": self.episode - 1,
                    "utd_wanted": 5.0,
                    "utd_reached": 4.96,
                    "utd_reason": "updates take 36 ms each and 18 are owed: the newest episodes are being worked off",
                    "updates_per_second": 27.8,
                    "losses": self.losses,
                    "label_watermark": len(self.labels) if self.heard is None else self.heard,
                },
                "policy": {"served": True, "times": {"trips": 64, "p50_ms": 23.4, "p95_ms": 41.9}},
                "effect": self.effect,
                "scatter": self.scatter,
                "place": self.place,
                "warmup": self.warmup,
                "base_success": 0.41,
                "base_trials": 100,
                "curve": curve,
                "episodes": [
                    self._row(episode, labels.get(episode)) for episode in range(1, self.episode + self.closed)
                ],
                "cameras": list(self._pictures),
                "alarms": list(self.alarms),
                "allowed": {name: self._refusal(name) for name in (*LEGAL, "undo", "stop")},
            }

    def command(self, name: str, args: dict[str, Any], author: str) -> dict[str, Any]:
        with self._lock:
            self.commands.append((name, args))
            if name == "label" and (args["episode"] != self.episode or "expected_revision" in args):
                return self._correct(args)
            refusal = self._refusal(name)
            if refusal is not None:
                raise IllegalTransition(f"{name}: {refusal}")
            if name == "label":
                self.labels.append((self.episode, args["value"]))
                self.closed = True
            asked = self.state
            if name == "undo":
                self.labels.append((args["episode"], ["discard", *self.history(args["episode"])][-2]))
                if args["episode"] == self.episode:
                    asked = "AWAIT_LABEL" if self.state == "AWAIT_RESET" else "AWAIT_RESET"
            if name == "reset_done":
                self.episode += 1
                self.closed = False
            following = {"arm": "PAUSED", "run": "RUNNING", "pause": "PAUSED", "end": "AWAIT_LABEL", "clear": "PAUSED",
                         "label": "AWAIT_RESET", "reset_done": "RUNNING", "undo": asked,
                         "take_over": "PAUSED"}  # fmt: skip
            if name != "take_over" or self.state in LEGAL["pause"]:
                self.become(following.get(name, self.state))
            return {"state": self.state, **({"value": self.labels[-1][1]} if name == "undo" else {})}

    def stop(self, author: str) -> dict[str, Any]:
        with self._lock:
            self.stops.append(time.monotonic())
            self.epoch += 1
            self.become("STOPPED")
            return {"level": "STOP", "epoch": self.epoch, "causes": [self._cause()]}

    def renew(self) -> None:
        self.renewals.append(time.monotonic())

    def frame(self, camera: str) -> Frame | None:
        pictures = self._pictures.get(camera)
        if pictures is None:
            return None
        elapsed_ms = 1000 * (time.monotonic() - self._started)
        if self.frozen_camera in (camera, "all") and camera in self._frames:
            seq = self._frames[camera].seq
        else:
            seq = int(elapsed_ms // 50)
        self._frames[camera] = Frame(seq, elapsed_ms - 50 * seq + 6.0, pictures[seq % len(pictures)])
        return self._frames[camera]

    # --- the script -------------------------------------------------------------------------------------------------

    def become(self, state: str) -> None:
        with self._lock:
            self.state = state
            self.phase = PHASES.get(state, self.phase)
            self._revision += 1

    def _refusal(self, name: str) -> str | None:
        if self.waits and name in ("end", "label"):
            return "no episode runs"
        legal = LEGAL.get(name)
        if legal is None or self.state in legal:
            return None
        return f"only in {' or '.join(legal)}".replace("_", " ").lower()

    def _cause(self) -> dict[str, Any]:
        if self.held:
            return {
                "id": f"{self.holds_for}-9",
                "kind": self.holds_for,
                "level": "HOLD",
                "detail": "no renewal for 500 ms",
                "clears": "the operator's deadline is renewed",
            }
        fault = self.state == "FAULT"
        return {
            "id": f"stop-{self.epoch}",
            "kind": "robot_fault" if fault else "operator_stop",
            "level": "FAULT" if fault else "STOP",
            "detail": "joint 4 torque reflex" if fault else "STOP on the operator's page (by page)",
            "clears": "operator",
        }

    def _row(self, episode: int, label: str | None) -> dict[str, Any]:
        steps = 120 if label != "success" else 58 + 7 * episode % 31
        return {
            "episode": episode,
            "label": label,
            "author": "page" if label else None,
            "adapter_version": max(0, episode - 2),
            "steps": steps,
            "ended_by": self.cut_off.get(episode) or ("success" if label == "success" else "timeout"),
            "complete": episode not in self.cut_off,
            "revision": self._label_revision(episode),
            "corrected": len(self.history(episode)) > 1,
            "started_wall_s": 1.8e9 + 48.0 * episode,
        }

    def _correct(self, args: dict[str, Any]) -> dict[str, Any]:
        if args.get("expected_revision") != self._label_revision(args["episode"]):
            raise LabelConflict(f"episode {args['episode']} has been labelled since; look at it again")
        self.labels.append((args["episode"], args["value"]))
        self._revision += 1
        return {"revision": len(self.labels)}

    def history(self, episode: int) -> list[str]:
        """The labels of an episode, oldest first."""
        return [value for labelled, value in self.labels if labelled == episode]

    def _label_revision(self, episode: int) -> int:
        return max((seq for seq, (labelled, _) in enumerate(self.labels, start=1) if labelled == episode), default=0)


def place(index: int) -> dict[str, Any]:
    """Of ten places on the table of the pictures, the one of `index` is due; the last is not in the front one."""
    grid = [[0.47 + 0.1 * (i % 5), 0.72 + 0.13 * (i // 5)] for i in range(10)]
    return {
        "index": index,
        "repeat": 1,
        "repeats": 2,
        "places": [{"x": 0.63 + 0.06 * (i // 5), "y": 0.096 - 0.048 * (i % 5)} for i in range(10)],
        "marks": {"front": [*grid[:-1], None], "side": grid},
    }


def _scatter(rng: random.Random, episode: int) -> dict[str, Any]:
    """Two ways of the frozen policy, one of them chosen, and that one moved up a little."""

    def around(y: float, z: float, spread: float) -> list[float]:
        return [round(y + rng.gauss(0, spread), 2), round(z + rng.gauss(0, spread), 2)]

    steered = [around(-21, -4, 1.4) for _ in range(32)]
    return {
        "episode": episode - 1,
        "adapter_version": max(0, episode - 3),
        "axes": ["y", "z"],
        "base": [around(rng.choice([-22, 24]), -3, 4) for _ in range(32)],
        "steered": steered,
        "final": [[y + 0.4, z + 5.2] for y, z in steered],
        "base_spread_mm": 23.61,
        "final_spread_mm": 2.043,
        "moved_mm": 23.18,
    }


@functools.cache
def _pictures(camera: str, frames: int = 24) -> list[bytes]:
    """A schematic arm at a table, moving; [frames] JPEG files of 640 x 480 (the wrist: 480 x 480)."""
    pictures = []
    for index in range(frames):
        swing = math.sin(2 * math.pi * index / frames)
        width, height = (480, 480) if camera == "wrist" else (640, 480)
        image = Image.new("RGB", (width, height), (58, 64, 72))
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, height * 0.58, width, height), fill=(151, 134, 112))
        left = width * (0.60 if camera == "front" else 0.45)
        draw.rectangle((left, height * 0.60, left + 110, height * 0.84), fill=(70, 112, 150))
        lid = height * 0.57 - 18 * max(0, swing)
        draw.polygon(
            [
                (left, height * 0.60),
                (left + 110, height * 0.60),
                (left + 118, lid),
                (left + 6, height * 0.57),
            ],
            fill=(96, 146, 188),
        )
        tip = (left + 12 - 46 * (1 - swing) / 2, height * 0.55)
        elbow = (width * 0.36, height * (0.20 + 0.02 * swing))
        joints = [(width * 0.14, height * 0.72), (width * 0.16, height * 0.36), elbow, tip]
        draw.line(joints, fill=(232, 234, 236), width=30, joint="curve")
        for x, y in joints[:-1]:
            draw.ellipse((x - 20, y - 20, x + 20, y + 20), fill=(196, 201, 207))
        draw.rectangle((tip[0] - 13, tip[1] - 6, tip[0] + 13, tip[1] + 26), fill=(52, 56, 62))
        buffer = io.BytesIO()
        image.filter(ImageFilter.GaussianBlur(0.8)).save(buffer, "JPEG", quality=82)
        pictures.append(buffer.getvalue())
    return pictures
