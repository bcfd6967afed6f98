"""nutpie's No-U-Turn sampler on our density: a mass matrix learned from gradients, in half of
Stan's warm-up.

The sampler is compiled Rust and calls the target one row at a time, from a thread of its own, chain
after chain (``parts/bridge.py``). It hands over its draws when all are made, so a budget that ends
before leaves no approximation.

Source: M. D. Hoffman, A. Gelman, The No-U-Turn sampler, 2014, arXiv:1111.4246; the PyMC
developers, nutpie, https://github.com/pymc-devs/nutpie.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow  # type: ignore[import-untyped]
import torch
from torch import Generator, Tensor

from methods.base import Budget, Draws, Target
from methods.parts.bridge import Array, Bridge, BridgedNUTS, seed, tensor
from methods.parts.diagnostics import ChainDiagnostics
from methods.parts.optional import library
from methods.parts.sampling.hmc import scattered

MOMENT = 0.2  # seconds between two looks at whether it is done, or to be stopped


class NoDensityError(ValueError):
    """What nutpie is told where there is no density; it takes the trajectory for divergent."""

    is_recoverable = True


@dataclass(frozen=True)
class NutpieNUTS(BridgedNUTS):
    """NUTS of nutpie, step size and diagonal mass matrix adapted in its own way.

    Args:
        chains: run one after the other.
        warmup: draws per chain that adapt the sampler and are then dropped; nutpie's default is
            400.
        draws: per chain, after the warm-up.
        target_accept: acceptance statistic that the step size is adapted to.
        radius: starting points are uniform on (-radius, radius) in each coordinate.
        low_rank: adapt a mass matrix with correlations of low rank.

    Raises:
        ValueError: if a field lies outside its range; from ``run``, if the density is finite at too
            few starting points.
        NotApplicableError: from ``run``, if nutpie is not installed.
    """

    warmup: int = 400
    low_rank: bool = False
    name: ClassVar[str] = "nutpie-nuts"
    source: ClassVar[str] = "Hoffman, Gelman, 2014, arXiv:1111.4246"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Draws | None]:
        """Yield None when the sampler is ready, and all draws at the end."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arviz, which nutpie imports
            nutpie, _ = library("nutpie", "nutpie"), library("nutpie.compiled_pyfunc", "nutpie")
        bridge = Bridge()
        start = scattered(target, self.chains, self.radius, generator).z
        model = _model(nutpie, bridge, start)
        number = seed(generator)
        yield None
        with bridge.serving(target):
            draws, stats = self._sampled(nutpie, model, number)
        history = torch.stack([_column(batch, "z")[self.warmup :] for batch in draws])
        figures = {
            name: torch.stack([_column(batch, name)[self.warmup :] for batch in stats])
            for name in ("energy", "diverging", "mean_tree_accept", "step_size_bar", "n_steps")
        }
        own = {
            "divergences": float(figures["diverging"].sum()),
            "accept_rate": float(figures["mean_tree_accept"].mean()),
            "step_size": float(figures["step_size_bar"].mean()),
            "steps_per_draw": float(figures["n_steps"].mean()),
        }
        yield Draws(history, ChainDiagnostics(history, figures["energy"], own))

    def _sampled(self, nutpie: Any, model: Any, number: int) -> tuple[list[Any], list[Any]]:
        """Draws and figures of each chain, warm-up included, when all are made."""
        sampler = nutpie.sample(
            model,
            draws=self.draws,
            tune=self.warmup,
            chains=self.chains,
            cores=1,
            seed=number,
            progress_bar=False,
            return_raw_trace=True,
            blocking=False,
            low_rank_modified_mass_matrix=self.low_rank,
            target_accept=self.target_accept,
        )
        try:
            trace = None
            while trace is None:
                with contextlib.suppress(TimeoutError):  # a moment in Python, for signals
                    trace = sampler.wait(timeout=MOMENT)
        except BaseException:
            sampler.cancel()
            raise
        found: tuple[list[Any], list[Any]] = trace.get_arrow_trace()
        return found


def _model(nutpie: Any, bridge: Bridge, start: Tensor) -> Any:
    """What nutpie samples: the density row by row, the starts in turn, draws as they are."""
    points = itertools.cycle(start.numpy())

    def density(z: Array) -> tuple[float, Array]:
        value, gradient = bridge.value_and_grad(z)
        bridge.raise_pending()  # which ends the sampler; it is raised again where we wait
        if not np.isfinite(value):
            raise NoDensityError
        return float(value), gradient

    return nutpie.compiled_pyfunc.from_pyfunc(
        start.shape[1],
        lambda: density,
        lambda *_: lambda z: {"z": np.array(z)},
        [np.dtype(np.float64)],
        [(start.shape[1],)],
        ["z"],
        make_initial_point_fn=lambda _: next(points).copy(),
    )


def _column(batch: Any, name: str) -> Tensor:
    return tensor(pyarrow.record_batch(batch).column(name).to_pylist())
