"""USR: unified latent steering and residual refinement, the learning half.

One actor puts out [w, a_res] (eq. 2); the robot executes a = pi_dp(s, w) + alpha a_res (eq. 3, 4), the residual with a
probability that rises to 1 (eq. 5, in `adapters.acting`). Two critics (section 4.2, algorithm 1):

- the environment critic Q^A(s, a) learns what was executed, by TD:
      L(phi) = E (Q^A(s, a) - y)^2,   y = r + gamma (1 - d) Qbar^A(s', a'),   a' the actor's action at s'       (6)
- the combined critic Q^C(s, [w, a_res]) is distilled from it, N_D times an update:
      L(psi) = E (Q^C(s, [w, a_res]) - Q^A(s, pi_dp(s, w) + alpha a_res))^2                                    (7)

The actor climbs Q^C with an entropy bonus, and no gradient passes through the decoder:
      J(theta) = E [Q^C(s, pi(s)) + beta H(pi)]                                                                (8)

Where the paper is silent: its "U" in (7) is w ~ N(0, I) clipped to [-b_W, b_W] and a_res ~ U[-1, 1]
(`Steering.alias`). The TD target ignores the gate, as Policy Decorator does. One iteration of algorithm 1's inner loop
is `learn.dual_critic.DualCritic.update`, which also says how the two critics' ensembles go together.
"""

from __future__ import annotations

from robot_rl.learn.dual_critic import DualCritic


class USR(DualCritic):
    """Dual-critic USR: Q^A is the environment critic, the distilled one the combined critic Q^C."""
