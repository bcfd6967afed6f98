"""The verdict in words: what a newcomer can repeat is what the figures bear out, and each thing
that is not believed or not counted says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import UserError
from bench.store import CellRecord, Row, Store
from reports import content, page
from reports.entries import blamed
from reports.readings import FLOOR
from reports.results import Results, summarise
from reports.verdict import verdict
from tests.helpers.figures import WORDS

Seeds = Sequence[tuple[float, float]]


def run(folder: Path, methods: Mapping[str, tuple[str, Seeds]], **more: Any) -> Store:
    """Methods on the problem p: the kind of their figures, and value and standard error by seed."""
    store = Store(folder)
    store.note({"metrics": WORDS})
    for method, (kind, seeds) in methods.items():
        for seed, figure in enumerate(seeds):
            row = Row(0, True, 1.0, 10, 10, 100, "kl_qp", *figure, kind)
            own = more.get(method.replace("-", "_"), {})
            record = CellRecord(f"{method}{seed}", "p", {}, method, {}, seed, {}, "ok", **own)
            store.append(record, [row])
    return store


QUICK = {
    "diagonal": ("exact", [(0.286, 0.003), (0.287, 0.003), (0.285, 0.003)]),
    "full": ("exact", [(0.222, 0.003), (0.223, 0.003), (0.224, 0.003)]),
    "avb": ("exact", [(0.016, 0.002), (0.017, 0.002), (0.015, 0.002)]),
    "nuts": ("estimate", [(0.004, 0.01), (-0.006, 0.01), (0.010, 0.01)]),
    FLOOR: ("estimate", [(0.001, 0.01), (-0.004, 0.01), (0.006, 0.01)]),
}


def said(results: Results) -> list[str]:
    return [claim.text for claim in verdict(results, "p").claims]


def starred(results: Results) -> list[str]:
    return [claim.text for claim in verdict(results, "p").claims if claim.mark]


def test_an_exact_figure_far_below_two_others_is_starred_with_the_margin(tmp_path: Path) -> None:
    results = summarise(run(tmp_path, QUICK))
    found = verdict(results, "p")
    assert found.sentence.startswith(
        "nuts cannot be told from the truth; avb is closer to it than full and diagonal, 0.0160 ±"
    )
    assert starred(results) == [
        "nuts is better than full by at least 0.18 nats and than diagonal by at least 0.24 nats.",
        "avb is better than full by 0.2070 ± 0.0041 nats"
        " and than diagonal by 0.2700 ± 0.0041 nats.",
    ]
    assert "full is better than diagonal by 0.0630 ± 0.0048 nats." in said(results)
    assert "Not told apart: nuts and avb." in said(results)


def test_two_seeds_are_enough_for_a_star(tmp_path: Path) -> None:
    two = {method: (kind, seeds[:2]) for method, (kind, seeds) in QUICK.items() if method != "nuts"}
    results = summarise(run(tmp_path, two))
    assert verdict(results, "p").sentence.startswith("avb is closer to the truth than every other")
    assert len(starred(results)) == 1


def test_one_seed_earns_no_star_and_is_said_to_be_one(tmp_path: Path) -> None:
    one = {method: (kind, seeds[:1]) for method, (kind, seeds) in QUICK.items()}
    results = summarise(run(tmp_path, one))
    assert starred(results) == []
    assert any("One seed only, so no star" in claim for claim in said(results))


def test_of_many_methods_alike_the_first_are_named_and_the_others_counted(tmp_path: Path) -> None:
    many = {f"m{i}": ("exact", [(0.10, 0.01)]) for i in range(9)}
    (claim,) = (c for c in said(summarise(run(tmp_path, many))) if c.startswith("Not told apart"))
    assert claim == "Not told apart: m0, m1, m2 and 6 more. One seed only, so no star."


def test_seeds_that_differ_are_shown_beside_their_mean(tmp_path: Path) -> None:
    methods = {
        "wild": ("exact", [(0.330, 0.004), (0.143, 0.0025)]),
        "still": ("exact", [(1.5, 0.001), (1.5, 0.001)]),
    }
    results = summarise(run(tmp_path, methods))
    assert "(seeds 0.143, 0.330)" in verdict(results, "p").sentence
    assert "seeds 0.143, 0.330" in page.html(run(tmp_path, methods))
    assert any("to 1.4, seed by seed" in claim for claim in starred(results))


def test_chains_that_disagree_are_misled_whatever_the_estimate_reads(tmp_path: Path) -> None:
    """Four chains, two in each mode: neighbours read the truth, by luck."""
    results = summarise(run(tmp_path, QUICK, nuts={"diagnostics": {"r_hat": 1.73}}))
    assert results.verdict(("p", "kl_qp", "nuts")).fault == "chains"
    assert "nuts cannot be told" not in verdict(results, "p").sentence
    assert "the figure of nuts is not to be believed" in verdict(results, "p").sentence
    assert any("its chains do not agree" in claim and "1.73" in claim for claim in said(results))
    slow = summarise(run(tmp_path / "slow", QUICK, nuts={"diagnostics": {"r_hat": 1.04}}))
    assert "nuts cannot be told from the truth" in verdict(slow, "p").sentence


def test_neighbours_of_draws_that_interact_are_not_believed(tmp_path: Path) -> None:
    """Particles that repel one another read as the truth, or nearer, while their means are off; two
    seeds of them leave an interval so wide that it holds anything.
    """
    particles = ("estimate", [(-0.5, math.nan), (-0.65, math.nan)])
    results = summarise(run(tmp_path, {**QUICK, "svgd": particles}))
    found = results.verdict(("p", "kl_qp", "svgd"))
    assert (found.fault, found.rank, found.at_floor) == ("interacting", "", False)
    assert "the figure of svgd is not to be believed" in verdict(results, "p").sentence
    assert "svgd cannot be told" not in verdict(results, "p").sentence
    assert any("svgd may mislead" in claim for claim in said(results))
    assert blamed(results, "p", "kl_qp", "svgd") == "misled: the draws interact"


def test_nothing_is_claimed_where_nothing_is_shown(tmp_path: Path) -> None:
    alike = {name: ("exact", [(0.10, 0.01), (0.11, 0.01)]) for name in ("a", "b")}
    results = summarise(run(tmp_path, alike))
    assert verdict(results, "p").sentence == ("Nothing shows one method to be better than another.")
    assert "Not told apart: a and b." in said(results)


def test_a_density_that_is_not_normalised_is_named_with_its_reason(tmp_path: Path) -> None:
    store = run(tmp_path, {"sound": QUICK["avb"]})
    reason = "log_prob is not normalised: its integral is 0.951 ± 0.001."
    row = Row(0, True, 1.0, 10, 10, 100, "kl_qp", None, None, None, "skipped", reason)
    store.append(CellRecord("off0", "p", {}, "off", {}, 0, {}, "ok"), [row])
    text = page.html(store)
    assert f"off has no figure here: {reason}" in text
    assert f"off: skipped: {reason}" in text


@pytest.mark.parametrize("status", ["cut-short", "partial"])
def test_what_is_set_apart_is_shown_and_counts_nowhere(tmp_path: Path, status: Any) -> None:
    store = run(tmp_path, QUICK)
    row = Row(0, True, 1.0, 10, 10, 100, "kl_qp", 0.159, 0.002, "exact")
    why = "the guard of 900 seconds ended it"
    store.append(CellRecord("apart", "p", {}, "avb", {}, 7, {}, status, why), [row])
    results, text = summarise(store), page.html(store)
    assert results.figures["p", "kl_qp", "avb"].seeds == 3
    assert results.figures["p", "kl_qp", "avb"].value == pytest.approx(0.016)
    assert f"avb, seed 7: {status}, set apart and not counted." in said(results)
    assert "0.1590 ± 0.0039" in text
    assert why in text
    assert f"3 of 4 seeds; {status}" in text
    assert "Cells that did not end well" not in text


def test_only_the_cells_of_the_last_matrix_are_shown(tmp_path: Path) -> None:
    """Edit a plugin, run, edit it back, run: the older cells are those of the matrix."""
    store = run(tmp_path, {"m": ("exact", [(0.1, 0.01)]), "n": ("exact", [(0.2, 0.01)])})
    row = Row(0, True, 1.0, 10, 10, 100, "kl_qp", 0.9, 0.01, "exact")
    store.append(CellRecord("later", "p", {}, "m", {}, 0, {}, "ok"), [row])
    assert summarise(store).figures["p", "kl_qp", "m"].value == 0.9
    store.keep_current({"m0": ("p", "m")})
    results = summarise(store)
    assert results.figures["p", "kl_qp", "m"].value == 0.1
    assert results.methods == ["m"]


def test_a_plan_by_the_clock_is_said(tmp_path: Path) -> None:
    assert "planned by the clock" not in page.html(run(tmp_path, QUICK))
    row = Row(0, True, 1.0, 10, 10, 100, "kl_qp", 0.9, 0.01, "exact")
    store = Store(tmp_path)
    store.append(CellRecord("k", "p", {}, "m", {}, 0, {"seconds": 60.0}, "ok"), [row])
    assert "planned by the clock" in page.html(store)


def test_a_reference_says_how_fine_it_is(tmp_path: Path) -> None:
    store, draws = run(tmp_path, QUICK), np.random.default_rng(0).normal(size=(2500, 1))
    (tmp_path / "draws").mkdir(exist_ok=True)
    facts = {"reference": True, "asked": 10_000, "log_z_stderr": 0.0123}
    store._draws.save("truth-p", draws, ["x"], facts)
    text = page.html(store)
    assert "2,500 of them, though 10,000 were asked for" in text
    assert "1/√2500 = 0.020 standard deviations of the truth" in text
    assert "log Z has a standard error of 0.012 nats" in text
    store._draws.save("truth-p", draws, ["x"], {"reference": False})
    assert "certified reference" not in page.html(store)


def test_figures_on_other_draws_say_on_how_many(tmp_path: Path) -> None:
    store = run(tmp_path, QUICK)
    rows = [
        Row(0, True, 1.0, 10, 10, n, metric, 0.1, 0.01, "exact")
        for metric, n in (("kl_qp", 100_000), ("mmd", 100), ("sd_error", 100))
    ]
    store.append(CellRecord("k", "p", {}, "many", {}, 0, {}, "ok"), rows)
    assert "many: on 100,000 draws, where most figures rest on 100" in page.html(store)


def test_a_page_of_too_many_problems_draws_those_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = run(tmp_path, QUICK)
    monkeypatch.setattr(content, "MOST", 4)
    page.write(store, tmp_path / "all.html")
    page.write(store, tmp_path / "one.html", problems=["p"])
    whole, one = ((tmp_path / f"{name}.html").read_text() for name in ("all", "one"))
    assert "too many problems to draw on one page" in whole
    assert "Results on p" not in whole
    assert "avb is closer to it" in whole
    assert "Results on p" in one
    with pytest.raises(UserError, match="no problem of this run named 'q'"):
        page.write(store, tmp_path / "none.html", problems=["q"])


def test_the_verdict_stands_first_then_pictures_then_tables_then_remarks(tmp_path: Path) -> None:
    store = run(tmp_path, QUICK)
    store.save_draws("truth-p", np.random.default_rng(0).normal(size=(99, 2)), ["x", "y"])
    for method in QUICK:
        store.save_draws(f"{method}0", np.random.default_rng(0).normal(size=(99, 2)), ["x", "y"])
    text = page.html(store)
    places = ["Verdict</h2>", "Distance from the truth</h2>", "How to read it</h2>"]
    places += ['class="problem"', "<img ", "Results on p"]
    found = [text.index(place) for place in places]
    assert found == sorted(found)
    reading = text[text.index('id="reading"') : text.index("<details><summary>More exactly")]
    assert reading.count("<dd>") == 4
