"""The scripted expert at work on a twin, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from sim_twin.expert import Expert
from sim_twin.lid_opening import LidOpeningTwin, Truth


def open_lid(
    twin: LidOpeningTwin,
    ears: Literal["both", "left", "right"] = "both",
    *,
    steps: int = 64,
    watch: Callable[[], None] = lambda: None,
) -> Truth:
    """The expert without a height error of its own, from where the twin stands; `watch` is called after each step."""
    config = twin.scene.expert.model_copy(update={"height_std": 0.0, "ears": ears})
    expert = Expert(twin.scene, config, np.random.default_rng(twin.start.seed))
    for _ in range(steps):
        twin.apply(expert.act(twin.observe()))
        watch()
        truth = twin.truth()
        if truth.success or truth.failed:
            break
    return truth


def touching(twin: LidOpeningTwin) -> set[frozenset[str]]:
    """Pairs of bodies that are in contact now."""
    pairs = set()
    for contact in twin.data.contact[: twin.data.ncon]:
        bodies = (twin.model.body(twin.model.geom(geom).bodyid[0]).name for geom in contact.geom)
        pairs.add(frozenset(bodies))
    return pairs


def geoms_touching(twin: LidOpeningTwin) -> set[str]:
    """Names of the geoms that are in contact now."""
    return {twin.model.geom(geom).name for contact in twin.data.contact[: twin.data.ncon] for geom in contact.geom}
