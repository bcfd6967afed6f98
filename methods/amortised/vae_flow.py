r"""A variational autoencoder whose encoder is a normalising flow of zuko's, told x: more than a
Gaussian, and with a density.

.. math::
    L(\theta, \phi) = E[\log p_\theta(x, z) - \log q_\phi(z \mid x)], \quad
    z = T_\phi(\epsilon; x), \quad
    \log q_\phi(z \mid x) = \log N(\epsilon; 0, I) - \log |\det T_\phi'(\epsilon; x)|

Source: D. J. Rezende, S. Mohamed, Variational inference with normalizing flows, 2015,
arXiv:1505.05770; the splines: C. Durkan et al., Neural spline flows, 2019, arXiv:1906.04032.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from methods.amortised.base import Encoder, Learned, Learner, TrainingData
from methods.amortised.training import Course, Flat, Player, checked, decayed
from methods.base import Approximation, Budget
from methods.parts.device import present
from methods.parts.networks.zuko_flow import KINDS, Kind, build
from methods.parts.validate import require
from problems.generative.base import Decoder
from problems.generative.parts.latent_grid import log_prior


@dataclass(frozen=True)
class FlowVAE(Learner):
    """A flow and the decoder step together by Adam on the evidence lower bound.

    Args:
        flow: the kind of flow.
        transforms: of the flow, one after the other; bins: of a spline.
        iterations: steps, where the budget allows as many; batch: data points of each.
        hidden: widths of the network of each transform, which is told x.
        lr: Adam's step size; beta1: its memory of the gradient.
        final_lr: share of the step size left at the end of its cosine decay; 1 for none.
        clip: largest norm of the gradient.
        average: memory of the averaged weights that are yielded, per iteration; 0 for the newest.
        every: iterations between two checkpoints.
        device: cpu or cuda, where the networks are trained; random numbers are the same on both.

    Raises:
        ValueError: if a field lies outside its range.
        NotApplicableError: from ``run``, if zuko is not installed, or the device is not here.
        FloatingPointError: from ``run``, if the training diverges.
    """

    flow: Kind = "spline-autoregressive"
    transforms: int = 3
    bins: int = 8
    iterations: int = 5000
    batch: int = 128
    hidden: tuple[int, ...] = (64, 64)
    lr: float = 1e-3
    beta1: float = 0.9
    final_lr: float = 0.01
    clip: float = 100.0
    average: float = 0.99
    every: int = 50
    device: str = "cpu"
    name: ClassVar[str] = "vae-flow"
    source: ClassVar[str] = "D. J. Rezende, S. Mohamed, 2015, arXiv:1505.05770"

    def __post_init__(self) -> None:
        checked(self)
        require(self, "flow", self.flow in KINDS, f"be one of {', '.join(KINDS)}")
        require(self, "transforms", self.transforms >= 1, "be at least 1")
        require(self, "bins", self.bins >= 2, "be at least 2")

    def run(self, model: TrainingData, budget: Budget, generator: Generator) -> Iterator[Learned]:
        decoder = model.decoder(generator)
        flow = build(
            self.flow,
            model.latent_dim,
            context=math.prod(model.train.shape[1:]),
            transforms=self.transforms,
            hidden=self.hidden,
            bins=self.bins,
            generator=generator,
        )
        bound = Flat(FlowBound(flow, decoder), present(self))
        player = Player(bound, bound, beta1=self.beta1, clip=self.clip, average=self.average)

        def play(progress: float) -> None:
            x = model.batch(self.batch, generator)
            eps = torch.randn(self.batch, model.latent_dim, generator=generator)
            model.charge(self.batch)
            player.step(decayed(self.lr, progress, self.final_lr), x, eps)

        def learned() -> Learned:
            rest = player.at_rest()
            return Learned(rest.decoder, FlowEncoder(rest.flow, model.latent_dim))

        course = Course(self, model, budget, generator, self.batch, player=player)
        yield from course.run(play, learned)


class FlowBound(nn.Module):
    """Minus the evidence lower bound, nats, a mean over the rows, its divergence by the draw."""

    def __init__(self, flow: Any, decoder: Decoder) -> None:
        super().__init__()
        self.flow, self.decoder = flow, decoder

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        """At x, [n, *shape], with noise eps, [n, L]: []."""
        # not of self.flow(x), whose base would check its arguments while it is recorded
        z, log_det = self.flow.transform(x.flatten(1)).call_and_ladj(eps)
        log_q = log_prior(eps) - log_det
        loss: Tensor = (log_q - log_prior(z) - self.decoder.log_likelihood(x, z)).mean()
        return loss


class FlowEncoder(Encoder):
    """A flow told x, at rest.

    Args:
        flow: zuko's, float64; latent_dim: L.
    """

    def __init__(self, flow: Any, latent_dim: int) -> None:
        self.flow, self.latent_dim = flow, latent_dim

    def at(self, x: Tensor) -> Approximation:
        return FlowAt(self, x)

    def sample(self, x: Tensor, n: int, generator: Generator) -> Tensor:
        shape = len(x) * n, self.latent_dim
        eps = torch.randn(shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            z: Tensor = self._told(x.repeat_interleave(n, 0))(eps)
        return z.reshape(len(x), n, -1)

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """Log q(z | x), nats: [N, *shape], [N, n, L] -> [N, n]; differentiable."""
        told = self._told(x.repeat_interleave(z.shape[1], 0))
        eps, log_det = told.inv.call_and_ladj(z.flatten(0, 1))
        value: Tensor = (log_prior(eps) + log_det).reshape(z.shape[:2])
        return value

    def _told(self, x: Tensor) -> Any:
        return self.flow.transform(x.double().flatten(1))


class FlowAt(Approximation):
    """A flow told one x, [*shape]."""

    def __init__(self, encoder: FlowEncoder, x: Tensor) -> None:
        self.encoder, self.x = encoder, x

    def sample(self, n: int, generator: Generator) -> Tensor:
        return self.encoder.sample(self.x.unsqueeze(0), n, generator)[0]

    def log_prob(self, z: Tensor) -> Tensor:
        rows = z.reshape(1, -1, z.shape[-1])
        return self.encoder.log_prob(self.x.unsqueeze(0), rows).reshape(z.shape[:-1])
