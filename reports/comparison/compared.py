"""Two runs compared: every pair judged, methods over all problems, and what a gate makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bench.store import COSTS, Store
from reports.comparison.judging import Judged, judge
from reports.comparison.overall import Overall, overall
from reports.comparison.pairs import Found, LeftOut, Pair, find
from reports.ranking import RATE
from reports.results import Results, summarise

SAME = 0.05  # share of a figure that counts as no difference where no other was asked for
KEPT, WORSE, UNKNOWN = 0, 1, 3  # exit statuses of a gate


@dataclass(frozen=True)
class Comparison:
    """What two runs say about each other.

    Args:
        old, new: the folders' names.
        judged: every pair of figures with its verdict.
        left_out: what could not be compared, and why.
        lost: problem and method of cells that have figures in the old run and none in the new.
        overall: methods of both runs over the problems, by their divergence; None where none is
            measured everywhere.
        allowed: the share that counts as the same.
        gated: metrics and costs that were named; costs decide at a gate only where they were.
    """

    old: str
    new: str
    judged: Sequence[Judged]
    left_out: Sequence[LeftOut]
    lost: Sequence[tuple[str, str]]
    overall: Overall | None
    allowed: float
    gated: Collection[str]

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each verdict was given."""
        return Counter(found.word for found in self.judged)

    @property
    def at_the_gate(self) -> list[Judged]:
        """The pairs that decide: of metrics, and of costs that were named."""
        return [
            of for of in self.judged if of.pair.metric not in COSTS or of.pair.metric in self.gated
        ]

    @property
    def unheld(self) -> list[LeftOut]:
        """What a gate should hold and cannot: metrics that were named, or have no figure now."""
        return [
            of
            for of in self.left_out
            if of.metric in self.gated or (of.gone and of.metric not in COSTS)
        ]

    @property
    def status(self) -> int:
        """0: surely nothing is worse by more than allowed; 1: something is; 3: that cannot be
        told.
        """
        gates = [found.gate for found in self.at_the_gate]
        if self.lost or "worse" in gates:
            return WORSE
        return KEPT if set(gates) == {"kept"} and not self.unheld else UNKNOWN

    @property
    def rates(self) -> str:
        """The family and its error rate, in a sentence."""
        problems, methods, metrics = (
            len({getattr(found.pair, name) for found in self.judged})
            for name in ("problem", "method", "metric")
        )
        return (
            f"{len(self.judged)} comparisons (problems: {problems}, methods: {methods}, metrics and"
            f" costs: {metrics}) are one family: that any of them is wrongly called better or worse"
            f" has a chance of at most {RATE:.0%} (Holm's procedure, paired by seed). Intervals are"
            " 95% each, of one comparison alone."
        )


def compare(
    old: Store,
    new: Store,
    names: Mapping[str, str] | None = None,
    metrics: Collection[str] = (),
    allowed: float = SAME,
) -> Comparison:
    """Hold two runs against each other.

    Args:
        old, new: the runs.
        names: what a method of the old run is called in the new one, where that differs.
        metrics: those to compare; none for all.
        allowed: the share of the old figure by which the new one may differ and count as the same.

    Raises:
        UserError: where nothing can be paired, or a name is in neither run.
    """
    first, second = summarise(old), summarise(new)
    found = find(first, second, names or {}, metrics)
    return _compared(old, new, found, first, allowed, metrics)


def _compared(
    old: Store,
    new: Store,
    found: Found,
    first: Results,
    allowed: float,
    metrics: Collection[str],
) -> Comparison:
    return Comparison(
        str(old.folder),
        str(new.folder),
        judge(found.pairs, allowed),
        found.left_out,
        found.lost,
        _overall(found.pairs, first),
        allowed,
        metrics,
    )


def _overall(pairs: Sequence[Pair], results: Results) -> Overall | None:
    """Both runs' methods over the problems, by the divergence of each."""
    values: dict[str, dict[str, Sequence[float]]] = {}
    floors: dict[str, float] = {}
    for pair in pairs:
        bound = "lower bound" in (pair.old.kind, pair.new.kind)  # says nothing of being near
        if bound or pair.metric != results.divergence(pair.problem):
            continue
        here = values.setdefault(pair.problem, {})
        for word, figure in (("old", pair.old), ("new", pair.new)):
            here[f"{pair.method} ({word})"] = [figure.readings[seed][0] for seed in pair.seeds]
        limit = pair.noise.limit(pair.old) if pair.noise is not None else None
        floors[pair.problem] = max(limit or 0.0, floors.get(pair.problem, 0.0))
    return overall(values, floors)
