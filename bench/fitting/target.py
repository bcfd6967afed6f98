"""The density as a method sees it: counted, and compiled where that is safe."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from problems.base import GaussianPrior, Problem, StanProgram

Outcome = Tensor | tuple[Tensor, Tensor]  # a value, or a value and its gradient
Evaluation = Callable[[Tensor], Any]  # of points to an outcome
# calls of one shape before it is recorded: to record takes some 40 ms and saves 0.1 a call, and who
# has called so often will mostly call as often again
WARM_UP = 300
SHAPES = 8  # shapes compiled at most: a method that never repeats a shape stays eager


class CountedTarget:
    """A problem's density, charged by the row.

    Densities and gradients of a shape that recurs are recorded once and replayed without Python,
    two to three times faster. The record is made with tensors that have no values, so a density
    that branches on values raises there and stays as it is.

    Args:
        problem: whose density it is; the truth stays out of reach of the method.
        compiled: False to run the density as written, every time.

    ``before`` is called ahead of every evaluation: the harness stops there a method whose budget is
    spent.
    """

    def __init__(self, problem: Problem, *, compiled: bool = True) -> None:
        self.dim = problem.dim
        self.evaluations = 0
        self.gradients = 0
        self.before: Callable[[], None] = lambda: None
        self._problem = problem
        self._compiled = compiled and problem.batched  # a loop over rows is not worth unrolling
        self._calls: dict[tuple[bool, torch.Size], int] = {}
        self._records: dict[tuple[Evaluation, torch.Size], Evaluation] = {}

    @property
    def recorded(self) -> int:
        """How many gradients are replayed from a record, by shape; others run as written."""
        return sum(
            written != self._density and record != written
            for (written, _), record in self._records.items()
        )

    def log_density(self, z: Tensor) -> Tensor:
        """The density, differentiable: [..., D] -> [...]. Each row counts when evaluated, and again
        when differentiated.
        """
        self.before()
        watched = torch.is_grad_enabled() or z.requires_grad
        value: Tensor = self._density(z) if watched else self._replayed(z, self._density)
        rows = value.numel()
        self.evaluations += rows
        if value.requires_grad:
            value.register_hook(lambda _: self._charge(rows))  # type: ignore[no-untyped-call]
        return value

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log density and gradient, detached: [..., D] -> ([...], [..., D])."""
        self.before()
        z = z.detach()
        value, gradient = self._replayed(z, self._eager)
        self.evaluations += value.numel()
        self._charge(value.numel())
        return value, gradient

    def gradient(self, z: Tensor) -> Tensor:
        """The gradient alone, detached: [..., D] -> [..., D]. A record leaves out whatever only the
        value needs. It is charged like ``value_and_grad``.
        """
        self.before()
        z = z.detach()
        gradient: Tensor = self._replayed(z, self._slope)
        rows = z.numel() // self.dim
        self.evaluations += rows
        self._charge(rows)
        return gradient

    @property
    def stan_program(self) -> StanProgram | None:
        """A Stan program of the density, for what runs Stan itself; see ``charge``."""
        return self._problem.stan_program

    def charge(self, rows: int) -> None:
        """Count gradients that were evaluated elsewhere, as by Stan's own sampler: like a call of
        the density it is refused where the budget was spent before.
        """
        self.before()
        self.evaluations += rows
        self._charge(rows)

    @property
    def prior(self) -> GaussianPrior | None:
        """The prior, where the problem says that it is Gaussian in its coordinates."""
        return self._problem.gaussian_prior

    def explain(self, z: Tensor) -> str:
        """What keeps the log density at z, [D], from being finite, for a method's errors."""
        return self._problem.explain(z)

    def _density(self, z: Tensor) -> Tensor:
        value = self._problem.log_density(z)
        if value.shape != z.shape[:-1]:  # [n, 1] would be spread out to [n, n] by what follows
            raise ValueError(
                f"log_density returned shape {list(value.shape)} for points {list(z.shape)};"
                f" expected {list(z.shape[:-1])}, one value a row."
            )
        return value

    def _charge(self, rows: int) -> None:
        self.gradients += rows

    def _eager(self, z: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            value = self._density(z)
            # not of the sum, on whose value the ones would depend
            ones = torch.ones(value.shape, dtype=value.dtype, device=value.device)
            (gradient,) = torch.autograd.grad(value, z, ones)
        return value.detach(), gradient.detach()

    def _slope(self, z: Tensor) -> Tensor:
        return self._eager(z)[1]

    def _replayed(self, z: Tensor, written: Evaluation) -> Any:
        """The outcome of ``_eager``, ``_slope`` or ``_density``, from a record once the shape has
        recurred.
        """
        key = (written, z.shape)
        record = self._records.get(key)
        if record is not None:
            return record(z)
        kind = (written == self._density, z.shape)  # gradients with the value and without are one
        self._calls[kind] = calls = self._calls.get(kind, 0) + 1
        if self._compiled and calls >= WARM_UP and len(self._records) < SHAPES:
            self._records[key] = self._record(z, written)
        return written(z)

    def _record(self, z: Tensor, written: Evaluation) -> Evaluation:
        try:
            graph = make_fx(lambda z: written(z), tracing_mode="fake", _allow_non_fake_inputs=True)(
                z
            )
            graph.graph.eliminate_dead_code()
            graph.recompile()
            with warnings.catch_warnings():
                # jit.trace is deprecated, its successors need a compiler
                warnings.simplefilter("ignore")
                replay: Evaluation = torch.jit.trace(graph, (z,), check_trace=False)  # type: ignore[no-untyped-call]
            same = all(
                torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True)
                for a, b in zip(_tuple(replay(z)), _tuple(written(z)), strict=True)
            )
        except (
            Exception
        ):  # whatever a stranger's density does that cannot be recorded, it can still be run
            return written
        return replay if same else written


def _tuple(outcome: Outcome) -> tuple[Tensor, ...]:
    return outcome if isinstance(outcome, tuple) else (outcome,)
