"""Stored references: what ships is intact and true, and files are named and written so that nothing
is mixed up or lost.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch
from pyro.distributions import Normal

from bench.metrics.draws.chains import ess_mean
from bench.plugins import spec
from bench.reference.table import table
from bench.reference.verify import verify
from problems.base import Problem
from problems.eight_schools import EightSchools
from problems.mixture import Mixture
from problems.models.pyro_model import PyroModel
from problems.parts import stored
from problems.parts.stored import SHIPPED, UncertifiedError, build_command, stem_of
from problems.signed_eight_schools import SignedEightSchools
from tests.helpers.exact_problems import SIGMAS, assert_mean, exact, seeded
from tests.helpers.reference_parts import normal

HERE = os.path.relpath(__file__)  # as a command takes it


def test_every_shipped_reference_is_intact() -> None:
    findings = list(verify(None, SHIPPED))
    assert {f"{name}: draws" for name in ("eight-schools", "eight-schools-signed")} <= {
        f.name for f in findings
    }
    assert [f for f in findings if f.outcome != "pass"] == []


def test_what_ships_is_small() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 20e6
    assert all(line.draws == 10_000 for line in table(SHIPPED)[0])


@pytest.mark.parametrize("problem", [EightSchools(), SignedEightSchools()], ids=lambda p: p.name)
def test_shipped_draws_are_those_of_the_exact_truth(problem: Problem) -> None:
    truth = stored.reference(problem)
    assert truth.log_z is not None
    assert truth.log_z_stderr is not None
    assert truth.log_z == pytest.approx(exact(problem).log_z, abs=SIGMAS * truth.log_z_stderr)
    z = exact(problem).sample(200_000, seeded(1))
    assert_mean(
        torch.cat([truth.draws, truth.draws.square()], -1), torch.cat([z, z.square()], -1).mean(0)
    )
    assert float(ess_mean(truth.draws.unsqueeze(0)).min()) > 8_000


def test_a_name_is_the_problem_and_what_differs_from_its_defaults() -> None:
    assert stem_of(EightSchools()) == "eight-schools"
    assert stem_of(EightSchools(tau_scale=2.5)) == "eight-schools-tau_scale=2.5"
    long = stem_of(EightSchools(y=tuple(float(k) for k in range(60)), sigma=(1.0,) * 60))
    assert len(long) <= stored.LONGEST
    assert long != stem_of(EightSchools(y=tuple(float(k) for k in range(60)), sigma=(2.0,) * 60))


@pytest.mark.parametrize(
    ("problem", "command"),
    [
        (EightSchools(), "eight-schools"),
        (Mixture(separation=0.3, weight=0.25), "mixture-2d:separation=0.3,weight=0.25"),
        (
            EightSchools(y=(1.0, 2.0), sigma=(3.0, 4.0)),
            "'eight-schools:y=[1.0, 2.0],sigma=[3.0, 4.0]'",
        ),
        (PyroModel(lambda: pyro.sample("x", Normal(0.0, 1.0)), name="mine"), f"{HERE}:FUNCTION"),
    ],
    ids=["alone", "settings", "quoted", "of a function"],
)
def test_without_a_reference_the_command_that_makes_it_is_named(
    problem: Problem, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "folders", lambda: [tmp_path])
    with pytest.raises(
        UncertifiedError, match=rf"`{re.escape(f'postbench reference build {command}')}` makes one"
    ):
        stored.reference(problem)
    if "FUNCTION" not in command:
        assert spec.parse("problems", shlex.split(command)[0]).build() == problem


MODEL = """
import pyro
from pyro.distributions import Normal
from problems.mixture import Mixture as Copied
from problems.models.pyro_model import PyroModel

class Own(Copied):
    name = "own"

def make(scale: float = 1.0):
    return PyroModel(lambda: pyro.sample("x", Normal(0.0, scale)), name="my-model")
"""


def test_a_problem_of_a_file_is_named_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    own, made = (
        spec.parse("problems", f"model.py:{name}").build()
        for name in ("Own:scale=0.7", "make:scale=2.0")
    )
    assert build_command(own) == "postbench reference build model.py:Own:scale=0.7"
    assert build_command(made) == "postbench reference build model.py:make:scale=2.0"


def test_what_a_function_made_is_looked_for_where_it_is_stored(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    made = spec.parse("problems", f"{tmp_path}/model.py:make").build()
    with pytest.raises(UncertifiedError, match=f"no certified reference for {stem_of(made)!r}"):
        _ = made.truth


def test_far_from_zero_no_digits_are_lost() -> None:
    draws = 1e6 + 1e-3 * normal(100, 1)
    loc, scale = draws.mean(0).numpy(), draws.std(0).numpy()
    unit = ((draws.numpy() - loc) / scale).astype(np.float32)
    back = stored.Stored(loc, scale, unit, {}).draws
    assert float((back - draws).abs().max()) < 1e-9
