"""A Stan program as a problem: its density, names, both scales, what decides its key, and what is
said where it is no posterior.
"""

from __future__ import annotations

import copy
import json
import math
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from bench.errors import UserError
from bench.fitting.target import WARM_UP, CountedTarget
from bench.metrics.draws.work import per_row
from bench.plugins import spec
from bench.running.matrix import expand, validated
from problems.eight_schools import EightSchools
from problems.models.stan_model import StanModel
from problems.parts import stan_library
from problems.parts.stored import UncertifiedError, build_command, stem_of
from problems.parts.twins import FOLDER

pytest.importorskip("stanli")

MIXED = """
data { int K; }
parameters {
  simplex[K] share; // sums to one
  cholesky_factor_corr[3] root;
  corr_matrix[3] tied;
  cov_matrix[2] spread;
  ordered[2] up;
  unit_vector[3] way;
  sum_to_zero_vector[3] zero;
  array[2] simplex[2] halves;
  matrix<lower=0>[2, 3] table;
  real<lower=-1, upper=2> inside; /* between two bounds; and */
  real<lower=inside> above;
  real<offset=2, multiplier=3> moved;
  array[2, 2] real plain, more;
}
transformed parameters {
  matrix[2, 2] twice = 2 * spread;
}
model {
  root ~ lkj_corr_cholesky(2);
  spread ~ wishart(4, identity_matrix(2));
  to_vector(table) ~ exponential(1);
  up ~ std_normal();
  above ~ normal(0, 3);
  moved ~ normal(0, 3);
  zero ~ std_normal();
  to_array_1d(plain) ~ std_normal();
  to_array_1d(more) ~ std_normal();
}
"""
HALF = """
parameters { real x; }
model {
  x ~ std_normal();
  target += log(x); // no density below 0
}
"""
DEEP = """
parameters { real<lower=0> x; }
model {
#include prior.stan
}
"""


@pytest.fixture
def schools(tmp_path: Path) -> StanModel:
    """Eight schools from the file of its twin."""
    ours = EightSchools()
    data = {"J": 8, "y": ours.y, "sigma": ours.sigma, "mu_scale": 5, "tau_scale": 5}
    (tmp_path / "schools.json").write_text(json.dumps(data))
    shutil.copy(FOLDER / "eight_schools.stan", tmp_path / "schools.stan")
    return StanModel(str(tmp_path / "schools.stan"), str(tmp_path / "schools.json"))


def model(folder: Path, text: str, data: str = "") -> StanModel:
    (folder / "model.stan").write_text(text)
    return StanModel(str(folder / "model.stan"), data)


def rows(problem: StanModel, n: int = 6) -> Tensor:
    return torch.randn(n, problem.dim, generator=Generator().manual_seed(3), dtype=torch.float64)


def test_eight_schools_is_our_eight_schools(schools: StanModel) -> None:
    ours = EightSchools()
    z = 2 * rows(schools, 100)
    difference = ours.log_density(z) - schools.log_density(z)
    torch.testing.assert_close(difference, difference[:1].expand(100), rtol=0, atol=1e-10)
    slopes = (CountedTarget(problem).value_and_grad(z)[1] for problem in (ours, schools))
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-12)
    assert schools.coordinates == ("mu", "tau", *(f"eta[{j}]" for j in range(1, 9)))
    theirs = schools.constrain(z)
    for name, value in ours.constrain(z).items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 3)], ids=str)
def test_any_batch_row_by_row(schools: StanModel, shape: tuple[int, ...]) -> None:
    z = rows(schools, math.prod(shape)).reshape(*shape, schools.dim)
    value = schools.log_density(z)
    assert (value.shape, value.dtype) == (shape, torch.float64)
    alone = [schools.log_density(row) for row in z.reshape(-1, schools.dim)]
    assert value.flatten().tolist() == [float(one) for one in alone]
    assert schools.log_density(z.mT.contiguous().mT).tolist() == value.tolist() if shape else True
    torch.testing.assert_close(schools.unconstrain(schools.constrain(z)), z, rtol=1e-9, atol=1e-9)


def test_torch_differentiates_it_twice(schools: StanModel) -> None:
    z = rows(schools, 2).requires_grad_()
    assert torch.autograd.gradcheck(schools.log_density, (z,), atol=1e-6)
    assert torch.autograd.gradgradcheck(schools.log_density, (z,), atol=1e-6)


def test_torch_cannot_record_it_and_says_so(schools: StanModel) -> None:
    target, z = CountedTarget(schools), rows(schools)
    for _ in range(WARM_UP + 1):
        target.value_and_grad(z)
    assert target.recorded == 0
    with pytest.raises(RuntimeError, match="cannot be recorded"):
        make_fx(lambda z: schools.log_density(z))(z)


def test_the_work_that_it_is_can_be_counted(schools: StanModel) -> None:
    z = rows(schools, 40)
    assert per_row(lambda n: schools.log_density(z[:n])) > 0


def test_threads_change_nothing(schools: StanModel, monkeypatch: pytest.MonkeyPatch) -> None:
    z = rows(schools, 300)
    value, gradient = schools.stan_program.value_and_grad(z)
    monkeypatch.setattr(stan_library, "WORTH", 0.0)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        again = schools.stan_program.value_and_grad(z)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(again[0], value)
    assert torch.equal(again[1], gradient)


def test_every_kind_of_support_goes_both_ways(tmp_path: Path) -> None:
    problem = model(tmp_path, MIXED, '{"K": 3}')
    z = 0.5 * rows(problem, 20).reshape(4, 5, -1)
    values = problem.constrain(z)
    assert {name: tuple(value.shape[2:]) for name, value in values.items()} == {
        "share": (3,),
        "root": (3, 3),
        "tied": (3, 3),
        "spread": (2, 2),
        "up": (2,),
        "way": (3,),
        "zero": (3,),
        "halves": (2, 2),
        "table": (2, 3),
        "inside": (),
        "above": (),
        "moved": (),
        "plain": (2, 2),
        "more": (2, 2),
        "twice": (2, 2),
    }
    torch.testing.assert_close(values["twice"], 2 * values["spread"])
    torch.testing.assert_close(values["tied"], values["tied"].mT)
    back = problem.constrain(problem.unconstrain(values))
    for name, value in values.items():
        torch.testing.assert_close(back[name], value, rtol=1e-9, atol=1e-9)
    # the density may depend on the length of a free unit vector, so the coordinates are its own
    assert bool(problem.log_density(z).isfinite().all())


def test_a_coordinate_of_an_array_has_the_name_of_the_entry_that_it_moves(tmp_path: Path) -> None:
    entries = "array[2] vector[3] v; array[2, 3] real r; array[3] matrix[2, 2] m; matrix[2, 3] t;"
    inside = "array[2] ordered[2] o; array[2] cov_matrix[2] c; array[2] unit_vector[2] u;"
    problem = model(tmp_path, f"parameters {{ {entries} {inside} }} model {{ }}")
    z = torch.full((problem.dim,), 0.1, dtype=torch.float64)
    before = problem.constrain(z)
    for i, label in enumerate(problem.coordinates):
        after = problem.constrain(z + torch.eye(problem.dim, dtype=torch.float64)[i])
        moved = {n: x != before[n] for n, x in after.items() if not torch.equal(x, before[n])}
        name, _, index = label.rstrip("]").partition("[")
        place = [int(k) - 1 for k in index.split(",")]
        assert list(moved) == [name], label
        if name in "ocu":  # an element has coordinates of its own: the one of the first index
            assert {at[0] for at in moved[name].nonzero().tolist()} == {place[0]}, label
        else:
            assert moved[name].nonzero().tolist() == [place], label


def test_rounded_values_are_put_back_into_their_support(tmp_path: Path) -> None:
    problem = model(tmp_path, MIXED, '{"K": 3}')
    values = problem.constrain(0.5 * rows(problem, 20))
    rounded = {name: value.mul(1e5).round().div(1e5) for name, value in values.items()}
    back = problem.constrain(problem.unconstrain(rounded))
    for name, value in values.items():
        torch.testing.assert_close(back[name], value, rtol=1e-3, atol=3e-5)
    assert float((back["share"].sum(-1) - 1).abs().max()) < 1e-12


def test_a_support_may_be_declared_in_an_included_file(tmp_path: Path) -> None:
    (tmp_path / "shares.stan").write_text("  simplex[3] share;\n")
    problem = model(tmp_path, "parameters {\n#include shares.stan\n}\nmodel { }")
    rounded = {"share": torch.tensor([0.333, 0.333, 0.333]).double()}
    torch.testing.assert_close(problem.unconstrain(rounded), torch.zeros(2).double())


def test_values_on_the_edge_are_refused_and_counted(schools: StanModel) -> None:
    values = schools.constrain(rows(schools, 5))
    values["tau"][3] = 0.0
    with pytest.raises(ValueError, match=r"schools: 1 of 5 values of 'mu, tau, eta' have no"):
        schools.unconstrain(values)


def test_a_domain_error_is_minus_infinity_in_stans_own_words(tmp_path: Path) -> None:
    text = "parameters { real x; } model { 1.0 ~ normal(0, x); }"
    problem = model(tmp_path, text)
    z = torch.tensor([[1.0], [-1.0], [math.nan]], dtype=torch.float64, requires_grad=True)
    value = problem.log_density(z)
    assert value.tolist() == [-0.5, -math.inf, -math.inf]
    value.sum().backward()
    assert z.grad is not None
    assert z.grad.flatten().tolist() == [0.0, 0.0, 0.0]  # -log x - 1 / (2 x^2) is flat at 1
    assert "-1" in problem.explain(torch.tensor([-1.0]))
    assert problem.explain(torch.tensor([1.0])) == ""


def test_no_number_is_minus_infinity(tmp_path: Path) -> None:
    problem = model(tmp_path, HALF)
    assert problem.log_density(torch.tensor([[-1.0]]).double()).tolist() == [-math.inf]


@pytest.mark.parametrize(
    ("text", "data", "words"),
    [
        ("parameters { real x; }\nmodel { x ~ normal(0, y); }", "", "model.stan', line 2, column"),
        ("parameters { real x; }\nmodel { x ~ normal(0, 1) }", "", "parsing error"),
        (MIXED, "", "with no data: .*K"),
        (MIXED, "[1]", "with the data cannot be read|cannot be read"),
        (MIXED, "{oops", "the data is not JSON"),
        ("model { }", "", "there is nothing to infer"),
        (DEEP, "", r"model.stan includes 'prior.stan'; there is no file '.*prior.stan'"),
    ],
)
def test_what_is_no_posterior_is_said_with_file_and_line(
    text: str, data: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        model(tmp_path, text, data)


def test_an_error_in_an_included_file_names_it(tmp_path: Path) -> None:
    (tmp_path / "prior.stan").write_text("x ~ normal(0, 1);\nx ~ normal(y, 1);\n")
    with pytest.raises(ValueError, match=r"prior\.stan', line 2, column 11, included from"):
        model(tmp_path, DEEP)


def test_without_the_library_one_sentence_says_what_to_install(
    schools: StanModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stanli", None)
    with pytest.raises(UserError, match=r"pip install 'postbench\[stan\]'"):
        spec.make("problems", schools.file, {"data": schools.data})


def content(file: Path, data: str) -> str:
    return spec.make("problems", str(file), {"data": data}).content


def test_text_includes_and_data_decide_the_key_and_places_do_not(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    (here / "model.stan").write_text(DEEP)
    (here / "prior.stan").write_text("x ~ normal(0, 1);\n")
    (here / "data.json").write_text("{}")
    shutil.copytree(here, there)
    first = content(here / "model.stan", str(here / "data.json"))
    assert content(there / "model.stan", str(there / "data.json")) == first
    keys = {first}
    for name, text in (
        ("prior.stan", "x ~ normal(0, 2);\n"),
        ("model.stan", DEEP + "// more\n"),
        ("data.json", '{"N": 1}'),
    ):
        (there / name).write_text(text)
        keys.add(content(there / "model.stan", str(there / "data.json")))
    keys.add(content(there / "model.stan", '{"N": 1}'))
    assert len(keys) == 5


def test_the_version_of_the_library_decides_the_key(
    schools: StanModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = content(Path(schools.file), schools.data)
    monkeypatch.setattr(spec.metadata, "version", lambda name: "0.99")
    assert content(Path(schools.file), schools.data) != first


def test_the_command_line_and_a_matrix_name_it_alike(schools: StanModel) -> None:
    typed = spec.parse("problems", f"{schools.file}:data={schools.data}")
    matrix = validated(
        {
            "problems": [{"name": schools.file, "fields": {"data": schools.data}}],
            "methods": ["gaussian-vb"],
        },
        where="here",
    )
    (cell, *_) = expand(matrix)
    assert cell.problem == typed
    assert typed.name == "schools.stan"
    assert (
        typed.build().log_density(rows(schools)).tolist()
        == schools.log_density(rows(schools)).tolist()
    )


def test_two_programs_of_one_name_stay_two(schools: StanModel, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    text = Path(schools.file).read_text()
    (other / "schools.stan").write_text(text.replace("cauchy", "normal"))
    names = [f"{file}:data={schools.data}" for file in (schools.file, other / "schools.stan")]
    cells = expand(
        validated({"problems": names, "methods": ["gaussian-vb"], "seeds": 1}, where="here")
    )
    assert len({cell.problem.name for cell in cells}) == 2


def test_its_truth_is_a_reference_and_the_error_says_what_makes_one(
    schools: StanModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert stem_of(schools) == "schools"
    other = str(shutil.copy(schools.data, tmp_path / "b.json"))
    assert stem_of(StanModel(schools.file, other)) == "schools-b"
    command = f"postbench reference build schools.stan:data={schools.data}"
    assert build_command(schools) == command
    with pytest.raises(UncertifiedError, match="no certified reference for 'schools'"):
        _ = schools.truth


def test_a_copy_has_a_model_of_its_own(schools: StanModel) -> None:
    z = rows(schools)
    value = schools.log_density(z)
    program = copy.deepcopy(schools.stan_program)
    del schools
    assert torch.equal(program.log_density(z), value)
