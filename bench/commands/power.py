"""What `postbench power` does: from a pilot run, the seeds and draws that show a difference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.compare import as_label, share, show
from bench.errors import UserError
from bench.store import Store

if TYPE_CHECKING:
    from reports.comparison.power import Plan


def show_power(
    folder: Path,
    problems: Sequence[str],
    methods: Sequence[str],
    metric: str | None,
    difference: str,
    chance: str,
) -> None:
    """Print how many seeds show a difference of that share, for every problem of a pilot.

    Raises:
        UserError: if there are not two methods, or the pilot does not hold what is needed.
    """
    from reports import numbers
    from reports.comparison.power import DRAWS, plans
    from reports.comparison.written import Sheet
    from reports.results import summarise

    if len(methods) != 2:
        raise UserError(f"power needs two methods, -m A -m B, got {len(methods)}.")
    wanted, sure = share(difference, "--difference"), share(chance, "--chance")
    if not wanted > 0 or not 0 < sure < 1:
        raise UserError(
            f"--difference must be above 0 and --chance between 0 and 1, got {difference} and"
            f" {chance}."
        )
    first, second = map(as_label, methods)
    pilot = summarise(Store(folder, create=False))
    labels = [as_label(name) for name in problems]
    found = plans(pilot, (first, second), labels, metric, wanted, sure)
    show(
        Sheet(
            f"Seeds that show a difference of {100 * wanted:.3g}%: {first} and {second}",
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
    )


def _heading(times: int) -> str:
    return "As many draws" if times == 1 else f"{times} times the draws"


def _seeds(plan: Plan) -> list[str]:
    texts = [["more than 10,000" if n is None else f"{n:,}" for n in both] for both in plan.seeds]
    return [f"{seen} ({careful})" for seen, careful in texts]
