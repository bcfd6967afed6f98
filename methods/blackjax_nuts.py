"""BlackJAX's No-U-Turn sampler on our density, with Stan's windows of adaptation.

The sampler is compiled by JAX; the density stays in torch and is called from there
(``parts/bridge.py`` says what that costs), so figures compare the sampler, not the speed of a model
written in JAX. The warm-up is one compiled call, after which the chains go on draw by draw, side by
side: while one goes on, all are evaluated and charged.

Source: M. D. Hoffman, A. Gelman, The No-U-Turn sampler, 2014, arXiv:1111.4246; A. Cabezas, A.
Corenflos, J. Lao, R. Louf, BlackJAX: composable Bayesian inference in JAX, 2024, arXiv:2402.10797.
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


@dataclass(frozen=True)
class BlackjaxNUTS(BridgedNUTS):
    """NUTS of BlackJAX, step size and mass matrix adapted in windows.

    Args:
        chains: run side by side in one compiled step.
        warmup: draws per chain that adapt the sampler; nothing is yielded before they are made.
        draws: per chain, after the warm-up.
        target_accept: acceptance statistic that the step size is adapted to.
        radius: starting points are uniform on (-radius, radius) in each coordinate.
        dense_mass: adapt a full mass matrix instead of a diagonal one.

    Raises:
        ValueError: if a field lies outside its range; from ``run``, if the density is finite at too
            few starting points.
        NotApplicableError: from ``run``, if BlackJAX is not installed.
    """

    dense_mass: bool = False
    name: ClassVar[str] = "blackjax-nuts"
    source: ClassVar[str] = "Hoffman, Gelman, 2014, arXiv:1111.4246"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Draws | None]:
        """Yield None when the warm-up is compiled, and then after every draw past it."""
        start = scattered(target, self.chains, self.radius, generator).z
        number = seed(generator)
        with double_precision():
            bridge, warm_up, advance = _compiled(self, target.dim)
        yield None
        with double_precision(), bridge.serving(target):
            state, parameters = warm_up(number, start.numpy())
            tensor(state.position)  # waits until it is there
        history = torch.empty(self.chains, self.draws, target.dim, dtype=torch.float64)
        energies, steps = torch.empty(2, self.chains, self.draws, dtype=torch.float64)
        lost, accepted = 0, 0.0
        for i in range(self.draws):
            with double_precision(), bridge.serving(target):
                state, info = advance(number, i, state, parameters)
                history[:, i] = tensor(state.position)
            energies[:, i] = tensor(info.energy)
            steps[:, i] = tensor(info.num_integration_steps)
            lost, accepted = (
                lost + int(np.sum(info.is_divergent)),
                accepted + float(np.mean(info.acceptance_rate)),
            )
            kept = slice(0, i + 1)
            figures = {
                "divergences": float(lost),
                "accept_rate": accepted / (i + 1),
                "step_size": float(np.mean(parameters["step_size"])),
                "steps_per_draw": float(steps[:, kept].mean()),
            }
            # views, not copies: what they show is not written again
            yield Draws(
                history[:, kept], ChainDiagnostics(history[:, kept], energies[:, kept], figures)
            )


@functools.lru_cache(maxsize=8)
def _compiled(method: BlackjaxNUTS, dim: int) -> tuple[Bridge, Any, Any]:
    """The bridge that all goes over, the compiled warm-up, and the compiled step."""
    jax, blackjax = library("jax", "jax"), library("blackjax", "jax")
    bridge = Bridge()
    density = bridge.log_density()
    adaptation = blackjax.window_adaptation(
        blackjax.nuts,
        density,
        is_mass_matrix_diagonal=not method.dense_mass,
        target_acceptance_rate=method.target_accept,
        adaptation_info_fn=lambda *_: None,
    )
    kernel = blackjax.nuts.build_kernel()

    def warm_up(key: Any, z: Any) -> Any:
        result = adaptation.run(key, z, num_steps=method.warmup)[0]
        return result.state, result.parameters

    def warmed(number: Any, z: Any) -> Any:
        keys = jax.random.split(jax.random.PRNGKey(number), method.chains)
        return jax.vmap(warm_up)(keys, z)

    def advanced(number: Any, i: Any, state: Any, parameters: Any) -> Any:
        key = jax.random.fold_in(jax.random.PRNGKey(number), i + 1)
        keys = jax.random.split(key, method.chains)
        return jax.vmap(lambda *args: kernel(*args[:2], density, **args[2]))(
            keys, state, parameters
        )

    start = 0, np.zeros((method.chains, dim))
    begun = jax.jit(warmed).lower(*start).compile()
    state, parameters = jax.eval_shape(warmed, *start)
    return bridge, begun, jax.jit(advanced).lower(0, 0, state, parameters).compile()
