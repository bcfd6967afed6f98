"""How far the metrics themselves are off, and how often their intervals hold: each is tried on
pairs whose answer is known.

Every repetition draws afresh and measures as a run does.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import torch

from bench.calibration.case import Case
from bench.calibration.estimator import Estimator
from bench.calibration.ledger import Ledger
from bench.calibration.trials import Task, Trial, perform, tried
from bench.metrics.base import Estimate

NORMAL = 1.96  # half width of a 95% interval, in standard errors
ROUNDING = 1e-6  # that nobody would call an error
SIZES = (1000, 10_000, 100_000)


@dataclass(frozen=True)
class Repetitions:
    """How often an estimator is tried where it is cheap, and where it is not."""

    cheap: int = 100
    costly: int = 20


@dataclass(frozen=True)
class Row:
    """One estimator on one pair at one number of draws.

    Args:
        case, dim, n, estimator, quantity, shows, ours: what was tried.
        kind: of its figures, the most common one; empty where there was none.
        truth: what was to be found.
        skipped: repetitions without a figure.
        bias: mean less truth; sd: of the figures; stderr: mean of those that they came with.
        covered: repetitions whose 95% interval held the truth or, of a bound, ended on the right
            side of it.
        tried: repetitions with a figure.
        seconds: of processor time for one figure, on average; what others have worked out already
            is not counted again.
    """

    case: str
    dim: int
    n: int
    estimator: str
    quantity: str
    shows: str
    ours: bool
    kind: str
    truth: float
    skipped: int
    bias: float
    sd: float
    stderr: float
    covered: int
    tried: int
    seconds: float


def calibrate(
    cases: Sequence[Case],
    estimators: Sequence[Estimator],
    *,
    sizes: Sequence[int] = SIZES,
    repetitions: Repetitions | None = None,
    jobs: int = 1,
    ledger: Ledger | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Every estimator on every pair that it can see and whose figure is known.

    Args:
        cases, estimators: of any module; with more than one job they must survive pickling.
        sizes: numbers of draws.
        repetitions: 100 and 20 where not given.
        jobs: processes; 1 stays in this one.
        ledger: where trials are kept as they end, and looked up before they are made.
        progress: called after each block of trials with the number of blocks done and of all.
    """
    todo, book = tasks(cases, estimators, sizes, repetitions or Repetitions()), ledger or Ledger()
    done = book.done
    blocks = [
        left for task in todo for block in task.blocks() if (left := block.without(done)).estimators
    ]
    for count, trials in enumerate(_run(blocks, jobs), 1):
        book.write(trials)
        if progress is not None:
            progress(count, len(blocks))
    return rows(todo, book.trials)


def tasks(
    cases: Sequence[Case],
    estimators: Sequence[Estimator],
    sizes: Sequence[int],
    repetitions: Repetitions,
) -> list[Task]:
    """What there is to do: for each number of draws, each pair in each of its forms."""
    todo = []
    for n, case in itertools.product(sizes, cases):
        for form in case.forms:
            fit = [
                each
                for each in estimators
                if each.shows == form and case.truth(each.quantity) is not None
            ]
            chosen = tried(fit, n, repetitions.cheap, repetitions.costly)
            if chosen:
                todo.append(Task(case, form, n, chosen))
    return todo


def _run(blocks: Sequence[Task], jobs: int) -> Iterator[list[Trial]]:
    if jobs == 1:
        yield from map(perform, blocks)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _one_thread) as pool:
        waiting = [pool.submit(perform, block) for block in blocks]
        try:
            yield from (done.result() for done in as_completed(waiting))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    torch.set_num_threads(1)


def rows(todo: Sequence[Task], trials: Sequence[Trial]) -> list[Row]:
    """What came of the trials, in the order of the tasks; those of other pairs, metrics and
    repetitions are left alone.
    """
    found: dict[tuple[str, int, int, str], dict[int, Trial]] = defaultdict(dict)
    for trial in trials:
        found[trial.place[:-1]][trial.repetition] = trial
    made = []
    for task in todo:
        for estimator, tries in task.estimators:
            here = found[task.case.name, task.case.problem.dim, task.n, estimator.name]
            made.append(_row(task, estimator, [here[i] for i in tries]))
    return made


def _row(task: Task, estimator: Estimator, trials: Sequence[Trial]) -> Row:
    truth = task.case.truth(estimator.quantity)
    assert truth is not None  # such pairs are no task
    place = task.case.name, task.case.problem.dim, task.n, estimator.name
    return summed(place, estimator.quantity, estimator.shows, truth, trials, estimator.ours)


def summed(
    place: tuple[str, int, int, str],
    quantity: str,
    shows: str,
    truth: float,
    trials: Sequence[Trial],
    ours: bool = True,
) -> Row:
    """What the trials of one estimator on one pair come to.

    Args:
        place: pair, D, n and estimator.
    """
    found = [Estimate(trial.value, trial.stderr, trial.kind) for trial in trials if trial.kind]  # type: ignore[arg-type]
    values = [estimate.value for estimate in found]
    kinds = Counter(estimate.kind for estimate in found).most_common(1)
    case, dim, n, name = place
    return Row(
        case=case,
        dim=dim,
        n=n,
        estimator=name,
        quantity=quantity,
        shows=shows,
        ours=ours,
        kind=kinds[0][0] if kinds else "",
        truth=truth,
        skipped=len(trials) - len(found),
        bias=statistics.fmean(values) - truth if values else math.nan,
        sd=statistics.stdev(values) if len(values) > 1 else math.nan,
        stderr=statistics.fmean(estimate.stderr for estimate in found) if found else math.nan,
        covered=sum(holds(estimate, truth) for estimate in found),
        tried=len(found),
        seconds=statistics.fmean(trial.seconds for trial in trials),
    )


def holds(estimate: Estimate, truth: float) -> bool:
    """Whether the 95% interval holds the truth; whether that of a bound ends on the right side of
    it.
    """
    reach = NORMAL * estimate.stderr + ROUNDING
    above, below = estimate.value - reach > truth, estimate.value + reach < truth
    if estimate.kind == "lower bound":
        return not above
    return not below if estimate.kind == "upper bound" else not (above or below)
