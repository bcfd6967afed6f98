"""The bound that variational methods climb, and how far below log Z they stopped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bench.metrics.base import Comparison, Estimate, Kind, Skipped, Worse
from bench.metrics.brackets.bracket import Searching, bracket
from bench.metrics.draws.monte_carlo import possible

OPPOSITE: dict[Kind, Kind] = {"lower bound": "upper bound", "upper bound": "lower bound"}


@dataclass(frozen=True)
class Elbo(Searching):
    r"""Evidence lower bound, nats: what a variational method maximises; log Z for a perfect
    approximation.

    .. math:: \mathrm{ELBO} = E_q[\log p - \log q] = \log Z - KL(q \| p)

    with p not normalised. Where q has a density: Monte Carlo over its draws, kind ``exact``. For a
    map of at least as much noise as there are coordinates: with the density that the preimages
    account for which a search finds, as in ``KlQP``; where that may be too small, the figure is an
    ``upper bound`` on the ELBO. Draws alone have no ELBO. Standard error: of the means over draws.

    Args:
        searched: draws of a map whose preimages are looked for.
    """

    name: ClassVar[str] = "elbo"
    unit: ClassVar[str] = "nats"
    ideal: ClassVar[float | None] = None
    heading: ClassVar[str] = "ELBO, nats"
    meaning: ClassVar[str] = (
        "Evidence lower bound, which variational methods maximise: at most log Z, the log of the"
        " evidence."
    )
    worse: ClassVar[Worse] = "above"
    unranked: ClassVar[str] = (
        "its ideal is log Z, which is another for every problem; the ELBO gap is the distance"
        " from it"
    )

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        found = bracket(comparison, self.searched, (0.0, 0.0)).lower
        if isinstance(found, Skipped):
            return found
        return replace(found, value=-found.value, kind=OPPOSITE.get(found.kind, found.kind))


@dataclass(frozen=True)
class ElboGap(Searching):
    r"""Log Z less the ELBO, nats: KL(q||p) by the route of densities, and nothing where that is
    closed.

    .. math:: \log Z - E_q[\log p - \log q]

    Kind and standard error as of ``KlQP``, which reads the same but falls back on neighbours where
    this has no figure.

    Args:
        searched: draws of a map whose preimages are looked for.
    """

    name: ClassVar[str] = "elbo_gap"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "ELBO gap, nats"
    meaning: ClassVar[str] = (
        "log Z, the log of the evidence, less the ELBO: KL(q‖p) once more, by densities only."
    )
    worse: ClassVar[Worse] = "above"
    density: ClassVar[bool] = True

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return possible(bracket(comparison, self.searched).lower)
