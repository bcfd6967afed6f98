r"""Stan's own NUTS, as CmdStan runs it, on problems that have a Stan program.

Trajectories are doubled until they turn back, and their points drawn by multinomial weights; the
warm-up adapts the step size by dual averaging, and the metric in windows. The density is that of
the problem's Stan program, compiled and sampled by the package ``stanli``; its cost is counted as
Stan reports it, every leapfrog step a gradient, those of the warm-up included (a few steps that
look for a first step size are not reported).

Source: M. D. Hoffman, A. Gelman, The No-U-Turn sampler, 2014, arXiv:1111.4246; M. Betancourt, A
conceptual introduction to Hamiltonian Monte Carlo, 2017, arXiv:1701.02434; B. Carpenter et al.,
Stan: a probabilistic programming language, 2017, doi:10.18637/jss.v076.i01.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from methods.base import Budget, Draws, Method, NotApplicableError, Target
from methods.parts.diagnostics import ChainDiagnostics
from methods.parts.finite import point
from methods.parts.validate import require
from problems.base import StanProgram

FIRST = 10  # draws per chain of the first approximation
LOOKS = 10  # further approximations, evenly spaced, where no budget of gradients decides
WITHOUT = (
    "stan-nuts runs Stan programs, and this problem has none: give the problem a `stan_program`,"
    " name a program by its file (`-p model.stan:data=data.json`), or use pyro-nuts."
)
# of each draw, in Stan's order
FIGURES = (
    "lp__",
    "accept_stat__",
    "stepsize__",
    "treedepth__",
    "n_leapfrog__",
    "divergent__",
    "energy__",
)
OFF = 1e-6  # by which the density at a draw may miss what Stan says of it, relative


@dataclass(frozen=True)
class StanNUTS(Method):
    """The No-U-Turn sampler with step size and mass matrix adapted, by Stan itself.

    Args:
        chains: side by side on as many threads as torch may use.
        warmup: draws per chain that adapt the sampler and are then dropped.
        draws: per chain, after the warm-up.
        target_accept: acceptance statistic that the step size is adapted to; more is slower and
            safer.
        dense_mass: adapt a full mass matrix instead of a diagonal one.
        radius: starting points are uniform on (-radius, radius) in each coordinate.
        max_tree_depth: a trajectory has at most 2^max_tree_depth - 1 steps.

    Raises:
        ValueError: if a field lies outside its range; from ``run``, if Stan finds no point to start
            from.
        NotApplicableError: from ``run``, if the problem has no Stan program, or stanli is not
            installed.
    """

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    target_accept: float = 0.8
    dense_mass: bool = False
    radius: float = 2.0
    max_tree_depth: int = 10
    name: ClassVar[str] = "stan-nuts"
    libraries: ClassVar[tuple[str, ...]] = ("stanli",)  # whose version counts in a cell's key
    source: ClassVar[str] = "Hoffman and Gelman, 2014, arXiv:1111.4246"

    def __post_init__(self) -> None:
        for field in ("chains", "warmup", "draws", "max_tree_depth"):
            require(self, field, getattr(self, field) >= 1, "be at least 1")
        require(self, "target_accept", 0 < self.target_accept < 1, "lie in (0, 1)")
        require(self, "radius", 0 < self.radius < math.inf, "be positive and finite")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Draws | None]:
        """Yield once the warm-up is over, and then after every few draws.

        Where the budget is one of gradients, the last draws are those that it allows for; where it
        does not allow for the warm-up, which Stan runs as a whole, there are none.
        """
        sampler = _Sampler(self, _program(target), generator)
        yield None
        target.charge(sampler.begin(min(FIRST, self.draws)))  # type: ignore[attr-defined]
        if budget.gradients is not None and sampler.spent > budget.gradients:
            return
        yield sampler.approximation()
        block = math.ceil(max(self.draws - FIRST, 1) / LOOKS)
        while (left := self.draws - sampler.count) > 0:
            count = min(left, block)
            if budget.gradients is not None:
                allowed = sampler.within(budget.gradients)
                if allowed < 1:
                    return
                count = min(count, max(1, allowed // 2))  # the rest is planned by longer experience
            target.charge(sampler.go_on(count))  # type: ignore[attr-defined]
            yield sampler.approximation()


def _program(target: Target) -> StanProgram:
    try:
        program: StanProgram | None = getattr(target, "stan_program", None)
    except ModuleNotFoundError as error:  # which says what to install
        raise NotApplicableError(str(error)) from None
    if program is None:
        raise NotApplicableError(WITHOUT)
    return program


class _Sampler:
    """The chains of one run, which go on from their last draw with what they have adapted.

    Args:
        method: its settings.
        program: what is sampled.
        generator: what the seeds of Stan's own random numbers are drawn from.
    """

    def __init__(self, method: StanNUTS, program: StanProgram, generator: Generator) -> None:
        self._method, self._program, self._generator = method, program, generator
        self._model = program.model()
        self._draws: list[Tensor] = []  # [C, n, D] of each block
        self._figures: list[Tensor] = []  # [C, n, 7] of each block, as Stan has them
        self._steps = torch.ones(method.chains, dtype=torch.float64)
        self._metric: Any = None
        self.spent = 0

    @property
    def count(self) -> int:
        """Draws per chain so far, those of the warm-up not counted."""
        return sum(draws.shape[1] for draws in self._draws)

    def within(self, gradients: int) -> int:
        """Draws per chain that a budget of gradients allows for, if no trajectory is longer than
        the longest so far.
        """
        longest = max(int(self._of(block, "n_leapfrog__").max()) for block in self._figures)
        return (gradients - self.spent) // (self._method.chains * max(longest, 1))

    def begin(self, draws: int) -> int:
        """Warm up, and take the first draws; the gradients that took."""
        method = self._method
        fit = self._sample(draws, warmup=method.warmup, save_warmup=True, init_radius=method.radius)
        self._steps = torch.as_tensor(fit.step_size, dtype=torch.float64)
        # A step of size s under the inverse metric M is one of size 1 under s^2 M, to the last
        # momentum: so chains with steps of their own go on in one call.
        self._metric = [
            metric * step**2 for metric, step in zip(fit.inv_metric, fit.step_size, strict=True)
        ]
        return self._keep(fit, draws)

    def go_on(self, draws: int) -> int:
        """Take more draws; the gradients that took."""
        fit = self._sample(
            draws,
            warmup=0,
            adapt_engaged=False,
            inits=self._draws[-1][:, -1].numpy(),
            inv_metric=self._metric,
            step_size=1.0,
        )
        return self._keep(fit, draws)

    def approximation(self) -> Draws:
        """What the chains have drawn so far, as an approximation."""
        chains, figures = torch.cat(self._draws, 1), torch.cat(self._figures, 1)
        leaps, depth = self._of(figures, "n_leapfrog__"), self._of(figures, "treedepth__")
        said = {
            "divergences": float(self._of(figures, "divergent__").sum()),
            "accept_rate": float(self._of(figures, "accept_stat__").mean()),
            "step_size": float(self._steps.mean()),
            "steps_per_draw": float(leaps.mean()),
            "cut_short": float((depth >= self._method.max_tree_depth).sum()),
        }
        return Draws(chains, ChainDiagnostics(chains, self._of(figures, "energy__"), said))

    def _sample(self, draws: int, **more: Any) -> Any:
        method = self._method
        seed = int(torch.randint(1, 2**31, (), generator=self._generator))
        try:
            return self._model.sample(
                chains=method.chains,
                seed=seed,
                samples=draws,
                delta=method.target_accept,
                max_depth=method.max_tree_depth,
                metric="dense_e" if method.dense_mass else "diag_e",
                parallel_chains=min(method.chains, torch.get_num_threads()),
                refresh=0,
                **more,
            )
        except RuntimeError as error:
            raise ValueError(
                f"StanNUTS(radius={method.radius!r}): Stan could not sample: {error}; change"
                " radius if the density is finite elsewhere."
            ) from None

    def _keep(self, fit: Any, draws: int) -> int:
        """Take the last draws of a fit into account; the gradients that all of it took."""
        figures = torch.from_numpy(fit.sampler_stats)
        places = [fit.names.index(column) for column in self._program.columns]
        values = torch.from_numpy(fit.draws()[:, -draws:, places]).flatten(0, 1)
        free = self._program.free(values).reshape(len(figures), draws, -1)
        self._figures.append(figures[:, -draws:])
        self._draws.append(free)
        self._hold(free[:, -1], self._of(figures, "lp__")[:, -1])
        spent = int(self._of(figures, "n_leapfrog__").sum())
        self.spent += spent
        return spent

    def _hold(self, z: Tensor, said: Tensor) -> None:
        """Hold draws [C, D] against the density that Stan says they have, [C]."""
        seen = self._program.log_density(z)
        off = (seen - said).abs() > OFF * (1 + said.abs())
        if self._program.open:  # of coordinates that Stan's draws do not tell, others are here
            off = torch.zeros_like(off)
        if bool(off.any()) or not bool(z.isfinite().all()):
            i = int(off.double().argmax())
            raise FloatingPointError(
                f"Stan gives the draw z = {point(z[i])} the log density {float(said[i]):.6g}, and"
                f" the program says {float(seen[i]):.6g}: a value on the edge of its support has no"
                " coordinates, and random numbers in transformed data make another posterior of"
                " each seed; keep both out of the program."
            )

    def _of(self, figures: Tensor, name: str) -> Tensor:
        """One of Stan's own figures: [C, n, 7] -> [C, n]."""
        return figures[..., FIGURES.index(name)]
