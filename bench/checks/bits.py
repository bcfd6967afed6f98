r"""The generative model that learners and figures are checked on: three bits over a plane, small
enough that every posterior is known.

.. math:: \log p(x \mid z) = \sum_i x_i\, l_i - \log(1 + e^{l_i}), \quad l = W z + b, \quad
    z \sim N(0, I_2)

An x has the shape [1, 3], as a picture of one row has: what takes x for a vector shows.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from methods.amortised.base import Encoder, GaussianEncoder, NoiseEncoder
from problems.generative.base import BernoulliDecoder, Decoder, GenerativeModel

BITS = 3
HELD = 4  # test data
SLOPES = ((1.5, -1.0, 0.5), (0.5, 1.0, -1.5))  # W^T of a decoder that is given


@dataclass(frozen=True)
class Bits(GenerativeModel):
    """All patterns of three bits, equally often; three independent bits given z.

    Args:
        given: whether the decoder is given, or to be learned.
    """

    given: bool = False
    name: ClassVar[str] = "bits"

    @property
    def latent_dim(self) -> int:
        return 2

    @property
    def train(self) -> Tensor:
        return torch.tensor(list(itertools.product((0.0, 1.0), repeat=BITS))).unsqueeze(1)

    @property
    def test(self) -> Tensor:
        return self.train[::2]

    @property
    def log_likelihood_of_truth(self) -> Tensor:
        """-3 log 2 of each pattern."""
        return torch.full((HELD,), -BITS * math.log(2), dtype=torch.float64)

    def decoder(self, generator: Generator) -> Decoder:
        network: nn.Linear = nn.utils.skip_init(nn.Linear, 2, BITS)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            fresh = torch.randn(BITS, 2, generator=generator)
            network.weight.copy_(torch.tensor(SLOPES).T if self.given else fresh)
            network.bias.fill_(0.2)
        return BernoulliDecoder(network.requires_grad_(not self.given), 2, (1, BITS))


def _centre(x: Tensor) -> Tensor:
    """Where the codes of x lie, a little beside the posterior: [N, 1, 3] -> [N, 2], float64."""
    slopes = torch.tensor(SLOPES, dtype=torch.float64)
    return 0.5 * (x.double().flatten(1) - 0.5) @ slopes.T


class NearGaussian(GaussianEncoder):
    """A Gaussian for every x, a little beside the posterior."""

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc = _centre(x)
        return loc, (0.8 * torch.eye(2, dtype=torch.float64)).expand(len(x), 2, 2)


class NearMap(NoiseEncoder):
    """A map of the noise for every x, without a density."""

    noise_dim = 2

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        return _centre(x) + 0.8 * eps + 0.2 * torch.tanh(eps.roll(1, -1))


def encoders() -> dict[str, Encoder]:
    """Encoders of these bits, by the words for them."""
    return {"an encoder with a density": NearGaussian(), "an encoder without one": NearMap()}
