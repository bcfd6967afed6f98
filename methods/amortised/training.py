"""What learners share: a player's weights as one vector, its loss recorded, its steps and their
average.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from methods.parts.networks.sampler import Shape, flat, views
from methods.parts.optimisation.adam import Adam
from methods.parts.record import Recorded
from methods.parts.validate import require

SETTLED = 10  # steps after which the average begins to remember


class Flat:
    """A module as a function of one flat vector of those weights that are to be learned.

    Args:
        module: which keeps the weights that it was made with.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        named = {name: w for name, w in module.named_parameters() if w.requires_grad}
        self.names = list(named)
        self.shapes: list[Shape] = [tuple(weight.shape) for weight in named.values()]
        self.start = flat([weight.detach() for weight in named.values()])

    def __call__(self, weights: Tensor, *inputs: Any) -> Any:
        """What the module's ``forward`` makes of the inputs, with these weights, [weights]."""
        return torch.func.functional_call(self.module, self._named(weights), inputs)

    def at_rest(self, weights: Tensor) -> Any:
        """The module with these weights: a copy in float64."""
        rest = copy.deepcopy(self.module).double().requires_grad_(False)
        rest.load_state_dict(self._named(weights.double()), strict=False)
        return rest

    def _named(self, weights: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.names, views(weights, self.shapes), strict=True))


class Player:
    """The weights of a module, which step downhill on a loss.

    Args:
        networks: whose weights they are.
        loss: of the weights and further tensors, of the same shapes every time, nats; recorded.
        beta1: memory of the gradient; clip: its largest norm; average: memory of the averaged
            weights, per step.
    """

    def __init__(
        self,
        networks: Flat,
        loss: Callable[..., Tensor],
        *,
        beta1: float,
        clip: float,
        average: float,
    ) -> None:
        self.networks, self.loss, self.memory = networks, loss, average
        self.weights = networks.start.clone()
        self.average = self.weights.clone()
        self.adam = Adam(self.weights, beta1, clip)
        self.steps = 0
        self._gradient = Recorded(self._written)

    def step(self, lr: float, *tensors: Tensor) -> float:
        """One step on the loss at these tensors; the loss before it.

        Raises:
            FloatingPointError: if the gradient is not finite.
        """
        gradient, norm, loss = self._gradient(self.weights, *tensors)
        if not math.isfinite(float(norm)):
            raise FloatingPointError(
                f"Training diverged after {self.steps} steps: the gradient of the loss, {loss:.4g}"
                " nats, is not finite; try a smaller lr."
            )
        self.adam.step(gradient, norm, lr)
        self.steps += 1
        memory = min(self.memory, self.steps / (self.steps + SETTLED))
        self.average.lerp_(self.weights, 1 - memory)
        return float(loss)

    def at_rest(self) -> Any:
        """The module with the averaged weights: a copy in float64."""
        return self.networks.at_rest(self.average)

    def _written(self, weights: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient of the loss, its norm, and the loss."""
        with torch.enable_grad():
            weights = weights.detach().requires_grad_()
            loss = self.loss(weights, *tensors)
            (gradient,) = torch.autograd.grad(loss, weights)
        return gradient, gradient.norm(), loss.detach()


def decayed(lr: float, progress: float, final: float) -> float:
    """The step size at a share of the run in [0, 1): a cosine down to a share ``final`` of lr."""
    return lr * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))


def length(iterations: int, cost: int, gradients: int | None) -> int:
    """Iterations that a budget of gradients allows at this cost each: at least one."""
    return iterations if gradients is None else max(1, min(iterations, gradients // cost))


def checked(learner: Any) -> None:
    """Check the fields that every learner has: ``iterations``, ``batch``, ``hidden``, ``lr``,
    ``clip``, ``beta1``, ``average``, ``final_lr``, ``every``.

    Raises:
        ValueError: if one lies outside its range.
    """
    widths = len(learner.hidden) > 0 and min(learner.hidden) >= 1
    require(learner, "hidden", widths, "be one width or more, each at least 1")
    for field in ("iterations", "batch", "every"):
        require(learner, field, getattr(learner, field) >= 1, "be at least 1")
    for field in ("lr", "clip"):
        require(learner, field, 0 < getattr(learner, field) < math.inf, "be positive and finite")
    for field in ("beta1", "average"):
        require(learner, field, 0 <= getattr(learner, field) < 1, "lie in [0, 1)")
    require(learner, "final_lr", 0 <= learner.final_lr <= 1, "lie in [0, 1]")
