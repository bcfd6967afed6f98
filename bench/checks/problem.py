"""What a problem promises: a float64 density over all of R^D, row by row, with a gradient, and
names for what it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from bench.checks.finding import Check, Finding, InapplicableError, expect, findings
from bench.checks.prior import CHECK as PRIOR
from bench.checks.problem_lab import ProblemLab
from bench.checks.settings import must_be_frozen, must_be_unchanged, must_have_a_name
from bench.checks.trial import generator
from bench.checks.truth import CHECKS as TRUTH
from bench.fitting import surroundings
from bench.fitting.target import WARM_UP, CountedTarget
from bench.processes.limits import children
from problems.base import TRAITS, Problem

ROUNDING = 1e-9  # relative: a row in a batch may be summed in another order than alone
GRADIENT = 1e-4  # relative: finite differences
# of finite differences, in standard deviations; the best one counts
STEPS = (1e-3, 1e-4, 1e-5, 1e-6)
ROUND_TRIP = 1e-6  # in standard deviations
WIDE = 10.0  # how far out methods may start, in standard deviations


def check_problem(problem: Problem, name: str = "FILE.py:Class") -> Iterator[Finding]:
    """Every check of a problem; ``name`` is what the command line calls it."""
    return findings(ProblemLab(problem, name), CHECKS)


def _dim(lab: ProblemLab) -> None:
    expect(
        lab.problem.dim == lab.dimension,
        f"dim was {lab.dimension} and is {lab.problem.dim}; expected one number",
    )


def _coordinates(lab: ProblemLab) -> None:
    dim, labels = lab.dimension, lab.problem.coordinates
    text = isinstance(labels, tuple) and all(isinstance(label, str) for label in labels)
    expect(text, f"coordinates are {labels!r}; expected a tuple of strings")
    expect(len(labels) == dim, f"there are {len(labels)} coordinates; expected dim = {dim}")
    expect(
        len(set(labels)) == len(labels), f"coordinates {labels!r} repeat; expected a label for each"
    )


def _traits(lab: ProblemLab) -> None:
    other = sorted(set(lab.problem.traits) - set(TRAITS))
    expect(not other, f"traits has {other}; expected some of {', '.join(TRAITS)}")


def _density_shape(lab: ProblemLab) -> None:
    z, dim = lab.anywhere(), lab.dimension
    for batch in ((), (1,), (6,), (2, 3)):
        seen = lab.log_density(z.flatten()[: torch.Size(batch).numel() * dim].reshape(*batch, dim))
        expect(
            isinstance(seen, Tensor), f"log_density gave a {type(seen).__name__}; expected a tensor"
        )
        shape = list(seen.shape)
        expect(
            seen.shape == batch,
            f"log_density of {[*batch, dim]} gave the shape {shape}; expected {list(batch)}",
        )


def _float64(lab: ProblemLab) -> None:
    seen = lab.log_density(lab.anywhere()).dtype
    expect(
        seen == torch.float64,
        f"log_density of float64 points is {seen}; expected torch.float64: is a constant a float32"
        " tensor?",
    )


def _rows(lab: ProblemLab) -> None:
    z = lab.anywhere()
    batch, alone = lab.log_density(z), torch.cat([lab.log_density(row) for row in z.unsqueeze(1)])
    away = float((batch - alone).abs().max())
    expect(
        torch.allclose(batch, alone, rtol=ROUNDING, atol=ROUNDING, equal_nan=True),
        f"the log density of a batch is off that of its rows alone by {away:.2g} nats; expected"
        " rows not to see each other",
    )


def _finite(lab: ProblemLab) -> None:
    if lab.waits:
        _ = lab.somewhere  # raises where there are too few
        return
    bad = int((~lab.log_density(lab.draws).isfinite()).sum())
    expect(
        bad == 0,
        f"the log density is not finite at {bad} of {len(lab.draws)} draws of the truth; expected"
        " none",
    )


def _far(lab: ProblemLab) -> None:
    centre = torch.zeros(lab.dimension) if lab.waits else lab.draws.mean(0)
    z = torch.cat([centre + WIDE * lab.spread * lab.anywhere(100), WIDE * lab.anywhere(100)])
    value = lab.log_density(z)
    bad = int((value.isnan() | (value == float("inf"))).sum())
    expect(
        bad == 0,
        f"the log density is NaN or +inf at {bad} of {len(z)} points far out; expected a number or"
        " -inf",
    )


def _gradient(lab: ProblemLab) -> None:
    points, spread = lab.points, lab.spread
    z = points.clone().requires_grad_()
    (seen,) = torch.autograd.grad(lab.problem.log_density(z).sum(), z)
    seen, axes = seen * spread, torch.diag(spread)
    size = 1 + seen.abs().amax(-1, keepdim=True)
    wrong = torch.full_like(seen, torch.inf)
    for step in STEPS:
        up, down = (lab.log_density(points.unsqueeze(1) + sign * step * axes) for sign in (1, -1))
        wrong = torch.minimum(wrong, (seen - (up - down) / (2 * step)).abs() / size)
    worst = int(wrong.nan_to_num(nan=torch.inf).amax(0).argmax())
    expect(
        bool((wrong <= GRADIENT).all()),
        f"the gradient by {lab.problem.coordinates[worst]} is off finite differences at a draw of"
        f" the truth by {float(wrong[:, worst].max()):.2g} of its size; expected {GRADIENT:g} at"
        " most",
    )


def _compiled(lab: ProblemLab) -> None:
    fast, plain = CountedTarget(lab.problem), CountedTarget(lab.problem, compiled=False)
    for _ in range(WARM_UP + 1):
        fast.value_and_grad(lab.points)
    z = lab.somewhere[-len(lab.points) :]
    for seen, want, what in zip(
        fast.value_and_grad(z), plain.value_and_grad(z), ("value", "gradient"), strict=True
    ):
        away = float((seen - want).abs().max())
        expect(
            torch.allclose(seen, want, rtol=ROUNDING, atol=ROUNDING),
            f"the {what} of the recorded density is off the density as written by {away:.2g};"
            " expected the same: does it keep something from call to call?",
        )


def _round_trip(lab: ProblemLab) -> None:
    for z in (lab.points, lab.points[0], lab.points.reshape(4, -1, lab.dimension)):
        values = lab.problem.constrain(z)
        expect(
            isinstance(values, Mapping) and bool(values),
            f"constrain gave {type(values).__name__}; expected names with tensors",
        )
        for name, value in values.items():
            shape, batch = list(getattr(value, "shape", [])), list(z.shape[:-1])
            met = isinstance(value, Tensor) and shape[: len(batch)] == batch
            expect(
                met,
                f"constrain of {list(z.shape)} gave {name} of the shape {shape}; expected a tensor"
                f" [{batch}, ...]",
            )
        back = lab.problem.unconstrain(values)
        expect(
            back.shape == z.shape,
            f"unconstrain(constrain(z)) has the shape {list(back.shape)}; expected {list(z.shape)}",
        )
        away = float(((back - z) / lab.spread).abs().max())
        expect(
            away <= ROUND_TRIP,
            f"unconstrain(constrain(z)) is off z by {away:.2g} standard deviations; expected"
            f" {ROUND_TRIP:g} at most",
        )


def _global_state(lab: ProblemLab) -> None:
    surroundings.scramble(1)
    before, processes = surroundings.read(), children()
    lab.problem.log_density(lab.anywhere())
    if not lab.waits:
        lab.problem.truth.sample(2, generator(1))
    touched = surroundings.changed(before, surroundings.read())
    touched += surroundings.left_behind(processes)
    expect(not touched, f"changed {' and '.join(touched)}; expected them as they were")


def _fields(lab: ProblemLab) -> None:
    if not lab.fields:
        raise InapplicableError("the problem has no fields")
    must_be_unchanged(lab.problem, lab.fields)


CHECKS: tuple[Check[ProblemLab], ...] = (
    Check(
        "name",
        "tables and command lines call it by this name",
        lambda lab: must_have_a_name(lab.problem),
    ),
    Check(
        "frozen",
        "results are filed under the fields, which must not change after that",
        lambda lab: must_be_frozen(lab.problem),
    ),
    Check("dim", "methods make room for as many coordinates", _dim),
    Check("coordinates", "plots print a label for each coordinate", _coordinates),
    Check("traits", "a matrix and a list name problems by what they are known for", _traits),
    Check(
        "density: shape",
        "methods evaluate single points, batches, and batches of batches",
        _density_shape,
    ),
    Check("density: float64", "half of the digits are lost in float32", _float64),
    Check("density: rows", "a batch is many chains, which must not see each other", _rows),
    *TRUTH[:1],
    Check("density: finite", "every point that can be drawn has a density", _finite),
    Check(
        "density: far out",
        "methods start far from the posterior, and a NaN there never goes away",
        _far,
    ),
    Check("gradient", "most methods see the density through its gradient", _gradient),
    Check(
        "gradient: recorded",
        "the harness records the gradient and replays it without Python",
        _compiled,
    ),
    Check("round trip", "reports speak of parameters in the model's own units", _round_trip),
    PRIOR,
    *TRUTH[1:],
    Check(
        "global state",
        "what one problem changes for all would decide the results of the next",
        _global_state,
    ),
    Check("fields", "the next run with the same settings must be the same run", _fields),
)
