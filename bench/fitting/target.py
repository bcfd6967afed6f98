"""The density as a method sees it: counted, and compiled where that is safe."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from problems.base import Problem

Gradient = Callable[[Tensor], tuple[Tensor, Tensor]]
WARM_UP = 10  # calls of one shape before it is worth compiling
SHAPES = 8  # shapes compiled at most: a method that never repeats a shape stays eager


class CountedTarget:
    """A problem's density, charged by the row.

    Gradients of a shape that recurs are recorded once and replayed without Python, two to three
    times faster. The record is made with tensors that have no values, so a density that branches on
    values raises there and stays as it is.

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
        self._calls: dict[torch.Size, int] = {}
        self._records: dict[torch.Size, Gradient] = {}

    @property
    def recorded(self) -> int:
        """How many shapes are replayed from a record; others run as written."""
        return sum(gradient != self._eager for gradient in self._records.values())

    def log_density(self, z: Tensor) -> Tensor:
        """The density, differentiable: [..., D] -> [...]. Each row counts when evaluated, and again
        when differentiated.
        """
        self.before()
        value = self._density(z)
        rows = value.numel()
        self.evaluations += rows
        if value.requires_grad:
            value.register_hook(lambda _: self._charge(rows))  # type: ignore[no-untyped-call]
        return value

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log density and gradient, detached: [..., D] -> ([...], [..., D])."""
        self.before()
        z = z.detach()
        value, gradient = self._gradient(z)(z)
        self.evaluations += value.numel()
        self._charge(value.numel())
        return value, gradient

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
            (gradient,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), gradient.detach()

    def _gradient(self, z: Tensor) -> Gradient:
        if z.shape in self._records:
            return self._records[z.shape]
        self._calls[z.shape] = calls = self._calls.get(z.shape, 0) + 1
        if self._compiled and calls >= WARM_UP and len(self._records) < SHAPES:
            self._records[z.shape] = self._record(z)
            return self._records[z.shape]
        return self._eager

    def _record(self, z: Tensor) -> Gradient:
        try:
            graph = make_fx(
                lambda z: self._eager(z), tracing_mode="fake", _allow_non_fake_inputs=True
            )(z)
            with warnings.catch_warnings():
                # jit.trace is deprecated, its successors need a compiler
                warnings.simplefilter("ignore")
                replay: Gradient = torch.jit.trace(graph, (z,), check_trace=False)  # type: ignore[no-untyped-call]
            same = all(torch.equal(a, b) for a, b in zip(replay(z), self._eager(z), strict=True))
        except (
            Exception
        ):  # whatever a stranger's density does that cannot be recorded, it can still be run
            return self._eager
        return replay if same else self._eager
