"""Whether a method and its settings fit a policy, as can be told before anything is begun."""

from __future__ import annotations

import math
from collections.abc import Mapping

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.errors import SpecMismatch
from robot_rl.methods import entry_of
from robot_rl.types import PolicySpec

SAID_BY: Mapping[str, str] = {
    "noise": "noise_layout",
    "residual": "residual_layout and residual_scale",
    "latent": "latent_scale",
}
"""What can be steered -> the settings that say how far."""
HIGHEST_ENTROPY = 0.6836
"""nats an entry: of tanh u, u ~ N(m, s^2), at m = 0 and s = 0.87; an even draw from [-1, 1] has log 2 = 0.6931."""


def fitting_layout(spec: PolicySpec, method: str, config: MethodConfig, *, begun: bool = False) -> SteeringLayout:
    """The steer space. Raises `SpecMismatch` as that does, for one that is not the method's, and for a target entropy
    that no actor reaches: the temperature would rise for ever.

    `begun`: of a run that goes on, up to the entropy of an even draw, which was the bound for a time.
    """
    layout, entry = SteeringLayout(spec, config), entry_of(method)
    sizes = {"noise": layout.noise_size, "residual": layout.residual_size, "latent": layout.latent_size}
    for part, size in sizes.items():
        if part in entry.steers and not size:
            raise SpecMismatch(f"{method} steers the {part}, and by {SAID_BY[part]} there is nothing to steer")
        if part not in entry.steers | entry.may_steer and size:
            raise SpecMismatch(f"{method} does not steer the {part}, but by {SAID_BY[part]} it has {size} dimensions")
    highest = layout.size * (math.log(2) if begun else HIGHEST_ENTROPY)
    if "target_entropy" in entry.reads and config.target_entropy >= highest:
        raise SpecMismatch(
            f"target_entropy: expected below {highest:.4g}, which no actor of {method} exceeds over "
            f"[-1, 1]^{layout.size}; got {config.target_entropy:g}"
        )
    return layout
