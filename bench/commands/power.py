"""What `postbench power` does: from a pilot run, which it makes where there is none, the seeds and
draws that show a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.compare import as_label, share, show
from bench.commands.run import STOPPED, run_missing
from bench.errors import StoppedError, UserError
from bench.running.matrix_file import Matrix, validated
from bench.store import COSTS, Store

if TYPE_CHECKING:
    from reports.comparison.power import Plan
    from reports.comparison.written import Sheet

SEEDS = 5  # of a pilot: its spread is then known within a factor of two, four times of five
DIVERGENCE = ("kl_qp", "kl_upper")  # what a pilot measures where no metric is named


@dataclass(frozen=True)
class Pilot:
    """A pilot that is still to be run; what is None is as a matrix has it.

    Args:
        seeds, gradients, draws: as of a matrix.
        jobs: cells side by side; None for one a core.
        out: where it goes; None for ``results/pilot``.
    """

    seeds: int | None = None
    gradients: int | None = None
    draws: int | None = None
    jobs: int | None = None
    out: Path | None = None

    def run(self, problems: Sequence[str], methods: Sequence[str], metric: str | None) -> Path:
        """Run what is missing of it; the folder of its results.

        Raises:
            UserError: if there is no problem, or a name is wrong.
            StoppedError: on Ctrl-C.
        """
        matrix = self.matrix(problems, methods, metric)
        folder = self.out or Path("results") / matrix.title
        try:
            run_missing(folder, matrix, self.jobs, retry=False)
        except KeyboardInterrupt:
            raise StoppedError(STOPPED) from None
        return folder

    def matrix(self, problems: Sequence[str], methods: Sequence[str], metric: str | None) -> Matrix:
        """The two methods on the problems, measured by little more than is asked for.

        Raises:
            UserError: if there is no problem.
        """
        if not problems:
            raise UserError(
                "power needs the folder of a run, or problems to run a pilot on: -p PROBLEM."
            )
        measured = [metric] if metric is not None and metric not in COSTS else list(DIVERGENCE)
        content = {
            "title": "pilot",
            "description": "A few seeds, from which the seeds of a comparison are planned.",
            "problems": list(problems),
            "methods": list(methods),
            "metrics": measured,
            "seeds": self.seeds or SEEDS,
            "budget": {"checkpoints": 1, "gradients": self.gradients},
        }
        return validated(content | ({"draws": self.draws} if self.draws else {}), where="power")


def show_power(
    folder: Path | None,
    problems: Sequence[str],
    methods: Sequence[str],
    metric: str | None,
    difference: str,
    chance: str,
    pilot: Pilot = Pilot(),
) -> None:
    """Print how many seeds show a difference of that share, for every problem of a pilot.

    Args:
        folder: of a run that is the pilot; None to run one.
        problems, methods, metric: as typed.
        difference, chance: shares, as typed.
        pilot: how it is run where there is none.

    Raises:
        UserError: if there are not two methods, or the pilot does not hold what is needed.
    """
    from reports.comparison.power import plans
    from reports.results import summarise

    if len(methods) != 2:
        raise UserError(f"power needs two methods, -m A -m B, got {len(methods)}.")
    wanted, sure = _shares(difference, chance)
    if folder is not None and pilot != Pilot():
        raise UserError(
            f"{folder} is the pilot; --seeds, --gradients, --draws, --jobs and --out are of one"
            " that is still to be run: leave them out, or the folder."
        )
    place = pilot.run(problems, methods, metric) if folder is None else folder
    first, second = map(as_label, methods)
    results = summarise(Store(place, create=False))
    labels = [as_label(name) for name in problems]
    found = plans(results, (first, second), labels, metric, wanted, sure)
    show(_sheet(found, (first, second), wanted, sure))


def _shares(difference: str, chance: str) -> tuple[float, float]:
    """The share to be shown, and the chance of showing it, from what was typed."""
    wanted, sure = share(difference, "--difference"), share(chance, "--chance")
    if not wanted > 0 or not 0 < sure < 1:
        raise UserError(
            f"--difference must be above 0 and --chance between 0 and 1, got {difference} and"
            f" {chance}."
        )
    return wanted, sure


def _sheet(found: Sequence[Plan], methods: tuple[str, str], wanted: float, sure: float) -> Sheet:
    """The table of a plan for every problem, with what its columns mean."""
    from reports import numbers
    from reports.comparison.power import DRAWS
    from reports.comparison.written import Sheet

    return Sheet(
        f"Seeds that show a difference of {100 * wanted:.3g}%: {' and '.join(methods)}",
        ("Problem", "Difference", "Spread", "Noise", *(_heading(times) for times in DRAWS)),
        [
            [
                plan.problem,
                *map(numbers.plain, (plan.difference, plan.spread, plan.noise)),
                *_seeds(plan),
            ]
            for plan in found
        ],
        f"Shown in {100 * sure:.3g}% of runs, by a paired test at 5% on one problem; in"
        " brackets by the upper 80% limit of the spread, which a pilot of few seeds knows"
        " badly. Spread: of a seed's difference; noise: the part of it that is measuring, and"
        f" that more draws lessen. The pilot had {found[0].draws:,} draws.",
    )


def _heading(times: int) -> str:
    return "As many draws" if times == 1 else f"{times} times the draws"


def _seeds(plan: Plan) -> list[str]:
    texts = [["more than 10,000" if n is None else f"{n:,}" for n in both] for both in plan.seeds]
    return [f"{seen} ({careful})" for seen, careful in texts]
