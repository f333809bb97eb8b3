"""ZPRL: reinforcement learning on the bottleneck latent, the learning half (ZPRL paper, section IV).

The base policy is conditioned on c^ = g(z), z ~ p(z | c) a sampled bottleneck latent; the actor shifts it,

    z~ = z + lambda dz,   dz ~ pi(. | c, z),   a ~ pi_base(. | g(z~))                                            (7)

with the base's own noise. Values belong to z~ and not to dz, for the same dz on another z is another action (eq. 8):

    actor    min E [alpha log pi(dz | c, z) - Q(c, z~)]                                                          (9)
    critic   min E (Q(c, z~) - y)^2                                                                             (10)
             y = r + gamma (1 - d) Qbar(c', z~'),   z~' = z' + lambda dz',   dz' ~ pi(. | c', z')               (11)

With `latent_rank` r (which is ours) dz has r dimensions, for the first entries of z, and is 0 in the others.

z and z' are those that were sampled when the robot acted; the features stand for c. There is no entropy in the target
(`entropy_in_target` false). The warm-up decodes g(z), which is dz = 0, so that replay says what was done. Paper: actor
lr 1e-4, critic 3e-4, tau 0.005, initial temperature 0.01, target entropy -Z/2, 5 critics, 4 x 256, lambda by
`latent.scale_by_rms`. Here the layers are as in every method (ReLU, layer norm, log-std in [-5, 2]), not GELU without.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robot_rl.adapters.latent import ledoit_wolf, mahalanobis, rms
from robot_rl.config import MethodConfig
from robot_rl.learn.actor_critic import ActorCritic
from robot_rl.learn.replay import Batch
from robot_rl.learn.steering import Steering


class ZPRL(ActorCritic):
    """x = (c, z) [B, F + Z]; f = z~ [B, Z]."""

    def __init__(self, steering: Steering, config: MethodConfig, generator: torch.Generator) -> None:
        layout = steering.layout
        width = layout.spec.latent or 0
        nothing = torch.zeros(1, width)
        steering.feature_shift(nothing, nothing)  # a decoder that cannot show the feature is refused now, not later
        super().__init__(steering, config, generator, sees=layout.spec.features + width, judges=width)

    def sees(self, batch: Batch, *, following: bool) -> Tensor:
        """(c, z) [B, F + Z]."""
        if following:
            return torch.cat([batch.next_features, batch.extra["next_z"]], 1)
        return torch.cat([batch.features, batch.extra["z"]], 1)

    def taken(self, batch: Batch) -> Tensor:
        """The latent that was decoded [B, Z]."""
        return batch.extra["z"] + self._steering.latent_shift(batch.steer)

    def would(self, batch: Batch, steer: Tensor, *, following: bool) -> Tensor:
        """z~ [B, Z] of the actor's dz."""
        return batch.extra["next_z" if following else "z"] + self._steering.latent_shift(steer)

    def diagnose(self, batch: Batch) -> dict[str, float]:
        """Whether lambda is right (appendix, "What is ZPRL doing?"), for the present actor at the batch's states.

        `latent_rms_ratio` RMS(lambda dz) / RMS(z), 0.1 to 0.2 to begin with; `latent_mahalanobis` mean distance of z~
        from the Gaussian of the bottleneck's own z; `feature_shift` mean L2 of g(z~) - g(z), below about 0.8.
        """
        with torch.no_grad():
            dz, _ = self.actor.sample(self.sees(batch, following=False), torch.Generator().manual_seed(0), frozen=True)
            z, shifted = batch.extra["z"], self.would(batch, dz, following=False)
            moved = self._steering.feature_shift(z, shifted)
        z, shifted = z.cpu(), shifted.cpu()
        latents = z.numpy()
        mean, covariance, _ = ledoit_wolf(latents)
        return {
            "latent_rms_ratio": rms((shifted - z).numpy()) / max(rms(latents), 1e-12),
            "latent_mahalanobis": float(mahalanobis(shifted.numpy(), mean, covariance).mean()),
            "feature_shift": float(moved.mean()),
        }
