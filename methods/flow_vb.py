r"""Variational inference by a normalising flow: a richer density than a Gaussian, known everywhere.

.. math:: \min_\theta\ KL(q_\theta \| p), \qquad z = T_\theta(\epsilon), \quad
   \log q_\theta(z) = \log N(T_\theta^{-1}(z); 0, I) + \log |\det \partial T_\theta^{-1}(z)|

T moves each coordinate by a spline or an affine map, whose shape a network makes of other
coordinates: of half of them (coupling), or of all before it (autoregressive). The slope of the loss
is taken along the path of the draws alone, :math:`E (\nabla \log q - \nabla \log p)\, \partial_
\theta T_\theta(\epsilon)`: it vanishes draw by draw where q is p, so that the noise of the gradient
dies out at the end. With ``objective = "forward-kl"`` the loss is KL(p||q) instead: q's own draws,
weighted to p, are made likelier; that covers what q would leave out, and is blind to what no draw
has met.

Source: D. J. Rezende, S. Mohamed, Variational inference with normalizing flows, ICML 2015,
arXiv:1505.05770; splines: C. Durkan, A. Bekasov, I. Murray, G. Papamakarios, Neural spline flows,
2019, arXiv:1906.04032; the path's slope: G. Roeder, Y. Wu, D. Duvenaud, Sticking the landing, 2017,
arXiv:1703.09194; forward: G. Jerfel et al., Variational refinement for importance sampling using
the forward Kullback-Leibler divergence, 2021, arXiv:2106.15980. Needs the library zuko.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from methods.base import Budget, Method, Target
from methods.parts.device import placed, present, recorded, seen_from
from methods.parts.networks.zuko_flow import KINDS, Flow, FlowMap, Kind, build
from methods.parts.optimisation.descent import Descent, length
from methods.parts.optimisation.tempered import Tempered
from methods.parts.validate import require, trained

REMEDY = "try a smaller lr, or a scale nearer to the posterior's"
# passes of the way back, beyond which a record of it takes longer to make than it saves
LONGEST = 4
Call = Callable[..., Tensor]


@dataclass(frozen=True)
class FlowVB(Method):
    """A normalising flow on the ELBO, or on the likelihood of its own weighted draws.

    Args:
        flow: ``spline`` or ``affine`` maps of a coordinate, in ``coupling`` or ``autoregressive``
            order; the latter takes D passes for a density at a given point.
        objective: ``reverse-kl``, KL(q||p) along the path, or ``forward-kl``, KL(p||q) by
            self-normalised importance weights.
        transforms: how many in turn; hidden: widths of each one's network; bins: of a spline, which
            acts on (-5, 5) and leaves alone what is beyond.
        iterations: length of the run; cut to what ``budget.gradients`` allows.
        batch: draws, and so gradient evaluations, per step.
        lr: Adam's step size; final_lr: share of it left at the end of its cosine decay.
        clip: largest norm of a gradient in the weights.
        scale: standard deviation of the coordinates at the start.
        anneal: share of the run in which log p gains its full weight, starting from N(0, scale^2
            I); 0 for none.
        average: memory of the averaged weights that are yielded, per iteration; 0 for the newest.
        every: iterations between two approximations.
        device: cpu or cuda, where the flow and its draws are; random numbers are the same on both,
            and the density is on the CPU.

    Raises:
        ValueError: if a field lies outside its range.
        NotApplicableError: from ``run``, if zuko is not installed, or the device is not here.
        FloatingPointError: from ``run``, if the training diverges.
    """

    flow: Kind = "spline-coupling"
    objective: Literal["reverse-kl", "forward-kl"] = "reverse-kl"
    transforms: int = 3
    hidden: tuple[int, ...] = (64, 64)
    bins: int = 8
    iterations: int = 2000
    batch: int = 128
    lr: float = 3e-3
    final_lr: float = 0.01
    clip: float = 10.0
    scale: float = 1.0
    anneal: float = 0.5
    average: float = 0.99
    every: int = 25
    device: str = "cpu"
    name: ClassVar[str] = "flow-vb"
    source: ClassVar[str] = "Rezende, Mohamed, 2015, arXiv:1505.05770"

    def __post_init__(self) -> None:
        require(self, "flow", self.flow in KINDS, f"be one of {', '.join(KINDS)}")
        objectives = self.objective in ("reverse-kl", "forward-kl")
        require(self, "objective", objectives, "be 'reverse-kl' or 'forward-kl'")
        for field in ("transforms", "batch"):
            require(self, field, getattr(self, field) >= 1, "be at least 1")
        require(self, "bins", self.bins >= 2, "be at least 2")
        trained(self)
        placed(self)

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Flow | None]:
        present(self)
        fit = _Fit(self, target, generator)
        planned = length(self.iterations, self.batch, budget.gradients)
        fit.record()
        yield None
        for i in range(planned):
            fit.descent.step(fit.gradient(i / planned), i / planned)
            if i == 0 or (i + 1) % self.every == 0 or i + 1 == planned:
                yield Flow(fit.resting, fit.descent.average.cpu())


class _Fit:
    """The flow on its way, and its functions as recorded."""

    def __init__(self, method: FlowVB, target: Target, generator: Generator) -> None:
        name, device = type(method).__name__, method.device
        target = seen_from(device, target)
        flow = build(
            method.flow,
            target.dim,
            transforms=method.transforms,
            hidden=method.hidden,
            bins=method.bins,
            generator=generator,
        )
        self.method, self.generator, self.map = method, generator, FlowMap(flow, target.dim)
        start = self.map.init(method.scale).to(device)
        # as it is yielded
        self.resting = self.map if device == "cpu" else copy.deepcopy(self.map)
        self.map.to(device)
        self.target = Tempered(target, method.anneal, method.scale, name, REMEDY)
        self.descent = Descent(method, start, REMEDY)
        short = method.flow.endswith("coupling") or target.dim <= LONGEST

        def back(function: Call) -> Call:
            return recorded(function, device) if short else function

        self._draw, self._pull = recorded(self.map.draw, device), recorded(self.map.pull, device)
        self._slope, self._likelier = back(self.map.slope), back(self.map.likelier)
        self._log_prob = back(self.map.log_prob)

    def record(self) -> None:
        """Call each function that the steps call, which records it: seconds of set-up."""
        weights, n = self.descent.weights.detach(), self.method.batch
        eps = weights.new_zeros(n, self.map.dim)
        with torch.no_grad():
            z = self._draw(weights, eps)
        if self.method.objective == "reverse-kl":
            self._slope(weights, z)
            self._pull(weights, eps, z)  # one tensor in two places would be recorded as one
        else:
            with torch.no_grad():
                self._log_prob(weights, z)
            self._likelier(weights, z, weights.new_zeros(n))

    def gradient(self, progress: float) -> Tensor:
        """Of the loss in the weights, at a share of the run: [weights]."""
        n, weights = self.method.batch, self.descent.weights.detach()
        eps = torch.randn(n, self.map.dim, generator=self.generator, dtype=torch.float64)
        eps = eps.to(self.method.device)
        with torch.no_grad():
            z = self._draw(weights, eps)
        if self.method.objective == "reverse-kl":
            _, slope = self.target.value_and_grad(z, progress)
            away = (self._slope(weights, z) - slope) / n
            found: Tensor = self._pull(weights, eps, away)
            return found
        value, _ = self.target.value_and_grad(z, progress)
        with torch.no_grad():
            share = (value - self._log_prob(weights, z)).softmax(0)
        return -self._likelier(weights, z, share)
