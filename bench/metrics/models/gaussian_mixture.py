"""How many Gaussians a mixture fitted to draws should have: as many as other draws bear out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Generator, Tensor

from methods.parts.gaussians.mixtures import Gaussians, fit, fitted

__all__ = ["Gaussians", "choose", "fit", "fitted"]

BETTER = 0.005  # nats on other draws that more components must bring
LARGEST = 60_000  # entries of all covariances together: what EM can climb in seconds


def choose(
    sample: Tensor, other: Tensor, components: Sequence[int], generator: Generator
) -> Gaussians:
    """Of mixtures fitted to a sample the one that other draws find likeliest; tried in turn while
    it pays.
    """
    best, best_value = None, -math.inf
    for count in components:
        if best is not None and count * sample.shape[1] ** 2 > LARGEST:
            break
        mixture = fit(sample, count, generator)
        value = float(mixture.log_prob(other).mean())
        if best is not None and value < best_value + BETTER:
            return mixture if value > best_value else best
        best, best_value = mixture, value
    assert best is not None, "components is empty"
    return best
