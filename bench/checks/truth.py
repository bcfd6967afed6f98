"""What a truth promises: independent draws of the density it stands beside, and the log of its
integral.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from bench.checks import statistics
from bench.checks.finding import Check, InapplicableError, expect
from bench.checks.trial import generator
from problems.base import Exact, Problem, Reference, Truth

OVERLAP = 0.01  # with the fitted bumps, below which log Z cannot be checked
ENOUGH = 1_000  # reference draws


class HasTruth(Protocol):
    """Where the checks find what they check."""

    @property
    def problem(self) -> Problem: ...
    @property
    def dimension(self) -> int: ...
    @property
    def truth(self) -> Truth: ...
    @property
    def draws(self) -> Tensor: ...

    def log_density(self, z: Tensor) -> Tensor: ...


def _draws(lab: HasTruth) -> None:
    expect(
        isinstance(lab.truth, Exact | Reference),
        f"truth is a {type(lab.truth).__name__}; expected an Exact or a Reference",
    )
    for n in (1, 100):
        seen = lab.truth.sample(n, generator(1))
        expect(
            seen.shape == (n, lab.dimension),
            f"truth.sample({n}) gave the shape {list(seen.shape)}; expected {[n, lab.dimension]}",
        )
        expect(
            seen.dtype == torch.float64, f"truth.sample gave {seen.dtype}; expected torch.float64"
        )
        expect(not seen.requires_grad, "draws of the truth carry a gradient; expected none")
    bad = int((~lab.draws.isfinite()).any(-1).sum())
    expect(bad == 0, f"{bad} of {len(lab.draws)} draws of the truth are not finite; expected none")


def _reproducible(lab: HasTruth) -> None:
    torch.manual_seed(1)
    draws = lab.truth.sample(100, generator(1))
    torch.manual_seed(2)
    again = lab.truth.sample(100, generator(1))
    expect(
        torch.equal(draws, again),
        "equal generators gave different draws; expected the same: some random numbers come from"
        " elsewhere",
    )
    expect(
        not torch.equal(draws, lab.truth.sample(100, generator(2))),
        "different generators gave the same draws; expected others",
    )


def _independent(lab: HasTruth) -> None:
    if isinstance(lab.truth, Reference):
        raise InapplicableError(
            "draws of a Reference are a subset of the stored ones: two subsets may share some"
        )
    one = generator(3)
    both = torch.cat([lab.truth.sample(500, one), lab.truth.sample(500, one)])
    repeated = len(both) - len(torch.unique(both, dim=0))
    expect(
        repeated == 0,
        f"{repeated} of 1,000 draws, taken in two calls, are repeated; expected all to differ",
    )


def _against_density(lab: HasTruth) -> None:
    if not bool(lab.log_density(lab.draws).isfinite().all()):
        raise InapplicableError("the log density is not finite at all draws; see above")
    for move, drift in statistics.leaps(lab.draws, lab.log_density, generator(4)):
        worst = int(drift.abs().nan_to_num(nan=math.inf).argmax())
        name = statistics.label(worst, lab.problem.coordinates)
        expect(
            bool(drift[worst].abs() <= statistics.SIGMAS),
            f"moves that leave the density as it is ({move}) drive the {name} of the draws away by"
            f" {float(drift[worst].abs()):.1f} standard errors; expected {statistics.SIGMAS:g} at"
            " most: draws and density are of two laws. Is a Jacobian or a prior missing?",
        )


def _log_z(lab: HasTruth) -> None:
    log_z = lab.truth.log_z
    if log_z is None:
        raise InapplicableError("the truth has no log_z")
    expect(
        isinstance(log_z, float) and math.isfinite(log_z),
        f"log_z is {log_z!r}; expected a finite float",
    )
    half = len(lab.draws) // 2
    labels = lab.problem.modes.label(lab.draws[:half]) if lab.problem.modes else None
    try:
        fitted = statistics.bumps(lab.draws[:half], labels)
    except ArithmeticError as error:
        raise InapplicableError(f"no density can be fitted to the draws: {error}") from None
    found = statistics.bridge(
        lab.draws[half:], lambda z: lab.log_density(z) - log_z, fitted, generator(5)
    )
    away = float(found.scores[0].abs())
    allowed = statistics.SIGMAS * (1 + _uncertainty(lab.truth, found))
    if found.overlap < OVERLAP and not away > allowed:
        raise InapplicableError(
            f"the density that can be fitted to the draws has {found.overlap:.2%} in common with"
            " the posterior"
        )
    expect(
        away <= allowed,
        f"log_z is {log_z:.6g}; bridge sampling says {log_z + found.log_z:.6g}, {away:.1f} standard"
        " errors away",
    )


def _uncertainty(truth: Truth, found: statistics.Bridge) -> float:
    """Standard error of a Reference's own log_z, in those of the bridge."""
    if isinstance(truth, Exact) or not truth.log_z_stderr or found.log_z == 0:
        return 0.0
    return truth.log_z_stderr * float(found.scores[0].abs()) / abs(found.log_z)


def _modes(lab: HasTruth) -> None:
    modes = lab.problem.modes
    if modes is None:
        raise InapplicableError("the problem names no modes")
    weights = torch.tensor(modes.weights, dtype=torch.float64)
    expect(bool((weights > 0).all()), f"mode weights are {modes.weights}; expected positive shares")
    expect(
        abs(float(weights.sum()) - 1) < 1e-9,
        f"mode weights sum to {float(weights.sum())}; expected 1",
    )
    labels = modes.label(lab.draws)
    expect(
        labels.shape == (len(lab.draws),),
        f"label of {list(lab.draws.shape)} gave {list(labels.shape)}; expected one label a row",
    )
    few = modes.label(lab.draws[:6].reshape(2, 3, -1)).shape
    expect(
        few == (2, 3),
        f"label of [2, 3, {lab.dimension}] gave {list(few)}; expected [2, 3]: chains come as"
        " [chains, draws, D]",
    )
    expect(not labels.dtype.is_floating_point, f"labels are {labels.dtype}; expected whole numbers")
    low, high = int(labels.min()), int(labels.max())
    expect(
        0 <= low <= high < len(weights),
        f"labels run from {low} to {high}; expected indices of {len(weights)} weights",
    )
    shares = labels.bincount(minlength=len(weights)) / len(labels)
    away = (
        (shares - weights) / (weights * (1 - weights) / len(labels)).sqrt().clamp(min=1e-12)
    ).abs()
    k = int(away.argmax())
    expect(
        bool(away[k] <= statistics.SIGMAS),
        f"mode {k} holds {float(shares[k]):.4f} of the draws and {float(weights[k]):.4f} by its"
        f" weight, {float(away[k]):.1f} standard errors away; expected {statistics.SIGMAS:g} at"
        " most",
    )


def _reference(lab: HasTruth) -> None:
    truth = lab.truth
    if isinstance(truth, Exact):
        raise InapplicableError("the truth is exact")
    expect(
        len(truth.draws) >= ENOUGH,
        f"the reference holds {len(truth.draws)} draws; expected {ENOUGH:,} or more",
    )
    expect(
        bool(truth.certificate),
        "the reference has no certificate; expected how the draws were made and checked",
    )
    paired = (truth.log_z is None) == (truth.log_z_stderr is None)
    expect(
        paired,
        f"log_z is {truth.log_z} and log_z_stderr {truth.log_z_stderr}; expected both or neither",
    )


CHECKS: tuple[Check[HasTruth], ...] = (
    Check("truth: draws", "every figure compares with draws of the truth", _draws),
    Check(
        "truth: reproducible", "a figure that cannot be had again cannot be checked", _reproducible
    ),
    Check("truth: independent", "intervals count the draws as independent", _independent),
    Check(
        "truth: of the density",
        "a truth that is not the density's would blame the methods",
        _against_density,
    ),
    Check("truth: log_z", "every KL is off by what log_z is off", _log_z),
    Check("truth: modes", "mode balance compares with these shares", _modes),
    Check(
        "truth: reference", "a simulated truth must be long, and say how it was made", _reference
    ),
)
