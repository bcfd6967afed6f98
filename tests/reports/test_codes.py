"""What a page shows of generative models: verdict, table and pictures."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from bench.commands import pages
from bench.commands.export import export_run
from bench.plugins import spec
from bench.running.collect import describe, traits_of
from bench.running.matrix import expand, validated
from bench.store import TRAITS, Store
from reports import numbers
from reports.pictures.figures import pictures
from reports.results import Results, summarise
from reports.verdict import verdict
from tests.helpers.cells import run

LEARNERS = Path(__file__).parents[1] / "helpers" / "plugins" / "learners.py"
FIGURES = (
    *("log_likelihood", "likelihood_gap", "reconstruction_error"),
    *("mean_elbo", "aggregate_kl", "posterior_kl"),
)
PROBLEM = "four-points hidden=[8]"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two learners of four points, which have other decoders."""
    matrix = validated(
        {
            "problems": ["four-points:hidden=[8]"],
            "methods": [f"{LEARNERS}:Still", f"{LEARNERS}:Still:decoder=1", "exact"],
            "seeds": 2,
            "draws": 200,
            "budget": {"checkpoints": 2},
            "metrics": list(FIGURES),
        },
        where="test",
    )
    cells = expand(matrix)
    made = run(cells, tmp_path_factory.mktemp("run"))
    made.keep_current({cell.key: (cell.problem.name, cell.method.name) for cell in cells})
    made.note({TRAITS: traits_of(cells)})
    describe(matrix, made)
    return made


@pytest.fixture(scope="module")
def results(store: Store) -> Results:
    return summarise(store)


def test_the_learner_whose_decoder_finds_the_data_likelier_is_the_better(results: Results) -> None:
    said = verdict(results, PROBLEM)
    one, other = sorted(
        (method for method in results.methods if method != "exact"),
        key=lambda method: -results.figures[PROBLEM, "log_likelihood", method].value,
    )
    assert said.sentence.startswith(f"{one} is closer to the law of the data than {other}, ")
    assert not any("No noise floor" in claim.text for claim in said.claims)


def test_every_picture_is_drawn(store: Store, results: Results) -> None:
    found = pictures(store, results, PROBLEM)
    names = [picture.name.removeprefix("1-four-points-hidden-8-") for picture in found]
    assert names == [
        *("codes", "posteriors", "reconstructions", "samples"),
        *("costs", "aggregate-kl"),
    ]
    for picture in found:
        assert isinstance(picture.figure, Figure), picture.caption
        assert picture.alt
    codes, posteriors, reconstructions = (picture.figure for picture in found[:3])
    assert isinstance(codes, Figure)
    assert isinstance(posteriors, Figure)
    assert isinstance(reconstructions, Figure)
    shown = [axes.get_title(loc="left") for axes in codes.axes if axes.get_visible()]
    assert sum(title == "all x together" for title in shown) == 2
    assert f"{numbers.count(2000)} gradients" in shown
    assert len(posteriors.axes) == 2 * 4
    assert len(reconstructions.axes) == 3 * 4  # the data, and two methods


def test_both_pages_have_the_table_of_the_paper(store: Store, tmp_path: Path) -> None:
    html, markdown = tmp_path / "report.html", tmp_path / "report.md"
    pages.bring_up_to_date(store, html, markdown, lambda: summarise(store))
    headings = [
        "log p(x)",
        "reconstruction error",
        "mean ELBO",
        "KL(q(z)‖p(z))",
        "KL(q(z|x)‖p(z|x))",
    ]
    for page in (html.read_text("utf-8"), unescape(markdown.read_text("utf-8"))):
        for heading in headings:
            assert heading in page, [line for line in page.splitlines() if "KL(q" in line][:3]
        assert "The latent space" in page
        assert "could not be drawn" not in page
    assert [
        spec.parse("figures", name).build().heading.partition(",")[0]
        for name in (
            "log_likelihood",
            "reconstruction_error",
            "mean_elbo",
            "aggregate_kl",
            "posterior_kl",
        )
    ] == headings


def test_codes_are_exported_beside_their_prior(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_run(store.folder, tmp_path / "draws.nc")
    said = " ".join(capsys.readouterr().out.split())
    assert "a generative model; its draws are codes z" in said
    assert "cannot be made here" not in said
