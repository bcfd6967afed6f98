"""What learners share: a player's weights as one vector, its loss recorded, its steps and their
average, and the course of a run, which goes on from a state that was kept.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn

from methods.amortised.base import Learned, TrainingData
from methods.amortised.checkpoints import State, checkpoints_of
from methods.base import Budget
from methods.parts.device import placed, recorded
from methods.parts.networks.sampler import Shape, flat, views
from methods.parts.optimisation.adam import Adam
from methods.parts.optimisation.descent import length
from methods.parts.validate import require

SETTLED = 10  # steps after which the average begins to remember


class Flat:
    """A module as a function of one flat vector of those weights that are to be learned.

    Args:
        module: which keeps the weights that it was made with; it is moved to the device.
        device: where it is to run.
    """

    def __init__(self, module: nn.Module, device: str = "cpu") -> None:
        self.module = module.to(device)
        named = {name: w for name, w in module.named_parameters() if w.requires_grad}
        self.names = list(named)
        self.shapes: list[Shape] = [tuple(weight.shape) for weight in named.values()]
        self.start = flat([weight.detach() for weight in named.values()])

    def __call__(self, weights: Tensor, *inputs: Any) -> Any:
        """What the module's ``forward`` makes of the inputs, with these weights, [weights]."""
        return torch.func.functional_call(self.module, self._named(weights), inputs)

    def at_rest(self, weights: Tensor) -> Any:
        """The module with these weights: a copy in float64, on the CPU."""
        rest = copy.deepcopy(self.module).cpu().double().requires_grad_(False)
        rest.load_state_dict(self._named(weights.cpu().double()), strict=False)
        return rest

    def _named(self, weights: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.names, views(weights, self.shapes), strict=True))


class Player:
    """The weights of a module, which step downhill on a loss.

    Args:
        networks: whose weights they are.
        loss: of the weights and further tensors, of the same shapes every time, nats; recorded on
            the CPU.
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
        self.average = self.weights.clone() if average else self.weights
        self.adam = Adam(self.weights, beta1, clip)
        self.steps = 0
        self._gradient = recorded(self._written, self.weights.device.type)

    def step(self, lr: float, *tensors: Tensor) -> float:
        """One step on the loss at these tensors, of any device; the loss before it.

        Raises:
            FloatingPointError: if the gradient is not finite.
        """
        here = self.weights.device
        moved = (tensor.to(here) for tensor in tensors)
        gradient, norm, loss = self._gradient(self.weights, *moved)
        if not math.isfinite(float(norm)):
            raise FloatingPointError(
                f"Training diverged after {self.steps} steps: the gradient of the loss, {loss:.4g}"
                " nats, is not finite; try a smaller lr."
            )
        self.adam.step(gradient, norm, lr)
        self.steps += 1
        if self.memory:
            memory = min(self.memory, self.steps / (self.steps + SETTLED))
            self.average.lerp_(self.weights, 1 - memory)
        return float(loss)

    def at_rest(self) -> Any:
        """The module with the averaged weights: a copy in float64, on the CPU."""
        return self.networks.at_rest(self.average)

    @property
    def state(self) -> dict[str, Tensor]:
        """All that its next steps depend on, by name; the tensors themselves, not copies."""
        adam = self.adam
        return {
            "weights": self.weights,
            "average": self.average,
            "mean": adam.mean,
            "square": adam.square,
            "steps": adam.steps,
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state, which is copied.

        Raises:
            ValueError: if it is of other networks.
        """
        for name, tensor in self.state.items():
            if name not in state or state[name].shape != tensor.shape:
                raise ValueError(
                    f"The state that was kept has other {name} than these networks; begin anew."
                )
            tensor.copy_(state[name])
        self.steps = int(self.adam.steps)

    def _written(self, weights: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient of the loss, its norm, and the loss."""
        with torch.enable_grad():
            weights = weights.detach().requires_grad_()
            loss = self.loss(weights, *tensors)
            (gradient,) = torch.autograd.grad(loss, weights)
        return gradient, gradient.norm(), loss.detach()


class Course:
    """A learner's run, iteration by iteration, from the beginning or from the state kept last.

    Args:
        learner: a dataclass with ``iterations`` and ``every``; model: the training data, and where
            the state is kept; budget: what may be spent.
        generator: whose state is part of the learner's.
        cost: gradients of an iteration; its ``charge`` is the caller's part.
        players: by name.
    """

    def __init__(
        self,
        learner: Any,
        model: TrainingData,
        budget: Budget,
        generator: Generator,
        cost: int,
        **players: Player,
    ) -> None:
        self.learner, self.model, self.generator = learner, model, generator
        self.cost, self.players = cost, players
        self.planned = length(learner.iterations, cost, budget.gradients)
        self.checkpoints = checkpoints_of(model)

    def run(
        self, play: Callable[[float], None], learned: Callable[[], Learned]
    ) -> Iterator[Learned]:
        """Play one iteration after the other, told how much of the run is over, and yield what is
        learned after the first, every so many, and the last; where a state was kept, what was
        learned by then comes first.

        Raises:
            ValueError: if the state is of another learner, or of another seed.
        """
        start = self._restored()
        if start:
            yield learned()
        for i in range(start, self.planned):
            play(i / self.planned)
            done = i + 1
            if done == 1 or done % self.learner.every == 0 or done == self.planned:
                if self.checkpoints.due():
                    self._keep(done)
                yield learned()

    @property
    def _of(self) -> str:
        """What a state is of: all that decides the figures, but the data."""
        seed = self.generator.initial_seed()
        return f"{self.learner!r}, {self.planned} iterations, seed {seed}"

    def _keep(self, done: int) -> None:
        tensors = {
            f"{name}.{part}": tensor
            for name, player in self.players.items()
            for part, tensor in player.state.items()
        }
        tensors["generator"] = self.generator.get_state()
        self.checkpoints.save(State(tensors, {"of": self._of, "iterations": done}))

    def _restored(self) -> int:
        """Iterations that lie behind; 0 where no state was kept."""
        state = self.checkpoints.last()
        if state is None:
            return 0
        if state.facts["of"] != self._of:
            raise ValueError(
                f"The state that was kept is of {state.facts['of']}, and this is {self._of};"
                " begin anew, or keep the states of each in a place of its own."
            )
        for name, player in self.players.items():
            own = {
                k.partition(".")[2]: v for k, v in state.tensors.items() if k.startswith(f"{name}.")
            }
            player.restore(own)
        self.generator.set_state(state.tensors["generator"])
        done = int(state.facts["iterations"])
        self.model.charge(done * self.cost)
        return done


def decayed(lr: float, progress: float, final: float) -> float:
    """The step size at a share of the run in [0, 1): a cosine down to a share ``final`` of lr."""
    return lr * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))


def checked(learner: Any) -> None:
    """Check the fields that every learner has: ``iterations``, ``batch``, ``hidden``, ``lr``,
    ``clip``, ``beta1``, ``average``, ``final_lr``, ``every``, ``device``.

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
    placed(learner)
