"""The verdict on one problem, in words: a sentence that a newcomer can repeat, then who is better
than whom and by how much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports import numbers
from reports.entries import seeds_apart, shown
from reports.glossary import Measure
from reports.ranking import FEWEST, Margin
from reports.readings import FLOOR, Key
from reports.results import APART, Results, ordered
from reports.sheet import SYMBOLS

MANY = 6  # methods that are named in one breath; of more, the first of them
SAID = 3  # rivals that are named one by one; of more, how many there are


@dataclass(frozen=True)
class Claim:
    """One line of a verdict, and its mark where one is due."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Verdict:
    """What may be said of one problem.

    Args:
        sentence: the whole in plain words.
        claims: who is better than whom and by how much, whose figures are not believed, and what is
            left open.
    """

    sentence: str
    claims: tuple[Claim, ...]


def verdict(results: Results, problem: str) -> Verdict:
    """The verdict by the divergence of that problem."""
    metric = results.divergence(problem)
    measured = results.measured(problem, metric) if metric else []
    if metric is None or not measured:
        without = tuple(_without(results, problem, ()))
        return Verdict("No method has a distance from the truth here.", without)
    found = _Problem(results, problem, metric, ordered(results, problem, measured))
    claims = [
        *found.winners(),
        *found.misled(),
        *found.bounds(),
        *found.open(),
        *_without(results, problem, measured),
    ]
    return Verdict(found.sentence(), tuple(claims))


@dataclass(frozen=True)
class _Problem:
    """One problem's methods in their order, by the metric that stands for quality there."""

    results: Results
    problem: str
    metric: str
    methods: Sequence[str]

    @property
    def words(self) -> Measure:
        return self.results.measure(self.metric)

    def key(self, method: str) -> Key:
        return self.problem, self.metric, method

    def marked(self, rank: str) -> list[str]:
        return [m for m in self.methods if self.results.verdict(self.key(m)).rank == rank]

    def near(self) -> list[str]:
        return [m for m in self.methods if self.results.verdict(self.key(m)).at_floor]

    def sentence(self) -> str:
        """Who cannot be told from the truth, and who is closest of the others."""
        near, alone = self.near(), len(self.methods) == 1
        ahead = [m for m in self.marked("best") if m not in near]
        said = [f"{_and(near)} cannot be told from {self.words.target}"] if near else []
        if len(ahead) == 1:
            there = "it" if near else self.words.target
            than, away = self._others(ahead[0]), self._away(ahead[0])
            said.append(f"{ahead[0]} is closer to {there} than {than}, {away}")
        elif ahead:
            said.append(f"{_and(ahead)} are the closest, and not told apart")
        elif alone and not near and not self._blamed(self.methods[0]):
            said.append(f"{self.methods[0]} is {self._away(self.methods[0])}")
        elif not near and not alone:
            said.append(self._undecided())
        if doubted := [m for m in self.methods if self._blamed(m)]:
            said.append(f"the figure of {_and(doubted)} is not to be believed")
        return f"{'; '.join(said)}."

    def _undecided(self) -> str:
        shown = self.results.margins(self.problem)
        if shown:
            behind = {worse for _, worse in shown}
            left = [m for m in self.methods if m not in behind and not self._blamed(m)]
            said = f"{_and(left)} may be the closest to {self.words.target}"
            return f"{said}; one seed is too few for a star"
        return "Nothing shows one method to be better than another"

    def _away(self, method: str) -> str:
        figure, unit = self.results.figures[self.key(method)], self.words.unit
        if figure.kind == "estimate":
            return f"about {numbers.plain(figure.value, 2)} {unit} away by an estimate"
        written = shown(figure, rounds=self.words.rounds)
        apart = seeds_apart(figure.spread)
        return f"{written} {unit} away".replace("  ", " ") + (f" ({apart})" if apart else "")

    def _others(self, method: str) -> str:
        """Whom a method beats, in a few words."""
        found = self.results.margins(self.problem)
        worse = [m for m in self.methods if (method, m) in found]
        if len(worse) == len(self.methods) - 1 > 1:
            return "every other method"
        return _and(worse) if len(worse) <= SAID else f"{len(worse)} others"

    def winners(self) -> list[Claim]:
        """Of each method whom it beats, and by how much."""
        found, best = self.results.margins(self.problem), self.marked("best")
        claims = []
        for method in self.methods:
            worse = [other for other in self.methods if (method, other) in found]
            if not worse:
                continue
            if len(worse) <= SAID:
                than = [f"than {other} by {self._written(found[method, other])}" for other in worse]
                text = f"{method} is better {_and(than)}."
            else:
                least = min((found[method, m] for m in worse), key=lambda margin: margin.value)
                text = (
                    f"{method} is better than {len(worse)} others, by {self._written(least)} and"
                    " more."
                )
            claims.append(Claim(text, SYMBOLS["best"] if method in best else ""))
        return claims

    def _written(self, margin: Margin) -> str:
        unit = f" {self.words.unit}".rstrip()
        if not math.isfinite(margin.value):
            return "an infinite difference"
        if margin.half_width is None:
            return f"at least {numbers.plain(margin.value, 2)}{unit}"
        text = numbers.plus_minus(margin.value, margin.half_width)
        if margin.span is None:
            return f"{text}{unit}"
        ends = (numbers.plain(end, 2) for end in margin.span)
        return f"{text}{unit} ({' to '.join(ends)}, seed by seed)"

    def _blamed(self, method: str) -> str:
        return self.results.verdict(self.key(method)).fault

    def misled(self) -> list[Claim]:
        """Whose figures are not believed, and why."""
        reasons = {
            "impossible": (
                "{m} has a divergence below zero, which cannot be: its density is not normalised,"
                " or log Z is wrong. It is not ranked."
            ),
            "below": (
                "{m} is misled: its estimate lies below what the truth itself reads, as it does"
                " where draws spread too widely. It is not ranked."
            ),
            "denied": (
                "{m} is misled: its estimate reads {value}, and a bound proves at least {least}."
            ),
            "interacting": (
                "{m} may mislead: its draws were made with regard to one another, as particles that"
                " repel one another are, and nearest neighbours ({value}) take them for"
                " independent. It is not ranked; its errors of means and of spreads are to be"
                " looked at."
            ),
            "chains": (
                "{m} is misled: its chains do not agree with each other (split R-hat {r_hat}), so"
                " that they have not found one distribution, whatever the estimate reads. It is not"
                " ranked."
            ),
        }
        claims = []
        for method in self.methods:
            if fault := self._blamed(method):
                bound = self.results.refuted(*self.key(method))
                worst = self.results.r_hat(self.problem, method)
                figure = self.results.figures[self.key(method)]
                text = reasons[fault].format(
                    m=method,
                    value=shown(figure, rounds=self.words.rounds),
                    least=numbers.plain(bound.low, 2) if bound else "more",
                    r_hat=numbers.plain(worst, 3) if worst is not None else "unknown",
                )
                claims.append(Claim(text))
        return claims

    def bounds(self) -> list[Claim]:
        """What is known from below only."""
        figures = {m: self.results.figures[self.key(m)] for m in self.methods}
        return [
            Claim(
                f"{m} is known from below only ({shown(figure, rounds=self.words.rounds)}): it may"
                f" be further from {self.words.target}."
            )
            for m, figure in figures.items()
            if figure.kind == "lower bound" and not self._blamed(m)
        ]

    def open(self) -> list[Claim]:
        """What is left untold: methods not told apart, and a floor that was not measured."""
        tied = [m for m in self.methods if self.results.verdict(self.key(m)).rank]
        claims = []
        lone = [m for m in tied if self.results.figures[self.key(m)].seeds < FEWEST]
        same = " One seed only, so no star." if lone == tied else ""
        if len(tied) > 1:
            claims.append(Claim(f"Not told apart: {_few(tied)}.{same}"))
        if lone and len(self.methods) > 1 and not (same and len(tied) > 1):
            claims.append(Claim(f"One seed only, so no star: {_few(lone)}."))
        if missing := self.results.no_floor(self.problem):
            claims.append(Claim(missing))
        return claims


def _without(results: Results, problem: str, measured: Sequence[str]) -> list[Claim]:
    """Methods that have no figure, with the reason, cells set apart, and methods skipped."""
    metric = results.divergence(problem) or "kl_qp"
    claims: list[Claim] = []
    skipped: list[str] = []
    for method, own in results.cells_of[problem].items():
        apart = [cell for cell in own if cell.status in APART]
        if apart:
            ended = " and ".join(dict.fromkeys(cell.status for cell in apart))
            which = ", ".join(str(cell.seed) for cell in apart)
            many = "s" * (len(apart) > 1)
            claims.append(
                Claim(f"{method}, seed{many} {which}: {ended}, set apart and not counted.")
            )
        if method == FLOOR or method in measured:
            continue
        if all(cell.status == "skipped" for cell in own):
            skipped.append(method)
            continue
        rows = results.rows((problem, metric, method))
        reasons = dict.fromkeys(found.reason for found in rows if found.reason)
        endings = dict.fromkeys(cell.status for cell in own if cell.status != "ok")
        why = "; ".join([*reasons] or [*endings]) or "the metric was not measured"
        claims.append(Claim(f"{method} has no figure here: {why.rstrip('.')}."))
    if skipped:
        claims.append(Claim(f"Skipped here, for what they lack: {_few(skipped)}."))
    return claims


def _few(names: Sequence[str]) -> str:
    """Names, the first of them alone where there are many."""
    if len(names) <= MANY:
        return _and(names)
    return f"{', '.join(names[:SAID])} and {len(names) - SAID} more"


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
