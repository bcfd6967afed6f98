"""Stan's NUTS under the contract: right moments, a cost as Stan reports it, chains that go on with
what they have adapted, and a sentence where it cannot run.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.fitting.fit import fit
from bench.fitting.target import CountedTarget
from bench.metrics.draws.chains import ess_mean, ess_sd
from methods.base import Budget, Draws, NotApplicableError
from methods.stan_nuts import FIRST, StanNUTS
from problems.base import Problem
from problems.eight_schools import EightSchools
from problems.gaussian import Gaussian2
from problems.models.stan_model import StanModel
from problems.signed_eight_schools import SignedEightSchools
from tests.helpers.exact_problems import SIGMAS, seeded

stanli = pytest.importorskip("stanli")

SHORT = {"chains": 2, "warmup": 100, "draws": 40}


def run(problem: Problem, method: StanNUTS, budget: Budget | None = None) -> tuple[Draws, int]:
    """The last approximation, and the gradients that were charged."""
    *_, last = fit(problem, method, budget or Budget(), seeded(1))
    assert isinstance(last.approximation, Draws)
    return last.approximation, last.gradients


@pytest.mark.parametrize("dense_mass", [False, True])
def test_eight_schools_has_its_moments(dense_mass: bool) -> None:
    problem = EightSchools()
    found, _ = run(problem, StanNUTS(draws=2000, dense_mass=dense_mass))
    assert found.chains.shape == (4, 2000, 10)
    truth = problem.truth.sample(40_000, seeded(0))
    flat = found.chains.flatten(0, 1)
    away = (flat.mean(0) - truth.mean(0)) / (truth.std(0) / ess_mean(found.chains).sqrt())
    assert float(away.abs().max()) < SIGMAS
    kurtosis = ((truth - truth.mean(0)) / truth.std(0)).pow(4).mean(0)
    spread = (kurtosis - 1).sqrt() / 2 / ess_sd(found.chains).sqrt()
    assert float(((flat.std(0) / truth.std(0) - 1) / spread).abs().max()) < SIGMAS
    figures = dict(found.diagnostics)
    assert figures["r_hat"] < 1.01
    assert figures["divergences"] < 0.005 * 8000  # far out, where tau has its Cauchy tail
    assert 0.75 < figures["accept_rate"] < 0.97
    assert figures["e_fmi"] > 0.3


def test_every_leapfrog_step_is_a_gradient_those_of_the_warm_up_included(tmp_path: Path) -> None:
    """Of steps that are all one long, as many as there are transitions."""
    (tmp_path / "line.stan").write_text("parameters { real x; } model { x ~ std_normal(); }")
    method = StanNUTS(**SHORT, max_tree_depth=1)
    found, gradients = run(StanModel(str(tmp_path / "line.stan")), method)
    assert gradients == 2 * (100 + 40)
    assert found.diagnostics["steps_per_draw"] == 1
    assert found.diagnostics["cut_short"] == 2 * 40


def test_a_step_is_part_of_the_metric(tmp_path: Path) -> None:
    """What chains with steps of their own rely on to go on in one call."""
    (tmp_path / "plane.stan").write_text(
        "parameters { vector[2] x; } model { x[1] ~ normal(1, 2); x[2] ~ normal(x[1], 0.3); }"
    )
    model = stanli.Model(stan_file=str(tmp_path / "plane.stan"))
    metric, step = np.array([3.0, 0.5]), 0.37
    fixed = {"chains": 1, "seed": 5, "warmup": 0, "samples": 30, "adapt_engaged": False}
    start = {"inits": np.array([0.4, 0.1]), "refresh": 0}
    apart = model.sample(**fixed, **start, inv_metric=metric, step_size=step)
    inside = model.sample(**fixed, **start, inv_metric=metric * step**2, step_size=1.0)
    np.testing.assert_allclose(apart.draws(), inside.draws(), rtol=1e-6)


def test_chains_go_on_where_they_were() -> None:
    """A block begins within one trajectory of the last draw, and none of the starts comes back."""
    found, _ = run(SignedEightSchools(), StanNUTS(chains=3, warmup=300, draws=FIRST + 20))
    energies = found.chains[..., 0]
    jumps = (energies[:, 1:] - energies[:, :-1]).abs()
    assert found.chains.shape == (3, FIRST + 20, 10)
    assert float((jumps == 0).double().mean()) < 0.5
    assert len({tuple(row) for row in found.chains.flatten(0, 1).tolist()}) > FIRST


def test_a_budget_of_gradients_is_kept_and_used() -> None:
    method = StanNUTS(chains=2, warmup=200, draws=10_000)
    found, gradients = run(EightSchools(), method, Budget(gradients=10_000))
    assert 9_500 < gradients <= 10_000
    assert 200 < found.chains.shape[1] < 10_000


def test_a_budget_below_the_warm_up_leaves_nothing() -> None:
    with pytest.raises(TimeoutError, match="before the first approximation"):
        run(EightSchools(), StanNUTS(), Budget(gradients=1_000))


def test_a_problem_without_a_program_is_told_so_in_a_sentence() -> None:
    with pytest.raises(NotApplicableError, match="this problem has none: give the problem a"):
        run(Gaussian2(), StanNUTS())


def test_without_the_library_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "stanli", None)
    with pytest.raises(NotApplicableError, match=r"pip install 'postbench\[stan\]'"):
        run(EightSchools(mu_scale=6.0), StanNUTS())


def test_random_numbers_in_transformed_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "moving.stan").write_text(
        "transformed data { real m = normal_rng(0, 5); }"
        " parameters { real x; } model { x ~ normal(m, 1); }"
    )
    with pytest.raises(FloatingPointError, match="random numbers in transformed data"):
        run(StanModel(str(tmp_path / "moving.stan")), StanNUTS(**SHORT))


def test_unit_vectors_have_the_lengths_that_their_density_asks_for(tmp_path: Path) -> None:
    """A direction in space that leans to one side: von Mises and Fisher's law, lengths of chi."""
    (tmp_path / "lean.stan").write_text(
        "parameters { unit_vector[3] u; } model { target += 2 * u[1]; }"
    )
    problem = StanModel(str(tmp_path / "lean.stan"))
    found, _ = run(problem, StanNUTS(draws=1000))
    z = found.chains.flatten(0, 1)
    away = (z.square().sum(-1).mean() - 3) / (6 / len(z)) ** 0.5  # lengths are drawn anew
    assert abs(float(away)) < SIGMAS
    lean = problem.constrain(found.chains)["u"][..., :1]
    mean = 1 / np.tanh(2) - 1 / 2
    spread = (1 - mean**2 - 2 * mean / 2) ** 0.5
    assert abs(float(lean.mean()) - mean) < SIGMAS * spread / float(ess_mean(lean)) ** 0.5


def test_no_start_is_said_with_the_field_to_change(tmp_path: Path) -> None:
    (tmp_path / "far.stan").write_text(
        'parameters { real x; } model { if (x < 50) reject("too near"); x ~ normal(60, 1); }'
    )
    with pytest.raises(ValueError, match=r"StanNUTS\(radius=2.0\): Stan could not sample"):
        run(StanModel(str(tmp_path / "far.stan")), StanNUTS(**SHORT))


def test_the_seed_decides_the_draws_and_threads_do_not() -> None:
    one, two, other = (
        [*StanNUTS(**SHORT).run(CountedTarget(EightSchools()), Budget(), seeded(seed))][-1]
        for seed in (1, 1, 2)
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        threads = [*StanNUTS(**SHORT).run(CountedTarget(EightSchools()), Budget(), seeded(1))][-1]
    finally:
        torch.set_num_threads(before)
    assert one is not None
    assert two is not None
    assert other is not None
    assert threads is not None
    assert torch.equal(one.chains, two.chains)
    assert torch.equal(one.chains, threads.chains)
    assert not torch.equal(one.chains, other.chains)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chains": 0}, r"StanNUTS\(chains=...\) must be at least 1"),
        ({"target_accept": 1.0}, r"StanNUTS\(target_accept=...\) must lie in \(0, 1\)"),
        ({"radius": math.inf}, r"StanNUTS\(radius=...\) must be positive and finite"),
    ],
)
def test_fields_out_of_range_are_named(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StanNUTS(**fields)  # type: ignore[arg-type]
