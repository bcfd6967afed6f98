"""What every metric does first: refuse draws that it cannot judge, and put the truth on unit
scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.metrics.base import Skipped
from bench.metrics.draws import tails

FEWEST_DRAWS = 10  # a standard error from fewer draws is itself a guess
LARGEST = 1e70  # the fourth power of anything larger does not fit into float64
# share of a coordinate's spread that the others leave unexplained, below which it adds no dimension
DEPENDENT = 1e-6


def unfit(draws: Tensor, truth: Tensor) -> Skipped | None:
    """Why two samples [n, D] and [m, D] cannot be compared at all, or None where they can.

    Raises:
        ValueError: if they are not both matrices with the same number of columns.
    """
    if draws.ndim != 2 or truth.ndim != 2 or draws.shape[1] != truth.shape[1]:
        raise ValueError(
            f"Expected draws [n, D] and truth [m, D], got {list(draws.shape)} and"
            f" {list(truth.shape)}."
        )
    return unfit_alone(draws, "draws") or unfit_alone(truth, "draws of the truth")


def unfit_alone(sample: Tensor, name: str) -> Skipped | None:
    """Why one sample [n, ...] cannot be judged, or None where it can."""
    if len(sample) < FEWEST_DRAWS:
        return Skipped(
            f"{len(sample)} {name} are too few for a standard error; at least {FEWEST_DRAWS} are"
            " needed."
        )
    flat = sample.reshape(len(sample), -1)
    bad = int((~torch.isfinite(flat)).any(-1).sum())
    if bad:
        return Skipped(f"{bad} of the {len(sample)} {name} are not finite.")
    largest = float(flat.abs().max())
    return (
        Skipped(f"The {name} reach {largest:.1e}, which float64 cannot square and sum.")
        if largest > LARGEST
        else None
    )


def thinned(sample: Tensor, most: int) -> Tensor:
    """At most so many rows of a sample [n, ...], evenly spaced, the first and the last among
    them.
    """
    if len(sample) <= most:
        return sample
    return sample[torch.linspace(0, len(sample) - 1, most, dtype=torch.float64).round().long()]


def thinned_note(draws: Tensor, truth: Tensor, most: int) -> str:
    """How many of how many draws a figure is made of, where it is not all; else empty."""
    parts = [
        f"{most} of {len(sample)} {name}"
        for sample, name in ((draws, "draws"), (truth, "draws of the truth"))
        if len(sample) > most
    ]
    return f"By {' and '.join(parts)}, evenly spaced." if parts else ""


def constant_coordinates(sample: Tensor) -> list[int]:
    """Coordinates of [n, D] in which all draws agree, counted from 1 as the labels
    ``z[1], z[2], ...`` are.
    """
    same = sample.amax(0) == sample.amin(0)
    return [j + 1 for j in range(sample.shape[1]) if bool(same[j])]


@dataclass(frozen=True, eq=False)
class Scale:
    r"""The map that gives a sample mean 0 and covariance I.

    .. math::
        z \mapsto L^{-1} ((z - \bar y) / s), \quad L L^T = \mathrm{cov}(y / s), \quad s =
        \mathrm{sd}(y)

    Where the truth has no covariance: medians, distances of quartiles and correlations of normal
    scores in their places.

    Args:
        centre, sd: [D]; factor: L, [D, D].
    """

    centre: Tensor
    sd: Tensor
    factor: Tensor

    def apply(self, sample: Tensor) -> Tensor:
        """[n, D] -> [n, D], float64."""
        unit = (sample.double() - self.centre) / self.sd
        solved: Tensor = torch.linalg.solve_triangular(self.factor, unit.T, upper=False)
        return solved.T.contiguous()

    @property
    def root(self) -> Tensor:
        """The lower factor of the covariance, [D, D]: a gradient times it is one in the new
        coordinates.
        """
        return self.sd.unsqueeze(1) * self.factor


def scale_of(draws: Tensor, truth: Tensor, moments: float | None = None) -> Scale | Skipped:
    """The scale of the truth's draws [m, D], or why draws [n, D] cannot be put on it.

    Args:
        moments: of the truth exist below this order; None: as its draws show, see ``tails``.
    """
    refused = unfit(draws, truth)
    if refused is not None:
        return refused
    truth = truth.double()
    if constant := constant_coordinates(truth):
        return Skipped(
            f"Coordinate {constant[0]} is constant in the draws of the truth: there is no scale to"
            " measure it by."
        )
    heavy = tails.moments(truth, moments) <= 2
    centre, sd = (
        (truth.median(0).values, tails.middle_scale(truth))
        if heavy
        else (truth.mean(0), truth.std(0))
    )
    if not bool((sd > 0).all()):
        return Skipped(
            "The truth has no standard deviation, and the middle half of its draws is the same in"
            f" coordinate {int((sd == 0).int().argmax()) + 1}: there is no scale to measure it by."
        )
    factor, failed = torch.linalg.cholesky_ex(
        tails.rank_correlation(truth) if heavy else _covariance((truth - centre) / sd)
    )
    if failed or factor.diagonal().amin() < DEPENDENT:
        return Skipped(
            f"The {len(truth)} draws of the truth do not span all {truth.shape[1]} coordinates: "
            "their covariance has no inverse to measure distances by."
        )
    return Scale(centre, sd, factor)


def _covariance(sample: Tensor) -> Tensor:
    return sample.T.cov().reshape(2 * sample.shape[1:])


def standardise(
    draws: Tensor, truth: Tensor, moments: float | None = None
) -> tuple[Tensor, Tensor] | Skipped:
    """Both samples on the scale of the truth's draws, float64: [n, D], [m, D].

    A divergence between densities does not change under it, while distances stop depending on the
    units of a coordinate.

    Args:
        moments: of the truth exist below this order; None: as its draws show.
    """
    scale = scale_of(draws, truth, moments)
    return scale if isinstance(scale, Skipped) else (scale.apply(draws), scale.apply(truth))
