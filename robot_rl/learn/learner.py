"""The learner: labelled episodes in, gradient updates, adapter versions out. In any process, on one thread.

    learner = Learner(policy.spec, "usr", config, TorchFlow.from_policy(policy), seed=0)
    learner.add_episode(transitions)           # one operator's episode
    learner.set_labels({1: LabelValue.SUCCESS})
    learner.learn()                            # works off UTD x chunks
    adapter = learner.adapter()                # an immutable version for the actor

Same episodes, labels, seed and machine: bit for bit the same adapter, also across a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from robot_rl import methods
from robot_rl.adapters.acting import make_adapter
from robot_rl.adapters.dsrl import DSRLNA
from robot_rl.adapters.dsrl_sac import DSRLSAC
from robot_rl.adapters.fitting import fitting_layout
from robot_rl.adapters.lp_ds import LPDS
from robot_rl.adapters.policy_decorator import PolicyDecorator
from robot_rl.adapters.residual_rl import ResidualRL
from robot_rl.adapters.rlpd import RLPD
from robot_rl.adapters.usr import USR
from robot_rl.adapters.usr_sac import USRSAC
from robot_rl.adapters.zprl import ZPRL
from robot_rl.config import MethodConfig
from robot_rl.errors import ConfigError, DiskError, RobotRLError, SpecMismatch, nearest
from robot_rl.learn.device import Device, require_device
from robot_rl.learn.extras import base_chunks, latents
from robot_rl.learn.matmul import MatmulPath, Precision, matmul_path, matmul_precision, require_precision
from robot_rl.learn.method import Diagnosing, Method, Part
from robot_rl.learn.networks import Target
from robot_rl.learn.replay import Replay
from robot_rl.learn.sac import actor_weights
from robot_rl.learn.steering import Decoder, Steering
from robot_rl.protocols import Adapter
from robot_rl.types import Array, LabelValue, PolicySpec, Transition

MANIFEST_FORMAT = 1
POOL_SEED = 7_919


METHODS: dict[str, Callable[[Steering, MethodConfig, torch.Generator], Method]] = {
    "usr": USR,
    "usr-sac": USRSAC,
    "dsrl-na": DSRLNA,
    "dsrl-sac": DSRLSAC,
    "policy-decorator": PolicyDecorator,
    "residual-rl": ResidualRL,
    "zprl": ZPRL,
    "lp-ds": LPDS,
    "rlpd": RLPD,
}


class Learner:
    """One method on one policy.

    Raises `ConfigError` for an unknown method, and for a precision or device that is not to be had here, `SpecMismatch`
    for a method that cannot fit.
    """

    def __init__(
        self,
        spec: PolicySpec,
        method: str,
        config: MethodConfig,
        decoder: Decoder,
        seed: int,
        *,
        matmul: MatmulPath = "default",
        precision: Precision = "fp32",
        device: Device = "cpu",
        folder: Path | None = None,
    ) -> None:
        """`folder`: where a replay too large for plain memory may have its files (`learn.columns`)."""
        kind = methods.method_of(method)
        if kind not in METHODS:
            raise ConfigError(f"no method {method!r}{nearest(kind, METHODS)}")
        entry = methods.entry_of(method)
        self._device = require_device(device)
        require_precision(precision, self._device)
        self._precision: Precision = precision
        self.spec, self.method_name, self.config, self.seed = spec, method, config, seed
        self.layout = fitting_layout(spec, method, config, begun=True)
        self.replay = Replay(
            self.layout,
            config,
            self._pool,
            self._extras,
            prior_share=config.prior_share,
            device=self._device,
            folder=folder,
        )
        self.matmul: MatmulPath = matmul
        """By which path updates multiply matrices."""
        self.updates = 0
        self.refused: dict[int, str] = {}
        """Episode -> why it is not trained on."""
        self.losses: dict[str, float] = {}
        """Means over the newest call of `learn`, and what the method diagnosed at its end."""
        self.stopped: dict[str, Any] = {}
        """Since learning has diverged (`stop`): what is known of the weights that are left; empty: all is well."""
        self._steering = Steering(self.layout, config, decoder)
        self._generator = torch.Generator().manual_seed(seed)
        self._method = METHODS[kind](self._steering, config, self._generator)
        self._published = Target(self._method.actor.network, config.actor_average)
        """What the robot gets: the actor, averaged over its newest updates (setting `actor_average`)."""
        self._wanted_extras = entry.extras
        self._steering.to(self._device)
        for part in self._parts().values():
            part.to(self._device)
        self._consumed: list[int] = []
        self._demonstrated: dict[int, LabelValue] = {}
        self._demonstration_chunks = 0

    @property
    def method(self) -> Method:
        """What learns: its parts, for whoever looks into them."""
        return self._method

    @property
    def steering(self) -> Steering:
        """From steers to chunks, by the frozen decoder."""
        return self._steering

    @property
    def consumed(self) -> list[int]:
        """Episodes taken, in order, those that were refused included."""
        return list(self._consumed)

    @property
    def version(self) -> int:
        """Number of labelled episodes consumed: the version of the adapter that comes of them."""
        return len(self._consumed)

    @property
    def warming_up(self) -> bool:
        """The base policy acts and nothing is learnt until `warmup_episodes` have been consumed."""
        return self.version < self.config.warmup_episodes

    @property
    def owed(self) -> int:
        """Updates that bring the achieved UTD to the wanted one; the warm-up's chunks are paid for at its end."""
        if self.stopped or self.warming_up or not self.replay.sampleable:
            return 0
        return max(0, int(self.config.utd * self.chunks) - self.updates)

    @property
    def chunks(self) -> int:
        """Chunks of the consumed episodes; those of demonstrations count for nothing but learning."""
        return len(self.replay) - self._demonstration_chunks

    def add_episode(self, transitions: Sequence[Transition]) -> None:
        """Take one whole episode; bad data is refused with a reason in `refused`, and learning goes on without it.

        Raises `DiskError` when there is no room for it: it is not taken then, and may be given again.
        """
        if not transitions:
            raise SpecMismatch("expected an episode of at least one chunk, got none; `refuse` it by its number")
        episode = transitions[0].episode
        try:
            self.replay.add_episode(transitions, prior=self.warming_up)
        except DiskError:
            raise
        except RobotRLError as error:
            self.refuse(episode, str(error))
        else:
            self._consumed.append(episode)

    def add_demonstrations(self, episodes: Sequence[Sequence[Transition]]) -> None:
        """Add an expert's successful episodes, numbered below 0 (`learn.prior`): prior data, before any other episode.

        A new learner that is to be restored needs them first. Raises as `Replay.add_episode` does.
        """
        for transitions in episodes:
            if self._consumed or not transitions or transitions[0].episode >= 0:
                raise SpecMismatch("expected demonstrations numbered below 0, before the first episode of the run")
            self.replay.add_episode(transitions, prior=True)
            self._demonstrated[transitions[0].episode] = LabelValue.SUCCESS
            self._demonstration_chunks += len(transitions)

    def refuse(self, episode: int, reason: str) -> None:
        """Count `episode` as consumed without training on it, so that whoever waits for its version goes on."""
        self.refused[episode] = reason
        self._consumed.append(episode)

    def set_labels(self, labels: Mapping[int, LabelValue]) -> None:
        """What the operators say now, episode -> value; corrections count from the next batch on."""
        self.replay.set_labels({**labels, **self._demonstrated})

    def learn(self, updates: int | None = None) -> int:
        """Do `updates` updates (default: all that are owed), keep their mean losses; returns how many were done."""
        count = self.owed if updates is None else updates
        if not self.replay.sampleable or count <= 0:
            return 0
        seen: dict[str, tuple[Tensor, int]] = {}
        with matmul_path(self.matmul), matmul_precision(self._precision):
            for _ in range(count):
                batch = self.replay.sample(self.config.batch, self._generator)
                actor = (self.updates + 1) % self.config.actor_delay == 0
                for name, value in self._method.update(batch, actor=actor).items():
                    total, times = seen.get(name, (torch.zeros((), device=self._device), 0))
                    seen[name] = total + value, times + 1
                self._published.follow()
                self.updates += 1
        self.losses = {name: float(total) / times for name, (total, times) in seen.items()}
        if isinstance(self._method, Diagnosing):
            self.losses |= self._method.diagnose(batch)
        return count

    @property
    def broken(self) -> str:
        """Which of the newest losses, or of all weights, is not finite, in words; empty: none."""
        named = [f"{name} is {value}" for name, value in self.losses.items() if not math.isfinite(value)]
        if not named:
            named = [
                f"weights of the {part} are not finite"
                for part, module in self._parts().items()
                if not all(torch.isfinite(tensor).all() for tensor in module.state().values())
            ]
        return ", ".join(named)

    def stop(self, why: str, arrays: Mapping[str, Array], manifest: Mapping[str, Any]) -> None:
        """Learn nothing more, for what `why` says: go back to the weights of an earlier `state` and stay there."""
        self._load(arrays, manifest)
        kept = {"label_watermark": 0, **manifest}
        self.stopped = {**{name: kept[name] for name in ("warmup", "chunks", "label_watermark")}, "diverged": why}

    def adapter(self) -> Adapter:
        """The present version, as the actor would load it from its files."""
        arrays = {name: array.copy() for name, array in self.actor_arrays().items()}
        return make_adapter(arrays, self.adapter_manifest(), self.spec)

    def actor_arrays(self) -> dict[str, Array]:
        """The actor's weights, views."""
        return {name: weight.cpu().numpy() for name, weight in actor_weights(self._published.layers()).items()}

    def adapter_manifest(self) -> dict[str, Any]:
        """What an adapter version says of itself; of one that learning has stopped before, what it was then."""
        return {**self.manifest(), **self.stopped}

    def manifest(self) -> dict[str, Any]:
        """What is known of the learner now."""
        return {
            "format": MANIFEST_FORMAT,
            "version": self.version,
            "through_episode": max(self._consumed, default=0),
            "method": self.method_name,
            "config": self.config.model_dump(mode="json"),
            "spec_hash": self.spec.hash,
            "policy_id": self.spec.policy_id,
            "seed": self.seed,
            "updates": self.updates,
            "chunks": self.chunks,
            "warmup": self.warming_up,
        }

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """(arrays, manifest) that `restore` continues from bit for bit, given the same episodes."""
        arrays = {
            f"{part}.{name}": tensor.cpu().numpy()
            for part, module in self._parts().items()
            for name, tensor in module.state().items()
        }
        arrays["generator"] = self._generator.get_state().numpy()
        refused = {str(episode): reason for episode, reason in self.refused.items()}
        known = {"consumed": self._consumed, "refused": refused, "losses": self.losses}
        if self.stopped:
            known |= {"stopped": self.stopped, "warmup": self.stopped["warmup"]}
        return arrays, {**self.manifest(), **known}

    def _parts(self) -> dict[str, Part]:
        return {**self._method.modules(), "published": self._published}

    def restore(self, arrays: Mapping[str, Array], manifest: Mapping[str, Any]) -> None:
        """Continue from a checkpoint; the episodes it consumed must have been added in its order before.

        An episode that has become unreadable since is in `refused`, and learning goes on without it. Raises
        `SpecMismatch` when the checkpoint is of another policy, method or setting, or of other episodes.
        """
        mine = self.manifest()
        manifest = {**manifest, "config": self._as_known_now(manifest["config"])}
        for key in ("format", "spec_hash", "method", "config", "seed"):
            if manifest[key] != mine[key]:
                raise SpecMismatch(f"checkpoint {key}: expected {mine[key]!r}, got {manifest[key]!r}; start a new run")
        lost = set(self.refused) - {int(episode) for episode in manifest["refused"]}
        if manifest["consumed"] != self._consumed or (manifest["chunks"] != mine["chunks"] and not lost):
            raise SpecMismatch(
                f"checkpoint of episodes {manifest['consumed']} ({manifest['chunks']} chunks): the replay has "
                f"{self._consumed} ({mine['chunks']} chunks); was an episode removed from the run directory?"
            )
        self._load(arrays, manifest)
        self.stopped = dict(manifest.get("stopped", {}))

    def _load(self, arrays: Mapping[str, Array], manifest: Mapping[str, Any]) -> None:
        """The weights of a `state`, and how far they had come."""
        for part, module in self._parts().items():
            prefix = f"{part}."
            state = {
                name[len(prefix) :]: torch.from_numpy(np.array(array))
                for name, array in arrays.items()
                if name.startswith(prefix)
            }
            module.load(state)
        self._generator.set_state(torch.from_numpy(np.array(arrays["generator"])))
        self.updates = manifest["updates"]
        self.losses = dict(manifest["losses"])

    def _extras(self, transitions: Sequence[Transition]) -> dict[str, Array]:
        """What the method needs of each chunk beside the common row."""
        if self._wanted_extras == "latents":
            return latents(transitions, self.layout)
        if self._wanted_extras == "base_chunks":
            terminal = self.config.timeouts_terminal
            return base_chunks(transitions, self.layout, self._decode_base, timeouts_terminal=terminal)
        return {}

    def _decode_base(self, last: Transition) -> Array:
        """What the base policy might have done after `last`, normalised [T*A]; from the episode's own generator."""
        features = torch.from_numpy(last.next_features.astype(np.float32))[None].to(self._device)
        decoded: Array = self._steering.decode_base(features, self._generator_of(last.episode)).cpu().numpy()[0]
        return decoded

    def _generator_of(self, episode: int) -> torch.Generator:
        """For draws at an episode's states: the same after a restart."""
        return torch.Generator().manual_seed(POOL_SEED + self.seed * 1_000_003 + episode)

    def _pool(self, transitions: Sequence[Transition]) -> tuple[Array, Array]:
        """K pairs (noise steer [n, K, N], normalised chunk [n, K, T*A]) per chunk: stored with it, or decoded now.

        Drawn from a generator of the episode's own, so that a replay rebuilt after a restart is the same.
        """
        n, pairs = len(transitions), self.config.pool
        stored = [(t.pool_noise, t.pool_chunks) for t in transitions]
        noises = [noise[:pairs] for noise, _ in stored if noise is not None and len(noise) >= pairs]
        chunks = [chunk[:pairs] for _, chunk in stored if chunk is not None and len(chunk) >= pairs]
        if len(noises) == len(chunks) == n:
            steer = self.layout.noise_steer(np.concatenate(noises))
            return steer.reshape(n, pairs, -1), self.layout.normalise(np.concatenate(chunks)).reshape(n, pairs, -1)
        generator = self._generator_of(transitions[0].episode)
        features = torch.from_numpy(np.stack([t.features for t in transitions]).astype(np.float32)).to(self._device)
        draw = self._steering.draw_noise(n * pairs, generator)
        decoded = self._steering.decode(features.repeat_interleave(pairs, 0), draw)
        return draw.view(n, pairs, -1).cpu().numpy(), decoded.view(n, pairs, -1).cpu().numpy()

    def _as_known_now(self, config: Any) -> Any:
        """A manifest's settings with the defaults of those that did not exist when it was written.

        RLPD alone read `prior_share` once, and the others' manifests named a default that did nothing: a run's task
        file never changes, so that 0 here and not there comes of that.
        """
        try:
            known = MethodConfig.model_validate(config).model_dump(mode="json")
        except ValidationError:
            return config
        return known if self.config.prior_share else {**known, "prior_share": 0.0}
