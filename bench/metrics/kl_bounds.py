"""Two rows for one divergence that has no closed form: what it is at least, and what it is
at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.metrics.base import Comparison, Estimate, Resolves, Skipped, Worse
from bench.metrics.brackets.bracket import Searching, bracket
from bench.metrics.draws.copies import counted_once
from bench.metrics.draws.monte_carlo import possible
from bench.metrics.models.density_model import modelled
from methods import PushforwardMixture
from methods.base import Approximation, Pushforward


@dataclass(frozen=True)
class KlLower(Searching):
    r"""Lower bound on KL(q||p), nats, the best that the approximation allows.

    - q has a density: KL itself, kind ``exact``, as ``kl_qp``.
    - q is a map with at least as much noise as there are coordinates: every preimage that can be
      found counts, see docs/brackets.md. Kind ``exact`` where nothing speaks against the map being
      one-to-one: det J has one sign on all draws, the map grows in all directions (so that
      Hadamard's theorem applies), and the search for preimages, which is told nothing, came back to
      the noise behind every draw and found no other.
    - q is draws alone: a density model fitted to other draws, or a classifier if that proves more.

    Standard error: of the means over draws, with that of log Z; for chains by the effective number
    of draws.

    Args:
        searched: draws of a map whose preimages are looked for.
        flow_steps: of training a neural spline flow where q is draws alone, 20 milliseconds each at
            D = 10; needs zuko.
    """

    flow_steps: int = 0
    name: ClassVar[str] = "kl_lower"
    resolves: ClassVar[Resolves] = "floor"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "KL(q‖p) at least, nats"
    meaning: ClassVar[str] = (
        "The most KL(q‖p) that can be shown: by the density, by all preimages of a map, or by a"
        " model fitted to other draws."
    )
    worse: ClassVar[Worse] = "above"
    costly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.flow_steps < 0:
            raise ValueError(f"KlLower(flow_steps=...) must be 0 or more, got {self.flow_steps}.")

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        found, q = bracket(comparison, self.searched), comparison.approximation
        refuted = isinstance(found.upper, Skipped) and not found.closed
        if isinstance(found.lower, Estimate) or refuted:
            return possible(found.lower)
        known = not isinstance(comparison.evidence, Skipped)
        if known and _hopeless(q, comparison.problem.dim):
            return found.lower
        return modelled(comparison, self.flow_steps)


@dataclass(frozen=True)
class KlUpper(Searching):
    r"""Upper bound on KL(q||p), nats, where one can be had.

    - q has a density: KL itself, kind ``exact``, as ``kl_qp``.
    - q is a map with at least as much noise as there are coordinates: by what it takes to name the
      noise behind a draw, see docs/brackets.md. It holds whatever the search for preimages has
      overlooked, and is the wider for it.
    - q is draws alone: none. Mass on a set that no draw has reached may be anywhere.

    Standard error: as of ``KlLower``.

    Args:
        searched: draws of a map whose preimages are looked for.
    """

    name: ClassVar[str] = "kl_upper"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "KL(q‖p) at most, nats"
    meaning: ClassVar[str] = (
        "The smallest upper bound on KL(q‖p) to be had; draws alone have none, as mass that no"
        " draw has reached may be anywhere."
    )
    worse: ClassVar[Worse] = "above"
    density: ClassVar[bool] = True

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        found = bracket(comparison, self.searched)
        maps = isinstance(comparison.approximation, Pushforward | PushforwardMixture)
        map_or_bound = maps or not found.closed
        if map_or_bound or isinstance(comparison.evidence, Skipped):
            return possible(found.upper)
        return Skipped(
            "Draws alone have no upper bound: mass that no draw has reached may be anywhere."
        )


def _hopeless(q: Approximation, dim: int) -> bool:
    """Whether a map without a bracket has no density either, so that no model of it can help."""
    return isinstance(q, Pushforward) and q.noise_dim <= dim
