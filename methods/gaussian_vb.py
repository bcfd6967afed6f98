r"""Gaussian variational Bayes that finds the best Gaussian there is: the yardstick for every richer
approximation.

.. math::
    \max_{m, L}\ \mathrm{ELBO}(m, L) = E_{\epsilon \sim N(0, I)} \log p(m + L \epsilon)
    + \sum_i \log L_{ii} + \tfrac D2 \log 2\pi e

The expectation is an average over fixed quasi-random draws, so it is a smooth function, which
L-BFGS climbs in tens of steps with no step size to tune and no noise to wait for. An average over
few draws can be overfitted: each round takes four times the draws of the last and climbs on from
there, in few steps, since near an optimum the curvature is known. The method ends when the slope on
draws that it has not seen says that less than the tolerance is left to be gained. Where there are
several optima, the best of several starts is kept.

``optimiser="adam"`` is what most people run instead: stochastic gradients that stick the landing,
one start, a step size. ``linear_response`` mends the covariance of a diagonal Gaussian afterwards.

Source: A. Kucukelbir, D. Tran, R. Ranganath, A. Gelman, D. M. Blei, Automatic differentiation
variational inference, 2017, arXiv:1603.00788; fixed draws: R. Giordano, M. Ingram, T. Broderick,
Black box variational inference with a deterministic objective, 2024, arXiv:2304.05527; what else
is offered: ``methods/parts/gaussians/families.py``, ``sticking.py`` and ``linear_response.py``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator as Steps
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from methods.base import Budget, Method, Target
from methods.parts.device import at_rest, placed, present, seen_from
from methods.parts.finite import sound, whereabouts
from methods.parts.gaussians.ascents import Way, ascents
from methods.parts.gaussians.climb import Candidate, Judged, improved, judged, narrowed
from methods.parts.gaussians.elbo import Frame, Loss, normals
from methods.parts.gaussians.families import Covariance
from methods.parts.gaussians.fixed_draws import Rounds
from methods.parts.gaussians.gaussian import Gaussian
from methods.parts.gaussians.laplace import offered
from methods.parts.gaussians.linear_response import corrected
from methods.parts.gaussians.sticking import Climb
from methods.parts.validate import require

GROWTH = 4  # draws of a round, as a multiple of the last one's
TRIES = 100  # starting points drawn before giving up
# nats; a climb ends where it comes so near to where another has ended: what divides two optima is
# more
NEAR = 0.03
APART = 0.1 * NEAR  # nats that a climb may lack of its end, so that the ends tell optima apart
NOISY = 2  # how many tolerances a gap may measure with the noise of the draws that measure it


@dataclass(frozen=True)
class GaussianVB(Method):
    """The Gaussian with the least KL(q||p), by L-BFGS on the ELBO.

    Args:
        covariance: ``diagonal`` (mean field), ``full``, or ``low-rank``: a diagonal plus W W^T.
        rank: columns of W, where the covariance is of a low rank.
        starts: how many starting points, uniform on (-2, 2) in each coordinate; the best optimum
            counts.
        draws: in the first round, and so gradient evaluations per step; at least 4 D are taken.
        max_draws: of the last round, whether or not the tolerance is met.
        tolerance: nats; the method ends when less is left to be gained, as estimated on draws not
            used before, in the second round at the earliest.
        linear_response: whether the covariance of a diagonal Gaussian is corrected at the end by
            how its mean responds to a tilt of the target.
        optimiser: ``l-bfgs``, or ``adam``, with stochastic gradients that stick the landing; the
            four fields above it are of the first, the four below of the second.
        lr: first step size, which falls to a hundredth by a cosine.
        iterations: steps of Adam; fewer where ``budget.gradients`` allows no more.
        batch: draws, and so gradient evaluations, per step of Adam.
        every: steps of Adam between two approximations.
        device: cpu or cuda, where the draws and the parameters are; random numbers are the same on
            both, and the density is on the CPU.

    Raises:
        ValueError: if a field lies outside its range; from ``run``, if the density is finite
            nowhere it looked.
        FloatingPointError: from ``run``, if Adam comes to where the density is not finite, or the
            response is not that of an optimum.
        NotApplicableError: from ``run``, if the device is not here.
    """

    covariance: Covariance = "diagonal"
    rank: int = 5
    starts: int = 8
    draws: int = 256
    max_draws: int = 65536
    tolerance: float = 0.003
    linear_response: bool = False
    optimiser: Literal["l-bfgs", "adam"] = "l-bfgs"
    lr: float = 0.01
    iterations: int = 10_000
    batch: int = 32
    every: int = 25
    device: str = "cpu"
    name: ClassVar[str] = "gaussian-vb"
    source: ClassVar[str] = (
        "A. Kucukelbir, D. Tran, R. Ranganath, A. Gelman, D. M. Blei, 2017, arXiv:1603.00788;"
        " R. Giordano, M. Ingram, T. Broderick, 2024, arXiv:2304.05527"
    )

    def __post_init__(self) -> None:
        kinds = ("diagonal", "full", "low-rank")
        require(self, "covariance", self.covariance in kinds, "be 'diagonal', 'full' or 'low-rank'")
        known = self.optimiser in ("l-bfgs", "adam")
        require(self, "optimiser", known, "be 'l-bfgs' or 'adam'")
        fits = not self.linear_response or self.covariance == "diagonal"
        require(self, "linear_response", fits, "be False unless covariance is 'diagonal'")
        for field in ("rank", "iterations", "batch", "every"):
            require(self, field, getattr(self, field) >= 1, "be at least 1")
        require(self, "lr", 0 < self.lr < math.inf, "be positive and finite")
        require(self, "starts", self.starts >= 1, "be at least 1")
        require(self, "draws", self.draws >= 1, "be at least 1")
        require(self, "max_draws", self.max_draws >= self.draws, f"be at least draws, {self.draws}")
        require(self, "tolerance", 0 < self.tolerance < math.inf, "be positive and finite")
        placed(self)

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Gaussian]:
        """Yield the best Gaussian so far after every step; the last one of L-BFGS, where the family
        is not of a low rank, says what gap is left.
        """
        present(self)
        for q in self._steps(target, budget, generator):
            yield q
        if self.linear_response:
            yield corrected(q, target, generator, self.device)

    def _steps(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Gaussian]:
        """What the optimiser and the family that are chosen yield."""
        rank = self.rank if self.covariance == "low-rank" else 0
        if self.optimiser == "adam":
            sizes = (self.lr, self.iterations, self.batch, 1, self.every)
            climb = Climb("GaussianVB", self.covariance, rank, *sizes, self.device)
            return climb.run(target, budget, generator)
        if self.covariance == "low-rank":
            limits = (self.starts, self.draws, self.max_draws, self.tolerance)
            rounds = Rounds("GaussianVB", "low-rank", rank, *limits, self.device)
            return rounds.run(target, generator)
        return self._rounds(seen_from(self.device, target), generator)

    def _rounds(self, target: Target, generator: Generator) -> Iterator[Gaussian]:
        """L-BFGS from every start on the first draws; what is best there goes on to more."""
        # Sobol points are even in powers of two
        draws = 1 << (max(self.draws, 4 * target.dim) - 1).bit_length()
        loss = Loss(target, normals(draws, target.dim, generator).to(self.device))
        ways = self._ways(target, generator)
        ends: list[Candidate] = []  # of climbs, each optimum once
        best: Judged | None = None
        for i in range(self.starts):
            known = [each.frame for each in (*ends, best) if each is not None]
            start = self._start(loss, best.frame if best and i % 2 else None, ways, generator)
            yield _gaussian(best.frame if best else start.frame)
            end = start
            for end in improved(loss, start, APART):
                first = all(end.value < each.value for each in ends)
                yield _gaussian(end.frame if first or best is None else best.frame)
                if any(end.frame.divergence(each) < NEAR for each in known):
                    break  # on its way to an optimum that is known
            else:
                ends.append(end)
                if min(ends, key=_value) is end:
                    found = yield from self._refined(target, end.frame, draws, generator)
                    best = min((each for each in (found, best) if each), key=_value)
        assert best is not None
        yield _gaussian(best.frame, {"gap": best.gap})

    def _refined(
        self, target: Target, frame: Frame, draws: int, generator: Generator
    ) -> Steps[Gaussian, None, Judged]:
        """A Gaussian fitted to so many draws, climbed in rounds of ever more, yielded at every step
        and returned.
        """
        found: Judged | None = None
        while draws * GROWTH <= self.max_draws:
            draws *= GROWTH
            loss = Loss(target, normals(draws, target.dim, generator).to(self.device))
            start = narrowed(loss, frame)
            frame = start.frame
            for _, frame, _ in improved(loss, start, 0.1 * self.tolerance):
                yield _gaussian(frame)
            found = judged(target, frame, draws, generator)
            if found.gap < self.tolerance and found.bound < NOISY * self.tolerance:
                break
        return found or judged(target, frame, draws, generator)

    def _start(
        self, loss: Loss, around: Frame | None, ways: Iterator[Way], generator: Generator
    ) -> Candidate:
        """A start of its own on the way to a mode, or a wide one around one that is known."""
        target, full = loss.target, self.covariance == "full"
        for _ in range(TRIES):
            if around is not None:
                loc = _uniform(1, target.dim, generator)[0].to(self.device)
                frame = Frame(around.loc + around.move(loc), around.factor)
                found = [narrowed(loss, frame)]
            elif way := next(ways, None):
                on_the_way = offered(target, *way, full=full)
                found = [narrowed(loss, frame.on(self.device)) for frame in on_the_way]
            else:
                break
            best = min(found, key=_value)
            if math.isfinite(best.value):
                return best
        tried = _uniform(TRIES, target.dim, generator)
        raise ValueError(
            "GaussianVB found no point to start from, uniform on (-2, 2) in each coordinate: the"
            f" density is not finite {whereabouts(target, tried, *target.value_and_grad(tried))}."
        )

    def _ways(self, target: Target, generator: Generator) -> Iterator[Way]:
        """Ways up to modes from points where the density is finite: one, then as many at a time as
        there are starts of their own left, until there are no such points to be found.
        """
        for n in itertools.chain([1], itertools.repeat(max(1, (self.starts - 1) // 2))):
            locs = torch.empty(0, target.dim, dtype=torch.float64)
            for _ in range(TRIES):
                tried = _uniform(n - len(locs), target.dim, generator)
                locs = torch.cat([locs, tried[sound(*target.value_and_grad(tried))]])
                if len(locs) == n:
                    break
            if not len(locs):
                return
            yield from ascents(target, locs)


def _uniform(n: int, dim: int, generator: Generator) -> Tensor:
    """Points uniform on (-2, 2) in each coordinate, [n, dim]."""
    return 4 * torch.rand(n, dim, generator=generator, dtype=torch.float64) - 2


def _value(candidate: Candidate | Judged) -> float:
    return candidate.value


def _gaussian(frame: Frame, diagnostics: Mapping[str, float] | None = None) -> Gaussian:
    return at_rest(Gaussian(frame.loc, frame.factor, diagnostics or {}))
