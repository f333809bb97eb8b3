"""What an adapter sees of pi0 and pi0.5: the vision-language model's view of pictures and prompt, and the state.

openpi's `infer` gives actions alone. Here its input transform and the first pass of `sample_actions` are asked for once
more: the mean of the model's last layer over the tokens that are no padding, then the normalised state, as
`lerobot_models.Prefixed` has it for the same policies there. It costs that pass a second time, about as much as two
steps of the flow. For checkpoints in JAX.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.serve.callables import Features, Values
from robot_rl.types import Array


def prefix_features(policy: Any, inputs: Callable[[Values], dict[str, Any]]) -> Features:
    """`inputs` makes an observation of openpi's. Raises `ConfigError` for a policy that has no such pass."""
    if getattr(policy, "_is_pytorch_model", False) or not hasattr(policy._model, "embed_prefix"):
        kind = f"{type(policy._model).__name__} (PyTorch: {getattr(policy, '_is_pytorch_model', False)})"
        raise ConfigError(f'features: "prefix" is for pi0 and pi0.5 in JAX, got {kind}: take "state"')
    import jax
    import jax.numpy as jnp
    from openpi.models import model as models
    from openpi.models.pi0 import make_attn_mask
    from openpi.shared import nnx_utils

    def seen(model: Any, observation: Any) -> Any:
        observation = models.preprocess_observation(None, observation, train=False)
        tokens, there, causal = model.embed_prefix(observation)
        mask, positions = make_attn_mask(there, causal), jnp.cumsum(there, axis=1) - 1
        (output, _), _ = model.PaliGemma.llm([tokens, None], mask=mask, positions=positions)
        weight = there[..., None].astype(jnp.float32)
        return (output.astype(jnp.float32) * weight).sum(1) / weight.sum(1)

    run = nnx_utils.module_jit(types.MethodType(seen, policy._model))

    def features(values: Values) -> Array:
        batch = jax.tree.map(lambda each: jnp.asarray(each)[None], policy._input_transform(inputs(values)))
        state = np.asarray(batch["state"][0], np.float32)
        pooled = np.asarray(run(models.Observation.from_dict(batch))[0], np.float32)
        return np.concatenate([pooled, state])

    return features
