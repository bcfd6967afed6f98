from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import _pylab_helpers

from bench.store import CellRecord, Row, Store
from reports.pictures.costs import costs
from reports.pictures.figures import pictures
from reports.pictures.style import PALETTE, looks
from reports.readings import FLOOR
from reports.results import Results, summarise
from tests.helpers.synthetic_store import build


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def results(store: Store) -> Results:
    return summarise(store)


def test_each_method_has_one_colour_and_matplotlib_is_left_as_it_was(
    store: Store, results: Results
) -> None:
    before = dict(mpl.rcParams)
    look = looks(results.methods)
    assert (
        len({found.colour for method, found in look.items() if method != FLOOR})
        == len(look) - 1
        <= len(PALETTE)
    )
    met: dict[str, set[object]] = {}
    for problem in ("mixture-2d", "eight-schools"):
        for picture in pictures(store, results, problem):
            for legend in picture.figure.legends:
                for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True):
                    if text.get_text() in look:
                        met.setdefault(text.get_text(), set()).add(handle.get_color())  # type: ignore[union-attr]
    assert met == {method: {look[method].colour} for method in met}
    assert len(met) == 4
    assert dict(mpl.rcParams) == before
    assert not _pylab_helpers.Gcf.figs  # none of pyplot's figures


def test_many_methods_stay_apart() -> None:
    found = looks([f"m{i}" for i in range(3 * len(PALETTE))])
    assert len(set(found.values())) == len(found)


def test_estimates_below_the_floor_stand_on_it(results: Results) -> None:
    look = looks(results.methods)
    found = costs(results, "eight-schools", look)
    assert found is not None
    assert found.clipped
    floor = results.figures["eight-schools", "kl_qp", FLOOR].high
    axes = found.figure.axes[0]
    markers = [
        line
        for line in axes.lines
        if line.get_marker() == "D" and line.get_color() == look["pyro-nuts"].colour
    ]
    assert [line.get_ydata()[0] for line in markers] == pytest.approx([floor])  # type: ignore[index]
    assert markers[0].get_markerfacecolor() == "none"


def awkward(folder: Path, draws: Mapping[str, np.ndarray], values: Mapping[str, float]) -> Store:
    store, dim = Store(folder), next(iter(draws.values())).shape[1]
    # broken mathematics, which must be shown as it is
    labels = [rf"$\frac{{{i}$ 漢" for i in range(dim)]
    store.save_draws("truth-p", np.random.default_rng(0).normal(size=(400, dim)), labels)
    for method, x in draws.items():
        rows = [Row(0, True, 0.0, 0, 0, len(x), "kl_qp", values.get(method, 0.5), 0.1, "exact")]
        store.append(CellRecord(method, "p", {}, method, {}, 0, {}, "ok"), rows)
        store.save_draws(method, x, labels)
    return store


@pytest.mark.parametrize("dim", [1, 2, 14])
def test_awkward_draws_give_pictures(tmp_path: Path, dim: int) -> None:
    rng = np.random.default_rng(1)
    draws = {
        "runaway": 1e7 * rng.normal(size=(300, dim)),
        "constant": np.ones((300, dim)),
        "_few": rng.normal(size=(2, dim)),
        "infinitely far": rng.normal(size=(300, dim)),
        "negative": rng.normal(size=(300, dim)),
    }
    store = awkward(tmp_path, draws, {"infinitely far": math.inf, "negative": -0.1})
    found = pictures(store, summarise(store), "p")
    assert len(found) == (2 if dim == 1 else 3)
    assert "infinitely far" in found[-1].caption
