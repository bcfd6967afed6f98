r"""Factor analysis with equal noise: everything about it is in closed form.

.. math:: z \sim N(0, I_L), \quad x \mid z \sim N(W z, s^2 I_K), \quad x \sim N(0, W W^T + s^2 I)

Source: M. E. Tipping, C. M. Bishop, Probabilistic principal component analysis, 1999,
doi:10.1111/1467-9868.00196.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from problems.generative.base import Decoder, GenerativeModel
from problems.parts.validate import require_positive, require_whole


class GaussianDecoder(Decoder):
    """Independent Gaussians of one standard deviation around a network's output.

    Args:
        network: from z to means, [n, L] -> [n, K]; latent_dim: L; width: K; noise: s.
    """

    def __init__(self, network: nn.Module, latent_dim: int, width: int, noise: float) -> None:
        super().__init__(latent_dim, (width,))
        self.network, self.noise = network, noise

    def forward(self, z: Tensor) -> Tensor:
        """Means: [..., L] -> [..., K]."""
        mean: Tensor = self.network(z)
        return mean

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        mean = self(z)
        squares = (x.to(mean.dtype) - mean).square().sum(-1)
        constant = self.shape[0] * (math.log(self.noise) + 0.5 * math.log(2 * math.pi))
        value: Tensor = -0.5 * squares / self.noise**2 - constant
        return value

    def mean(self, z: Tensor) -> Tensor:
        means: Tensor = self(z)
        return means

    def sample(self, z: Tensor, generator: Generator) -> Tensor:
        mean = self(z)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        drawn: Tensor = mean + self.noise * noise
        return drawn


class _Linear(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, z: Tensor) -> Tensor:
        return z @ self.weight.T


@dataclass(frozen=True)
class LinearGaussian(GenerativeModel):
    """A linear map of z with noise, given; the posterior of every x is a Gaussian.

    Args:
        latent: L; width: K, the length of x; noise: s.
        size, held: training and test data; draw: seed of the map and of the data.

    Raises:
        ValueError: if a field lies outside its range.
    """

    latent: int = 2
    width: int = 5
    noise: float = 0.5
    size: int = 2000
    held: int = 64
    draw: int = 0
    name: ClassVar[str] = "linear-gaussian"

    def __post_init__(self) -> None:
        require_whole(self, latent=1, width=1, size=1, held=1, draw=0)
        require_positive(self, "noise")

    @property
    def latent_dim(self) -> int:
        return self.latent

    @property
    def weight(self) -> Tensor:
        """The weights W of the decoder, which carry z to the mean of x, [K, L], float32."""
        generator = torch.Generator().manual_seed(self.draw)
        return torch.randn(self.width, self.latent, generator=generator)

    @property
    def train(self) -> Tensor:
        return self._drawn()[: self.size]

    @property
    def test(self) -> Tensor:
        return self._drawn()[self.size :]

    def _drawn(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.draw + 1)
        z = torch.randn(self.size + self.held, self.latent, generator=generator)
        return self.decoder(generator).sample(z, generator)

    def decoder(self, generator: Generator) -> GaussianDecoder:
        """The given map, the same every time."""
        network = _Linear(self.weight).requires_grad_(False)
        return GaussianDecoder(network, self.latent, self.width, self.noise)

    @property
    def log_likelihood_of_truth(self) -> Tensor:
        """log N(x; 0, W W^T + s^2 I) of each test x, nats, [N]."""
        weight = self.weight.double()
        covariance = weight @ weight.T + self.noise**2 * torch.eye(self.width).double()
        law = torch.distributions.MultivariateNormal(torch.zeros(self.width).double(), covariance)
        value: Tensor = law.log_prob(self.test.double())  # type: ignore[no-untyped-call]
        return value

    def exact(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and the covariance of p(z | x): [N, K] -> [N, L], [L, L], float64."""
        weight = self.weight.double()
        precision = torch.eye(self.latent).double() + weight.T @ weight / self.noise**2
        mean = torch.linalg.solve(precision, weight.T @ x.double().T / self.noise**2).T
        return mean, torch.linalg.inv(precision)
