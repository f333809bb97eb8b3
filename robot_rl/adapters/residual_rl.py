"""Residual RL: the ablation of Policy Decorator, the learning half (Johannink et al. 2019; Policy Decorator, B.5.2).

The robot executes pi_base(s) + pi_res(s) as with Policy Decorator, and actor and critic learn by the same equations,
but the exploration is uncontrolled: the residual reaches as far as the actions do (alpha is half the action range, so
that tanh is the range's own bound and no other), and it always acts once the warm-up is over (no gate: eps = 1).
"""

from __future__ import annotations

from robot_rl.adapters.policy_decorator import PolicyDecorator


class ResidualRL(PolicyDecorator):
    """x = s [B, F]; f = the chunk a_b + a_res, normalised [B, T*A]."""
