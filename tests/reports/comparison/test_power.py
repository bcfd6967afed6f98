"""The seeds that a pilot asks for: as many as the test needs, and fewer with less noise."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.commands.compare import as_label
from bench.commands.power import Pilot, show_power
from bench.errors import UserError
from reports.comparison.power import CHANCE, plans, power, seeds_for
from reports.ranking import RATE
from reports.results import summarise
from tests.helpers.cells import NORMAL, own
from tests.helpers.two_runs import InMemory, Law, drawn, on_disk


def test_as_many_seeds_show_the_difference_as_often_as_they_should() -> None:
    n = seeds_for(0.5, 1.0, CHANCE)
    assert n == 34  # the tabled number of a paired t test for an effect of 0.5 at 5% and 80%
    samples = 0.5 + np.random.default_rng(1).standard_normal((20_000, n))
    shown = np.mean(stats.ttest_1samp(samples, 0.0, axis=1).pvalue <= RATE)
    assert abs(shown - power(n, 0.5, 1.0)) < 4 * math.sqrt(0.16 / 20_000)


def test_what_cannot_be_shown_has_no_number_of_seeds() -> None:
    assert seeds_for(1e-4, 1.0, CHANCE) is None
    assert seeds_for(0.0, 1.0, CHANCE) is None
    assert seeds_for(1.0, 0.0, CHANCE) == 2


def test_a_pilot_gives_a_plan_for_each_problem() -> None:
    law = Law(seeds=400)  # so many that its variance is known
    pilot = summarise(InMemory(drawn(law, np.random.default_rng(2)), "pilot"))
    found = plans(pilot, ("avb", "gaussian-vb"), [], "kl_qp", 0.1)
    assert [plan.problem for plan in found] == list(law.problems)
    for i, plan in enumerate(found):
        size = 0.1 * (1 + i)
        spread = size * math.sqrt((1 + 4) * (0.05**2 + 0.02**2))  # of one, and of twice as much
        assert plan.spread == pytest.approx(spread, rel=0.15)
        assert plan.noise == pytest.approx(size * 0.02 * math.sqrt(5), rel=1e-6)
        assert plan.seeds[0][0] == seeds_for(plan.difference, plan.spread**2, CHANCE)
        assert (plan.seeds[2][0] or 0) <= (plan.seeds[0][0] or 0) <= (plan.seeds[0][1] or 0)


def test_the_command_prints_the_plan_and_refuses_what_it_cannot_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_disk(tmp_path, Law(seeds=3), seed=1)
    show_power(tmp_path, ["hill"], ["avb", "gaussian-vb"], None, "10%", "80%")
    out = capsys.readouterr().out
    assert "hill" in out
    assert "ridge" not in out
    for methods, share in ((["avb"], "10%"), (["avb", "nuts"], "10%"), (["avb", "avb"], "0%")):
        with pytest.raises(UserError):
            show_power(tmp_path, [], methods, None, share, "80%")


def test_without_a_folder_a_pilot_is_run_first_and_a_larger_one_continues_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    methods = [f"{own('Walk')}:steps=3", own("Walk")]
    asked = [NORMAL], methods, "mean_error", "50%", "80%"
    show_power(None, *asked, Pilot(seeds=3, draws=100, jobs=0))
    out = capsys.readouterr().out
    assert "6 cells to run" in out
    assert "Seeds that show a difference of 50%: trouble.py:Walk steps=3" in out
    assert "The pilot had 100 draws" in out
    show_power(None, *asked, Pilot(seeds=4, draws=100, jobs=0))
    assert "6 of 8 cells are done already" in capsys.readouterr().out
    assert Path("results/pilot/results.sqlite").is_file()


def test_a_pilot_needs_a_problem_and_a_folder_takes_no_settings(tmp_path: Path) -> None:
    methods = ["laplace", "gaussian-vb"]
    with pytest.raises(UserError, match="-p PROBLEM"):
        show_power(None, [], methods, None, "10%", "80%")
    with pytest.raises(UserError, match="is the pilot"):
        show_power(tmp_path, [], methods, None, "10%", "80%", Pilot(seeds=3))


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("avb:steps=2,batch=8", "avb batch=8 steps=2"),
        ("avb", "avb"),
        ("there/mine.py:Mine", "mine.py:Mine"),
        ("mine.py:Mine:lr=0.1", "mine.py:Mine lr=0.1"),
        ("there/model.stan:data=a.json", "model.stan data=a.json"),
    ],
)
def test_a_name_as_typed_is_found_under_its_label(typed: str, shown: str) -> None:
    assert as_label(typed) == shown
