"""The figures of two runs that belong together: by problem, method and metric, and in each by seed.

Every figure is a distance from the ideal of its metric, or a cost: larger is worse. What a bound
leaves open stays open, so that a difference lies between two ends, either of which may be missing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bench.errors import UserError
from bench.store import COSTS
from reports.comparing import ROUNDING
from reports.intervals import BRACKET, Figure
from reports.ranking import NoiseFloor
from reports.readings import FLOOR
from reports.results import Results

PLAIN = ("exact", "estimate")  # the kinds that bound from both sides


@dataclass(frozen=True)
class Pair:
    """One metric of one method on one problem, in two runs.

    Args:
        problem, method, metric: as the old run calls them.
        old, new: distances from the ideal, or costs.
        noise: what the metric reads on the truth, as a distance; None for a cost.
    """

    problem: str
    method: str
    metric: str
    old: Figure
    new: Figure
    noise: NoiseFloor | None = None

    @property
    def seeds(self) -> list[int]:
        """Those that both runs have."""
        return [seed for seed in self.old.readings if seed in self.new.readings]

    @property
    def identical(self) -> bool:
        """Whether every seed reads the same in both, bounds too, but for rounding."""
        if self.old.kind != self.new.kind or not self.seeds:
            return False
        ends = [(self.old, self.new)]
        if self.old.above is not None and self.new.above is not None:
            ends.append((self.old.above, self.new.above))
        small = ROUNDING * max(1.0, abs(self.old.value))
        return all(
            a.readings[seed][0] == b.readings[seed][0]
            or abs(a.readings[seed][0] - b.readings[seed][0]) <= small
            for a, b in ends
            for seed in self.seeds
        )

    @property
    def closed(self) -> bool:
        """Whether the difference is known from at least one side."""
        return not (self.old.kind == self.new.kind and self.old.kind.endswith(" bound"))

    @property
    def alike(self) -> bool:
        """Whether one estimator made both figures, or none of them is a blurred one."""
        return self.old.kind == self.new.kind or "estimate" not in (self.old.kind, self.new.kind)

    def least(self, scale: float = 1.0) -> list[float] | None:
        """New less ``scale`` times old, by seed, at the least; None where that is open."""
        return _differences(_low(self.new), _high(self.old), self.seeds, scale)

    def most(self, scale: float = 1.0) -> list[float] | None:
        """The same at the most."""
        return _differences(_high(self.new), _low(self.old), self.seeds, scale)


class LeftOut(NamedTuple):
    """A figure of the old run that is held against nothing; ``gone``: the new run has none."""

    problem: str
    method: str
    metric: str
    why: str
    gone: bool


@dataclass(frozen=True)
class Found:
    """What two runs have in common, and what of it cannot be compared.

    Args:
        pairs: those with figures on both sides.
        left_out: what has no pair, and why.
        lost: problem and method of cells that ended with figures in the old run, and of which none
            does in the new one.
    """

    pairs: list[Pair]
    left_out: list[LeftOut]
    lost: list[tuple[str, str]]


def find(
    old: Results, new: Results, names: Mapping[str, str], metrics: Collection[str] = ()
) -> Found:
    """Pair the figures of two runs.

    Args:
        old, new: the runs.
        names: what a method of the old run is called in the new one, where that differs.
        metrics: those to compare; none for every metric with an ideal, and every cost.

    Raises:
        UserError: where nothing can be paired; a method of ``names``, or a metric, that is in
            neither run.
    """
    _known(old, new, names, metrics)
    found = Found([], [], _lost(old, new, names))
    for problem, metric, method in old.figures:
        key = problem, metric, names.get(method, method)
        if method == FLOOR or (metrics and metric not in metrics):
            continue
        if old.measure(metric).ideal is None and metric not in COSTS:
            continue
        if key not in new.figures:
            why = "no figure in the new run"
            found.left_out.append(LeftOut(problem, method, metric, why, gone=True))
            continue
        pair = _pair(old, new, (problem, metric, method), key)
        why = _unfit(pair)
        if why:
            found.left_out.append(LeftOut(problem, method, metric, why, gone=False))
        else:
            found.pairs.append(pair)
    if not found.pairs and not found.lost:
        raise UserError(
            "The two runs have nothing to compare: no metric of the same problem, method and seed"
            " has a figure in both. `--map OLD=NEW` pairs methods of other names. "
            + " ".join(f"{of.metric} of {of.method}: {of.why}." for of in found.left_out[:3])
        )
    return found


def _known(old: Results, new: Results, names: Mapping[str, str], metrics: Collection[str]) -> None:
    for ours, theirs in names.items():
        for name, run, word in ((ours, old, "old"), (theirs, new, "new")):
            if name not in run.methods:
                raise UserError(
                    f"--map {ours}={theirs}: the {word} run has no method {name!r}; it has"
                    f" {', '.join(run.methods)}."
                )
    both = {metric for run in (old, new) for _, metric, _ in run.figures}
    for metric in metrics:
        if metric not in both:
            raise UserError(
                f"--metric {metric}: neither run has such a figure; there are"
                f" {', '.join(sorted(both)) or 'none'}."
            )


def _lost(old: Results, new: Results, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Cells that were run in both, and of which the new ones have no figure at all."""
    had, has = ({(p, m) for p, _, m in run.figures} for run in (old, new))
    ran = {(cell.problem, cell.method) for cell in new.cells}
    there = {(p, m): (p, names.get(m, m)) for p, m in had if m != FLOOR}
    return sorted(of for of, theirs in there.items() if theirs in ran and theirs not in has)


def _pair(
    old: Results, new: Results, ours: tuple[str, str, str], theirs: tuple[str, str, str]
) -> Pair:
    if ours[1] in COSTS:
        return Pair(ours[0], ours[2], ours[1], old.figures[ours], new.figures[theirs])
    noise = old.noise(*ours[:2])
    return Pair(ours[0], ours[2], ours[1], old.distance(ours), new.distance(theirs), noise)


def _unfit(pair: Pair) -> str:
    if not pair.seeds:
        return "no seed is in both"
    if pair.identical:
        return "" if math.isfinite(pair.old.value) else "a figure is not finite"
    if not pair.closed:
        return f"a difference of two {pair.old.kind}s is open to both sides"
    if not pair.alike:
        return f"the old figure is of the kind {pair.old.kind}, the new one of {pair.new.kind}"
    values = [of.readings[seed][0] for of in (pair.old, pair.new) for seed in pair.seeds]
    if not all(map(math.isfinite, values)):
        return "a figure is not finite"
    return ""


def _low(figure: Figure) -> Mapping[int, float] | None:
    if figure.kind == "upper bound":
        return None
    return dict(_values(figure))


def _high(figure: Figure) -> Mapping[int, float] | None:
    if figure.kind == BRACKET and figure.above is not None:
        return dict(_values(figure.above))
    return dict(_values(figure)) if figure.kind in (*PLAIN, "upper bound") else None


def _values(figure: Figure) -> Iterator[tuple[int, float]]:
    for seed, (value, _) in figure.readings.items():
        yield seed, value


def _differences(
    new: Mapping[int, float] | None,
    old: Mapping[int, float] | None,
    seeds: Collection[int],
    scale: float,
) -> list[float] | None:
    if new is None or old is None:
        return None
    return [new[seed] - scale * old[seed] for seed in seeds]
