"""Normalising flows of the library zuko, an optional one: built from a generator of one's own, and
run from one flat vector of weights.

zuko draws its first weights from torch's global state, which is seeded for the purpose and put back
after.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from methods.base import Approximation
from methods.parts.adversarial.contrast import log_normal
from methods.parts.optional import library

Kind = Literal[
    "spline-coupling", "spline-autoregressive", "affine-coupling", "affine-autoregressive"
]
KINDS = ("spline-coupling", "spline-autoregressive", "affine-coupling", "affine-autoregressive")
ROWS = 4096  # of a density made at a time


def available() -> bool:
    """Whether zuko, the library behind the flows, is installed."""
    return importlib.util.find_spec("zuko") is not None


def build(
    kind: Kind,
    dim: int,
    *,
    transforms: int,
    hidden: tuple[int, ...],
    bins: int,
    generator: Generator,
    context: int = 0,
) -> torch.nn.Module:
    """A flow of zuko's, in float32, its first weights by the generator.

    Args:
        kind: how one coordinate is moved, and which others decide how.
        transforms: how many in turn; hidden: widths of each one's network; bins: of a spline.
        context: length of what the flow is told beside the noise.

    Raises:
        NotApplicableError: if zuko is not installed.
    """
    zuko = library("zuko", "flows")
    shape, order = kind.split("-")
    more: dict[str, Any] = {"passes": 2} if order == "coupling" else {}
    if shape == "spline":
        more["bins"] = bins
    law = zuko.flows.NSF if shape == "spline" else zuko.flows.MAF
    seed = int(torch.randint(2**31, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow: torch.nn.Module = law(
            dim, context, transforms=transforms, hidden_features=hidden, **more
        )
    return flow


class FlowMap(torch.nn.Module):
    """z = loc + exp(log_scale) T(eps), over one flat vector of weights: those of T, loc, log_scale.

    zuko's one-pass direction makes z of eps; the way back takes as many passes as the kind has.

    Args:
        flow: zuko's, made float64; dim: D.
    """

    def __init__(self, flow: torch.nn.Module, dim: int) -> None:
        super().__init__()
        self.flow, self.dim = flow.double(), dim
        named = dict(flow.named_parameters())
        self._names = [f"flow.{name}" for name in named]
        self._shapes = [weight.shape for weight in named.values()]

    def init(self, scale: float) -> Tensor:
        """Weights, [weights], float64: those of zuko, and a scale around them."""
        parts = [weight.detach().reshape(-1) for weight in self.flow.parameters()]
        log_scale = torch.full((self.dim,), math.log(scale), dtype=torch.float64)
        return torch.cat([*parts, torch.zeros_like(log_scale), log_scale])

    def draw(self, weights: Tensor, eps: Tensor) -> Tensor:
        """Z at noise eps: [n, D] -> [n, D]."""
        inner, loc, log_scale = self._parts(weights)
        moved, _ = self._run(inner, eps, inverse=False)
        return loc + log_scale.exp() * moved

    def log_prob(self, weights: Tensor, z: Tensor) -> Tensor:
        """Log density, nats: [n, D] -> [n]."""
        inner, loc, log_scale = self._parts(weights)
        eps, log_det = self._run(inner, (z - loc) * (-log_scale).exp(), inverse=True)
        return log_normal(eps) + log_det - log_scale.sum()

    def pull(self, weights: Tensor, eps: Tensor, direction: Tensor) -> Tensor:
        """Gradient in the weights of ``sum(z(eps) * direction)``, direction held: [weights]."""
        with torch.enable_grad():
            weights = weights.detach().requires_grad_()
            return torch.autograd.grad(self.draw(weights, eps), weights, direction)[0]

    def slope(self, weights: Tensor, z: Tensor) -> Tensor:
        """Of the log density by z: [n, D] -> [n, D]."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            return torch.autograd.grad(self.log_prob(weights.detach(), z).sum(), z)[0]

    def likelier(self, weights: Tensor, z: Tensor, share: Tensor) -> Tensor:
        """Gradient in the weights of the sum of shares [n] times log densities at z: [weights]."""
        with torch.enable_grad():
            weights = weights.detach().requires_grad_()
            return torch.autograd.grad((share * self.log_prob(weights, z)).sum(), weights)[0]

    def forward(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """T or its inverse, and the log of its volume's change: [n, D] -> [n, D], [n]."""
        # not of self.flow(), whose base would check its arguments while it is recorded
        flow: Any = self.flow
        transform = flow.transform()
        found: tuple[Tensor, Tensor] = (transform.inv if inverse else transform).call_and_ladj(x)
        return found

    def _run(self, inner: Tensor, x: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
        ends = itertools.accumulate(math.prod(shape) for shape in self._shapes)
        parts = torch.tensor_split(inner, list(ends)[:-1])
        named = {
            name: part.view(shape)
            for name, part, shape in zip(self._names, parts, self._shapes, strict=True)
        }
        found: tuple[Tensor, Tensor] = torch.func.functional_call(self, named, (x, inverse))
        return found

    def _parts(self, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inner = len(weights) - 2 * self.dim
        return weights[:inner], weights[inner : inner + self.dim], weights[inner + self.dim :]


class Flow(Approximation):
    """A flow at rest.

    Args:
        architecture: the map; weights: [weights], float64, copied.
    """

    def __init__(self, architecture: FlowMap, weights: Tensor) -> None:
        self.architecture, self.weights = architecture, weights.detach().clone()

    def sample(self, n: int, generator: Generator) -> Tensor:
        dim = self.architecture.dim
        eps = torch.randn(n, dim, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            parts = [self.architecture.draw(self.weights, part) for part in torch.split(eps, ROWS)]
        return torch.cat(parts)

    def log_prob(self, z: Tensor) -> Tensor:
        rows = z.reshape(-1, z.shape[-1])
        parts = [self.architecture.log_prob(self.weights, part) for part in torch.split(rows, ROWS)]
        return torch.cat(parts).reshape(z.shape[:-1])
