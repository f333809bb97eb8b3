"""DSRL-NA: diffusion steering with noise aliasing, the learning half (DSRL paper, algorithm 1).

The actor puts out decoder noise w in [-b_W, b_W]; the robot executes a = pi_dp(s, w). Many w decode to the same a, so
values are learnt where they belong, on actions, and carried over to noise:

- line 4, the action critic by TD on executed chunks:
      min E (Q^A(s, a) - r - gamma Qbar^A(s', a'))^2,   a' = pi_dp(s', pi^W(s'))
- line 5, the noise critic by distillation, w ~ N(0, I), several steps an update:
      min E (Q^W(s, w) - Q^A(s, pi_dp(s, w)))^2
- line 6, the actor, with the entropy bonus of SAC:
      max E [Q^W(s, pi^W(s)) + beta H(pi^W)]

Unlike the released code, b_W holds for NA too: w is clipped to the actor's range before it is decoded. Lines 4 to 6 are
`learn.dual_critic.DualCritic.update`, which also says where pairs (w, pi_dp(s, w)) and the action at s' come from.
"""

from __future__ import annotations

from robot_rl.learn.dual_critic import DualCritic


class DSRLNA(DualCritic):
    """Noise-aliased DSRL: the distilled critic is the noise critic Q^W."""
