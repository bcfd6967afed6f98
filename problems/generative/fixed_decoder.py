r"""Pure amortised inference: the decoder is given, z lies in the plane, and some x have four modes.

.. math::
    l(z) = \bigl(g (e(z_1) - c),\; g (e(z_2) - c),\; t (z_1 + z_2),\; t (z_1 - z_2)\bigr), \quad
    e(u) = \mathrm{elu}(u) + \mathrm{elu}(-u)

are logits of independent bits, the first two of them read ``repeats`` times. e(u) is even and
smooth, about :math:`|u| - 1` far out: a bit of the first kind that is one says that a coordinate is
large, and not on which side. The last two bits tilt the modes against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from problems.generative.base import BernoulliDecoder, GenerativeModel
from problems.generative.parts.latent_grid import latent_grid
from problems.parts.validate import require_finite, require_positive, require_whole


@dataclass(frozen=True)
class FixedDecoder(GenerativeModel):
    """Bits of a plane's z, by a network of one hidden layer with stated weights.

    Args:
        gain: g, the slope of the bits that see e(z); threshold: c, where they are even odds.
        tilt: t, the slope of the two bits that tell the modes apart.
        repeats: how many bits see each e(z).
        size: training data, drawn from the decoder; held: test data, drawn likewise.
        draw: seed of the data.

    Raises:
        ValueError: if a field lies outside its range.
    """

    gain: float = 5.0
    threshold: float = 0.5
    tilt: float = 0.3
    repeats: int = 2
    size: int = 4096
    held: int = 64
    draw: int = 0
    name: ClassVar[str] = "fixed-decoder"

    def __post_init__(self) -> None:
        require_positive(self, "gain")
        require_finite(self, "threshold", "tilt")
        require_whole(self, repeats=1, size=1, held=1, draw=0)

    @property
    def latent_dim(self) -> int:
        return 2

    @property
    def train(self) -> Tensor:
        return self._drawn()[: self.size]

    @property
    def test(self) -> Tensor:
        return self._drawn()[self.size :]

    @property
    def log_likelihood_of_truth(self) -> Tensor:
        """log p(x) of each test x, nats, [N], good to 1e-6."""
        decoder, x = self.decoder().at_rest(), self.test.double()
        return latent_grid(lambda z: decoder.pairs(x, z), 2).log_evidence

    def decoder(self, generator: Generator | None = None) -> BernoulliDecoder:
        """The decoder, which needs no randomness and no gradient."""
        network = _Stated(self).requires_grad_(False)
        return BernoulliDecoder(network, 2, (2 * self.repeats + 2,))

    def _drawn(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.draw)
        z = torch.randn(self.size + self.held, 2, generator=generator)
        return self.decoder().sample(z, generator)


class _Stated(nn.Module):
    """The logits: two layers, elu between them, and a linear short cut for the tilt."""

    def __init__(self, model: FixedDecoder) -> None:
        super().__init__()
        ones = torch.ones(1, model.repeats)
        sides = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])
        evens = torch.cat([sides[0].abs()[:, None] @ ones, sides[1].abs()[:, None] @ ones], 1)
        tilts = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
        self.sides = nn.Parameter(sides)  # [2, 4]
        self.evens = nn.Parameter(model.gain * nn.functional.pad(evens, (0, 2)))  # [4, bits]
        self.tilts = nn.Parameter(model.tilt * nn.functional.pad(tilts, (evens.shape[1], 0)))
        shift = torch.full((evens.shape[1],), -model.gain * model.threshold)
        self.shift = nn.Parameter(nn.functional.pad(shift, (0, 2)))

    def forward(self, z: Tensor) -> Tensor:
        """Logits: [n, 2] -> [n, bits]."""
        return nn.functional.elu(z @ self.sides) @ self.evens + z @ self.tilts + self.shift
