"""What every ruler does first: refuse draws that it cannot judge, and put the truth on unit scale."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.metrics.base import Skipped

FEWEST = 10  # a standard error from fewer draws is itself a guess
LARGEST = 1e70  # the fourth power of anything larger does not fit into float64
DEPENDENT = 1e-6  # share of a coordinate's spread that the others leave unexplained, below which it adds no dimension


def unfit(draws: Tensor, truth: Tensor) -> Skipped | None:
    """Why two samples [n, D] and [m, D] cannot be compared at all, or None where they can.

    Raises:
        ValueError: if they are not both matrices with the same number of columns.
    """
    if draws.ndim != 2 or truth.ndim != 2 or draws.shape[1] != truth.shape[1]:
        raise ValueError(f"Expected draws [n, D] and truth [m, D], got {list(draws.shape)} and {list(truth.shape)}.")
    return unfit_alone(draws, "draws") or unfit_alone(truth, "draws of the truth")


def unfit_alone(sample: Tensor, name: str) -> Skipped | None:
    """Why one sample [n, ...] cannot be judged, or None where it can."""
    if len(sample) < FEWEST:
        return Skipped(f"{len(sample)} {name} are too few for a standard error; at least {FEWEST} are needed.")
    flat = sample.reshape(len(sample), -1)
    bad = int((~torch.isfinite(flat)).any(-1).sum())
    if bad:
        return Skipped(f"{bad} of the {len(sample)} {name} are not finite.")
    largest = float(flat.abs().max())
    return Skipped(f"The {name} reach {largest:.1e}, which float64 cannot square and sum.") if largest > LARGEST else None


def constant_coordinates(sample: Tensor) -> list[int]:
    """Coordinates of [n, D] in which all draws agree, counted from 1 as the labels ``z[1], z[2], ...`` are."""
    same = sample.amax(0) == sample.amin(0)
    return [j + 1 for j in range(sample.shape[1]) if bool(same[j])]


def standardise(draws: Tensor, truth: Tensor) -> tuple[Tensor, Tensor] | Skipped:
    r"""Both samples by the map that gives the truth's draws mean 0 and covariance I, float64: [n, D], [m, D].

    .. math:: z \mapsto L^{-1} (z - \bar y), \quad L L^T = \mathrm{cov}(y)

    A divergence between densities does not change under it, while distances stop depending on the units of a coordinate.
    """
    refused = unfit(draws, truth)
    if refused is not None:
        return refused
    draws, truth = draws.double(), truth.double()
    if constant := constant_coordinates(truth):
        return Skipped(f"Coordinate {constant[0]} is constant in the draws of the truth: there is no scale to measure it by.")
    centre, scale = truth.mean(0), truth.std(0)
    draws, truth = (draws - centre) / scale, (truth - centre) / scale
    factor, failed = torch.linalg.cholesky_ex(truth.T.cov() if truth.shape[1] > 1 else truth.var(0).reshape(1, 1))
    if failed or factor.diagonal().amin() < DEPENDENT:
        return Skipped(
            f"The {len(truth)} draws of the truth do not span all {truth.shape[1]} coordinates: "
            "their covariance has no inverse to measure distances by."
        )
    return _solve(factor, draws), _solve(factor, truth)


def _solve(factor: Tensor, sample: Tensor) -> Tensor:
    solved: Tensor = torch.linalg.solve_triangular(factor, sample.T, upper=False)
    return solved.T.contiguous()
