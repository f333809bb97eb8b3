"""Whether a method and its settings fit a policy, as can be told before anything is begun."""

from __future__ import annotations

import math

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.errors import SpecMismatch
from robot_rl.methods import entry_of
from robot_rl.types import PolicySpec


def fitting_layout(spec: PolicySpec, method: str, config: MethodConfig) -> SteeringLayout:
    """The steer space. Raises `SpecMismatch` as that does, and for a target entropy that no actor reaches.

    Steers drawn evenly from [-1, 1]^S have the largest entropy, S log 2: with a target above it the temperature would
    rise for ever.
    """
    layout = SteeringLayout(spec, config)
    highest = layout.size * math.log(2)
    if layout.size and "target_entropy" in entry_of(method).reads and config.target_entropy >= highest:
        raise SpecMismatch(
            f"target_entropy: expected below {highest:.3g}, the entropy of steers drawn evenly from "
            f"[-1, 1]^{layout.size}, which no actor of {method} exceeds; got {config.target_entropy:g}"
        )
    return layout
