"""The calibration as Markdown: what each metric is worth, what misses the targets, and every figure
behind that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from scipy.stats import binom

from bench.calibration.calibrate import ROUNDING, Row

WANTED = 0.93  # coverage of an interval that claims to cover
NOMINAL = 0.95  # what it says
CHANCE = 0.01  # fewer hits than that unlikely, were the coverage as wanted, are a miss
SIDE = 2.0  # standard errors of the mean by which a bound may stand on the wrong side
BOUNDS = ("lower bound", "upper bound")
ENDS = ("kl_lower, map", "kl_upper, map")
SECTIONS = (
    ("KL by density or map, nats", True, ("density", "map")),
    ("KL from draws, nats", True, ("draws",)),
    ("Other metrics, from draws", False, ("draws",)),
    ("Other metrics, by density or map", False, ("density", "map")),
    ("Chains", None, ("chain",)),
)  # title, whether of KL, and in which forms
LEGEND = """Each cell: bias ± standard deviation over the repetitions, in the unit of the
metric, and coverage: the share of repetitions whose 95% interval held the truth or, of a bound,
ended on the right side of it. `-`: no interval is given. An `estimate` claims no coverage. In
italics: what others use. **!** marks a claim that failed by more than chance."""


def markdown(rows: Sequence[Row], made: str = "") -> str:
    """The section of a page: legend, summary, misses, and the figures at each number of draws.

    Args:
        made: a line that says how the figures came about.
    """
    parts = [made, LEGEND, summary(rows), misses(rows), widths(rows)]
    for title, of_kl, forms in SECTIONS:
        part = [
            row
            for row in rows
            if row.shows in forms and (of_kl is None or row.quantity.startswith("KL") == of_kl)
        ]
        for n in sorted({row.n for row in part}):
            parts.append(
                f"### {title}, n = {n:,}\n\n{figures([row for row in part if row.n == n])}"
            )
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(rows: Sequence[Row], made: str = "") -> str:
    """One line for each figure on each pair, where every pair has figures of its own.

    Args:
        made: a line that says how the figures came about.
    """
    lines = [
        (
            f"`{row.quantity}`",
            row.shows,
            row.case,
            str(row.dim),
            row.kind,
            f"{row.truth:.4f}",
            f"{row.bias:+.5f}",
            f"{row.sd:.5f}",
            f"{row.stderr:.5f}",
            f"{row.covered} of {row.tried}",
            f"{row.seconds:.2g}",
        )
        for row in rows
    ]
    head = "figure", "q shows", "pair", "d", "kind", "truth", "bias", "sd", "mean stderr"
    table = _table((*head, "held", "seconds"), lines)
    return "\n\n".join(part for part in (made, table, misses(rows)) if part) + "\n"


def misses(rows: Sequence[Row]) -> str:
    """Which claims failed by more than chance, in words."""
    claimed = [row for row in rows if row.kind in ("exact", *BOUNDS) and row.tried]
    low = [f"{_where(row)}: {row.covered} of {row.tried}" for row in claimed if undercovers(row)]
    side = [
        f"{_where(row)}: {row.bias:+.4f} ± {_error(row):.4f}" for row in claimed if wrong_side(row)
    ]
    tight = sum(
        row.kind in BOUNDS and abs(row.bias) < 4 * _error(row) + ROUNDING and row.sd > 0
        for row in claimed
    )
    lines = [
        f"Of {len(claimed)} rows that claim to cover, {len(claimed) - len(low)} do so in at least"
        f" {WANTED:.0%} of cases, within chance (a miss would be as rare as {CHANCE:.0%} were the"
        f" coverage {WANTED:.0%}). {_below(claimed)}"
    ]
    lines += [f"- too seldom: {line}" for line in low]
    bounds = [row for row in claimed if row.kind in BOUNDS]
    lines.append(
        f"\nOf {len(bounds)} rows of bounds, {len(bounds) - len(side)} have their mean on the right"
        f" side, within two standard errors of that mean. {tight} of them stand at the truth"
        f" itself, so that chance alone puts {0.023 * tight:.1f} over."
    )
    return "\n".join([*lines, *(f"- wrong side: {line}" for line in side)])


def _below(claimed: Sequence[Row]) -> str:
    """How many rows are below the wanted coverage as counted, and how many would be by chance."""
    below = sum(row.covered < WANTED * row.tried for row in claimed)
    two_sided = [row.tried for row in claimed if row.kind == "exact" and row.stderr > 0]
    by_chance = sum(
        float(binom.cdf(math.ceil(WANTED * tried) - 1, tried, NOMINAL)) for tried in two_sided
    )
    return (
        f"As counted, {below} are below; were all coverages {NOMINAL:.0%}, chance alone would put"
        f" {by_chance:.0f} of the {len(two_sided)} two-sided ones there."
    )


def undercovers(row: Row) -> bool:
    """Whether an interval held too seldom to be put down to chance."""
    return bool(binom.cdf(row.covered, row.tried, WANTED) < CHANCE)


def wrong_side(row: Row) -> bool:
    """Whether the mean of a bound stands on the wrong side of the truth."""
    if row.kind not in BOUNDS or row.tried < 2:
        return False
    over = row.bias if row.kind == "lower bound" else -row.bias
    return over > SIDE * _error(row) + ROUNDING


def _error(row: Row) -> float:
    return row.sd / math.sqrt(row.tried) if row.tried > 1 else math.inf


def widths(rows: Sequence[Row]) -> str:
    """How far apart the two ends are on maps, on average."""
    found = {
        (row.estimator, row.case, row.dim, row.n): row.bias
        for row in rows
        if row.estimator in ENDS and row.tried
    }
    wide: dict[int, tuple[float, str]] = {}
    for (end, case, dim, n), low in found.items():
        high = found.get((ENDS[1], case, dim, n))
        if end == ENDS[0] and high is not None:
            wide[dim] = max(wide.get(dim, (-math.inf, "")), (high - low, f"{case}, n = {n:,}"))
    if not wide:
        return ""
    said = "; ".join(
        f"d = {dim}: {width:.4f} ({where})" for dim, (width, where) in sorted(wide.items())
    )
    return f"Brackets of square maps, upper end less lower end, the widest in nats: {said}."


def summary(rows: Sequence[Row]) -> str:
    """One line for each estimator at each number of draws."""
    lines = []
    for name, n in dict.fromkeys((row.estimator, row.n) for row in rows):
        group = [row for row in rows if (row.estimator, row.n) == (name, n) and row.tried]
        if group:
            lines.append(_summed(group))
    head = (
        "estimator",
        "of",
        "n",
        "kind",
        "largest bias",
        "coverage",
        "lowest",
        "trials",
        "seconds",
    )
    return _table(head, lines)


def _summed(group: Sequence[Row]) -> Sequence[str]:
    worst, trials = max(group, key=lambda row: abs(row.bias)), sum(row.tried for row in group)
    timed = [row for row in group if row.stderr > 0]
    held = (
        sum(row.covered for row in timed) / sum(row.tried for row in timed) if timed else math.nan
    )
    lowest = min((row.covered / row.tried for row in timed), default=math.nan)
    return (
        _label(group[0]),
        _escaped(group[0].quantity),
        f"{group[0].n:,}",
        ", ".join(sorted({row.kind for row in group})),
        f"{worst.bias:+.3f} ({worst.case}, d = {worst.dim})",
        f"{held:.1%}" if timed else "-",
        f"{lowest:.0%}" if timed else "-",
        str(trials),
        f"{max(row.seconds for row in group):.2g}",
    )


def figures(rows: Sequence[Row]) -> str:
    """One line for each pair, one column for each estimator; the truth in front where it is one for
    all of them.
    """
    names = {row.estimator: _label(row) for row in rows}
    shared = len({row.quantity for row in rows if not row.quantity.startswith("KL")}) == 0
    cells = {
        (row.case, row.dim, row.estimator): _cell(
            row, "" if shared else f"{round(row.truth, 9):.3g}: "
        )
        for row in rows
    }
    pairs: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        pairs.setdefault((row.case, row.dim), []).append(row.truth)
    lines = []
    for (case, dim), truths in pairs.items():
        known = [" / ".join(dict.fromkeys(f"{value:.3f}" for value in truths))] if shared else []
        lines.append(
            (case, str(dim), *known, *(cells.get((case, dim, name), "") for name in names))
        )
    return _table(("pair", "d", *(["truth"] if shared else []), *names.values()), lines)


def _cell(row: Row, truth: str) -> str:
    if not row.tried:
        return "skipped"
    held = f"{row.covered / row.tried:.0%}" if row.stderr > 0 else "-"
    mark = (
        " **!**" if row.kind in ("exact", *BOUNDS) and (undercovers(row) or wrong_side(row)) else ""
    )
    places = min(max(3, 1 - math.floor(math.log10(row.sd))), 6) if row.sd > 0 else 3
    gone = f", {row.skipped} skipped" if row.skipped else ""
    return f"{truth}{row.bias:+.{places}f} ± {row.sd:.{places}f}, {held}{gone}{mark}"


def _label(row: Row) -> str:
    return row.estimator if row.ours else f"*{row.estimator}*"


def _where(row: Row) -> str:
    return f"{row.estimator}, {row.case}, d = {row.dim}, n = {row.n:,}"


def _escaped(text: str) -> str:
    return text.replace("||", "‖").replace("|", "\\|")


def _table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    heads = list(head)
    rule = "|".join(["---"] * len(heads))
    return "\n".join(
        [f"| {' | '.join(heads)} |", f"|{rule}|", *(f"| {' | '.join(line)} |" for line in lines)]
    )
