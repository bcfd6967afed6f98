"""Effective draws per processor second of batched HMC and its peers, side by side: the bulk ESS of
the worst coordinate, warm-up counted, compile time in and out.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.samplers eight-schools --rounds 5
    OMP_NUM_THREADS=1 python -m tests.benchmarks.samplers eight-schools --nuts    # pyro-nuts too

Draws are as many for batched HMC at its defaults (256 chains of 500) and for BlackJAX's ChEES, in
as many chains or in half as many, twice as long. The ESS of many short chains is optimistic. How
optimistic is told by repetition: the mean squared error of a run's means over all coordinates,
against the truth, times the ESS that the run states for them, in variances of the truth; 1 where
the ESS is honest. On the signed schools it is also said how far the share of draws with tau > 0 is
from a half. Pyro's NUTS has one chain and half of its usual warm-up and draws, for its pace is the
same; on the signed schools such a chain sees one of the two modes, so that its ESS there is
flattering.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from bench.metrics.draws.chains import ess_mean
from bench.plugins import registry
from methods.base import Budget, Draws
from methods.parts.diagnostics import ChainDiagnostics
from methods.parts.sampling.adapt import Adapted, adapt
from problems.base import Exact, Problem
from tests.benchmarks.alternate import Contender, alternate, table

CHAINS, DRAWS = 256, 500  # batched HMC's defaults
LONGER = (128, 1_000)  # as many draws of ChEES
WARMUP = 500  # trajectories of ChEES; it has no end of its own
PROBLEMS = ("eight-schools", "eight-schools-signed", "logistic-regression")
NUTS = {"chains": 1, "warmup": 250, "draws": 500}
TRUTH = 200_000  # exact draws that means are held against


def problem_of(name: str) -> Problem:
    problem: Problem = registry.load(registry.find("problems", name))()
    return problem


def bulk(chains: Tensor) -> float:
    """Of the worst coordinate, [chains, draws, D]."""
    energies = torch.zeros(chains.shape[:2])
    return ChainDiagnostics(chains, energies, {})["ess_bulk"]


class Judge:
    """Keeps, of every run, the ESS, the split R-hat and the squared errors in units of what the ESS
    promises.

    Args:
        problem: with a truth.
    """

    def __init__(self, problem: Problem) -> None:
        truth = problem.truth
        if isinstance(truth, Exact):
            draws = truth.sample(TRUTH, Generator().manual_seed(1))
        else:
            draws = truth.draws
        self.mean, self.var, self.count = draws.mean(0), draws.var(0), len(draws)
        self.kept: dict[str, list[tuple[float, float, float]]] = {}
        self.signed = problem.name == "eight-schools-signed"
        self.uneven: dict[str, float] = {}

    def __call__(self, name: str, chains: Tensor) -> Callable[[], float]:
        """Judges chains [chains, draws, D] when the clock has stopped; gives their bulk ESS."""
        return functools.partial(self._judged, name, chains)

    def _judged(self, name: str, chains: Tensor) -> float:
        figures = ChainDiagnostics(chains, torch.zeros(chains.shape[:2]), {})
        error = (chains.mean((0, 1)) - self.mean).square() / self.var
        worth = 1 / (1 / ess_mean(chains) + 1 / self.count)
        row = (figures["ess_bulk"], figures["r_hat"], float((error * worth).mean()))
        self.kept.setdefault(name, []).append(row)
        if self.signed:
            share = abs(float((chains[..., 1] > 0).double().mean()) - 0.5)
            self.uneven[name] = max(share, self.uneven.get(name, 0.0))
        return row[0]

    def lines(self) -> str:
        """What was kept, medians."""
        said = []
        for name, rows in self.kept.items():
            ess, r_hat, honest = (statistics.median(column) for column in zip(*rows, strict=True))
            worst = max(row[1] for row in rows)
            said.append(
                f"{name}: bulk ESS {ess:,.0f}, split R-hat {r_hat:.4f} (at worst {worst:.4f}),"
                f" squared errors over what the ESS promises {honest:.2f}"
            )
            if self.signed:
                said[-1] += f", share of tau > 0 at most {self.uneven[name]:.4f} from a half"
        return "\n".join(said)


def ours(problem: Problem, judge: Judge) -> list[Contender]:
    """Batched HMC as it is called, and its sampling alone. All are judged when the clock has
    stopped.
    """

    def whole(seed: int) -> Callable[[], float]:
        return judge("batched-hmc", _last("batched-hmc", {}, problem, seed).chains)

    def warm() -> Adapted:
        return adapt(CountedTarget(problem), CHAINS, 0.8, Generator().manual_seed(0))

    def alone(ready: Adapted, _seed: int) -> Callable[[], float]:
        history = torch.empty(CHAINS, DRAWS, problem.dim, dtype=torch.float64)
        for i in range(DRAWS):
            ready.advance()
            history[:, i] = ready.z
        return functools.partial(bulk, history)

    return [Contender("batched-hmc", whole), Contender("its sampling alone", alone, set_up=warm)]


def _last(name: str, fields: dict[str, Any], problem: Problem, seed: int) -> Draws:
    method = registry.load(registry.find("methods", name))(**fields)
    for last in method.run(CountedTarget(problem), Budget(), Generator().manual_seed(seed)):
        found = last
    assert isinstance(found, Draws)
    return found


def after_a_second(problem: Problem, seeds: int) -> str:
    """How far batched HMC's share of draws with tau > 0 is from a half when a second is spent."""
    method = registry.load(registry.find("methods", "batched-hmc"))()
    found = []
    for seed in range(seeds):
        since = time.process_time()
        for newest in method.run(CountedTarget(problem), Budget(), Generator().manual_seed(seed)):
            last = newest
            if time.process_time() - since > 1.0:
                break
        share = abs(float((last.chains[..., 1] > 0).double().mean()) - 0.5)
        found.append(f"{share:.4f}")
    return f"batched-hmc, tau > 0 after one second: {', '.join(found)} from a half"


def pyro_nuts(problem: Problem, judge: Judge) -> Contender:
    """What torch users have, with a chain of half the length."""
    return Contender(
        "pyro-nuts",
        lambda seed: judge("pyro-nuts", _last("pyro-nuts", NUTS, problem, seed).chains),
    )


def chees(
    problem: Problem, judge: Judge, mass: str | None, shape: tuple[int, int] = LONGER
) -> Contender:
    """BlackJAX's ChEES with all chains in one program, compiled in the set-up.

    Args:
        mass: ``diagonal`` to estimate a mass matrix; None, their default, for none.
        shape: chains, and draws of each.
    """
    import jax

    density = in_jax(problem)
    name = f"BlackJAX ChEES {shape[0]} x {shape[1]}{f', {mass} mass' if mass else ''}"

    def compiled() -> Callable[[Any], Any]:
        jax.clear_caches()
        program = jax.jit(functools.partial(_chees, density, problem.dim, mass, shape))
        return program.lower(jax.random.key(0)).compile()

    def work(program: Callable[[Any], Any], seed: int) -> Callable[[], float]:
        draws = np.array(program(jax.random.key(seed)), dtype=np.float64)  # [draws, chains, D]
        return judge(name, torch.from_numpy(draws).transpose(0, 1).contiguous())

    return Contender(name, work, set_up=compiled)


def _chees(
    density: Callable[[Any], Any], dim: int, mass: str | None, shape: tuple[int, int], key: Any
) -> Any:
    import blackjax
    import jax
    import optax

    chains, draws = shape
    starts, adapting, sampling = jax.random.split(key, 3)
    z = jax.random.uniform(starts, (chains, dim), minval=-2.0, maxval=2.0)
    warmup = blackjax.chees_adaptation(density, num_chains=chains, mass_matrix_estimation=mass)
    (state, parameters), _ = warmup.run(adapting, z, 0.1, optax.adam(0.025), WARMUP)
    kernel = blackjax.dynamic_hmc(density, **parameters)

    def advance(states: Any, key: Any) -> tuple[Any, Any]:
        states, _ = jax.vmap(kernel.step)(jax.random.split(key, chains), states)
        return states, states.position

    return jax.lax.scan(advance, state, jax.random.split(sampling, draws))[1]


def in_jax(problem: Any) -> Callable[[Any], Any]:
    """The density in jax.numpy, a point at a time."""
    import jax
    import jax.numpy as jnp

    if problem.name == "logistic-regression":
        rows = jnp.asarray(problem._signed_rows.numpy())
        return lambda z: (
            jax.nn.log_sigmoid(rows @ z).sum()
            - 0.5 * (z / problem.prior_scale) @ z / problem.prior_scale
        )
    y, sigma = jnp.asarray(problem.y), jnp.asarray(problem.sigma)

    def schools(z: Any) -> Any:
        mu, tau, eta = z[0], z[1], z[2:]
        if problem.name == "eight-schools":
            prior = tau - jax.nn.softplus(2 * (tau - jnp.log(problem.tau_scale)))
            tau = jnp.exp(tau)
        else:
            prior = -0.5 * (tau / problem.tau_scale) ** 2
        fit = -0.5 * (((mu + tau * eta - y) / sigma) ** 2).sum() - 0.5 * (eta**2).sum()
        return fit + prior - 0.5 * (mu / problem.mu_scale) ** 2

    return schools


def agrees(problem: Problem) -> None:
    """Refuse to time a density in JAX that is not the problem's own, up to a constant."""
    import jax

    z = torch.randn(16, problem.dim, generator=Generator().manual_seed(0), dtype=torch.float64)
    theirs = np.asarray(jax.vmap(in_jax(problem))(z.numpy()), dtype=np.float64)
    apart = problem.log_density(z).detach().numpy() - theirs
    assert np.ptp(apart) < 1e-3 * max(1.0, float(np.abs(apart).max())), problem.name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", default=PROBLEMS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nuts", action="store_true", help="pyro-nuts too, a minute a round")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    for name in chosen.problems:
        problem = problem_of(name)
        judge = Judge(problem)
        agrees(problem)
        rivals = [chees(problem, judge, mass) for mass in (None, "diagonal")]
        rivals.append(chees(problem, judge, "diagonal", (CHAINS, DRAWS)))
        contenders = [*ours(problem, judge), *rivals]
        if chosen.nuts:
            contenders.append(pyro_nuts(problem, judge))
        _last("batched-hmc", {"chains": 16, "draws": 200}, problem, 0)  # imported late
        print(table(name, alternate(contenders, chosen.rounds)))
        print(judge.lines(), flush=True)
        if judge.signed:
            print(after_a_second(problem, chosen.rounds), flush=True)


if __name__ == "__main__":
    main()
