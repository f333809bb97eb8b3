"""How each kind of lerobot's policies is asked: what it sees once, then chunks from as many noises as one likes.

`encode` and `decode` work on what lerobot's preprocessor makes of observations (a dictionary of tensors, batch first)
and on normalised actions. Run against lerobot 0.6.1; 0.4.4 was read.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from robot_rl.errors import ConfigError
from robot_rl.serve.lerobot_spec import STATE

if TYPE_CHECKING:
    from torch import Tensor

Batch = Mapping[str, "Tensor"]


PREFIXED: Mapping[str, str] = {
    "pi0": "paligemma_with_expert",
    "pi05": "paligemma_with_expert",
    "smolvla": "vlm_with_expert",
}
"""Policies that run a vision-language model over what they see, once, and an action expert over that and the noise, at
each step of the flow -> what they call the two of them."""


class Model(Protocol):
    """A policy of lerobot, normalised: S past observations, T actions of A numbers."""

    noise_shape: tuple[int, ...]
    from_features: bool
    """`decode` needs the features alone."""

    def encode(self, batch: Batch) -> tuple[Tensor, Sequence[Any]]:
        """B preprocessed observations -> features [B, F], and of each what `decode` needs beside them (or nothing)."""
        ...

    def decode(self, features: Tensor, seen: Sequence[Any], noise: Tensor) -> Tensor:
        """Features [B, F], noise [B, *noise_shape] -> normalised actions [B, T, A]."""
        ...


def model_of(policy: Any, kind: str, *, noise: bool) -> Model:
    """How a policy of `kind` is asked; `noise` says that it is to take noise. Raises `ConfigError` if it cannot."""
    takes = _takes_noise(policy)
    if noise and not takes:
        raise ConfigError(
            f"lerobot's {kind} takes no noise: methods that steer noise cannot improve it. To serve it for those that "
            'need none (Policy Decorator, residual RL), write "noise": false into its robot_rl.json'
        )
    if not noise and (kind == "diffusion" or kind in PREFIXED):
        raise ConfigError(f'lerobot\'s {kind} takes noise: leave out "noise": false, and steer it')
    if kind == "diffusion":
        return Diffusion(policy)
    return Prefixed(policy, PREFIXED[kind]) if kind in PREFIXED else Whole(policy, noise=noise)


class Diffusion:
    """`DiffusionPolicy`, sampled by DDIM: the features are the U-Net's global conditioning, which is all it sees."""

    from_features = True

    def __init__(self, policy: Any) -> None:
        config = policy.config
        self.noise_shape: tuple[int, ...] = (config.horizon, config.action_feature.shape[0])
        self._policy, self._net, self._past = policy, policy.diffusion, config.n_obs_steps
        self._images = list(config.image_features)
        self._steps = slice(config.n_obs_steps - 1, config.n_obs_steps - 1 + config.n_action_steps)

    def encode(self, batch: Batch) -> tuple[Tensor, Sequence[Any]]:
        """Every observation is the newest S times over."""
        import torch

        seen = {key: value.unsqueeze(1).expand(-1, self._past, *value.shape[1:]) for key, value in batch.items()}
        if self._images:
            seen["observation.images"] = torch.stack([seen[key] for key in self._images], dim=-4)
        return self._net._prepare_global_conditioning(seen), ()

    def decode(self, features: Tensor, seen: Sequence[Any], noise: Tensor) -> Tensor:
        """The actions from the newest observation on, as lerobot's own `generate_actions` cuts them."""
        actions: Tensor = self._net.conditional_sample(len(noise), global_cond=features, noise=noise)
        return actions[:, self._steps]


class Prefixed:
    """pi0, pi0.5 and SmolVLA: the vision-language model's keys and values are kept, and the flow runs on them.

    lerobot computes them within `sample_actions`. Its two steps, the embedding of pictures and words and the model's
    pass over it, are recorded in `encode`, which stops there, and played back to `sample_actions` in `decode`; all
    else is lerobot's own code. Features: the mean of the model's last layer over the tokens that are no padding, then
    the normalised state (which pi0 gives to its action expert alone).

    A context stays on the model's device until it expires (`--keep`, `--keep-mb`): 30 MB for pi0 with three cameras in
    float32.
    """

    from_features = False

    def __init__(self, policy: Any, transformer: str) -> None:
        config = policy.config
        self.noise_shape: tuple[int, ...] = (config.chunk_size, config.max_action_dim)
        self._policy, self._model = policy, policy.model
        self._transformer = getattr(policy.model, transformer)

    def encode(self, batch: Batch) -> tuple[Tensor, Sequence[Any]]:
        """One pass of the vision-language model."""
        import torch

        found: dict[str, Any] = {}

        def embed_prefix(*arguments: Any, **named: Any) -> Any:
            found["embedded"] = embed(*arguments, **named)
            return found["embedded"]

        def forward(*arguments: Any, **named: Any) -> Any:
            outputs, found["cache"] = run(*arguments, **named)
            found["output"] = outputs[0]
            raise _PrefixSeen

        size = len(batch[STATE])
        noise = batch[STATE].new_zeros((size, *self.noise_shape))
        embed, run = self._model.embed_prefix, self._transformer.forward
        with self._replaced(embed_prefix, forward), suppress(_PrefixSeen):
            self._ask(batch, noise)
        embedded, padding, attention = found["embedded"]
        cached = pairs_of(found["cache"])
        real = padding.unsqueeze(-1)
        output = found["output"].float()
        pooled = (output * real).sum(1) / real.sum(1).clamp_min(1)
        # What was embedded is in the keys and values; of itself, only its kind of number is asked for again.
        kept = (embedded[:, :0], padding, attention)
        seen = [(rows(dict(batch), i), rows(kept, i), rows(cached, i), type(found["cache"])) for i in range(size)]
        return torch.cat([pooled, batch[STATE].float()], 1), seen

    def decode(self, features: Tensor, seen: Sequence[Any], noise: Tensor) -> Tensor:
        """The steps of the flow alone."""
        batch, kept, pairs = (joined([each[part] for each in seen]) for part in range(3))
        cache = cache_of(pairs, seen[0][3])
        run = self._transformer.forward

        def forward(*arguments: Any, **named: Any) -> Any:
            inputs = named["inputs_embeds"]
            return ([inputs[0], None], cache) if inputs[1] is None else run(*arguments, **named)

        with self._replaced(lambda *arguments, **named: kept, forward):
            return self._ask(batch, noise)

    def _ask(self, batch: Batch, noise: Tensor) -> Tensor:
        self._policy.reset()  # its queues are for callers that ask step by step
        actions: Tensor = self._policy.predict_action_chunk(dict(batch), noise=noise)
        return actions

    @contextmanager
    def _replaced(self, embed_prefix: Callable[..., Any], forward: Callable[..., Any]) -> Iterator[None]:
        """Within, the model calls these instead of its own."""
        self._model.embed_prefix, self._transformer.forward = embed_prefix, forward
        try:
            yield
        finally:
            del self._model.embed_prefix, self._transformer.forward


class Whole:
    """Any other policy: each call computes all of it. Features: the normalised state."""

    from_features = False

    def __init__(self, policy: Any, *, noise: bool) -> None:
        self._policy = policy
        self.noise_shape = _noise_shape(policy.config) if noise else ()

    def encode(self, batch: Batch) -> tuple[Tensor, Sequence[Any]]:
        """Nothing is computed yet."""
        return batch[STATE].float(), [rows(dict(batch), i) for i in range(len(batch[STATE]))]

    def decode(self, features: Tensor, seen: Sequence[Any], noise: Tensor) -> Tensor:
        """One call of `predict_action_chunk`."""
        self._policy.reset()
        given = {"noise": noise} if self.noise_shape else {}
        actions: Tensor = self._policy.predict_action_chunk(joined(seen), **given)
        return actions


class _PrefixSeen(Exception):
    """What `encode` wanted has been computed."""


def _takes_noise(policy: Any) -> bool:
    parameters = inspect.signature(policy.predict_action_chunk).parameters.values()
    return any(each.name == "noise" or each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)


def _noise_shape(config: Any) -> tuple[int, ...]:
    steps = getattr(config, "chunk_size", None) or getattr(config, "horizon", None)
    if steps is None:
        raise ConfigError(f"lerobot's {config.type}: expected chunk_size or horizon in its config, got neither")
    return (steps, getattr(config, "max_action_dim", None) or config.action_feature.shape[0])


# --- nested tensors, batch first --------------------------------------------------------------------------------------


def rows(tree: Any, index: int) -> Any:
    """Row `index` of every tensor, as a batch of one and in memory of its own."""
    if isinstance(tree, dict):
        return {key: rows(value, index) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return tuple(rows(value, index) for value in tree)
    return tree[index : index + 1].clone()


def joined(trees: Sequence[Any]) -> Any:
    """The other way round."""
    import torch

    first = trees[0]
    if isinstance(first, dict):
        return {key: joined([tree[key] for tree in trees]) for key in first}
    if isinstance(first, tuple):
        return tuple(joined(parts) for parts in zip(*trees, strict=True))
    return torch.cat(list(trees)) if len(trees) > 1 else first


def pairs_of(cache: Any) -> Any:
    """A cache of keys and values, as transformers' `DynamicCache` or a dictionary of layers, as nested tensors."""
    if isinstance(cache, dict):
        return cache
    return tuple((layer.keys, layer.values) for layer in cache.layers)


def cache_of(pairs: Any, kind: type) -> Any:
    """The other way round; the cache is the caller's own to append to, the tensors are only read."""
    if isinstance(pairs, dict):
        return dict(pairs)
    cache = kind()
    for layer, (keys, values) in enumerate(pairs):
        cache.update(keys, values, layer)
    return cache
