"""Gaussian VB beside NumPyro's on two of the eight schools: seconds of processor of a fit that
ends within 0.01 nats of the best Gaussian, NumPyro's compilation apart.

    python -m tests.benchmarks.gaussian_vb --rounds 5
    python -m tests.benchmarks.peers gaussian-vb -p eight-schools-signed

Ours is run to its own end. NumPyro has no end of its own: its length is STEPS steps of Adam.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Generator

from bench.fitting.target import CountedTarget
from methods.base import Budget
from methods.gaussian_vb import GaussianVB
from methods.parts.gaussians.gaussian import Gaussian
from problems.base import Exact
from problems.eight_schools import EightSchools
from problems.signed_eight_schools import SignedEightSchools
from tests.benchmarks.alternate import Contender, alternate, table

BEST = {  # KL(q||p), nats
    "eight-schools": {"diagonal": 0.2860, "full": 0.2227},
    "eight-schools-signed": {"diagonal": 1.583, "full": 1.1758},
}
PROBLEMS: dict[str, type[EightSchools | SignedEightSchools]] = {
    "eight-schools": EightSchools,
    "eight-schools-signed": SignedEightSchools,
}
NEAR = 0.01
STEPS, PARTICLES, LR = 4000, 16, 0.03


def arrived(gaussian: Gaussian, covariance: str, name: str) -> float:
    """1 if KL(q||p) is within 0.01 nats of the best, 0 if not."""
    problem = PROBLEMS[name]()
    assert isinstance(problem.truth, Exact)
    z = gaussian.sample(100_000, Generator().manual_seed(5))
    kl = (gaussian.log_prob(z) - problem.log_density(z)).mean() + problem.truth.log_z
    return float(kl < BEST[name][covariance] + NEAR)


def ours(covariance: Any, name: str) -> Contender:
    """This suite's, recorded anew in every run."""

    def work(seed: int) -> Callable[[], float]:
        method = GaussianVB(covariance=covariance)
        target = CountedTarget(PROBLEMS[name]())
        *_, last = method.run(target, Budget(), Generator().manual_seed(seed))
        return lambda: arrived(last, covariance, name)

    return Contender(f"gaussian-vb, {covariance}", work)


def numpyro(covariance: str, name: str) -> Contender:
    """NumPyro's stochastic VI with its guide of the same family, compiled in ``set_up``."""
    jax, pyro = importlib.import_module("jax"), importlib.import_module("numpyro")
    jax.config.update("jax_enable_x64", True)
    infer, optim, dist = (
        importlib.import_module(f"numpyro.{part}") for part in ("infer", "optim", "distributions")
    )
    guides = importlib.import_module("numpyro.infer.autoguide")
    schools = PROBLEMS[name]()

    def model() -> None:
        if isinstance(schools, EightSchools):
            mu = pyro.sample("mu", dist.Normal(0.0, schools.mu_scale))
            tau = pyro.sample("tau", dist.HalfCauchy(schools.tau_scale))
        else:
            mu, tau = (pyro.sample(each, dist.Normal(0.0, 1.0)) for each in ("mu", "tau"))
        eta = pyro.sample("eta", dist.Normal(np.zeros(8), 1.0).to_event(1))
        effects = dist.Normal(mu + tau * eta, np.array(schools.sigma)).to_event(1)
        pyro.sample("y", effects, obs=np.array(schools.y))

    def set_up() -> Callable[[int], Any]:
        kind = "AutoDiagonalNormal" if covariance == "diagonal" else "AutoMultivariateNormal"
        schedule = jax.example_libraries.optimizers.exponential_decay(LR, STEPS, 0.02)
        elbo = infer.Trace_ELBO(num_particles=PARTICLES)
        svi = infer.SVI(model, getattr(guides, kind)(model), optim.Adam(schedule), elbo)

        def fit(seed: int) -> Any:
            state = svi.init(jax.random.PRNGKey(seed))
            return svi.get_params(loop(state))

        loop = jax.jit(
            lambda state: jax.lax.fori_loop(0, STEPS, lambda _, s: svi.update(s)[0], state)
        )
        jax.block_until_ready(fit(10**6))
        return fit

    def work(fit: Callable[[int], Any], seed: int) -> Callable[[], float]:
        found = {name: np.array(value) for name, value in fit(seed).items()}
        return lambda: arrived(_gaussian(found), covariance, name)

    return Contender(f"numpyro SVI, {covariance}", work, set_up)


def contenders(problem: str) -> list[Contender]:
    """Both families of both, ours first; none on a problem that has no model here."""
    pairs = [(ours(each, problem), numpyro(each, problem)) for each in BEST.get(problem, ())]
    return [each for pair in pairs for each in pair]


def _gaussian(found: dict[str, Any]) -> Gaussian:
    """In NumPyro's order, that of the model, which is ours: mu, log tau, eta."""
    shape = "auto_scale" if "auto_scale" in found else "auto_scale_tril"
    loc, scale = (torch.tensor(found[name], dtype=torch.float64) for name in ("auto_loc", shape))
    return Gaussian(loc, scale)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--covariance", choices=["diagonal", "full"], action="append")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for problem, best in BEST.items():
        for covariance in given.covariance or best:
            pair = [ours(covariance, problem), numpyro(covariance, problem)]
            found = alternate(pair, rounds=given.rounds)
            print(table(f"{problem}, {covariance}", found), flush=True)


if __name__ == "__main__":
    main()
