"""The figures of learned pairs, tried again and again with fresh draws where the truth is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from bench.calibration.calibrate import Repetitions, Row, summed
from bench.calibration.ends import Ends
from bench.calibration.learned import NAME, LearnedCase
from bench.calibration.ledger import Ledger
from bench.calibration.trials import Trial
from bench.metrics.amortised.base import Pair, PairMetric
from bench.metrics.base import Skipped
from bench.seeds import generator_of


def calibrate_learned(
    cases: Sequence[LearnedCase],
    repetitions: Repetitions,
    ledger: Ledger | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Every figure on every pair.

    Args:
        ledger: where trials are kept as they end, and looked up before they are made.
        progress: called after each repetition with the number done and of all.
    """
    book = ledger or Ledger()
    todo = [
        (case, i)
        for case in cases
        for i in range(repetitions.costly if case.costly else repetitions.cheap)
    ]
    for count, (case, i) in enumerate(todo, 1):
        _try(case, i, book)
        if progress is not None:
            progress(count, len(todo))
    tried = {trial.place: trial for trial in book.trials}
    numbers = {id(case): [i for one, i in todo if one is case] for case in cases}
    return [
        summed(
            _place(case, metric),
            _quantity(metric),
            case.shows,
            truth,
            [tried[*_place(case, metric), i] for i in numbers[id(case)]],
        )
        for case in cases
        for metric, truth in case.truths.items()
    ]


def _try(case: LearnedCase, repetition: int, book: Ledger) -> None:
    """The figures of one repetition that have not been made, on one pair that they share."""
    purpose = f"{NAME} {case.name} {case.shows} {case.pair.decoder.latent_dim}"
    seed = generator_of("metric", purpose, repetition).initial_seed()
    pair, done = replace(case.pair, seed=seed), book.done
    todo = [one for one in case.truths if (*_place(case, one), repetition) not in done]
    book.write([_trial((*_place(case, one), repetition), one, pair) for one in todo])


def _trial(place: tuple[str, int, int, str, int], metric: PairMetric, pair: Pair) -> Trial:
    started = time.process_time()
    with torch.no_grad():
        found = metric.measure(pair)
    spent = round(time.process_time() - started, 4)
    if isinstance(found, Skipped):
        return Trial(*place, "", 0.0, 0.0, found.reason, spent)
    return Trial(*place, found.kind, found.value, found.stderr, found.note, spent)


def _place(case: LearnedCase, metric: PairMetric) -> tuple[str, int, int, str]:
    pair = case.pair
    name = f"{NAME}, {case.name}"
    return name, pair.decoder.latent_dim, pair.draws, f"{_quantity(metric)}, {case.shows}"


def _quantity(metric: PairMetric) -> str:
    if isinstance(metric, Ends):
        return f"annealing from {'above' if metric.upper else 'below'}, less log p(x)"
    return metric.name
