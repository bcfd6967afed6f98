"""A sampler of several maps: for each draw one of them is chosen by chance, so that modes far apart
need no bridge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from methods.base import Approximation, Pushforward


@dataclass(frozen=True, eq=False)
class PushforwardMixture(Approximation):
    r"""Its density is the sum of those of its maps.

    .. math:: q(z) = \sum_k w_k\, q_k(z), \quad q_k \text{ the law of } f_k(\epsilon)

    Args:
        heads: the maps f_k, of one number of coordinates.
        log_weights: log w_k, [heads], normalised.
        diagnostics: what the method has to say of it.

    Example:
        >>> shares = torch.tensor([0.25, 0.75], dtype=torch.float64)
        >>> class At(Pushforward):
        ...     noise_dim = 1
        ...
        ...     def __init__(self, place):
        ...         self.place = place
        ...
        ...     def forward(self, eps):
        ...         return self.place + eps
        >>> q = PushforwardMixture((At(-9.0), At(9.0)), shares.log())
        >>> draws = q.sample(1000, torch.Generator().manual_seed(0))
        >>> 700 < int((draws > 0).sum()) < 800
        True
    """

    heads: tuple[Pushforward, ...]
    log_weights: Tensor
    diagnostics: Mapping[str, float] = field(default_factory=dict)

    def sample(self, n: int, generator: Generator) -> Tensor:
        chosen = self.choose(n, generator)
        parts = [
            head.sample(int((chosen == k).sum()), generator) for k, head in enumerate(self.heads)
        ]
        # row i of the draws, sorted by head, belongs where the i-th smallest choice was made
        return torch.cat(parts)[chosen.argsort(stable=True).argsort(stable=True)]

    def choose(self, n: int, generator: Generator) -> Tensor:
        """Which head each of n draws is of, [n]."""
        return torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
