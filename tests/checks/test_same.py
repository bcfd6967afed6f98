"""Whether two problems are one posterior: by one constant, by gradient, and where they part."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from bench.checks.same import check_same
from bench.commands.check import check_same as command
from bench.commands.check import named
from bench.errors import UserError
from problems.base import Problem
from problems.eight_schools import EightSchools, EightSchoolsCentred
from problems.gaussian import Gaussian2
from problems.parts import twins


@dataclass(frozen=True)
class Shifted(Problem):
    """Eight schools, and what else is added to its density."""

    more: Callable[[Tensor], Tensor] = lambda z: 0 * z[..., 0]
    truth: ClassVar = EightSchools().truth
    dim: ClassVar[int] = 10
    name: ClassVar[str] = "shifted"

    def log_density(self, z: Tensor) -> Tensor:
        return EightSchools().log_density(z) + self.more(z)


def outcomes(a: Problem, b: Problem) -> dict[str, str]:
    return {finding.name: finding.outcome for finding in check_same(a, b, ("a", "b"))}


def test_a_constant_is_no_difference() -> None:
    found = outcomes(EightSchools(), Shifted(lambda z: 0 * z[..., 0] + 7.25))
    assert set(found.values()) == {"pass"}
    assert set(found) == {"dimension", "support", "gradient", "constant"}


def test_the_coordinate_where_they_part_is_named() -> None:
    other = Shifted(lambda z: 1e-4 * z[..., 4].square())
    found = {f.name: f for f in check_same(EightSchools(), other, ("ours", "theirs"))}
    assert (found["gradient"].outcome, found["constant"].outcome) == ("fail", "fail")
    assert "by eta[3] / z[5], at " in found["gradient"].why
    assert "by eta[3] / z[5], at " in found["constant"].why
    assert "log p of ours less that of theirs" in found["constant"].why


def test_a_step_in_the_density_is_seen_where_the_gradient_sees_nothing() -> None:
    found = outcomes(EightSchools(), Shifted(lambda z: 0.001 * (z[..., 0] > 4).double()))
    assert (found["gradient"], found["constant"]) == ("pass", "fail")


def test_a_point_that_one_of_them_rules_out_is_shown() -> None:
    other = Shifted(lambda z: torch.where(z[..., 0] > 4, -torch.inf, 0.0))
    (found,) = [f for f in check_same(EightSchools(), other, ("a", "b")) if f.name == "support"]
    assert found.outcome == "fail"
    assert "one is finite and the other is not, such as mu = " in found.why


def test_other_dimensions_end_it() -> None:
    found = outcomes(EightSchools(), Gaussian2())
    assert found.pop("dimension") == "fail"
    assert set(found.values()) == {"skipped"}


def test_other_coordinates_of_one_posterior_are_another_density() -> None:
    assert outcomes(EightSchools(), EightSchoolsCentred())["gradient"] == "fail"


def test_the_command_holds_a_problem_against_a_stan_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("stanli")
    ours = EightSchools()
    data = {"J": 8, "y": ours.y, "sigma": ours.sigma, "mu_scale": 5.0, "tau_scale": 5.0}
    program = twins.FOLDER / "eight_schools.stan"
    (tmp_path / "data.json").write_text(json.dumps(data))
    assert command("eight-schools", f"{program}:data={tmp_path / 'data.json'}")
    assert "4 passed, 0 failed" in capsys.readouterr().out
    (tmp_path / "data.json").write_text(json.dumps(data | {"tau_scale": 4.0}))
    assert not command("eight-schools", f"{program}:data={tmp_path / 'data.json'}")
    assert "they part most by log tau / tau, at " in capsys.readouterr().out


def test_the_kind_may_be_said_before_the_name() -> None:
    assert named(["problem", "ring-2d"]) == ("problems", "ring-2d")
    assert named(["ring-2d"]) == (None, "ring-2d")
    with pytest.raises(UserError, match="check takes one name"):
        named(["ring-2d", "funnel"])
