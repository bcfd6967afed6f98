"""References: each part against a known answer, a build from end to end, and every way a stored one can go wrong."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import itertools
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from torch import Tensor

from bench import spec
from bench.errors import UserError
from bench.metrics.chains import ess_mean
from bench.reference import adapt, bridge
from bench.reference.agreement import Sample, compare, shares, within
from bench.reference.bridge import log_z
from bench.reference.build import RefusedError, build
from bench.reference.check import above, below, together
from bench.reference.gaussians import Gaussians, fitted
from bench.reference.health import mixing, trajectories
from bench.reference.hmc import Frame, Walkers, frame_of, scattered
from bench.reference.referenced import key, referenced
from bench.reference.routes import Plan, _Energies, batched
from bench.reference.run import Run
from bench.reference.stein import stein
from bench.reference.table import table
from bench.reference.verify import verify
from bench.target import CountedTarget
from problems import stored
from problems.base import Exact, Modes, Problem, Reference
from problems.eight_schools import EightSchools
from problems.mixture import Mixture
from problems.signed_eight_schools import SignedEightSchools
from problems.stored import SHIPPED, UncertifiedError, draws_hash, files, read, seal, stem_of
from tests.exact_problems import SIGMAS, assert_mean, exact, seeded

building = importlib.import_module(RefusedError.__module__)  # the package has a function of that name, too
SHORT = Plan(chains=50, target_accept=0.8, nuts_chains=2, nuts_warmup=100, nuts_draws=800)
NEAR = "mixture-2d:separation=0.3"  # two named modes that chains walk between
FAR = "mixture-2d:separation=6"  # and two that they do not
ZEROS, UNIT = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def walk(chains: int, draws: int, memory: float, seed: int = 1) -> Tensor:
    """Autoregressive chains of standard normals, [chains, draws, 2]."""
    noise = normal(chains, draws, 2, seed=seed).numpy()
    noise[:, 1:] *= math.sqrt(1 - memory**2)
    return torch.from_numpy(lfilter([1.0], [1.0, -memory], noise, axis=1))


# The second route


@pytest.mark.parametrize("step", [0.1, 0.05])
def test_the_leapfrog_error_falls_with_the_square_of_the_step(step: float) -> None:
    problem = EightSchools()
    start = exact(problem).sample(200, seeded(1))
    gains = []
    for size, count in ((step, 8), (step / 2, 16)):
        walkers = Walkers(CountedTarget(problem), start, seeded(2))
        accept = walkers.trajectory(frame_of(start, dense=True), torch.tensor(size), count).accept
        gains.append(float(-accept.log().mean()))
    assert gains[0] / gains[1] == pytest.approx(4.0, rel=0.15)


@pytest.mark.parametrize("problem", [EightSchools(), SignedEightSchools()], ids=lambda p: p.name)
@pytest.mark.parametrize("step", [0.05, 0.6])
def test_trajectories_leave_the_posterior_as_it_is(problem: Problem, step: float) -> None:
    start = exact(problem).sample(20_000, seeded(3))
    walkers = Walkers(CountedTarget(problem), start, seeded(4))
    frame = frame_of(start[:500], dense=True)
    for _ in range(3):
        walkers.trajectory(frame, torch.tensor(step, dtype=torch.float64), 4)
    g = walkers.gradient
    assert_mean(torch.cat([g.tanh(), walkers.z.tanh(), (0.3 * walkers.z).cos()], -1), _means(problem))


@functools.cache
def _means(problem: Problem) -> Tensor:
    z = exact(problem).sample(200_000, seeded(5))
    g = CountedTarget(problem).value_and_grad(z)[1]
    return torch.cat([g.tanh(), z.tanh(), (0.3 * z).cos()], -1).mean(0)


def test_a_chain_never_goes_where_there_is_no_density() -> None:
    class Half(Mixture):
        def log_density(self, z: Tensor) -> Tensor:
            return torch.where(z[..., 0] > 0, -0.5 * z.square().sum(-1), -math.inf)

    walkers = scattered(CountedTarget(Half()), 30, 2.0, seeded(1))
    for _ in range(20):
        walkers.trajectory(Frame(ZEROS, UNIT), torch.tensor(0.5), 3)
        assert bool((walkers.z[:, 0] > 0).all())


def test_where_there_is_no_density_no_chain_starts() -> None:
    class Nowhere(Mixture):
        def log_density(self, z: Tensor) -> Tensor:
            return z.sum(-1) * math.nan

    with pytest.raises(ValueError, match="too few to start 5 chains from"):
        scattered(CountedTarget(Nowhere()), 5, 2.0, seeded(1))


def test_the_frame_makes_draws_round() -> None:
    root = torch.tensor([[3.0, 0], [-2.0, 0.3]], dtype=torch.float64)
    draws = normal(20_000, 2) @ root.T + 100
    frame = frame_of(draws, dense=True)
    round_ = torch.linalg.solve_triangular(frame.root, (draws - frame.loc).T, upper=False)
    torch.testing.assert_close(round_.cov(), UNIT, rtol=0, atol=2e-3)
    torch.testing.assert_close(frame_of(draws, dense=False).root, draws.std(0).diag())


def test_energies_tell_what_arviz_tells() -> None:
    from arviz_stats.base.array import array_stats

    series = walk(5, 400, 0.9)[..., 0] + 1e5
    energies = _Energies()
    for energy in series.T:
        energies.add(energy)
    arviz: Any = array_stats
    assert energies.e_fmi == pytest.approx(float(arviz.bfmi(series.numpy(), chain_axis=0, draw_axis=1).min()), rel=5e-3)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapt, "WINDOWS", (20, 20))


@pytest.mark.usefixtures("quick")
def test_the_batched_route_is_a_function_of_its_seed() -> None:
    plan = Plan(chains=10, records=20, stored=50)
    runs = [batched(Mixture(), plan, seed, lambda _: True, lambda *_: None).chains for seed in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.usefixtures("quick")
def test_each_attempt_is_twice_as_long_until_the_limit() -> None:
    plan = Plan(chains=10, records=20, stored=50, steps=1_500)
    lengths = []
    run = batched(Mixture(), plan, 1, lambda r: bool(lengths.append(r.transitions)), lambda *_: None)
    assert len(lengths) > 1
    assert [b / a for a, b in itertools.pairwise(lengths)] == [2.0] * (len(lengths) - 1)
    assert run.transitions == lengths[-1]


def test_a_plan_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Plan\(stored=101\) must be a multiple of chains = 10"):
        Plan(chains=10, records=100, stored=101)


# The checks


def run_of(chains: Tensor, divergences: int = 0, e_fmi: float = 1.0) -> Run:
    return Run("route", chains, chains.shape[0] * chains.shape[1], divergences, e_fmi, {}, 0, 0.0)


def failed(checks: list[Any]) -> list[str]:
    return [check.name for check in checks if not check.met]


def test_sound_chains_pass() -> None:
    chains = walk(20, 1000, 0.2)
    assert failed([*mixing(run_of(chains), chains[:, ::10]), *trajectories(run_of(chains))]) == []


@pytest.mark.parametrize(
    ("harm", "names"),
    [
        (lambda z: z + 0.5 * torch.arange(20.0).reshape(20, 1, 1), ["route: split R-hat", "route: bulk ESS"]),
        (lambda z: z * (1 + 0.5 * torch.arange(20.0)).reshape(20, 1, 1), ["route: split R-hat"]),
        (lambda z: z[:, ::10].repeat_interleave(10, 1), ["route: bulk ESS"]),
        (lambda z: z * 0, ["route: split R-hat"]),
        (lambda z: z[:, :2], ["route: split R-hat"]),
    ],
    ids=["chains apart", "spreads apart", "repeated", "constant", "short"],
)
def test_bad_chains_fail(harm: Callable[[Tensor], Tensor], names: list[str]) -> None:
    chains = harm(walk(20, 1000, 0.2)).double()
    assert set(names) <= set(failed(mixing(run_of(chains), chains)))


def test_stored_draws_that_remember_divergences_and_weak_momenta_fail() -> None:
    chains = walk(20, 1000, 0.2)
    assert failed(mixing(run_of(chains), walk(20, 500, 0.2))) == ["stored draws: autocorrelation"]
    assert failed(trajectories(run_of(chains, divergences=20))) == ["route: share of divergent transitions"]
    assert failed(trajectories(run_of(chains, e_fmi=0.19))) == ["route: E-FMI"]


def test_nan_meets_no_limit() -> None:
    assert not below("x", math.nan, 1.0).met
    assert not above("x", math.nan, 1.0).met


HALVES = Modes(lambda z: (z[..., 0] > 0).long(), (0.5, 0.5))


def test_samples_of_one_law_agree_however_long_their_memory() -> None:
    scores = []
    for seed in range(12):
        pair = Sample(walk(40, 250, 0.8, seed)), Sample(walk(4, 2500, 0.8, 100 + seed))
        checks = compare("x", *pair, ("a", "b"), HALVES if seed % 2 else None)
        assert failed(checks) == []
        scores.append(checks[0].figure)
    assert max(scores) > 2.0  # the worst of 14 or 28 scores: if all were small, the errors would be too wide


@pytest.mark.parametrize(
    "harm",
    [
        lambda z: z + 0.15,
        lambda z: z * 1.1,
        lambda z: z + 0.3 * (z.square() - 1) * 0.5,
        lambda z: z.abs() * z.sign().roll(1, 0),
    ],
    ids=["shift", "scale", "skew", "nothing"],
)
def test_another_law_is_found(harm: Callable[[Tensor], Tensor], request: pytest.FixtureRequest) -> None:
    other = harm(walk(4, 5000, 0.5, 9))
    checks = compare("x", Sample(walk(40, 500, 0.5)), Sample(other), ("a", "b"), None)
    assert failed(checks) == ([] if "nothing" in request.node.name else ["x"])


def test_modes_are_compared_inside_and_counted_outside() -> None:
    stuck = walk(4, 5000, 0.5)
    stuck[..., 0] = stuck[..., 0].abs() * torch.tensor([1, 1, 1, -1.0]).reshape(4, 1)
    sample = Sample(stuck)
    assert failed(compare("x", Sample(walk(40, 500, 0.5, 2)), sample, ("a", "b"), HALVES)) == []
    assert failed(compare("x", Sample(walk(40, 500, 0.5, 2)), sample, ("a", "b"), None)) != []
    assert shares("x", Sample(walk(40, 500, 0.5)), HALVES).met
    assert not shares("x", Sample(walk(40, 500, 0.5) + 0.1), HALVES).met
    assert failed(compare("x", sample, Sample(stuck[:3]), ("a", "b"), HALVES)) == ["x", "x: effective draws"]
    inside = within(stuck, HALVES)
    assert float(inside[3].mean(0)[0]) == pytest.approx(0.0, abs=1e-12)


def test_few_draws_are_too_few_to_agree() -> None:
    checks = compare("x", Sample(walk(40, 500, 0.5)), Sample(walk(4, 200, 0.9)), ("a", "b"), None)
    assert failed(checks) == ["x: effective draws"]


@pytest.mark.parametrize(
    ("harm", "met"),
    [
        (lambda z: z, True),
        (lambda z: z + 0.1, False),
        (lambda z: z * 1.07, False),
        (lambda z: torch.stack([z[:, 0], 0.99 * z[:, 1] + 0.14 * z[:, 0]], -1), False),
        (lambda z: (z + 0.2 * z.square() - 0.2) / math.sqrt(1.08), False),
    ],
    ids=["same", "shift", "scale", "tie", "skew"],
)
def test_stein_sees_what_is_not_of_the_density(harm: Callable[[Tensor], Tensor], met: bool) -> None:
    draws = harm(normal(10_000, 2))
    assert stein(draws, -draws, ("a", "b")).met is met


def test_the_worst_of_many_comparisons_is_allowed_more() -> None:
    assert together(1) == pytest.approx(3.2905, abs=1e-4)
    assert together(1) < together(100) < 5.0


# Log Z


def bumpy(z: Tensor) -> Tensor:
    """Three bumps of different shape and weight; log Z = 1.5."""
    means = torch.tensor([[0.0, 0], [6, 0], [0, 8]], dtype=torch.float64)
    scales = torch.tensor([[1.0, 1], [0.5, 2], [2, 0.3]], dtype=torch.float64)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    u = (z.unsqueeze(-2) - means) / scales
    parts = weights.log() - scales.log().sum(-1) - math.log(2 * math.pi) - 0.5 * u.square().sum(-1)
    return parts.logsumexp(-1) + 1.5


def bumpy_draws(n: int, seed: int) -> Tensor:
    which = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), n, replacement=True, generator=seeded(seed))
    means = torch.tensor([[0.0, 0], [6, 0], [0, 8]], dtype=torch.float64)
    scales = torch.tensor([[1.0, 1], [0.5, 2], [2, 0.3]], dtype=torch.float64)
    return means[which] + scales[which] * normal(n, 2, seed=seed + 1)


def test_the_bridge_finds_log_z_and_its_error() -> None:
    errors = []
    for seed in range(8):
        found = log_z(bumpy_draws(2_000, seed).reshape(4, 500, 2), bumpy, seeded(seed))
        assert 0 < found.stderr < 0.02
        errors.append((found.value - 1.5) / found.stderr)
    assert max(map(abs, errors)) < SIGMAS
    assert 0.4 < float(np.sqrt(np.mean(np.square(errors)))) < 1.9  # a chi-square of eight degrees between 1.3 and 29


def test_the_bridge_counts_draws_that_repeat_once() -> None:
    draws = bumpy_draws(2_000, 1)
    alone = log_z(draws.reshape(4, 500, 2), bumpy, seeded(1))
    often = log_z(draws.reshape(4, 500, 2).repeat_interleave(5, 1), bumpy, seeded(1))
    assert often.stderr > 0.6 * alone.stderr


def test_a_density_elsewhere_has_no_bridge() -> None:
    with pytest.raises(ArithmeticError, match="too little in common"):
        log_z(normal(4, 500, 2), lambda z: torch.where((z - 1e3).square().sum(-1) < 1, 0.0, -math.inf), seeded(1))


def test_the_mixture_is_a_density_and_draws_follow_it() -> None:
    mixture = fitted(bumpy_draws(3_000, 1), (1, 2, 4), seeded(1))
    assert len(mixture.weights) == 4
    z = mixture.sample(50_000, seeded(2))
    assert_mean((bumpy(z) - 1.5 - mixture.log_prob(z)).exp().unsqueeze(-1), 1.0)
    axis = torch.linspace(-15, 25, 801, dtype=torch.float64)
    assert float(mixture.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * 0.05**2) == pytest.approx(1.0, abs=1e-4)


def test_draws_in_a_subspace_are_refused() -> None:
    with pytest.raises(ArithmeticError, match="subspace"):
        fitted(normal(100, 1).expand(100, 2), (1, 2), seeded(1))


def test_a_mixture_of_one_is_the_gaussian_of_the_draws() -> None:
    draws = normal(3_000, 2)
    one = fitted(draws, (1,), seeded(1))
    assert isinstance(one, Gaussians)
    torch.testing.assert_close(one.means[0], ZEROS, rtol=0, atol=0.1)


# From end to end


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("references")
    stages: list[tuple[str, float]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapt, "WINDOWS", (50, 100))
        path = build(spec.parse("problems", NEAR), 0, folder, lambda *stage: stages.append(stage), SHORT)
    assert {stage.split(":")[0] for stage, _ in stages} == {
        "batched HMC",
        "Pyro NUTS",
        "comparing",
        "bridge sampling",
        "storing",
    }
    assert all(0 <= share <= 1 for _, share in stages)
    return path


def test_a_build_is_certified_stored_and_verified(built: Path) -> None:
    content = json.loads(built.read_text())
    names = [check["name"] for check in content["checks"]]
    for part in ("R-hat", "bulk ESS", "tail ESS", "divergent", "E-FMI", "agreement of the routes", "mode balance", "log Z"):
        assert any(part in name for name in names), part
    assert "agreement with the exact truth" in names
    assert content["log_z"]["value"] == pytest.approx(0.0, abs=SIGMAS * content["log_z"]["stderr"])
    assert content["problem"]["settings"] == {"separation": 0.3}
    findings = list(verify(None, built.parent))
    assert [f.outcome for f in findings if f.name.startswith(built.stem)] == ["pass"] * 6
    (line,) = table(built.parent)
    assert (line.name, line.dim, line.draws) == ("mixture-2d-separation=0.3", 2, 10_000)


def test_a_run_may_be_judged_by_it(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(stored.VARIABLE, str(built.parent))
    problem = Mixture(separation=0.3)
    judged = referenced(problem)
    truth = judged.truth
    assert isinstance(truth, Reference)
    assert isinstance(problem.truth, Exact)
    assert (judged.name, judged.dim, judged.coordinates) == (problem.name, 2, problem.coordinates)
    z = truth.sample(10_000, seeded(1))
    assert torch.equal(judged.log_density(z), problem.log_density(z))
    assert torch.equal(judged.unconstrain(judged.constrain(z)), z)
    assert judged.modes is not None
    assert_mean(z, 0.0)
    assert key(problem) == truth.certificate["seal"]


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Run]:
    """Both routes replaced by independent draws of the exact truth, for tests to harm."""
    truth = exact(Mixture(separation=0.3))
    chains = truth.sample(50_000, seeded(1)).reshape(50, 1000, 2), truth.sample(8_000, seeded(2)).reshape(4, 2000, 2)
    runs = {
        name: Run(name, z, len(z) * z.shape[1], 0, 1.0, {}, 0, 0.0) for name, z in zip(("first", "second"), chains, strict=True)
    }
    monkeypatch.setattr(building, "batched", lambda *_: runs["first"])
    monkeypatch.setattr(building, "nuts", lambda *_: runs["second"])
    monkeypatch.setattr(bridge, "MOST", 2_000)
    monkeypatch.setattr(bridge, "COMPONENTS", (1, 2))
    monkeypatch.setattr(building, "EXACT_DRAWS", 50_000)
    return runs


def _refused(folder: Path) -> set[str]:
    with pytest.raises(
        RefusedError, match=r"^The reference for mixture-2d-separation=0.3 is refused, and nothing was"
    ) as caught:
        build(spec.parse("problems", NEAR), 0, folder, plan=Plan(chains=50))
    assert not list(folder.iterdir())
    assert all(check.name in str(caught.value) for check in caught.value.failed)
    return set(failed(list(caught.value.failed)))


def test_two_sound_routes_are_certified(routes: dict[str, Run], tmp_path: Path) -> None:
    assert build(spec.parse("problems", NEAR), 0, tmp_path, plan=Plan(chains=50)).is_file()


def _changed(run: Run, **fields: Any) -> Run:
    return dataclasses.replace(run, **fields)


REFUSALS: dict[str, tuple[str, Callable[[Run], Run], set[str]]] = {
    "draws wrong": ("first", lambda r: _changed(r, chains=1.1 * r.chains), {"Stein identities"}),
    "divergent": ("first", lambda r: _changed(r, divergences=100), {"first: share of divergent transitions"}),
    "e-fmi": ("second", lambda r: _changed(r, e_fmi=0.1), {"second: E-FMI"}),
    "second off": ("second", lambda r: _changed(r, chains=r.chains + 0.1), {"agreement of the routes"}),
    "second stuck": ("second", lambda r: _changed(r, chains=_stuck(r.chains)), {"second: split R-hat within modes"}),
    "second short": ("second", lambda r: _changed(r, chains=r.chains[:, :150]), {"agreement of the routes: effective draws"}),
}


def _stuck(chains: Tensor) -> Tensor:
    return chains + 0.5 * torch.arange(4.0).reshape(4, 1, 1)


@pytest.mark.parametrize("case", REFUSALS)
def test_one_that_fails_is_refused_and_nothing_is_stored(case: str, routes: dict[str, Run], tmp_path: Path) -> None:
    which, harm, names = REFUSALS[case]
    routes[which] = harm(routes[which])
    assert names <= _refused(tmp_path)


def test_modes_that_the_stored_route_weighs_wrongly_are_refused(routes: dict[str, Run], tmp_path: Path) -> None:
    heavy = routes["first"].chains
    few = (heavy[:, :, :1].sum(-1) > 0) & (torch.arange(1000) % 20 == 0)
    routes["first"] = _changed(routes["first"], chains=torch.where(few.unsqueeze(-1), -heavy, heavy))
    assert "first: mode balance" in _refused(tmp_path)


def test_a_reference_off_its_exact_truth_is_refused(
    routes: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Mixture.truth.fget  # type: ignore[attr-defined]

    def shifted(problem: Mixture) -> Exact:
        truth = honest(problem)
        return Exact(lambda n, g: truth.sample(n, g) + 0.05, truth.log_z + 0.1)

    monkeypatch.setattr(Mixture, "truth", property(shifted))
    assert _refused(tmp_path) == {"agreement with the exact truth", "log Z: from the exact one"}


@pytest.mark.usefixtures("quick")
def test_a_posterior_that_chains_do_not_cross_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"split R-hat is [\d.]+, expected < 1.01(.*\n)+.*second route was not run"):
        build(spec.parse("problems", FAR), 0, tmp_path, plan=Plan(chains=20, stored=1_000, records=200, steps=500))
    assert not list(tmp_path.iterdir())


# What ships, and every way it can go wrong


def test_every_shipped_reference_is_intact() -> None:
    findings = list(verify(None, SHIPPED))
    assert {f"{name}: draws" for name in ("eight-schools", "eight-schools-signed")} <= {f.name for f in findings}
    assert [f for f in findings if f.outcome != "pass"] == []


def test_what_ships_is_small() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 20e6
    assert all(line.draws == 10_000 for line in table(SHIPPED))


@pytest.mark.parametrize("problem", [EightSchools(), SignedEightSchools()], ids=lambda p: p.name)
def test_shipped_draws_are_those_of_the_exact_truth(problem: Problem) -> None:
    truth = stored.reference(problem)
    assert truth.log_z is not None
    assert truth.log_z_stderr is not None
    assert truth.log_z == pytest.approx(exact(problem).log_z, abs=SIGMAS * truth.log_z_stderr)
    z = exact(problem).sample(400_000, seeded(1))
    assert_mean(torch.cat([truth.draws, truth.draws.square()], -1), torch.cat([z, z.square()], -1).mean(0))
    assert float(ess_mean(truth.draws.unsqueeze(0)).min()) > 8_000


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for path in files("eight-schools", SHIPPED):
        shutil.copy(path, tmp_path)
    return tmp_path


def _edit(folder: Path, change: Callable[[dict[str, Any]], None], *, sealed: bool = True) -> None:
    path = files("eight-schools", folder)[1]
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content | ({"seal": seal(content)} if sealed else {})))


def _replace(folder: Path, change: Callable[[Any], Any], *, certified: bool) -> None:
    npz, certificate = files("eight-schools", folder)
    held = read(npz, certificate)
    unit = change(held.unit.copy()).astype(np.float32)
    np.savez_compressed(npz, loc=held.loc, scale=held.scale, unit=unit)
    if certified:
        _edit(folder, lambda c: c["draws"].update(sha256=draws_hash(held.loc, held.scale, unit), count=len(unit)))


def _one_draw(unit: Any) -> Any:
    unit[17, 3] += 1e-3
    return unit


def _wide(unit: Any) -> Any:
    return 1.1 * unit


def _tied(unit: Any) -> Any:
    """Right marginals, wrong joint."""
    unit[:, 0] = np.roll(unit[:, 0], 1)
    return unit


HARMS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "a draw": (lambda f: _replace(f, _one_draw, certified=False), ["draws"]),
    "a draw fewer": (lambda f: _replace(f, lambda u: u[1:], certified=False), ["draws"]),
    "the order": (lambda f: _replace(f, lambda u: u[::-1], certified=False), ["draws"]),
    "another law, hashed": (lambda f: _replace(f, _wide, certified=True), ["moments", "Stein identities"]),
    "another joint, hashed": (lambda f: _replace(f, _tied, certified=True), ["Stein identities"]),
    "the certificate": (lambda f: _edit(f, lambda c: c["log_z"].update(value=0.0), sealed=False), ["certificate"]),
    "a check unmet": (lambda f: _edit(f, lambda c: c["checks"][0].update(met=False)), ["certificate"]),
    "the density's values": (lambda f: _edit(f, lambda c: c["density"]["values"].reverse()), ["density"]),
    "the moments": (lambda f: _edit(f, lambda c: c["moments"]["mean"].reverse()), ["moments"]),
    "no draws": (lambda f: files("eight-schools", f)[0].unlink(), ["files"]),
    "no certificate": (lambda f: files("eight-schools", f)[1].unlink(), ["files"]),
    "broken draws": (lambda f: files("eight-schools", f)[0].write_bytes(b"PK\x03\x04"), ["files"]),
    "broken certificate": (lambda f: files("eight-schools", f)[1].write_text("{"), ["files"]),
}


@pytest.mark.parametrize("harm", HARMS)
def test_each_harm_is_caught_and_named(harm: str, copy: Path) -> None:
    do, caught = HARMS[harm]
    do(copy)
    findings = [f for f in verify(None, copy) if f.name.startswith("eight-schools:")]
    found = {f.name.split(": ")[1] for f in findings if f.outcome == "fail"}
    assert set(caught) <= found <= {*caught, "density"}  # whose fixed points derive from the draws
    assert all(f.why for f in findings)


def test_a_missing_reference_is_named(tmp_path: Path) -> None:
    (finding,) = verify(["eight-schools"], tmp_path)
    assert finding.outcome == "fail"
    assert "eight-schools.npz is missing" in finding.why


def test_a_name_of_no_problem_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="eight-schols"):
        list(verify(["eight-schols"], tmp_path))


def _renamed(folder: Path, problem: Problem) -> None:
    for old, new in zip(files("eight-schools", folder), files(stem_of(problem), folder), strict=True):
        old.rename(new)


def test_a_changed_density_is_caught_and_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = EightSchools(tau_scale=5.0001)
    _renamed(copy, changed)
    findings = list(verify(["eight-schools:tau_scale=5.0001"], copy))
    assert [f.name.split(": ")[1] for f in findings if f.outcome == "fail"] == ["density"]
    monkeypatch.setenv(stored.VARIABLE, str(copy))
    with pytest.raises(UncertifiedError, match=r"of another density: at \d+ of 25 fixed points"):
        stored.reference(changed)


@pytest.mark.parametrize("harm", ["a draw", "the certificate", "a check unmet", "no draws", "broken draws"])
def test_a_harmed_reference_is_never_used(harm: str, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(stored.VARIABLE, str(copy))
    assert stored.reference(EightSchools()).draws.shape == (10_000, 10)
    HARMS[harm][0](copy)
    with pytest.raises(UncertifiedError, match="eight-schools"):
        stored.reference(EightSchools())


def test_a_density_out_of_reach_is_skipped_not_passed(copy: Path) -> None:
    _edit(copy, lambda c: c["problem"].update(name="somebody-elses"))
    for old, new in zip(files("eight-schools", copy), files("somebody-elses", copy), strict=True):
        old.rename(new)
    outcomes = {f.name: f.outcome for f in verify(None, copy) if f.name.startswith("somebody")}
    assert outcomes["somebody-elses: density"] == outcomes["somebody-elses: Stein identities"] == "skipped"
    assert outcomes["somebody-elses: draws"] == "pass"


def test_a_name_is_the_problem_and_what_differs_from_its_defaults() -> None:
    assert stem_of(EightSchools()) == "eight-schools"
    assert stem_of(EightSchools(tau_scale=2.5)) == "eight-schools-tau_scale=2.5"
    long = stem_of(EightSchools(y=tuple(float(k) for k in range(60)), sigma=(1.0,) * 60))
    assert len(long) <= stored.LONGEST
    assert long != stem_of(EightSchools(y=tuple(float(k) for k in range(60)), sigma=(2.0,) * 60))


def test_far_from_zero_no_digits_are_lost() -> None:
    draws = 1e6 + 1e-3 * normal(100, 1)
    loc, scale = draws.mean(0).numpy(), draws.std(0).numpy()
    unit = ((draws.numpy() - loc) / scale).astype(np.float32)
    back = stored.Stored(loc, scale, unit, {}).draws
    assert float((back - draws).abs().max()) < 1e-9
