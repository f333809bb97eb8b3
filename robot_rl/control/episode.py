"""The control loop: one episode, from the first observation to the last transition.

    observe -> encode -> the adapter steers -> decode -> the chunk is checked -> its actions are submitted one by one

It is the same loop at both paces: `port.submit` returns when the control period has been carried out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from robot_rl.clock import MS, Clock
from robot_rl.control.chunk_buffer import ChunkBuffer
from robot_rl.errors import DeadlineMissed
from robot_rl.protocols import Adapter, FrozenPolicy, RobotPort
from robot_rl.types import ActionChunk, Array, CommandResult, Context, Observation, Transition, Verdict

CHUNKS_PER_EPISODE = 100_000
"""Chunk ids are episode * this + index."""
MISSES_IN_A_ROW = 3
"""So many chunks that were rejected or did not come in time end the episode as a fault."""


class EpisodePort(RobotPort, Protocol):
    """The robot's port as an episode needs it."""

    def check(self, chunk: Array) -> str | None:
        """Why the filter would reject `chunk` [T, A] from here, or None."""
        ...


@dataclass(frozen=True)
class Turn:
    """What is to happen after a control step."""

    ended_by: str | None = None
    """success, failure, timeout, operator, fault, aborted; None goes on."""
    replan: bool = False
    """The rest of the chunk is dropped (the robot was held in between)."""


class EpisodeLog(Protocol):
    """Who writes down what happens."""

    def chunk(self, chunk: ActionChunk, rejected: str | None) -> None: ...
    def result(self, result: CommandResult) -> None: ...
    def transition(self, transition: Transition) -> None: ...


@dataclass
class EpisodeRecord:
    """How an episode went."""

    ended_by: str = ""
    steps: int = 0
    """Control steps."""
    transitions: int = 0
    verdicts: dict[str, int] = field(default_factory=lambda: {verdict.value: 0 for verdict in Verdict})

    @property
    def terminal(self) -> bool:
        """Success or failure was seen; whether it counts as such is the label's to say."""
        return self.ended_by in ("success", "failure", "operator")

    @property
    def complete(self) -> bool:
        """It may be labelled and trained on."""
        return self.ended_by in ("success", "failure", "operator", "timeout") and self.transitions > 0


def plan(
    policy: FrozenPolicy,
    adapter: Adapter,
    context: Context,
    observation: Observation,
    rng: np.random.Generator,
    chunk_id: int,
    *,
    explore: bool,
) -> ActionChunk:
    """One chunk: the adapter steers, the policy decodes, the residual is added, within the action space."""
    spec = policy.spec
    steering = adapter.steer(context, rng, explore=explore)
    latent = None if steering.latent is None else steering.latent[None]
    base = policy.decode(context, steering.noise[None], latent)[0]
    final = np.clip(base + steering.residual, spec.action_space.low, spec.action_space.high)
    return ActionChunk(
        id=chunk_id,
        observation_seq=observation.seq,
        space=spec.action_space.kind,
        step_s=spec.step_s,
        base=base,
        final=final.astype(np.float64),
        steer=steering.steer,
        noise=steering.noise,
        policy_id=spec.policy_id,
        adapter_version=adapter.version,
    )


def run_episode(
    port: EpisodePort,
    policy: FrozenPolicy,
    adapter: Adapter,
    *,
    episode: int,
    max_steps: int,
    gamma: float,
    command_ms: float,
    rng: np.random.Generator,
    explore: bool,
    log: EpisodeLog,
    between: Callable[[CommandResult | None], Turn],
    clock: Clock,
) -> EpisodeRecord:
    """Run one episode and write it down; `between` is asked after every control step (None: no step was made).

    A chunk that the filter rejects, or a policy that misses its deadline, costs a held step and is planned anew.
    """
    record = EpisodeRecord()
    misses = 0
    observation = port.observe()
    context: Context | None = None
    turn = Turn()
    while turn.ended_by is None:
        try:
            context = context or policy.encode([observation])
            number = episode * CHUNKS_PER_EPISODE + record.transitions
            chunk = plan(policy, adapter, context, observation, rng, number, explore=explore)
        except DeadlineMissed:
            misses += 1
            turn = Turn("fault") if misses >= MISSES_IN_A_ROW else between(None)
            observation, context = port.observe(), None
            continue
        rejected = port.check(chunk.final)
        log.chunk(chunk, rejected)
        buffer = ChunkBuffer(chunk)
        while not buffer.exhausted and turn.ended_by is None:
            deadline_ns = clock.now_ns() + round(command_ms * MS)
            result = port.submit(buffer.command(deadline_ns, port.safety.epoch))
            buffer.took(result)
            log.result(result)
            record.steps += 1
            record.verdicts[result.verdict.value] += 1
            observation = result.observation
            turn = between(result)
            if turn.ended_by is None and record.steps >= max_steps:
                turn = Turn("timeout")
            if turn.replan and turn.ended_by is None:
                still = np.zeros(chunk.final.shape[1])
                still[-1] = observation.gripper_width
                buffer.interrupt(still)
                observation = port.observe()
        misses = misses + 1 if buffer.executed == 0 else 0
        if misses >= MISSES_IN_A_ROW and turn.ended_by is None:
            turn = Turn("fault")
        record.ended_by = turn.ended_by or ""
        following = policy.encode([observation])
        log.transition(
            Transition(
                episode=episode,
                index=record.transitions,
                features=context.features[0],
                next_features=following.features[0],
                noise=chunk.noise,
                steer=chunk.steer,
                base_chunk=chunk.base,
                executed_chunk=buffer.executed_chunk(),
                k_executed=buffer.executed,
                discount=gamma,
                terminal=turn.ended_by is not None and record.terminal,
                truncated=turn.ended_by == "timeout",
                z=None if context.z is None else context.z[0],
                next_z=None if following.z is None else following.z[0],
            )
        )
        record.transitions += 1
        context = following
    record.ended_by = turn.ended_by
    return record
