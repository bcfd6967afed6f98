"""A build does no more than the limits ask for, tells how far it is, and says why it refuses."""

from __future__ import annotations

import functools
import io
import math

import pytest
import torch
from rich.console import Console
from torch import Tensor

from bench.commands import reference as command
from bench.plugins.delegate import from_function
from bench.reference.groups import groups
from bench.reference.health import mixing, trajectories
from bench.reference.limits import below
from bench.reference.routes import Plan, nuts
from bench.reference.run import Run
from methods.parts.sampling.adapt import silent
from methods.parts.sampling.hmc import frame_of
from problems.base import Problem
from problems.mixture import Mixture
from problems.models.pyro_model import PyroModel
from problems.parts.stored import build_command
from tests.helpers.reference_parts import normal, run_of, walk


class Tied(Problem):
    """Two coordinates of a regression on a column far from zero: scales 1 and 100, correlation
    -0.999.
    """

    name = "tied"
    dim = 2
    truth = None  # type: ignore[assignment]
    root = torch.tensor([[100.0, 0.0], [-0.999, 0.0447]], dtype=torch.float64)
    loc = torch.tensor([50.0, -3.0], dtype=torch.float64)

    def log_density(self, z: Tensor) -> Tensor:
        u = torch.linalg.solve_triangular(self.root, (z - self.loc).T, upper=False)
        return -0.5 * u.square().sum(0)

    def draws(self, n: int) -> Tensor:
        """[n, 2]."""
        return self.loc + normal(n, 2) @ self.root.T


class Rows(Tied):
    def log_density(self, z: Tensor) -> Tensor:
        return super().log_density(z.reshape(-1, 2)).reshape(z.shape[:-1])


PLAN = Plan(nuts_chains=2, nuts_warmup=150, nuts_draws=800)


def test_the_second_route_takes_few_steps_in_the_frame_of_the_first() -> None:
    problem = Rows()
    frame = frame_of(problem.draws(5_000), dense=True)
    run = nuts(problem, PLAN, 1, silent, frame)
    assert run.settings["steps_per_draw"] < 12  # in raw coordinates hundreds
    assert run.gradients < 30_000
    flat = run.chains.flatten(0, 1)
    deviation = (flat - problem.loc) / problem.root.square().sum(-1).sqrt()
    assert deviation.mean(0).abs().max() < 0.25
    assert (deviation.std(0) - 1).abs().max() < 0.15
    assert float(torch.corrcoef(flat.T)[0, 1]) == pytest.approx(-0.999, abs=0.001)


def test_the_second_route_ends_at_the_first_look_that_is_good() -> None:
    problem = Rows()
    frame = frame_of(problem.draws(5_000), dense=True)
    seen: list[Run] = []

    def good(run: Run) -> bool:
        seen.append(run)
        return len(seen) == 2

    run = nuts(problem, PLAN, 1, silent, frame, good)
    assert [look.chains.shape[1] for look in seen] == [200, 300]
    assert run is seen[1]
    assert run.transitions == 600
    assert run.settings["draws"] == 300


def test_chains_in_two_groups_are_told_from_chains_that_do_not_mix() -> None:
    apart = walk(20, 200, 0.2)
    apart[:7, :, 1] += 6
    said = groups(apart)
    assert said.startswith("in coordinate 2, 13 of 20 chains stay around")
    assert "7 around 6" in said
    assert "a longer run would not help" in said
    assert groups(walk(20, 200, 0.2)) == ""
    assert groups(walk(20, 200, 0.2) + torch.linspace(0, 9, 20).reshape(20, 1, 1)) == ""


def test_a_refusal_for_r_hat_says_what_to_do() -> None:
    halves = walk(20, 1000, 0.2)
    halves[10:] += 8
    (modes,) = [c for c in mixing(run_of(halves), halves[:, ::10]) if "R-hat" in c.name]
    assert "two modes that chains do not walk between" in str(modes)
    drift = walk(20, 1000, 0.2) + torch.linspace(0, 9, 20).reshape(20, 1, 1)
    (unmixed,) = [c for c in mixing(run_of(drift), drift[:, ::10]) if "R-hat" in c.name]
    assert "have not forgotten where they began" in str(unmixed)


def test_nan_is_never_printed_in_a_refusal() -> None:
    (energy,) = [c for c in trajectories(run_of(normal(4, 9, 2), e_fmi=math.nan)) if not c.met]
    assert "nan" not in str(energy)
    assert "it never moved" in str(energy)
    assert str(below("x", math.nan, 1.0)) == "x could not be computed, expected < 1"


def test_a_build_into_a_pipe_writes_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(command.terminal, "console", lambda: Console(file=out, width=80))

    def build(*_: object) -> str:
        tell = _[3]
        assert callable(tell)
        for share in (0.0, 0.5, 1.0):
            tell("Pyro NUTS: 4 chains", share)
        tell("storing", 1.0)
        return "there"

    monkeypatch.setattr(command, "build", build)
    command.build_reference("mixture-2d", 0, None)
    assert out.getvalue().splitlines() == [
        "Pyro NUTS: 4 chains, 0% of this step",
        "storing, 100% of this step",
        "Certified: there",
    ]


def a_model(scale: float) -> None:
    import pyro
    import pyro.distributions as dist

    pyro.sample("x", dist.Normal(0.0, scale))


def made(scale: float = 2.0) -> PyroModel:
    """A problem that a function makes."""
    return PyroModel(functools.partial(a_model, scale), name="made")


def test_the_command_names_the_function_that_made_the_problem() -> None:
    inner = from_function(made)(scale=3.0).inner  # type: ignore[call-arg,attr-defined]
    assert build_command(inner).endswith(":scale=3.0")
    assert "made" in build_command(inner)
    assert "FILE.py" not in build_command(inner)
    alone = PyroModel(a_model, (1.0,))
    assert build_command(alone).endswith("tests/reference/test_effort.py:FUNCTION")
    assert build_command(Mixture()) == "postbench reference build mixture-2d"
