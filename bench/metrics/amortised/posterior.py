"""How far q(z | x) is from the posterior of the learned decoder, and the ELBO that follows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from bench.metrics.amortised.base import PLANE, Pair, PairMetric, mean_over, sampled_over
from bench.metrics.base import Comparison, Estimate, Kind, Skipped, Worse
from bench.metrics.brackets.bracket import SEARCHED, bracket
from bench.metrics.kl import KlQP

COUNT = 8  # x whose maps are searched, unless said otherwise
DRAWS_OF_ONE = 2000  # draws of each of them
WEAKEST: tuple[Kind, ...] = ("exact", "lower bound", "upper bound", "estimate")


@dataclass(frozen=True)
class OfSome(PairMetric):
    """A figure that takes the posteriors of some x one by one where q has no density.

    Args:
        count: of how many x, evenly spread over the data; where there are fewer, as many more draws
            of each are searched.
    """

    count: int = COUNT

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(
                f"{type(self).__name__}(count=...) must be at least 1, got {self.count!r}; the"
                f" default is {COUNT}."
            )

    def slow(self, pair: Pair) -> bool:
        return pair.log_q is None or self.costly

    def some(
        self,
        pair: Pair,
        measure: Callable[[Comparison, int], Estimate | Skipped],
        sign: float = 1.0,
    ) -> Estimate | Skipped:
        """The average over some x of a figure of one posterior, times a sign; the figure is told
        how many draws to search.
        """
        if pair.decoder.latent_dim > PLANE:
            return Skipped(
                "q has no density, and the posterior of an x is known where z has one or two"
                f" coordinates: it has {pair.decoder.latent_dim}."
            )
        many = min(self.count, len(pair.x))
        chosen = torch.linspace(0, len(pair.x) - 1, many).long().tolist()
        found: list[Estimate] = []
        for i in chosen:
            one = measure(pair.at(i, DRAWS_OF_ONE), SEARCHED * self.count // many)
            if isinstance(one, Skipped):
                return Skipped(f"x number {i}: {one.reason}")
            found.append(one)
        values = torch.tensor([one.value for one in found], dtype=torch.float64)
        errors = torch.tensor([one.stderr for one in found], dtype=torch.float64)
        kind = max((one.kind for one in found), key=WEAKEST.index)
        worst = int(values.argmax())
        side = "Greatest" if sign > 0 else "Least"
        note = f"{side} at x number {chosen[worst]}: {sign * float(values[worst]):.3g}."
        return sampled_over(sign * values, errors, len(pair.x), kind, note)


@dataclass(frozen=True)
class AmortisedElbo(OfSome):
    r"""The evidence lower bound, mean over x, nats per x.

    .. math:: \frac1N \sum_i E_{q(z \mid x_i)}[\log p_\theta(x_i, z) - \log q(z \mid x_i)]

    Where q has a density: Monte Carlo, kind ``exact``. Where q is a map of noise into a plane: on
    some x, which the note counts, by the search for preimages of ``brackets``: a ``lower bound`` on
    the ELBO where the map may fold; ``mean_elbo_upper`` is the other end. What an adversarial
    objective says of itself is no ELBO and is not used.

    Args:
        count: of how many x, where q has no density.
    """

    name: ClassVar[str] = "mean_elbo"
    unit: ClassVar[str] = "nats"
    ideal: ClassVar[float | None] = None
    heading: ClassVar[str] = "mean ELBO, nats"
    meaning: ClassVar[str] = "Evidence lower bound: mean over test data, at most log p(x)."
    worse: ClassVar[Worse] = "below"
    unranked: ClassVar[str] = "its ideal is the log likelihood of the law of the data"

    def measure(self, pair: Pair) -> Estimate | Skipped:
        if pair.log_q is not None:
            return mean_over(pair.log_joint - pair.log_q, "exact")
        found = self.some(pair, self.end, -1.0)
        return replace(found, kind=_turned(found.kind)) if isinstance(found, Estimate) else found

    def end(self, one: Comparison, searched: int) -> Estimate | Skipped:
        """That end of the KL's bracket which with its sign turned is this end of the ELBO's."""
        return bracket(one, searched, (0.0, 0.0)).upper


@dataclass(frozen=True)
class AmortisedElboUpper(AmortisedElbo):
    r"""The upper end of the ELBO's bracket, mean over some x, nats per x; equal to ``mean_elbo``
    where q has a density.

    .. math:: \mathrm{ELBO} \le -E_q[\log q_1 - \log p], \quad q_1 \le q

    q_1: the density of those branches of the map that were found. Kind ``upper bound``; see
    docs/brackets.md.

    Args:
        count: of how many x, where q has no density.
    """

    name: ClassVar[str] = "mean_elbo_upper"
    heading: ClassVar[str] = "mean ELBO from above, nats"
    meaning: ClassVar[str] = "A bound from above on the evidence lower bound of a folding map."

    def end(self, one: Comparison, searched: int) -> Estimate | Skipped:
        return bracket(one, searched, (0.0, 0.0)).lower


def _turned(kind: Kind) -> Kind:
    """The kind of a figure whose sign is turned."""
    turned: dict[Kind, Kind] = {"lower bound": "upper bound", "upper bound": "lower bound"}
    return turned.get(kind, kind)


@dataclass(frozen=True)
class PosteriorKl(OfSome):
    r"""Mean over x of the KL from q(z | x) to the posterior of the decoder, nats per x; the worst x
    is named.

    .. math::
        \frac1N \sum_i KL(q(z \mid x_i) \| p_\theta(z \mid x_i)), \qquad
        KL = E_q[\log q(z \mid x) - \log p_\theta(x, z)] + \log p_\theta(x)

    Where q has a density: Monte Carlo, with log p(x) by quadrature over a plane, kind ``exact``;
    beyond the plane log p(x) is bounded from below, and so is this. Where it has none: ``kl_qp`` of
    some x, whose kind the figure takes. Standard error: of the draws, and of the choice of the x
    where they are not all.

    Args:
        count: of how many x, where q has no density.
    """

    name: ClassVar[str] = "posterior_kl"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "KL(q(z|x)‖p(z|x)), nats"
    meaning: ClassVar[str] = "How far the encoder is from the posterior of its own decoder."
    worse: ClassVar[Worse] = "above"
    density: ClassVar[bool] = True
    target: ClassVar[str] = "the posterior of its decoder"

    def slow(self, pair: Pair) -> bool:
        return super().slow(pair) or pair.decoder.latent_dim > PLANE

    def end(self, one: Comparison, searched: int) -> Estimate | Skipped:
        """The figure of one posterior whose approximation has no density."""
        return KlQP(searched).measure(one)

    def measure(self, pair: Pair) -> Estimate | Skipped:
        if pair.log_q is None:
            return self.some(pair, self.end)
        evidence = pair.evidence
        found = mean_over(pair.log_q - pair.log_joint + evidence.value.unsqueeze(1), evidence.kind)
        each = (pair.log_q - pair.log_joint).mean(1) + evidence.value
        worst = int(each.argmax())
        note = f"Greatest at x number {worst}: {float(each[worst]):.3g}."
        stderr = math.hypot(found.stderr, float(evidence.stderr.norm()) / len(pair.x))
        return replace(found, stderr=stderr, note=note)


@dataclass(frozen=True)
class PosteriorKlUpper(PosteriorKl):
    r"""The upper end of the bracket of ``posterior_kl``, mean over some x, nats per x; equal to it
    where q has a density.

    Kind ``upper bound``; see docs/brackets.md.

    Args:
        count: of how many x, where q has no density.
    """

    name: ClassVar[str] = "posterior_kl_upper"
    heading: ClassVar[str] = "KL(q(z|x)‖p(z|x)) from above, nats"
    meaning: ClassVar[str] = "A bound from above on the same, of an encoder that may fold."

    def end(self, one: Comparison, searched: int) -> Estimate | Skipped:
        return bracket(one, searched).upper
