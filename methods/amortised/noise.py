r"""Encoders fed with noise: one that reads it beside x, and one whose moments are known.

.. math::
    z_k = m_k(x) + \sum_{i=1}^{m} a_{ik}(x)\, v_{ik}(\epsilon_i), \qquad
    E[z_k \mid x] = m_k(x) + \sum_i a_{ik}(x)\, E[v_{ik}], \quad
    Var[z_k \mid x] = \sum_i a_{ik}(x)^2\, Var[v_{ik}]

The moments of v do not depend on x: a batch's noise gives them, for every x in it, from as many
draws as there are rows.

Source: L. Mescheder, S. Nowozin, A. Geiger, Adversarial Variational Bayes, ICML 2017,
arXiv:1701.04722, the section on adaptive contrast.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from problems.generative.base import perceptron

TINY = 1e-6  # least variance of a coordinate: what float32 still resolves
WIDTH = 32  # of the hidden layer that each part of the noise goes through


class Plain(nn.Module):
    """A network that reads x and the noise side by side.

    Args:
        network: of both together, [n, pixels + K] -> [n, L]; noise_dim: K.
        draws: neighbours in a batch that have the same x, which moments are estimated from.
    """

    def __init__(self, network: nn.Module, noise_dim: int, draws: int) -> None:
        super().__init__()
        self.network, self.noise_dim, self.draws = network, noise_dim, draws

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        """z: [n, *shape], [n, K] -> [n, L]."""
        z: Tensor = self.network(torch.cat([x.flatten(1), eps], 1))
        return z

    def moments(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z, and the mean and standard deviation of its neighbours' coordinates, [n, L] each."""
        z = self(x, eps)
        groups = z.reshape(-1, self.draws, z.shape[1])
        scale = (groups.var(1, keepdim=True) + TINY).sqrt().expand_as(groups)
        loc = groups.mean(1, keepdim=True).expand_as(groups)
        return z, loc.flatten(0, 1), scale.flatten(0, 1)


class Coefficients(nn.Module):
    """Noise in parts, each bent by a network of its own, which x moves and gives coefficients to.

    Args:
        pixels: of an x; latent: L; hidden: widths of the network of x, ELU.
        parts: m, of the noise; each: length of one.
    """

    def __init__(
        self,
        pixels: int,
        latent: int,
        hidden: tuple[int, ...],
        parts: int,
        each: int,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.parts, self.latent, self.noise_dim = parts, latent, parts * each
        self.network = perceptron((pixels, *hidden, (1 + parts) * latent), generator)
        first = torch.randn(parts, each, WIDTH, generator=generator) / math.sqrt(each)
        last = torch.randn(parts, WIDTH, latent, generator=generator) / math.sqrt(WIDTH)
        bends = torch.randn(parts, 1, WIDTH, generator=generator)
        self.first, self.last, self.bends = map(nn.Parameter, (first, last, bends))

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        """z: [n, *shape], [n, m K] -> [n, L]."""
        loc, weight = self._of(x)
        return loc + (weight * self._bent(eps)).sum(1)

    def moments(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z, and the mean and standard deviation of its coordinates given x, [n, L] each, by the
        noise of all rows.
        """
        loc, weight = self._of(x)
        bent = self._bent(eps)
        variance = (weight.square() * bent.var(0)).sum(1)
        mean = loc + (weight * bent.mean(0)).sum(1)
        return loc + (weight * bent).sum(1), mean, (variance + TINY).sqrt()

    def _of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """m(x), [n, L], and a(x), [n, m, L]."""
        found = self.network(x.flatten(1)).reshape(len(x), 1 + self.parts, self.latent)
        return found[:, 0], found[:, 1:] / math.sqrt(self.parts)

    def _bent(self, eps: Tensor) -> Tensor:
        """The parts v(eps) of the noise after their own networks, [n, m, L]."""
        noise = eps.reshape(len(eps), self.parts, -1).transpose(0, 1)
        bent: Tensor = functional.elu(noise @ self.first + self.bends) @ self.last
        return bent.transpose(0, 1)
