"""posteriordb: a small folder in its layout is a source of problems, its draws are used where they
fit the density, parameters that are not stored are solved for, and what does not fit is refused.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.commands.show import print_posteriors
from bench.errors import UserError
from bench.plugins import spec
from bench.running.matrix import expand, read
from problems.models.posteriordb import Posteriordb
from problems.parts.posteriordb_folder import names, posterior
from problems.parts.stored import UncertifiedError

pytest.importorskip("stanli")

PROGRAMS = {
    "mean": """
        data { int n; vector[n] y; }
        parameters { real mu; }
        model { mu ~ normal(0, 2); y ~ normal(mu, 1); }
    """,
    "noncentred": """
        parameters { real m; real<lower=0> s; vector[2] raw; }
        transformed parameters { vector[2] x = m + s * raw; }
        model { m ~ normal(0, 1); s ~ lognormal(0, 0.3); raw ~ normal(0, 1); }
    """,
    "shares": """
        parameters { simplex[3] p; }
        model { p ~ dirichlet([2, 3, 4]'); }
    """,
    "direction": """
        parameters { array[2] unit_vector[3] u; real k; }
        model { k ~ normal(0, 1); }
    """,
    "shapes": """
        data { int none; real low; }
        parameters {
          array[2, 1] vector<lower=low>[3] a;
          real<lower=a[1, 1, 1]> above;
          vector[none] nothing;
          array[1] real one;
          matrix[2, 2] grid;
          sum_to_zero_vector[3] zero;
          cholesky_factor_corr[2] chol;
        }
        transformed parameters { real far = 1000 + one[1]; }
        model {
          for (i in 1 : 2) a[i, 1] - low ~ exponential(1);
          above - a[1, 1, 1] ~ exponential(1);
          one ~ normal(0, 1);
          to_vector(grid) ~ normal(0, 1);
          zero ~ normal(0, 1);
          chol ~ lkj_corr_cholesky(1);
        }
    """,
    "squared": """
        parameters { real a; }
        transformed parameters { real b = a^2; }
        model { a ~ normal(1, 1); }
    """,
}
DATA = {"mean": {"n": 4, "y": [0.5, 1.0, 1.5, 2.0]}, "shapes": {"none": 0, "low": -1.5}}
USABLE = ("direction", "mean", "noncentred", "shapes", "shares")
CHAINS, DRAWS = 10, 200


def draws_of(model: str) -> dict[str, np.ndarray[Any, Any]]:
    """Exact draws, [chains, draws, *shape] by name, of what posteriordb would store."""
    random = np.random.RandomState(1)
    shape = (CHAINS, DRAWS)
    if model == "mean":
        precision = 0.25 + 4
        return {"mu": 5.0 / precision + random.normal(size=shape) / precision**0.5}
    if model == "noncentred":
        m, s = random.normal(size=shape), np.exp(0.3 * random.normal(size=shape))
        return {"m": m, "s": s, "x": m[..., None] + s[..., None] * random.normal(size=(*shape, 2))}
    if model == "shares":
        return {"p": np.round(random.dirichlet([2, 3, 4], shape), 8)}  # the sum is 1 no more
    if model == "direction":
        u = random.normal(size=(*shape, 2, 3))
        return {"u": u / np.linalg.norm(u, axis=-1, keepdims=True), "k": random.normal(size=shape)}
    if model == "shapes":
        return shapes(random, shape)
    return {"b": random.normal(1, 1, shape) ** 2}  # a and -a are alike


def shapes(random: Any, shape: tuple[int, int]) -> dict[str, np.ndarray[Any, Any]]:
    """Draws of arrays of vectors, a matrix, a Cholesky factor and more, with six digits."""
    a = -1.5 + random.exponential(size=(*shape, 2, 1, 3))
    rho, zero = random.uniform(-1, 1, shape), random.normal(size=(*shape, 3))
    one = random.normal(size=(*shape, 1))
    chol = np.zeros((*shape, 2, 2))
    chol[..., 0, 0], chol[..., 1, 0], chol[..., 1, 1] = 1, rho, np.sqrt(1 - rho**2)
    exact = {
        "a": a,
        "above": a[..., 0, 0, 0] + random.exponential(size=shape),
        "one": one,
        "grid": random.normal(size=(*shape, 2, 2)),
        "zero": zero - zero.mean(-1, keepdims=True),
        "chol": chol,
        "far": 1000 + one[..., 0],
    }
    return {k: np.vectorize(lambda x: float(f"{x:.6g}"))(v) for k, v in exact.items()}


def columns(values: dict[str, np.ndarray[Any, Any]]) -> list[dict[str, list[float]]]:
    chains = []
    for c in range(CHAINS):
        chain = {}
        for name, array in values.items():
            for index in np.ndindex(array.shape[2:]):
                at = f"[{','.join(str(i + 1) for i in index)}]" if index else ""
                chain[f"{name}{at}"] = array[(c, slice(None), *index)].tolist()
        chains.append(chain)
    return chains


def packed(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file.with_name(f"{file.name}.zip"), "w") as archive:
        archive.writestr(file.name, json.dumps(content))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("pdb")
    root = top / "posterior_database"
    for place in ("posteriors", "models/stan", "models/info"):
        (root / place).mkdir(parents=True)
    for model, program in PROGRAMS.items():
        (root / "models" / "stan" / f"{model}.stan").write_text(program)
        (root / "models" / "info" / f"{model}.info.json").write_text('{"keywords": ["small"]}')
        packed(root / "data" / "data" / f"{model}.json", DATA.get(model, {}))
        about = {"name": model, "model_name": model, "data_name": model, "keywords": ["ours"]}
        about |= {"dimensions": {"mu": 1}, "reference_posterior_name": model}
        (root / "posteriors" / f"{model}-data.json").write_text(json.dumps(about))
        draws = root / "reference_posteriors" / "draws"
        packed(draws / "draws" / f"{model}.json", columns(draws_of(model)))
        (draws / "info").mkdir(exist_ok=True)
        (draws / "info" / f"{model}.info.json").write_text('{"name": "theirs"}')
    return top


def test_the_posteriors_of_a_folder_are_listed(folder: Path) -> None:
    assert names(str(folder)) == [f"{model}-data" for model in sorted(PROGRAMS)]
    found = posterior(str(folder / "posterior_database"), "mean-data")
    assert found.keywords == ("ours", "small")
    assert found.dimensions == {"mu": 1}


def test_a_posterior_is_a_problem_with_their_draws(folder: Path) -> None:
    problem = Posteriordb("mean-data", str(folder))
    truth = problem.truth
    assert (problem.name, problem.dim, len(truth.draws)) == ("mean-data", 1, CHAINS * DRAWS)
    assert truth.certificate["made by"] == "posteriordb"
    assert truth.certificate["name"] == "theirs"
    expected = torch.from_numpy(draws_of("mean")["mu"]).reshape(-1, 1)
    torch.testing.assert_close(truth.draws, expected)


def test_parameters_that_are_not_stored_are_solved_for(folder: Path) -> None:
    problem = Posteriordb("noncentred-data", str(folder))
    stored = draws_of("noncentred")
    raw = (stored["x"] - stored["m"][..., None]) / stored["s"][..., None]
    found = problem.constrain(problem.truth.draws)["raw"]
    torch.testing.assert_close(found, torch.from_numpy(raw).flatten(0, 1), rtol=1e-8, atol=1e-8)


def test_rounded_shares_are_put_back_on_the_simplex(folder: Path) -> None:
    problem = Posteriordb("shares-data", str(folder))
    shares = problem.constrain(problem.truth.draws)["p"]
    torch.testing.assert_close(shares.sum(-1), torch.ones(CHAINS * DRAWS).double())
    told = torch.from_numpy(draws_of("shares")["p"]).flatten(0, 1)
    torch.testing.assert_close(shares, told, rtol=0, atol=1e-7)


def test_what_the_program_does_not_determine_is_refused(folder: Path) -> None:
    with pytest.raises(UncertifiedError, match="cannot be used"):
        _ = Posteriordb("squared-data", str(folder)).truth


def test_few_digits_and_every_shape_come_back(folder: Path) -> None:
    problem = Posteriordb("shapes-data", str(folder))
    found, told = problem.constrain(problem.truth.draws), draws_of("shapes")
    assert problem.dim == 6 + 1 + 0 + 1 + 4 + 2 + 1
    for name, values in told.items():
        torch.testing.assert_close(
            found[name], torch.from_numpy(values).flatten(0, 1), rtol=1e-5, atol=1e-5
        )


def test_unit_vectors_get_lengths_of_their_own_law(folder: Path) -> None:
    problem = Posteriordb("direction-data", str(folder))
    draws = problem.truth.draws
    told = torch.from_numpy(draws_of("direction")["u"]).flatten(0, 1)
    torch.testing.assert_close(problem.constrain(draws)["u"], told)
    for u in (draws[:, :3], draws[:, 3:6]):  # three normals: their square is chi-square with three
        square = u.square().sum(-1)
        assert abs(float(square.mean()) - 3) < 4 * (6 / len(draws)) ** 0.5
    again = problem.unconstrain(problem.constrain(draws))
    assert torch.equal(problem.unconstrain(problem.constrain(draws)), again)


def draws_file(folder: Path) -> Path:
    """Of the model of a mean; what is there is a zip of it."""
    return folder / "posterior_database" / "reference_posteriors" / "draws" / "draws" / "mean.json"


def chains(change: Callable[[int, dict[str, Any]], Any]) -> object:
    return [change(i, chain) for i, chain in enumerate(columns(draws_of("mean")))]


BROKEN_DRAWS = [
    (chains(lambda i, c: {"mu": c["mu"][: DRAWS - i]}), "not of one length: there are 191, 192"),
    (chains(lambda i, c: c if i else {}), "do not have the same columns"),
    (chains(lambda i, c: {"mu[1]": c["mu"], "mu[2]": c["mu"]}), r"mu has the shape \[\].* \[2\]"),
    (chains(lambda i, c: {**c, "x[a]": c["mu"]}), r"'x\[a\]' is no name of a column"),
    (chains(lambda i, c: {**c, "x[1]": c["mu"], "x[1,2]": c["mu"]}), "'x' have no shape"),
    (chains(lambda i, c: {"mu": ["much"] * DRAWS}), "something that is no number"),
    (chains(lambda i, c: {"mu": 1.0}), "no list of numbers"),
    ({"mu": [1.0]}, "no list of chains"),
    ([], "do not have the same columns"),
]


@pytest.mark.parametrize(("content", "words"), BROKEN_DRAWS, ids=[b[1] for b in BROKEN_DRAWS])
def test_draws_that_cannot_be_read_are_refused_with_the_reason(
    folder: Path, content: Any, words: str
) -> None:
    file = draws_file(folder)
    whole = file.with_name("mean.json.zip").read_bytes()
    packed(file, content)
    try:
        with pytest.raises(UncertifiedError, match=words):
            _ = Posteriordb("mean-data", str(folder)).truth
    finally:
        file.with_name("mean.json.zip").write_bytes(whole)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_name": None}, "broken.json lacks the key 'model_name'"),
        ({"data_name": 3}, "broken.json lacks the key 'data_name'"),
        ({"model_name": "gone"}, "'broken' needs .*gone.stan, which is not there"),
        ({"data_name": "gone"}, "'broken' needs .*gone.json, which is not there"),
    ],
)
def test_a_posterior_that_lacks_something_is_said_and_the_others_are_listed(
    folder: Path, change: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder / "posterior_database" / "posteriors"
    about = json.loads((place / "mean-data.json").read_text())
    (place / "broken.json").write_text(json.dumps({**about, **change}))
    try:
        print_posteriors(folder)
        said = capsys.readouterr().out
        assert re.search(words, said)
        assert all(f"{model}-data" in said for model in PROGRAMS)
        with pytest.raises(ValueError, match=words):
            Posteriordb("broken", str(folder))
    finally:
        (place / "broken.json").unlink()


def test_a_posterior_of_few_words_is_a_problem_all_the_same(folder: Path) -> None:
    place = folder / "posterior_database" / "posteriors"
    about = {"model_name": "mean", "data_name": "mean", "dimensions": {"mu": None, "x": [2, 3]}}
    (place / "short.json").write_text(json.dumps(about))
    try:
        assert posterior(str(folder), "short").dimensions == {"mu": 1, "x": 6}
        with pytest.raises(UncertifiedError, match="no reference draws of 'short'"):
            _ = Posteriordb("short", str(folder)).truth
    finally:
        (place / "short.json").unlink()


def test_draws_of_another_posterior_are_refused(folder: Path) -> None:
    file = draws_file(folder)
    away = {"mu": draws_of("mean")["mu"] + 0.1}
    whole = file.with_name("mean.json.zip").read_bytes()
    packed(file, columns(away))
    try:
        with pytest.raises(
            UncertifiedError, match=r"do not fit the density at mu: .* standard err"
        ):
            _ = Posteriordb("mean-data", str(folder)).truth
    finally:
        file.with_name("mean.json.zip").write_bytes(whole)


def test_names_and_folders_that_are_not_there_are_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="no posterior 'none' among the 6"):
        Posteriordb("none", str(folder))
    with pytest.raises(ValueError, match="is no clone of posteriordb"):
        Posteriordb("mean-data", str(folder / "posterior_database" / "posteriors"))
    monkeypatch.delenv("POSTBENCH_POSTERIORDB", raising=False)
    with pytest.raises(ValueError, match="folder=DIR, or set POSTBENCH_POSTERIORDB"):
        Posteriordb("mean-data")
    monkeypatch.setenv("POSTBENCH_POSTERIORDB", str(folder))
    assert Posteriordb("mean-data").dim == 1


def test_it_is_named_on_the_command_line_and_its_content_counts(folder: Path) -> None:
    text = f"posteriordb:posterior=mean-data,folder={folder}"
    before = spec.parse("problems", text)
    program = folder / "posterior_database" / "models" / "stan" / "mean.stan"
    whole = program.read_text()
    program.write_text(f"{whole}\n// a comment")
    try:
        assert spec.parse("problems", text).content != before.content
    finally:
        program.write_text(whole)
    assert spec.parse("problems", text).content == before.content
    with pytest.raises(UserError, match="no posterior"):
        spec.parse("problems", f"posteriordb:posterior=x,folder={folder}")


def test_the_command_lists_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_posteriors(folder)
    line = next(row for row in capsys.readouterr().out.splitlines() if row.startswith("mean-data"))
    assert line.split() == ["mean-data", "1", "parameters", "with", "draws", "ours,", "small"]
    with pytest.raises(UserError, match="no clone of posteriordb"):
        print_posteriors(folder / "posterior_database" / "data")


def test_the_preset_runs_on_all_that_can_be_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTBENCH_POSTERIORDB", str(folder))
    cells = expand(read("posteriordb"))
    assert {cell.problem.settings["posterior"] for cell in cells} == {
        f"{model}-data" for model in USABLE
    }
    assert all(cell.budget.seconds is None and cell.budget.gradients for cell in cells)
    monkeypatch.delenv("POSTBENCH_POSTERIORDB")
    with pytest.raises(UserError, match="posteriordb: a clone of posteriordb is needed"):
        expand(read("posteriordb"))
