"""The density that an approximation hands out: asked for in this one place, on fresh draws of its
own, and held against its own draws before any figure rests on it.

A mean of log q - log p over the few thousand draws that all metrics share is known to some 0.02
nats. Where both densities are cheap, many more draws cost next to nothing: as many as come to a
stated amount of counted work, so that neither the speed nor the load of a machine decides. Draws
of a Gaussian are quasi-random, with which the same number says more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from bench.metrics.base import Comparison, Skipped, kept
from bench.metrics.draws import quasi
from bench.metrics.draws.work import affordable
from bench.metrics.models import gaussian_mixture
from bench.metrics.models.bridge import SIGMAS, Bridge, bridge
from methods import Gaussian
from methods.base import Draws
from problems.base import Exact

MOST = 100_000  # fresh draws that a mean of densities rests on, at most
ENTRIES = 2_000_000  # coordinates of all of them together, at most
WORK = 3e9  # numbers that drawing and both densities may write; see ``bench.metrics.draws.work``
BLOCK = 10_000  # rows that are judged at a time, for the sake of memory
FITTED, HELD = 5_000, 20_000  # draws that the bridge is built from, and those it is walked by
# of the mixture that it is built of where one Gaussian is far from the draws, and of its fit
COMPONENTS, STEPS = 8, 20
ALIKE = 0.6  # overlap with the draws below which one Gaussian is far from them
NOTHING = 0.05  # overlap below which a bridge tells nothing
# standard errors that accuse one of the 3 D + 1 averages beside the normalising constant
SIGMAS_OF_MANY = 6.0


@dataclass(frozen=True, eq=False)
class Own:
    """What both densities say at some points.

    Args:
        points: [n, D].
        log_q: of the approximation, normalised, nats, [n].
        log_p: of the problem, not normalised, nats, [n].
        note: how many draws were left out, and why; else empty.
        sets: whether the points are those of ``quasi.normals``, carried to q; else they are
            independent.
    """

    points: Tensor
    log_q: Tensor
    log_p: Tensor
    note: str = ""
    sets: bool = False


@kept
@torch.no_grad()
def own_at_draws(comparison: Comparison) -> Own | Skipped | None:
    """Both densities at fresh draws of an approximation, or why its own cannot be used; None where
    it has none.
    """
    if not _has_density(comparison):
        return None
    points = fresh(comparison.approximation.sample, comparison, 1)
    even = _even(comparison, len(points))
    points = points if even is None else even
    found = _checked(comparison, points) or _both(comparison, points)
    if even is None or isinstance(found, Skipped) or len(found.points) < len(even):
        return found
    return replace(found, sets=True)


def _even(comparison: Comparison, n: int) -> Tensor | None:
    """Quasi-random draws of a Gaussian, [n', D] with n' <= n; None of any other approximation."""
    q, each = comparison.approximation, quasi.length(n)
    if type(q) is not Gaussian or not each:
        return None
    generator = Generator().manual_seed((comparison.seed + 1) % 2**63)
    return q.forward(quasi.normals(each, len(q.loc), generator))


@kept
@torch.no_grad()
def own_at_truth(comparison: Comparison) -> Own | Skipped | None:
    """Both densities at fresh draws of the truth, or at all that a reference holds; else as
    ``own_at_draws``.
    """
    if not _has_density(comparison):
        return None
    found = own_at_draws(comparison)
    if isinstance(found, Skipped):
        return found
    truth = comparison.problem.truth
    if isinstance(truth, Exact):
        return _both(comparison, fresh(truth.sample, comparison, 2))
    return _both(comparison, stored(comparison))


def stored(comparison: Comparison) -> Tensor:
    """The draws of a reference that approximations are judged by: every second one, the others
    being those of the noise floor; those of the comparison where these are more.
    """
    truth = comparison.problem.truth
    assert not isinstance(truth, Exact)
    half = truth.half(0).draws
    return half if len(half) >= len(comparison.truth) else comparison.truth


def fresh(
    sample: Callable[[int, Generator], Tensor], comparison: Comparison, stream: int
) -> Tensor:
    """Independent draws of q or of p, [n, D], as many as ``fresh_count`` finds affordable.

    Args:
        sample: draws them.
        stream: which of the random numbers of the comparison they are made of.
    """
    probe = Generator().manual_seed(0)

    def once(rows: int) -> object:
        drawn = sample(rows, probe)
        return comparison.approximation.log_prob(drawn), comparison.problem.log_density(drawn)

    seed = (comparison.seed + stream) % 2**63
    return sample(fresh_count(comparison, once), Generator().manual_seed(seed)).double()


def fresh_count(comparison: Comparison, once: Callable[[int], object], work: float = WORK) -> int:
    """How many fresh draws a mean of densities rests on: 100,000, of which all coordinates are two
    million numbers at most, and at most so much work; no fewer than the comparison has.

    Args:
        once: makes so many rows and asks for their densities, whatever it returns.
        work: numbers that all of them may write.
    """
    least = len(comparison.draws)
    most = max(min(MOST, ENTRIES // comparison.draws.shape[1]), least)
    return affordable(once, least=least, most=most, work=work)


def log_density(comparison: Comparison, points: Tensor) -> Tensor:
    """Log p, not normalised, at points [n, D]: [n], nats.

    Raises:
        ValueError: if the problem gives another shape.
    """
    found = torch.cat([comparison.problem.log_density(part) for part in torch.split(points, BLOCK)])
    if found.shape != points.shape[:1]:
        raise ValueError(
            f"log_density returned shape {list(found.shape)} for {len(points)} rows; expected"
            f" [{len(points)}]."
        )
    return found.double()


def _has_density(comparison: Comparison) -> bool:
    q = comparison.approximation
    return not isinstance(q, Draws) and q.log_prob(comparison.draws[:2]) is not None


def _log_q(comparison: Comparison, points: Tensor) -> Tensor | Skipped:
    parts = [comparison.approximation.log_prob(part) for part in torch.split(points, BLOCK)]
    for part, rows in zip(parts, torch.split(points, BLOCK), strict=True):
        if part is None or part.shape != rows.shape[:1]:
            got = "nothing" if part is None else f"shape {list(part.shape)}"
            return Skipped(f"log_prob returned {got} for {len(rows)} rows; expected [{len(rows)}].")
    return torch.cat([part.double() for part in parts if part is not None])


def _both(comparison: Comparison, points: Tensor) -> Own | Skipped:
    finite = torch.isfinite(points).all(-1)
    lost, note = int((~finite).sum()), ""
    if lost:
        note = f"{lost} of {len(points)} fresh draws were not finite, and are left out."
        points = points[finite]
    log_q = _log_q(comparison, points)
    if isinstance(log_q, Skipped):
        return log_q
    return Own(points, log_q, log_density(comparison, points), note)


def _checked(comparison: Comparison, points: Tensor) -> Skipped | None:
    """Why the density of an approximation is not that of its draws [n, D], or None."""
    points = points[torch.isfinite(points).all(-1)]
    shape = _log_q(comparison, points[:2])
    if isinstance(shape, Skipped):
        return shape
    found = held_against(
        points, lambda z: _asked(comparison, z), Generator().manual_seed(comparison.seed)
    )
    return None if found is None else accused(found)


def _asked(comparison: Comparison, points: Tensor) -> Tensor:
    found = _log_q(comparison, points)
    return points.new_full(points.shape[:1], math.nan) if isinstance(found, Skipped) else found


def held_against(
    draws: Tensor, log_prob: Callable[[Tensor], Tensor], generator: Generator
) -> Bridge | None:
    """A bridge from a density to its own draws [n, D]; None where no law that is fitted to some of
    them is like the others.

    One Gaussian is tried first, a mixture of eight where that is far from the draws.
    """
    cut = min(FITTED, len(draws) // 2)
    fit, held = draws[:cut], draws[cut : cut + HELD]
    if len(fit) < 5 * draws.shape[1] + 10 or bool((fit.amax(0) == fit.amin(0)).any()):
        return None
    found = None
    for components in (1, COMPONENTS):
        try:
            proposal = gaussian_mixture.fit(fit, components, generator, STEPS)
        except ArithmeticError:
            return None
        found = bridge(held, log_prob, proposal, generator)
        if not found.overlap < ALIKE:
            break
    return found if found is not None and found.overlap >= NOTHING else None


def accused(found: Bridge) -> Skipped | None:
    """What a bridge says against a density, or None."""
    constant, others = float(found.scores[0].abs()), float(found.scores[1:].abs().max())
    if constant > SIGMAS:
        return Skipped(
            f"log_prob is not normalised: it integrates to {math.exp(found.log_z):.4g} over its"
            f" own draws, {constant:.1f} standard errors from 1."
        )
    if others > SIGMAS_OF_MANY:
        return Skipped(
            f"log_prob is not the density of the draws: an average over them is {others:.1f}"
            " standard errors from what it says."
        )
    return None
