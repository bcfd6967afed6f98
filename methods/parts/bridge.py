"""The target for samplers of other libraries, called from NumPy or from compiled JAX code, its
errors brought back.

JAX calls it from inside compiled code, all chains in one call. An exception cannot pass through
there, the harness's word that the budget is spent neither: it is kept, the sampler is shown a
density of zero, with which it soon comes back, and ``raise_pending`` raises it then.

The cost, in microseconds of one core, with the recorded gradient of eight schools: a direct call
takes 57 for four rows and 53 for one; from a compiled loop of JAX 0.10, four rows take 215; from
NumPy, one row takes 77, and nutpie spends 118 a gradient with all that it does itself.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from methods.base import Method, Target
from methods.parts.finite import sound
from methods.parts.optional import library
from methods.parts.validate import require

Array = NDArray[np.float64]


class Bridge:
    """A target as a function of NumPy arrays; whose, is said by ``serving`` for each call, so that
    what is compiled around it can be used again.
    """

    def __init__(self) -> None:
        self._target: Target | None = None
        self._pending: BaseException | None = None

    @contextlib.contextmanager
    def serving(self, target: Target) -> Iterator[None]:
        """Stand for a target for as long as it lasts; what that has raised meanwhile is raised at
        the end, in place of anything else.
        """
        self._target, self._pending = target, None
        try:
            yield
        finally:
            self._target = None
            self.raise_pending()

    def value_and_grad(self, z: Any) -> tuple[Array, Array]:
        """Log density and gradient: [..., D] -> ([...], [..., D]); -inf and 0 where either is not
        finite, or anything was raised.
        """
        points = np.array(z, dtype=np.float64)
        lost = np.full(points.shape[:-1], -math.inf), np.zeros_like(points)
        if self._pending is not None or self._target is None:
            return lost
        try:
            value, gradient = self._target.value_and_grad(torch.from_numpy(points))
        except BaseException as error:  # of any kind: it goes on where Python has the word again
            self._pending = error
            return lost
        bad = ~sound(value, gradient)
        value, gradient = (
            value.masked_fill(bad, -math.inf),
            gradient.masked_fill(bad.unsqueeze(-1), 0.0),
        )
        return value.numpy(), gradient.numpy()

    def raise_pending(self) -> None:
        """Raise what the target has raised."""
        if self._pending is not None:
            raise self._pending from None

    def log_density(self) -> Callable[[Any], Any]:
        """The log density as a function that JAX can compile, differentiate and map over rows:
        [D] -> [].
        """
        jax = library("jax", "jax")

        def called(z: Any) -> Any:
            shapes = (
                jax.ShapeDtypeStruct(z.shape[:-1], np.float64),
                jax.ShapeDtypeStruct(z.shape, np.float64),
            )
            return jax.pure_callback(self.value_and_grad, shapes, z, vmap_method="expand_dims")

        @jax.custom_vjp  # type: ignore[untyped-decorator]
        def density(z: Any) -> Any:
            return called(z)[0]

        density.defvjp(called, lambda gradient, slope: (slope * gradient,))
        return density  # type: ignore[no-any-return]


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Float64 in JAX, for as long as it lasts; process-wide, since the callbacks of compiled code
    run in threads of JAX's own. NumPy's random state, which JAX draws from, is put back.
    """
    state = np.random.get_state()
    config = library("jax", "jax").config
    before = config.jax_enable_x64
    config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        config.update("jax_enable_x64", before)
        np.random.set_state(state)


@dataclass(frozen=True)
class BridgedNUTS(Method):
    """The fields that NUTS of every library has."""

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    target_accept: float = 0.8
    radius: float = 2.0

    def __post_init__(self) -> None:
        require(self, "chains", self.chains >= 1, "be at least 1")
        require(self, "warmup", self.warmup >= 1, "be at least 1")
        require(self, "draws", self.draws >= 1, "be at least 1")
        require(self, "target_accept", 0 < self.target_accept < 1, "lie in (0, 1)")
        require(self, "radius", 0 < self.radius < math.inf, "be positive and finite")


def seed(generator: Generator) -> int:
    """For a library with random numbers of its own."""
    return int(torch.randint(2**31, (), generator=generator))


def tensor(array: Any) -> Tensor:
    """A copy of an array of another library, float64."""
    return torch.from_numpy(np.array(array, dtype=np.float64))
