"""The actor of a run, wired alike at both paces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from robot_rl.compositions.plan import RunPlan, learner_status
from robot_rl.compositions.recording import StoreRecorder
from robot_rl.control.actor import Actor, RunView
from robot_rl.control.motion import Motion
from robot_rl.control.ports import AdapterSource, GuardControls, Recorder, Twin
from robot_rl.store.store import StorePort


def make_actor(
    plan: RunPlan,
    pace: str,
    *,
    motion: Motion,
    adapters: AdapterSource,
    store: StorePort,
    guard: GuardControls,
    twin: Twin,
    learner_alive: Callable[[], bool],
    alarms: Callable[[], Sequence[str]],
    labelled: Callable[[], int],
    recorder: Recorder | None = None,
    not_yet: Callable[[], str | None] = lambda: None,
    overlap: bool = False,
) -> Actor:
    """`pace` is "lockstep" or "real time", as the page shows it.

    `alarms` are shown on the page together with the learner's own; `labelled` rises with every label in the log.
    `recorder` keeps the episodes; None: the store does. `not_yet` says why no episode may begin yet, or None.
    `overlap`: the next chunk is inferred while the present one runs.
    """
    keeps = recorder_of(plan, store)
    view = RunView(
        run=plan.run.path.name,
        briefing=plan.run.briefing,
        pace=pace,
        auto_label=plan.auto_label,
        base_success=plan.base_success,
        base_trials=plan.base_trials,
        cameras=list(plan.task.scene.get("cameras", {})),
        learner=lambda: learner_status(plan.run, alive=learner_alive()),
        alarms=lambda: [*alarms(), *keeps.notices],
        labelled=labelled,
        not_yet=not_yet,
        looked_at=plan.console_port is not None,
    )
    return Actor(
        plan.task, plan.info.method, plan.info.seed, motion, plan.policy, adapters, recorder or keeps, store, guard,
        view, twin, overlap=overlap,
    )  # fmt: skip


def recorder_of(plan: RunPlan, store: StorePort) -> StoreRecorder:
    """What keeps the run's episodes."""
    return StoreRecorder(store, plan.info, plan.policy.spec.policy_id, list(plan.task.scene.get("cameras", {})))
