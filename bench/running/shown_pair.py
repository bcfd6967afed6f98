"""What a page shows of a learned decoder and encoder: codes at several checkpoints, x as they come
back from their codes, x drawn from the model, and the exact posterior of some x.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from bench.fitting.fit import Checkpoint
from bench.metrics.amortised.base import PLANE, Pair
from methods.amortised.base import Learned
from problems.generative.base import GenerativeModel

CODED, CODES = 16, 256  # x whose codes are shown, and codes of each
PICTURED, SAMPLED = 8, 16  # x that are reconstructed, and x that are drawn from the model
EXACT, LATTICE = (
    4,
    72,
)  # x whose exact posterior is shown in the plane, and its points along an axis
REACH, MARGIN = 4.0, 0.15  # of the lattice: prior standard deviations, and beyond draws outside


class Shown:
    """What is kept of one cell for its pictures, as it grows from checkpoint to checkpoint.

    Args:
        model: where the data are from.
        x: test data, [N, *shape], float64.
        seed: of the latent variables whose x are drawn from the model: the same at each checkpoint.
    """

    def __init__(self, model: GenerativeModel, x: Tensor, seed: int) -> None:
        self.model, self.seed = model, seed
        self.coded, self.pictured, self.exact = (
            _spread(len(x), most) for most in (CODED, PICTURED, EXACT)
        )
        self._codes: dict[int, NDArray[np.float32]] = {}
        self._spent: dict[int, int] = {}

    def at(self, checkpoint: Checkpoint[Learned], pair: Pair) -> dict[str, NDArray[Any]]:
        """Arrays by name.

        ``codes`` [checkpoints, n, S, L]: draws of q(z | x); ``spent`` [checkpoints]: gradients;
        ``coded`` [n]: which x these are. ``x`` and ``reconstruction`` [m, *shape]: data, and the
        decoder's mean at one draw of q(z | x). ``sample`` [k, *shape]: the decoder's mean at draws
        of the prior. In the plane ``exact`` [e]: which x, ``log_posterior`` [e, G, G]: their exact
        log density, nats, over ``lattice`` [G, G, 2].
        """
        self._codes[checkpoint.index] = _single(pair.z[self.coded, :CODES])
        self._spent[checkpoint.index] = checkpoint.gradients
        source = Generator().manual_seed(self.seed)
        prior = torch.randn(SAMPLED, pair.decoder.latent_dim, generator=source, dtype=torch.float64)
        found: dict[str, NDArray[Any]] = {
            "codes": np.stack(list(self._codes.values())),
            "spent": np.array(list(self._spent.values())),
            "coded": self.coded.numpy(),
            "x": _single(pair.x[self.pictured]),
            "reconstruction": _single(pair.decoder.mean(pair.z[self.pictured, 0])),
            "sample": _single(pair.decoder.mean(prior)),
        }
        if pair.decoder.latent_dim == PLANE:
            found |= self._posteriors(pair)
        return found

    def so_far(self) -> dict[str, Tensor]:
        """The codes of all checkpoints, and what had been spent by then, by name."""
        return {
            f"{index} {self._spent[index]}": torch.from_numpy(codes)
            for index, codes in self._codes.items()
        }

    def go_on(self, arrays: Mapping[str, Tensor]) -> None:
        """Take over what ``so_far`` gave in an earlier process."""
        for name, codes in arrays.items():
            index, spent = map(int, name.split())
            self._codes[index], self._spent[index] = codes.numpy(), spent

    def _posteriors(self, pair: Pair) -> dict[str, NDArray[Any]]:
        """The exact posteriors of some x over a lattice that holds the codes of all."""
        low, high = pair.z.flatten(0, 1).aminmax(dim=0)
        margin = MARGIN * (high - low)
        low = torch.minimum(low - margin, torch.tensor(-REACH))
        high = torch.maximum(high + margin, torch.tensor(REACH))
        ends = zip(low.tolist(), high.tolist(), strict=True)
        axes = [torch.linspace(*of, LATTICE, dtype=torch.float64) for of in ends]
        lattice = torch.stack(torch.meshgrid(*axes, indexing="xy"), -1)
        joint = [
            self.model.posterior(pair.decoder, pair.x[i]).log_density(lattice) for i in self.exact
        ]
        posterior = torch.stack(joint) - pair.evidence.value[self.exact].reshape(-1, 1, 1)
        return {
            "exact": self.exact.numpy(),
            "lattice": _single(lattice),
            "log_posterior": _single(posterior),
        }


def _spread(count: int, most: int) -> Tensor:
    """So many of a count, evenly spread: whole numbers, in order."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()


def _single(values: Tensor) -> NDArray[np.float32]:
    return values.detach().to(torch.float32).numpy()
