"""What must be said below a table: why a figure is absent or of its kind, on how many draws it
rests, and by what it was judged.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bench.store import Store
from reports import numbers
from reports.glossary import COSTS, in_order
from reports.guarded import finite_draws
from reports.readings import Reading
from reports.results import Results


def remarks(results: Results, problem: str, metrics: Iterable[str]) -> list[str]:
    """One line for each metric that has anything to remark."""
    wanted = set(metrics)
    found: dict[str, dict[str, Sequence[Reading]]] = {}
    for (of, metric, method), readings in results.readings.items():
        if of == problem and metric in wanted:
            found.setdefault(metric, {})[method] = readings
    lines = []
    everyone = {method for of in found.values() for method in of}
    for metric in in_order(found):
        said = [*_reasons(found[metric], everyone), *_draws(metric, found[metric], found)]
        if said:
            lines.append(f"{results.measure(metric).short}: {'; '.join(said)}.")
    return lines


def _reasons(of: Mapping[str, Sequence[Reading]], everyone: set[str]) -> list[str]:
    """Notes and reasons, each with the methods that it concerns."""
    said: dict[str, list[str]] = {}
    for method, readings in of.items():
        noted: dict[str, str] = {}
        for reading in readings:
            if reading.reason:
                plain = reading.status == "ok"
                words = reading.reason if plain else f"{reading.status}: {reading.reason}"
                noted.setdefault(reading.status, words)
        for words in noted.values():
            said.setdefault(words, []).append(method)
    return [f"{_listed(names, everyone)}: {words.rstrip('.')}" for words, names in said.items()]


def _draws(
    metric: str,
    of: Mapping[str, Sequence[Reading]],
    every: Mapping[str, Mapping[str, Sequence[Reading]]],
) -> list[str]:
    """On how many draws figures rest, of those that rest on others than most do."""
    if metric in COSTS:
        return []
    usual = Counter(
        reading.draws
        for name, methods in every.items()
        if name not in COSTS
        for readings in methods.values()
        for reading in readings
    )
    common = max(usual, key=lambda n: (usual[n], n))
    found: dict[int, list[str]] = {}
    for method, readings in of.items():
        for n in {reading.draws for reading in readings if reading.value is not None}:
            if n and n != common:
                found.setdefault(n, []).append(method)
    return [
        f"{_listed(names, set(of))}: on {numbers.whole(n)} draws, where most figures rest on"
        f" {numbers.whole(common)}"
        for n, names in sorted(found.items())
    ]


def judged_by(store: Store, results: Results, problem: str) -> str:
    """That a reference's stored draws stand for the truth, what they can resolve of every metric
    that they judge, and how well log Z is known; empty where the truth is exact or nothing was kept
    of it.
    """
    name = f"truth-{problem}"
    kept = store.facts(name)
    if not kept.get("reference"):
        return ""
    draws, _, _ = finite_draws(store, name)
    n, asked, error = len(draws), kept.get("asked"), kept.get("log_z_stderr")
    said = "Judged by a certified reference: stored draws stand for the truth"
    if n:
        few = isinstance(asked, int) and asked > n
        wanted = f", though {numbers.whole(int(asked or 0))} were asked for" if few else ""
        said += (
            f", {numbers.whole(n)} of them{wanted}. No figure can be finer than 1/√{n} ="
            f" {numbers.plain(1 / math.sqrt(n), 2)} standard deviations of the truth"
            f"{_resolved(results, problem, n)}"
        )
    if isinstance(error, int | float):
        said += f". Its log Z has a standard error of {numbers.plain(error, 2)} nats"
    return f"{said}."


def _resolved(results: Results, problem: str, n: int) -> str:
    """What n draws resolve of each metric that they judge."""
    words = [results.measure(metric) for metric in in_order(results.metrics(problem))]
    own = [
        f"{word.short} {numbers.plain(word.resolves / math.sqrt(n), 2)} {word.unit}".strip()
        for word in words
        if isinstance(word.resolves, int | float)
    ]
    floored = [word.short for word in words if word.resolves == "floor"]
    said = f". In one coordinate they resolve: {', '.join(own)}" if own else ""
    if floored:
        said += (
            f". What they resolve of {', '.join(floored)} is what the noise floor reads, one half"
            " of the reference held against the other"
        )
    return said


def _listed(methods: Sequence[str], everyone: set[str]) -> str:
    return "every method" if len(methods) > 1 and set(methods) == everyone else ", ".join(methods)
