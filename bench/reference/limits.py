"""One line of a certificate: a figure, its limit, and whether it is met."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

# what the certificate calls its figures, those of a route after the name of the route
SPLIT_R_HAT, BULK_ESS, TAIL_ESS = "split R-hat", "bulk ESS", "tail ESS"
SHARE_DIVERGENT, ENERGY = "share of divergent transitions", "E-FMI"
ROUTES_AGREE = "agreement of the routes"
FAMILY = 0.001  # chance that a sound reference fails one of the comparisons that are made together


@dataclass(frozen=True)
class Check:
    """A figure held against its limit.

    Args:
        name: what was looked at.
        figure: what was found; NaN never meets a limit.
        limit: in words, such as ``< 1.01``.
        met: whether the figure keeps to it.
        note: where it was found, or what it means.
    """

    name: str
    figure: float
    limit: str
    met: bool
    note: str = ""

    def __str__(self) -> str:
        found = f"is {self.figure:.4g}"
        if math.isnan(self.figure):
            found = "could not be computed"
        return f"{self.name} {found}, expected {self.limit}" + (
            f" ({self.note})" if self.note else ""
        )


def of_route(route: str, figure: str) -> str:
    """The name of a check of one route's chains."""
    return f"{route}: {figure}"


def below(name: str, figure: float, limit: float, note: str = "") -> Check:
    """The figure must be less than the limit."""
    return Check(name, figure, f"< {limit:.4g}", figure < limit, note)


def above(name: str, figure: float, limit: float, note: str = "") -> Check:
    """The figure must be the limit or more."""
    return Check(name, figure, f">= {limit:,.10g}", figure >= limit, note)


def together(comparisons: int) -> float:
    """Standard errors that the worst of so many comparisons stays within, with probability 1 -
    FAMILY (Bonferroni).
    """
    return NormalDist().inv_cdf(1 - FAMILY / (2 * comparisons)) if comparisons else math.inf
