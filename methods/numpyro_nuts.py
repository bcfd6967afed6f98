"""NumPyro's No-U-Turn sampler on our density: compiled loops, and one call of the target for all
chains.

The sampler is compiled by JAX; the density stays in torch and is called from there
(``parts/bridge.py`` says what that costs), so figures compare the sampler, not the speed of a model
written in JAX. The chains run side by side: while one goes on, all are evaluated and charged.

Source: M. D. Hoffman, A. Gelman, The No-U-Turn sampler, 2014, arXiv:1111.4246; D. Phan, N. Pradhan,
M. Jankowiak, Composable effects for flexible and accelerated probabilistic programming in NumPyro,
2019, arXiv:1912.11554.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator

from methods.base import Budget, Draws, Target
from methods.parts.bridge import Bridge, BridgedNUTS, double_precision, seed, tensor
from methods.parts.diagnostics import ChainDiagnostics
from methods.parts.optional import library
from methods.parts.sampling.hmc import scattered
from methods.parts.validate import require


@dataclass(frozen=True)
class NumpyroNUTS(BridgedNUTS):
    """NUTS of NumPyro, step size and mass matrix adapted as in Stan.

    Args:
        chains: run side by side in one compiled step.
        warmup: draws per chain that adapt the sampler and are then dropped.
        draws: per chain, after the warm-up.
        target_accept: acceptance statistic that the step size is adapted to.
        radius: starting points are uniform on (-radius, radius) in each coordinate.
        dense_mass: adapt a full mass matrix instead of a diagonal one.
        max_tree_depth: a trajectory has at most 2^max_tree_depth - 1 steps.

    Raises:
        ValueError: if a field lies outside its range; from ``run``, if the density is finite at too
            few starting points.
        NotApplicableError: from ``run``, if NumPyro is not installed.
    """

    dense_mass: bool = False
    max_tree_depth: int = 10
    name: ClassVar[str] = "numpyro-nuts"
    source: ClassVar[str] = "Hoffman, Gelman, 2014, arXiv:1111.4246"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "max_tree_depth", self.max_tree_depth >= 1, "be at least 1")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Draws | None]:
        """Yield None when all is compiled, and then after every draw: the later half of each chain
        while that reaches into the warm-up, then all draws after it.
        """
        start = scattered(target, self.chains, self.radius, generator).z
        number = seed(generator)
        with double_precision():
            bridge, begin, advance = _compiled(self, target.dim)
        yield None
        with double_precision(), bridge.serving(target):
            state = begin(number, start.numpy())
            tensor(state.z)  # waits until it is there
        total = self.warmup + self.draws
        history = torch.empty(self.chains, total, target.dim, dtype=torch.float64)
        energies, steps = torch.empty(2, self.chains, total, dtype=torch.float64)
        lost = 0
        for end in range(1, total + 1):
            with double_precision(), bridge.serving(target):
                state = advance(state)
                history[:, end - 1] = tensor(state.z)
            energies[:, end - 1], steps[:, end - 1] = tensor(state.energy), tensor(state.num_steps)
            lost += int(np.sum(state.diverging)) if end > self.warmup else 0
            kept = slice(self.warmup if end == total else min(end // 2, self.warmup), end)
            figures = {
                "divergences": float(lost),
                "accept_rate": float(np.mean(state.mean_accept_prob)),
                "step_size": float(np.mean(state.adapt_state.step_size)),
                "steps_per_draw": float(steps[:, kept].mean()),
            }
            # views, not copies: what they show is not written again
            yield Draws(
                history[:, kept], ChainDiagnostics(history[:, kept], energies[:, kept], figures)
            )


@functools.lru_cache(maxsize=8)
def _compiled(method: NumpyroNUTS, dim: int) -> tuple[Bridge, Any, Any]:
    """The bridge that all goes over, the compiled first state, and the compiled step from state to
    state.
    """
    jax, infer = library("jax", "jax"), library("numpyro.infer", "jax")
    bridge = Bridge()
    density = bridge.log_density()
    kernel = infer.NUTS(
        potential_fn=lambda z: -density(z),
        target_accept_prob=method.target_accept,
        dense_mass=method.dense_mass,
        max_tree_depth=method.max_tree_depth,
    )

    def begin(number: Any, z: Any) -> Any:
        keys = jax.random.split(jax.random.PRNGKey(number), method.chains)
        return kernel.init(keys, method.warmup, z, (), {})

    begun = jax.jit(begin).lower(0, np.zeros((method.chains, dim))).compile()
    state = jax.eval_shape(begin, 0, np.zeros((method.chains, dim)))
    return bridge, begun, jax.jit(lambda state: kernel.sample(state, (), {})).lower(state).compile()
