"""LP-DS: Lagrangian perturbation diffusion steering, the learning half (LP-DS paper, algorithm 1).

The noise keeps its randomness and is shifted by a deterministic network, which starts at exactly 0 (the base policy):

    w = eps + Delta(s),   eps ~ N(0, I)                                                                          (4)

A trust region bounds E KL(q(w | s) || N(0, I)) ~ E ||Delta(s)||^2 / 2 (eq. 6), by a multiplier a >= 0:

    lines 6-11   action critic by TD      min E (Q^A(s, a) - r - gamma (1 - d) Qbar^A(s', Phi(w'; s')))^2
    lines 12-15  noise critic, distilled  min E (Q^W(s, eps) - Q^A(s, Phi(eps; s)))^2,   on base noise
    line 17      actor                    max E [Q^W(s, eps + Delta(s)) - a (||Delta(s)||^2 - delta)]            (8)
    line 19      dual ascent              a <- [a + eta_a E(||Delta(s)||^2 - delta)]_+                          (10)

with w' = eps' + Delta(s') by the present Delta.

There is no entropy term. ||Delta||^2 is summed over the steered dimensions N of the noise (those in which eps is
drawn), so that delta grows with N: the log has it per dimension too.

Choices: Delta = b_W tanh(.) stays within b_W, and w itself is not clipped (the paper clips it), so that Delta = 0 is
the base policy exactly; the pool's eps is clipped to b_W before it is decoded. The variant `critic: td`, not in the
paper, has no action critic: Q^W(s, w) learns by TD from the noise that was decoded, as DSRL-SAC's does; set `pool: 0`
with it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robot_rl.config import MethodConfig
from robot_rl.learn.dual_critic import distil
from robot_rl.learn.method import Part
from robot_rl.learn.networks import Ensemble, Target
from robot_rl.learn.replay import Batch
from robot_rl.learn.sac import critic, reduce, regression, td_target
from robot_rl.learn.steering import Steering


class Perturbation:
    """Delta(s) / b_W = tanh(network), [B, F] -> [B, N]; 0 to begin with."""

    def __init__(self, features: int, noise: int, config: MethodConfig, generator: torch.Generator) -> None:
        self.network = Ensemble(
            [features, *[config.hidden] * config.layers, noise],
            members=1,
            layer_norm=config.layer_norm,
            learning_rate=config.actor_learning_rate,
            generator=generator,
        )
        for parameters in self.network.layers()[-1]:
            parameters.zero_()

    def __call__(self, features: Tensor, *, frozen: bool = False) -> Tensor:
        return self.network(features, frozen=frozen)[0].tanh()


class Multiplier:
    """a >= 0 of eq. 8, starting at 0."""

    def __init__(self, rate: float) -> None:
        self.value = torch.zeros(1)
        """[1]."""
        self._rate = rate

    def step(self, excess: Tensor) -> None:
        """Eq. 10, `excess` = E ||Delta||^2 - delta."""
        self.value.add_(self._rate * excess).clamp_(min=0)

    def state(self) -> dict[str, Tensor]:
        return {"value": self.value}

    def load(self, state: dict[str, Tensor]) -> None:
        self.value.copy_(state["value"])

    def to(self, device: torch.device) -> None:
        self.value = self.value.to(device)


class LPDS:
    """One iteration of algorithm 1's updates is `update`."""

    def __init__(self, steering: Steering, config: MethodConfig, generator: torch.Generator) -> None:
        layout = steering.layout
        features = layout.spec.features
        self._steering, self._config, self._generator = steering, config, generator
        self.actor = Perturbation(features, layout.size, config, generator)
        self._noise = critic(features + layout.size, config, generator)
        self._action = critic(features + layout.chunk_size, config, generator) if config.critic == "distilled" else None
        self._learnt_by_td = self._noise if self._action is None else self._action
        self._target = Target(self._learnt_by_td, config.tau)
        self._multiplier = Multiplier(config.dual_rate)

    def update(self, batch: Batch, *, actor: bool = True) -> dict[str, Tensor]:
        """One gradient step of every part, of the critics alone if not `actor`; scalars for the log."""
        log = self._learn_by_td(batch)
        if self._action is not None:  # lines 12 to 15
            log["distill_loss"] = distil(
                batch, self._action, self._noise, self._steering, self._config.distill_steps, self._generator
            )
        return log | self._improve_actor(batch) if actor else log

    def critics(self) -> tuple[Ensemble, Ensemble] | None:
        """On noise, and on actions; with `critic: td` there is no second one."""
        return None if self._action is None else (self._noise, self._action)

    def modules(self) -> dict[str, Part]:
        """The parts whose state a checkpoint holds."""
        parts: dict[str, Part] = {
            "actor": self.actor.network,
            "noise": self._noise,
            "target": self._target,
            "multiplier": self._multiplier,
        }
        return parts if self._action is None else parts | {"action": self._action}

    def _steer(self, features: Tensor, *, frozen: bool) -> tuple[Tensor, Tensor]:
        """W / b_W [B, N] by eq. 4, and Delta / b_W [B, N]."""
        shift = self.actor(features, frozen=frozen)
        base = torch.randn(shift.shape, generator=self._generator).to(shift.device) / self._config.noise_bound
        return base + shift, shift

    def _learn_by_td(self, batch: Batch) -> dict[str, Tensor]:
        """Lines 6 to 11; with `critic: td` the noise takes the chunk's place."""
        with torch.no_grad():
            steer, _ = self._steer(batch.next_features, frozen=True)
            if self._action is not None and self._config.bootstrap == "decode":
                chunk = self._steering.decode(batch.next_features, steer)  # [B, T*A]
                q = self._target(torch.cat([batch.next_features, chunk], 1))
            elif self._action is not None:
                q = self._noise(torch.cat([batch.next_features, steer], 1), frozen=True)
            else:
                q = self._target(torch.cat([batch.next_features, steer], 1))
            y = td_target(batch.reward, batch.discount, batch.done, reduce(q, self._config), self._config)
        taken = batch.steer if self._action is None else batch.executed
        q = self._learnt_by_td(torch.cat([batch.features, taken], 1))
        loss = regression(q, y)
        self._learnt_by_td.step(loss)
        self._target.follow()
        return {"td_loss": loss.detach(), "q": q.detach().mean()}

    def _improve_actor(self, batch: Batch) -> dict[str, Tensor]:
        """Lines 16 to 19."""
        steer, shift = self._steer(batch.features, frozen=False)
        value = reduce(self._noise(torch.cat([batch.features, steer], 1), frozen=True), self._config)
        squared = (shift * self._config.noise_bound).square().sum(1)  # [B] ||Delta||^2
        excess = squared - self._config.trust_region
        self.actor.network.step((self._multiplier.value * excess - value).mean())
        self._multiplier.step(excess.detach().mean())
        return {
            "actor_value": value.detach().mean(),
            "shift_squared": squared.detach().mean(),
            "shift_squared_per_dimension": squared.detach().mean() / shift.shape[1],
            "multiplier": self._multiplier.value[0].clone(),
        }
