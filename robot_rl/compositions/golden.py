"""Before a run arms: do the policy and the adapters that are about to act still do what they did?"""

from __future__ import annotations

import logging
from collections.abc import Callable

from robot_rl.adapters.acting import make_adapter
from robot_rl.adapters.files import numbers, read_weights
from robot_rl.compositions.adapter_source import LAG
from robot_rl.compositions.plan import RunPlan
from robot_rl.errors import IntegrityError
from robot_rl.store.golden import make_golden, read_golden, require_adapter, require_policy, write_golden
from robot_rl.types import Observation

log = logging.getLogger(__name__)


def require_golden(plan: RunPlan, observe: Callable[[], Observation]) -> None:
    """A run that starts for the first time keeps its golden observation; one that is resumed must agree with it.

    Raises `SpecMismatch` where policy or adapter do not; nothing has moved then.
    """
    run, policy = plan.run, plan.policy
    golden = read_golden(run, policy.spec)
    if golden is None:
        if max(numbers(run.adapters), default=0) > plan.info.began_with:
            log.warning("%s was begun without a golden observation; it is kept from now on", run.path)
        write_golden(run, make_golden(observe(), policy))
        return
    require_policy(golden, policy)
    for version in numbers(run.adapters)[-1 - LAG :]:
        try:
            arrays, manifest = read_weights(run.adapters, version)
            if manifest["spec_hash"] == policy.spec.hash and "golden" in manifest:
                require_adapter(golden, make_adapter(arrays, manifest, policy.spec), manifest["golden"])
        except IntegrityError:
            continue  # it will not act; the page says so
