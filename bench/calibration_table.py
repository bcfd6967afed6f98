"""The calibration as Markdown: what each ruler is worth, what misses the targets, and every figure behind that."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import binom

from bench.calibrate import ROUNDING, Row

WANTED = 0.93  # coverage of an interval that claims to cover
CHANCE = 0.01  # fewer hits than that unlikely, were the coverage as wanted, are a miss
SIDE = 2.0  # standard errors of the mean by which a bound may stand on the wrong side
BOUNDS = ("lower bound", "upper bound")
LEGEND = """Each cell: bias ± standard deviation over the repetitions, in nats, and coverage: the share of repetitions whose 95%
interval held the truth or, of a bound, ended on the right side of it. `-`: no interval is given. An `estimate` claims no
coverage. In italics: what others use. **!** marks a claim that failed by more than chance."""


def markdown(rows: Sequence[Row], made: str = "") -> str:
    """The section of a page: legend, summary, misses, and the figures at each number of draws.

    Args:
        made: a line that says how the figures came about.
    """
    parts = [made, LEGEND, summary(rows), misses(rows)]
    for n in sorted({row.n for row in rows}):
        parts.append(f"### At n = {n:,}\n\n{figures([row for row in rows if row.n == n])}")
    return "\n\n".join(part for part in parts if part) + "\n"


def misses(rows: Sequence[Row]) -> str:
    """Which claims failed by more than chance, in words."""
    claimed = [row for row in rows if row.kind in ("exact", *BOUNDS) and row.tried]
    low = [f"{_where(row)}: {row.covered} of {row.tried}" for row in claimed if undercovers(row)]
    side = [f"{_where(row)}: {row.bias:+.4f}" for row in claimed if wrong_side(row)]
    lines = [
        f"Of {len(claimed)} rows that claim to cover, {len(claimed) - len(low)} do so in at least 93% of cases, within chance."
    ]
    lines += [f"- too seldom: {line}" for line in low]
    bounds = [row for row in claimed if row.kind in BOUNDS]
    lines.append(
        f"\nOf {len(bounds)} rows of bounds, {len(bounds) - len(side)} have their mean on the right side, within two "
        "standard errors."
    )
    return "\n".join([*lines, *(f"- wrong side: {line}" for line in side)])


def undercovers(row: Row) -> bool:
    """Whether an interval held too seldom to be put down to chance."""
    return bool(binom.cdf(row.covered, row.tried, WANTED) < CHANCE)


def wrong_side(row: Row) -> bool:
    """Whether the mean of a bound stands on the wrong side of the truth."""
    if row.kind not in BOUNDS or row.tried < 2:
        return False
    over = row.bias if row.kind == "lower bound" else -row.bias
    return over > SIDE * row.sd / math.sqrt(row.tried) + ROUNDING


def summary(rows: Sequence[Row]) -> str:
    """One line for each estimator at each number of draws."""
    lines = []
    for name, n in dict.fromkeys((row.estimator, row.n) for row in rows):
        group = [row for row in rows if (row.estimator, row.n) == (name, n) and row.tried]
        if not group:
            continue
        worst, tried = max(group, key=lambda row: abs(row.bias)), sum(row.tried for row in group)
        kinds = ", ".join(sorted({row.kind for row in group}))
        largest = f"{worst.bias:+.3f} ({worst.case}, d = {worst.dim})"
        held, lowest = "-", "-"
        if any(row.stderr > 0 for row in group):
            held = f"{sum(row.covered for row in group) / tried:.1%}"
            lowest = f"{min(row.covered / row.tried for row in group):.0%}"
        cells = (
            _label(group[0]),
            f"{n:,}",
            kinds,
            largest,
            held,
            lowest,
            str(tried),
            f"{max(row.seconds for row in group):.2g}",
        )
        lines.append(cells)
    return _table(("estimator", "n", "kind", "largest bias", "coverage", "lowest", "trials", "seconds"), lines)


def figures(rows: Sequence[Row]) -> str:
    """One line for each pair, one column for each estimator."""
    names = {row.estimator: _label(row) for row in rows}
    cells = {(row.case, row.dim, row.estimator): _cell(row) for row in rows}
    truths: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        truths.setdefault((row.case, row.dim), {})[row.estimator] = row.truth
    lines = []
    for (case, dim), truth in sorted(truths.items(), key=lambda item: list(truths).index(item[0])):
        known = " / ".join(dict.fromkeys(f"{value:.3f}" for value in truth.values()))
        lines.append((case, str(dim), known, *(cells.get((case, dim, name), "") for name in names)))
    return _table(("pair", "d", "truth", *names.values()), lines)


def _cell(row: Row) -> str:
    if not row.tried:
        return "skipped"
    held = f"{row.covered / row.tried:.0%}" if row.stderr > 0 else "-"
    mark = " **!**" if row.kind in ("exact", *BOUNDS) and (undercovers(row) or wrong_side(row)) else ""
    return f"{row.bias:+.3f} ± {row.sd:.3f}, {held}{mark}"


def _label(row: Row) -> str:
    return row.estimator if row.ours else f"*{row.estimator}*"


def _where(row: Row) -> str:
    return f"{row.estimator}, {row.case}, d = {row.dim}, n = {row.n:,}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|".join(["---"] * len(head))
    return "\n".join([f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(line)} |" for line in lines)])
