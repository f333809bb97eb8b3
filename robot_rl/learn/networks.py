"""Ensembles of multilayer perceptrons that are evaluated and trained as one.

E members share every matrix product (`bmm`), and all parameters of a network lie in one flat tensor: one fused Adam
step trains it, one `lerp_` moves its target. Hidden layers are linear, layer norm, ReLU; the norm has no gain or
bias of its own (the next layer's weights absorb them), which saves two passes over the activations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.adam import adam

from robot_rl.adapters.actor import NORM_EPSILON
from robot_rl.learn.matmul import product, product_into

Layer = tuple[Tensor, Tensor]
"""Weight [E, I, O] and bias [E, 1, O]."""
Passed = tuple[Tensor, Tensor]
"""What went into a layer [E, B, I], and the weighted sum that came out, before norm and activation [E, B, O]."""


class Ensemble:
    """E networks of layer sizes `sizes`: [B, I] (shared) or [E, B, I] -> [E, B, O]."""

    def __init__(
        self, sizes: Sequence[int], members: int, *, layer_norm: bool, learning_rate: float, generator: torch.Generator
    ) -> None:
        self.sizes, self.members, self.layer_norm = tuple(sizes), members, layer_norm
        self.flat = torch.cat([_initial(i, o, members, generator) for i, o in itertools.pairwise(sizes)])
        """[P] every parameter, per layer the weights [E, I, O] and then the biases [E, 1, O]."""
        self._adam = Adam(self.flat, learning_rate)
        self._passed: list[Passed] = []
        self.to(self.flat.device)

    def __call__(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """Gradients reach the input, and by `step` the parameters, of the newest call that was not `frozen`."""
        if frozen or not torch.is_grad_enabled():
            return forward(x, self._layers, self.layer_norm)
        self._passed = []
        return forward(x, self._layers, self.layer_norm, self._passed)

    def step(self, loss: Tensor) -> None:
        """One Adam step down the gradient of the scalar `loss`."""
        self._backward(loss)
        self._adam.step(self._gradient)

    def layers(self) -> list[Layer]:
        """(weight [E, I, O], bias [E, 1, O]) per layer; writing into them changes the network."""
        return self._layers

    def state(self) -> dict[str, Tensor]:
        """Everything that training continues from, for a checkpoint."""
        return {"parameters": self.flat, **self._adam.state()}

    def load(self, state: dict[str, Tensor]) -> None:
        self.flat.copy_(state["parameters"])
        self._adam.load(state)

    def to(self, device: torch.device) -> None:
        self.flat = self.flat.to(device)
        self._layers = self._views(self.flat)
        self._gradient = torch.zeros_like(self.flat)
        self._gradients = self._views(self._gradient)
        self._adam.to(self.flat)

    def _backward(self, loss: Tensor) -> None:
        """Fill `_gradient`.

        autograd goes down to the layers' sums only: each parameter's gradient is then one product, written where Adam
        reads it. Left to autograd it would be fresh memory at every update, whose page faults cost as much as the
        product, and would have to be copied together.
        """
        inputs, sums = zip(*self._passed, strict=True)
        self._passed = []
        with torch.no_grad():
            *hidden, last = zip(inputs, torch.autograd.grad(loss, sums), self._gradients, strict=True)
            for x, gradient, (weight, bias) in hidden:
                product_into(weight, x.mT, gradient)
                torch.sum(gradient, 1, keepdim=True, out=bias)
            x, gradient, (weight, bias) = last
            torch.bmm(x.mT, gradient, out=weight)
            torch.sum(gradient, 1, keepdim=True, out=bias)

    def _views(self, flat: Tensor) -> list[Layer]:
        shapes = [
            shape for i, o in itertools.pairwise(self.sizes) for shape in ((self.members, i, o), (self.members, 1, o))
        ]
        parts = flat.split([math.prod(shape) for shape in shapes])
        views = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        return list(zip(views[0::2], views[1::2], strict=True))


class Target:
    """A slowly following copy of an ensemble: theta' <- theta' + tau (theta - theta')."""

    def __init__(self, source: Ensemble, tau: float) -> None:
        self._source, self._tau = source, tau
        self.flat = source.flat.clone()
        self.to(self.flat.device)

    def __call__(self, x: Tensor) -> Tensor:
        return forward(x, self._layers, self._source.layer_norm)

    def layers(self) -> list[Layer]:
        """As the ensemble's own."""
        return self._layers

    def to(self, device: torch.device) -> None:
        self.flat = self.flat.to(device)
        self._layers = self._source._views(self.flat)

    def follow(self) -> None:
        self.flat.lerp_(self._source.flat, self._tau)

    def state(self) -> dict[str, Tensor]:
        return {"parameters": self.flat}

    def load(self, state: dict[str, Tensor]) -> None:
        self.flat.copy_(state["parameters"])


class Adam:
    """Adam on one flat tensor, with its moments where a checkpoint can reach them."""

    def __init__(self, flat: Tensor, learning_rate: float) -> None:
        self._flat, self._rate = flat, learning_rate
        self._moments = {"exp_avg": torch.zeros_like(flat), "exp_avg_sq": torch.zeros_like(flat)}
        self._steps = torch.zeros((), dtype=torch.float32)

    def step(self, gradient: Tensor) -> None:
        """By torch's function: its optimizer object costs a small network more than the step itself."""
        with torch.no_grad():
            adam(
                [self._flat],
                [gradient],
                [self._moments["exp_avg"]],
                [self._moments["exp_avg_sq"]],
                [],
                [self._steps],
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=self._rate,
                weight_decay=0.0,
                eps=1e-8,
                maximize=False,
            )

    def state(self) -> dict[str, Tensor]:
        return {"adam.step": self._steps, **{f"adam.{name}": moment for name, moment in self._moments.items()}}

    def load(self, state: dict[str, Tensor]) -> None:
        for name, mine in self.state().items():
            mine.copy_(state[name])

    def to(self, flat: Tensor) -> None:
        """Go on with `flat`, the same parameters where they are now."""
        self._flat, self._steps = flat, self._steps.to(flat.device)
        self._moments = {name: moment.to(flat.device) for name, moment in self._moments.items()}


def forward(x: Tensor, layers: Sequence[Layer], layer_norm: bool, passed: list[Passed] | None = None) -> Tensor:
    """[B, I] or [E, B, I] through the layers -> [E, B, O]; `passed` is given what `Ensemble.step` needs of each."""
    if x.dim() == 2:
        x = x.expand(len(layers[0][0]), -1, -1)
    *hidden, last = layers
    for layer in hidden:
        x = _sum(product, x, layer, passed)
        if layer_norm:
            x = F.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON)
        # In place it spares the cache; but the sum must stay as it is where `Ensemble.step` asks for its gradient.
        x = F.relu(x, inplace=layer_norm or passed is None)
    return _sum(torch.bmm, x, last, passed)


def _sum(multiply: Callable[[Tensor, Tensor], Tensor], x: Tensor, layer: Layer, passed: list[Passed] | None) -> Tensor:
    """[E, B, I] -> [E, B, O] of one linear layer."""
    weight, bias = layer
    out = multiply(x, weight).add_(bias)
    if passed is not None:
        passed.append((x, out.requires_grad_()))
    return out


def _initial(inputs: int, outputs: int, members: int, generator: torch.Generator) -> Tensor:
    """One layer's parameters, flat: weights and biases uniform in +-1/sqrt(inputs)."""
    bound = 1 / math.sqrt(inputs)
    return torch.empty(members * (inputs + 1) * outputs).uniform_(-bound, bound, generator=generator)
