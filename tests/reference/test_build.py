"""Building a reference from end to end: certified and stored when all is sound, refused and named
when anything is not.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.plugins import spec
from bench.plugins.referenced import key, referenced
from bench.reference import bridge
from bench.reference.build import RefusedError, build
from bench.reference.routes import Plan
from bench.reference.run import Run
from bench.reference.table import table
from bench.reference.verify import verify
from problems.base import Exact, Reference
from problems.mixture import Mixture
from problems.parts import stored
from tests.helpers.exact_problems import SIGMAS, assert_mean, exact, seeded
from tests.helpers.reference_parts import NEAR, building, failed, shorten

SHORT = Plan(chains=50, target_accept=0.8, nuts_chains=2, nuts_warmup=60, nuts_draws=800)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("references")
    stages: list[tuple[str, float]] = []
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch, 3)
        patch.setattr(bridge, "MOST", 5_000)
        path = build(
            spec.parse("problems", NEAR), 0, folder, lambda *stage: stages.append(stage), SHORT
        )
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
    for part in (
        "R-hat",
        "bulk ESS",
        "tail ESS",
        "divergent",
        "E-FMI",
        "agreement of the routes",
        "mode balance",
        "log Z",
    ):
        assert any(part in name for name in names), part
    assert "agreement with the exact truth" in names
    assert content["log_z"]["value"] == pytest.approx(0.0, abs=SIGMAS * content["log_z"]["stderr"])
    arguments = {"chains", "warmup", "target_accept", "step_size", "transitions", "divergences"}
    assert arguments | {"records", "burn_in", "mean_steps", "divergent_above"} <= set(
        content["sampler"]
    )
    assert arguments | {"draws", "max_tree_depth"} <= set(content["second"])
    assert content["problem"]["settings"] == {"separation": 0.3}
    findings = list(verify(None, built.parent))
    assert [f.outcome for f in findings if f.name.startswith(built.stem)] == ["pass"] * 7
    (line,), harmed = table(built.parent)
    assert harmed == []
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
    chains = (
        truth.sample(50_000, seeded(1)).reshape(50, 1000, 2),
        truth.sample(8_000, seeded(2)).reshape(4, 2000, 2),
    )
    runs = {
        name: Run(name, z, len(z) * z.shape[1], 0, 1.0, {}, 0, 0.0)
        for name, z in zip(("first", "second"), chains, strict=True)
    }
    monkeypatch.setattr(building, "batched", lambda *_: runs["first"])
    monkeypatch.setattr(building, "nuts", lambda *_: runs["second"])
    # called where NUTS is no witness; as bad as that unless a test says otherwise
    monkeypatch.setattr(building, "tempered", lambda *_: runs.get("third", runs["second"]))
    monkeypatch.setattr(bridge, "MOST", 2_000)
    monkeypatch.setattr(bridge, "COMPONENTS", (1, 2))
    monkeypatch.setattr(building, "EXACT_DRAWS", 50_000)
    return runs


def _refused(folder: Path) -> set[str]:
    with pytest.raises(
        RefusedError,
        match=r"^The reference for mixture-2d-separation=0.3 is refused, and nothing was",
    ) as caught:
        build(spec.parse("problems", NEAR), 0, folder, plan=Plan(chains=50))
    assert not list(folder.iterdir())
    assert all(check.name in str(caught.value) for check in caught.value.failed)
    return set(failed(list(caught.value.failed)))


def test_two_sound_routes_are_certified(routes: dict[str, Run], tmp_path: Path) -> None:
    assert build(spec.parse("problems", NEAR), 0, tmp_path, plan=Plan(chains=50)).is_file()


def test_a_sound_third_route_stands_in_where_nuts_does_not_mix(
    routes: dict[str, Run], tmp_path: Path
) -> None:
    sound = routes["second"]
    drift = torch.linspace(0, 1, len(sound.chains), dtype=torch.float64).reshape(-1, 1, 1)
    routes["third"] = dataclasses.replace(sound, route="third")
    routes["second"] = dataclasses.replace(sound, chains=sound.chains + drift)
    content = json.loads(
        build(spec.parse("problems", NEAR), 0, tmp_path, plan=Plan(chains=50)).read_text()
    )
    assert content["second"]["route"] == "third"
    assert {check["name"].split(":")[0] for check in content["checks"]} >= {"first", "third"}


def test_no_third_route_is_asked_where_two_sound_ones_disagree(
    routes: dict[str, Run], tmp_path: Path
) -> None:
    routes["third"] = dataclasses.replace(routes["second"], route="third")
    routes["second"] = dataclasses.replace(routes["second"], chains=routes["second"].chains + 0.1)
    assert "agreement of the routes" in _refused(tmp_path)


def test_one_that_diverged_first_is_certified_and_says_so(
    routes: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = _changed(routes["second"], divergences=100, settings={"target_accept": 0.95})
    monkeypatch.setattr(
        building,
        "nuts",
        lambda _, plan, *__: routes["second"] if plan.target_accept > 0.95 else hasty,
    )
    content = json.loads(
        build(spec.parse("problems", NEAR), 0, tmp_path, plan=Plan(chains=50)).read_text()
    )
    assert content["second"]["run_before"] == {
        "target_accept": 0.95,
        "transitions": 8_000,
        "divergences": 100,
    }
    assert "run_before" not in content["sampler"]
    assert {f.outcome for f in verify(None, tmp_path)} == {"pass"}


def _changed(run: Run, **fields: Any) -> Run:
    return dataclasses.replace(run, **fields)


REFUSALS: dict[str, tuple[str, Callable[[Run], Run], set[str]]] = {
    "draws wrong": ("first", lambda r: _changed(r, chains=1.1 * r.chains), {"Stein identities"}),
    "divergent": (
        "first",
        lambda r: _changed(r, divergences=100),
        {"first: share of divergent transitions"},
    ),
    "e-fmi": ("second", lambda r: _changed(r, e_fmi=0.1), {"second: E-FMI"}),
    "second off": (
        "second",
        lambda r: _changed(r, chains=r.chains + 0.1),
        {"agreement of the routes"},
    ),
    "second stuck": (
        "second",
        lambda r: _changed(r, chains=_stuck(r.chains)),
        {"second: split R-hat within modes"},
    ),
    "second short": (
        "second",
        lambda r: _changed(r, chains=r.chains[:, :150]),
        {"agreement of the routes: effective draws"},
    ),
}


def _stuck(chains: Tensor) -> Tensor:
    return chains + 0.5 * torch.arange(4.0).reshape(4, 1, 1)


@pytest.mark.parametrize("case", REFUSALS)
def test_one_that_fails_is_refused_and_nothing_is_stored(
    case: str, routes: dict[str, Run], tmp_path: Path
) -> None:
    which, harm, names = REFUSALS[case]
    routes[which] = harm(routes[which])
    assert names <= _refused(tmp_path)


def test_modes_that_the_stored_route_weighs_wrongly_are_refused(
    routes: dict[str, Run], tmp_path: Path
) -> None:
    heavy = routes["first"].chains
    few = (heavy[:, :, :1].sum(-1) > 0) & (torch.arange(1000) % 20 == 0)
    routes["first"] = _changed(
        routes["first"], chains=torch.where(few.unsqueeze(-1), -heavy, heavy)
    )
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


def test_a_posterior_that_chains_do_not_get_through_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, 2)
    with pytest.raises(
        RefusedError,
        match=r"split R-hat is [\d.]+, expected < 1.01(.*\n)+.*second route was not run",
    ):
        build(
            spec.parse("problems", "funnel"),
            0,
            tmp_path,
            plan=Plan(chains=20, stored=1_000, records=200, steps=500),
        )
    assert not list(tmp_path.iterdir())
