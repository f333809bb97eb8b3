"""Ensembles of multilayer perceptrons that are evaluated and trained as one.

E members share every matrix product (`bmm`), and all parameters of a network lie in one flat tensor: one fused Adam
step trains it, one `lerp_` moves its target. Hidden layers are linear, layer norm, ReLU; the norm has no gain or
bias of its own (the next layer's weights absorb them), which saves two passes over the activations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from robot_rl.adapters.actor import NORM_EPSILON


class Ensemble:
    """E networks of layer sizes `sizes`: [B, I] (shared) or [E, B, I] -> [E, B, O]."""

    def __init__(
        self, sizes: Sequence[int], members: int, *, layer_norm: bool, learning_rate: float, generator: torch.Generator
    ) -> None:
        self.sizes, self.members, self.layer_norm = tuple(sizes), members, layer_norm
        self.flat = torch.cat([_initial(i, o, members, generator) for i, o in itertools.pairwise(sizes)])
        """[P] every parameter, per layer the weights [E, I, O] and then the biases [E, 1, O]."""
        self._parameters = [part.requires_grad_() for part in self._views(self.flat)]
        self._frozen = self._views(self.flat)
        self._adam = Adam(self.flat, learning_rate)

    def __call__(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """`frozen` builds no gradients for the parameters, only for the input."""
        return forward(x, self._frozen if frozen else self._parameters, self.members, self.layer_norm)

    def step(self, loss: Tensor) -> None:
        """One Adam step down the gradient of the scalar `loss`."""
        gradients = torch.autograd.grad(loss, self._parameters)
        self._adam.step(torch.cat([gradient.reshape(-1) for gradient in gradients]))

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """(weight [E, I, O], bias [E, 1, O]) per layer; writing into them changes the network."""
        return list(zip(self._frozen[0::2], self._frozen[1::2], strict=True))

    def state(self) -> dict[str, Tensor]:
        """Everything that training continues from, for a checkpoint."""
        return {"parameters": self.flat, **self._adam.state()}

    def load(self, state: dict[str, Tensor]) -> None:
        self.flat.copy_(state["parameters"])
        self._adam.load(state)

    def _views(self, flat: Tensor) -> list[Tensor]:
        shapes = [
            shape for i, o in itertools.pairwise(self.sizes) for shape in ((self.members, i, o), (self.members, 1, o))
        ]
        parts = flat.detach().split([math.prod(shape) for shape in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


class Target:
    """A slowly following copy of an ensemble: theta' <- theta' + tau (theta - theta')."""

    def __init__(self, source: Ensemble, tau: float) -> None:
        self._source, self._tau = source, tau
        self.flat = source.flat.clone()
        self._parameters = source._views(self.flat)

    def __call__(self, x: Tensor) -> Tensor:
        return forward(x, self._parameters, self._source.members, self._source.layer_norm)

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """As the ensemble's own."""
        return list(zip(self._parameters[0::2], self._parameters[1::2], strict=True))

    def follow(self) -> None:
        self.flat.lerp_(self._source.flat, self._tau)

    def state(self) -> dict[str, Tensor]:
        return {"parameters": self.flat}

    def load(self, state: dict[str, Tensor]) -> None:
        self.flat.copy_(state["parameters"])


class Adam:
    """Adam on one flat tensor, with its moments where a checkpoint can reach them."""

    def __init__(self, flat: Tensor, learning_rate: float) -> None:
        self._flat = flat
        self._moments = {"exp_avg": torch.zeros_like(flat), "exp_avg_sq": torch.zeros_like(flat)}
        self._steps = torch.zeros((), dtype=torch.float32)
        self._adam = torch.optim.Adam([flat], lr=learning_rate, fused=True)
        self._adam.state[flat] = {"step": self._steps, **self._moments}

    def step(self, gradient: Tensor) -> None:
        self._flat.grad = gradient
        self._adam.step()

    def state(self) -> dict[str, Tensor]:
        return {"adam.step": self._steps, **{f"adam.{name}": moment for name, moment in self._moments.items()}}

    def load(self, state: dict[str, Tensor]) -> None:
        for name, mine in self.state().items():
            mine.copy_(state[name])


def forward(x: Tensor, parameters: Sequence[Tensor], members: int, layer_norm: bool) -> Tensor:
    """[B, I] or [E, B, I] through weights and biases (alternating) -> [E, B, O]."""
    if x.dim() == 2:
        x = x.expand(members, -1, -1)
    *hidden, weight, bias = parameters
    for inner, offset in zip(hidden[0::2], hidden[1::2], strict=True):
        x = torch.bmm(x, inner).add_(offset)
        if layer_norm:
            x = F.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON)
        x = F.relu(x)
    return torch.bmm(x, weight).add_(bias)


def _initial(inputs: int, outputs: int, members: int, generator: torch.Generator) -> Tensor:
    """One layer's parameters, flat: weights and biases uniform in +-1/sqrt(inputs)."""
    bound = 1 / math.sqrt(inputs)
    return torch.empty(members * (inputs + 1) * outputs).uniform_(-bound, bound, generator=generator)
