"""One episode: observe, encode, steer, decode, check, and send the chunk step by step; a transition for each chunk.

Only commands that were carried out count as steps. A held one (paused, operator silent) is offered again; a rejected
one ends its chunk, and another is planned. A transition is written when the next chunk has moved the robot, or the
episode is over: so the last one, and no other, says how it ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from robot_rl.control.asking import Asker
from robot_rl.control.chunk_buffer import ChunkBuffer
from robot_rl.control.motion import Motion
from robot_rl.control.ports import EpisodeRecord, Recorder
from robot_rl.errors import BadObservation, ContextMiss, DeadlineMissed, PolicyReplaced, RobotFault, WireError
from robot_rl.protocols import Adapter, FrozenPolicy
from robot_rl.types import ActionChunk, Array, CommandResult, Context, Observation, Steering, Transition, Verdict

CHUNK_IDS = 100_000
"""The chunk ids of an episode begin at this times its number."""
REJECTIONS = 3
"""Chunks rejected in a row that end an episode."""
LAST_LOOKS = 5
"""Attempts to encode an observation for an episode that is over."""
PASSING = (DeadlineMissed, BadObservation, ContextMiss, WireError, PolicyReplaced)
"""What may be over at the next attempt: a server that is slow, starts again or has the wrong model; a camera without a
picture."""


class Seen(NamedTuple):
    """An observation, and what the policy makes of it."""

    observation: Observation
    context: Context
    """Of batch 1."""


class EpisodeRun:
    """One episode under way: `run` it once, from its beginning to its end."""

    def __init__(
        self,
        motion: Motion,
        policy: FrozenPolicy,
        adapter: Adapter,
        recorder: Recorder,
        *,
        episode: int,
        max_steps: int,
        discount: float,
        rng: np.random.Generator,
        explore: bool = True,
    ) -> None:
        """At most `max_steps` control steps; `discount` per chunk; `explore` lets the adapter sample."""
        self.steps = 0
        """Control steps carried out so far."""
        self._motion, self._session = motion, motion.session
        self._policy, self._adapter, self._recorder = policy, adapter, recorder
        self._asker = Asker(policy, motion, self._hold)
        self._episode, self._max_steps, self._discount = episode, max_steps, discount
        self._rng, self._explore = rng, explore
        self._verdicts: Counter[Verdict] = Counter()
        self._chunks = self._rejected = self._transitions = 0
        self._previous: Steering | None = None
        self._due: Transition | None = None
        self._causes: frozenset[str] = frozenset()
        self._held_for = ""

    def run(self) -> EpisodeRecord:
        """Until its time limit, the operator, a stop or a fault ends it; the session says which."""
        self._motion.begin()
        try:
            whole = self._chunk_after_chunk()
        finally:
            self._motion.end()
        ended_by = self._session.now.ended_by
        assert ended_by is not None  # the session has just said that the episode is over
        terminal, truncated = ended_by in ("success", "failure", "operator"), ended_by == "timeout"
        if whole and self._due is not None:
            self._due = replace(self._due, terminal=terminal, truncated=truncated)
        self._write_due()
        return EpisodeRecord(
            ended_by=ended_by,
            steps=self.steps,
            transitions=self._transitions,
            terminal=terminal,
            truncated=truncated,
            complete=whole and self._transitions > 0 and ended_by not in ("fault", "aborted"),
            verdicts={verdict.value: self._verdicts[verdict] for verdict in Verdict},
        )

    def _chunk_after_chunk(self) -> bool:
        """Whether every chunk that moved the robot has its transition."""
        seen = self._look()
        while self._session.in_episode:
            chunk = self._plan(seen) if seen else None
            buffer = self._execute(chunk) if chunk else None
            after = self._look()
            if seen and buffer and buffer.k_executed > 0:
                if after is None:
                    return False
                self._write_due()
                self._due = self._transition(buffer, seen.context, after.context)
            seen = after
        return True

    def _look(self) -> Seen | None:
        """Encode the newest observation. Holds and tries again while that fails; None if it fails to the end."""
        attempts = 0
        while self._session.in_episode or attempts < LAST_LOOKS:
            attempts += 1
            try:
                observation = self._motion.port.observe()
                return Seen(observation, self._asker.encode(observation))
            except PASSING as error:
                self._hold(f"holding, the policy makes nothing of what it sees: {error}")
            except RobotFault:  # latched by the guard: the session hears of it now, and the episode is over
                self._motion.tend()
        return None

    def _plan(self, seen: Seen) -> ActionChunk | None:
        """A chunk that may begin; None after holding for one control period instead."""
        steering = self._adapter.steer(seen.context, self._rng, explore=self._explore, previous=self._previous)
        latent = None if steering.latent is None else steering.latent[None]
        try:
            base = self._asker.decode(seen.context, steering.noise[None], latent)[0]
        except PASSING as error:
            self._hold(f"holding, the policy gives no chunk: {error}")
            return None
        chunk = self._chunk(seen.observation, steering, base)
        refusal = self._motion.port.check(chunk.final)
        if refusal is not None:
            self._reject(chunk, refusal)
            self._verdicts[Verdict.REJECTED] += 1
            self._motion.totals[Verdict.REJECTED] += 1
            self._hold(f"a chunk was rejected: {refusal}")
            return None
        self._previous = steering
        return chunk

    def _chunk(self, seen: Observation, steering: Steering, base: Array) -> ActionChunk:
        """The next chunk: of what `steering` asks for, `base` [T, A] being what the policy decoded of it."""
        spec = self._policy.spec
        chunk = ActionChunk(
            id=self._episode * CHUNK_IDS + self._chunks,
            observation_seq=seen.seq,
            space=spec.action_space.kind,
            step_s=spec.step_s,
            base=base,
            final=base + steering.residual if steering.chunk is None else steering.chunk,
            steer=steering.steer,
            noise=steering.noise,
            policy_id=spec.policy_id,
            adapter_version=self._adapter.version,
        )
        self._chunks += 1
        return chunk

    def _execute(self, chunk: ActionChunk) -> ChunkBuffer:
        """Send the chunk, row by row, until it is used up, one is rejected or the episode is over."""
        buffer = ChunkBuffer(chunk)
        self._recorder.chunk(chunk, self._motion.epoch)
        while (target := buffer.target) is not None and self._session.in_episode:
            if self._session.paused:
                self._motion.rest()
                self._note_safety()
                continue
            result = self._motion.step(target, chunk.id, buffer.k_executed)
            self._verdicts[result.verdict] += 1
            self._write_step(result)
            if result.verdict is Verdict.REJECTED:
                buffer.cut(result.sent)
                self._reject(chunk, result.reason)
            elif result.verdict is not Verdict.HELD:
                buffer.sent(result.sent)
                self._held_for = ""
                self._rejected = 0
                self.steps += 1
                self._session.explain(f"adapter version {self._adapter.version}")
                if self.steps >= self._max_steps:
                    self._session.end_episode("timeout", f"time limit of {self._max_steps} steps")
        return buffer

    def _transition(self, buffer: ChunkBuffer, context: Context, after: Context) -> Transition:
        chunk = buffer.chunk
        transition = Transition(
            episode=self._episode,
            index=self._transitions,
            features=context.features[0],
            next_features=after.features[0],
            noise=chunk.noise,
            steer=chunk.steer,
            base_chunk=chunk.base,
            executed_chunk=buffer.executed,
            k_executed=buffer.k_executed,
            discount=self._discount,
            terminal=False,
            truncated=False,
            z=None if context.z is None else context.z[0],
            next_z=None if after.z is None else after.z[0],
        )
        self._transitions += 1
        return transition

    def _write_due(self) -> None:
        if self._due is not None:
            self._recorder.write_transition(self._due)
            self._due = None

    def _reject(self, chunk: ActionChunk, reason: str) -> None:
        """The chunk is not (further) executed; too many in a row are a fault of the policy, not of the episode."""
        self._previous = None  # what goes on from a refused decision is likely to be refused too
        self._rejected += 1
        self._write("/rejected", {"chunk": chunk.id, "reason": reason, "final": chunk.final.tolist()})
        if self._rejected >= REJECTIONS:
            self._session.end_episode("fault", f"{REJECTIONS} chunks rejected in a row, the last one: {reason}")

    def _hold(self, why: str) -> None:
        """One period of holding, counted; each new reason is recorded."""
        self._session.explain(why)
        if why != self._held_for:
            self._held_for = why
            self._write("/held", {"why": why})
        self._verdicts[Verdict.HELD] += 1
        self._motion.totals[Verdict.HELD] += 1
        self._motion.hold()
        self._note_safety()

    def _write_step(self, result: CommandResult) -> None:
        command, seen = result.command, result.observation
        message = {
            "chunk": command.chunk_id,
            "row": command.index,
            "epoch": command.epoch,
            "target": command.target.tolist(),
            "sent": result.sent.tolist(),
            "verdict": result.verdict.value,
            "reason": result.reason,
            "seq": seen.seq,
            "tcp_pose": seen.tcp_pose.tolist(),
            "gripper_width": seen.gripper_width,
            "q": seen.q.tolist(),
            "extra": {name: array.tolist() for name, array in seen.extra.items()},
        }
        self._recorder.write("/steps", result.stamp_ns, message)
        self._note_safety()

    def _note_safety(self) -> None:
        """Record the guard's word whenever its causes have changed."""
        safety = self._motion.port.safety
        causes = frozenset(cause.id for cause in safety.causes)
        if causes != self._causes:
            self._causes = causes
            reasons = [{"id": c.id, "kind": c.kind, "detail": c.detail} for c in safety.causes]
            self._write("/safety", {"level": safety.level.name, "epoch": safety.epoch, "causes": reasons})

    def _write(self, topic: str, message: Mapping[str, Any]) -> None:
        self._recorder.write(topic, self._motion.clock.now_ns(), message)
