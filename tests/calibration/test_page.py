"""What is left of a calibration: trials that outlive a run that was stopped, and the pages made of
them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.calibration.calibrate import Repetitions, Row, calibrate
from bench.calibration.cases import every_case
from bench.calibration.estimator import Estimator
from bench.calibration.learned import NAME, learned_cases
from bench.calibration.ledger import Ledger, fingerprint
from bench.calibration.table import markdown, widths
from bench.commands import calibrate as calibrate_command
from bench.commands.calibrate import LEARNED_MARKS, MARKS, _between, write_calibration
from bench.errors import UserError
from tests.calibration.test_calibrate import Seed, nothing


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    path, seed = tmp_path / "deep" / "trials.jsonl", [Estimator("seed", Seed(), "draws", "mine")]
    whole = calibrate(
        [nothing()], seed, sizes=(50,), repetitions=Repetitions(25, 2), ledger=Ledger(path)
    )
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == 25
    # killed in the middle of a line
    path.write_text("".join(lines[:10]) + lines[10][:30], encoding="utf-8")
    done: list[tuple[int, int]] = []
    again = calibrate(
        [nothing()],
        seed,
        sizes=(50,),
        repetitions=Repetitions(25, 2),
        ledger=Ledger(path),
        progress=lambda i, n: done.append((i, n)),
    )
    assert done == [(1, 2), (2, 2)]
    assert [replace(row, seconds=0.0) for row in again] == [
        replace(row, seconds=0.0) for row in whole
    ]
    assert len(Ledger(path).trials) == 25


def test_more_repetitions_add_to_those_that_were_made(tmp_path: Path) -> None:
    path, seed = tmp_path / "trials.jsonl", [Estimator("seed", Seed(), "draws", "mine")]
    for count in (12, 15):
        rows = calibrate(
            [nothing()], seed, sizes=(50,), repetitions=Repetitions(count, 2), ledger=Ledger(path)
        )
    assert rows[0].tried == 15
    assert sorted(trial.repetition for trial in Ledger(path).trials) == list(range(15))


def test_code_decides_which_trials_count() -> None:
    assert fingerprint() == fingerprint()
    assert len(fingerprint()) == 12


def test_metrics_in_other_units_have_a_table_of_their_own() -> None:
    kl = Row(
        "pair",
        2,
        1000,
        "metric",
        "KL(q||p)",
        "draws",
        True,
        "exact",
        1.0,
        0,
        0.1,
        0.1,
        0.1,
        100,
        100,
        0.1,
    )
    text = markdown([kl, replace(kl, estimator="share", quantity="coverage", truth=0.25)])
    assert "### KL from draws, nats, n = 1,000\n\n| pair | d | truth | metric |" in text
    assert "### Other metrics, from draws, n = 1,000\n\n| pair | d | share |" in text
    assert "| 0.25: +0.100 ± 0.100, 100%" in text


def test_width_of_brackets_is_stated() -> None:
    low = Row(
        "fold",
        10,
        1000,
        "kl_lower, map",
        "KL(q||p)",
        "draws",
        True,
        "lower bound",
        1.0,
        0,
        -0.01,
        0.1,
        0.1,
        100,
        100,
        0.1,
    )
    high = replace(low, estimator="kl_upper, map", kind="upper bound", bias=0.02)
    assert "d = 10: 0.0300 (fold, n = 1,000)" in widths([low, high])
    assert widths([low]) == ""


def test_table_goes_between_the_marks_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARKS[0]}old\n{MARKS[1]}\nafter\n", encoding="utf-8")
    assert _between(page, "new\n") == f"before\n{MARKS[0]}\nnew\n\n{MARKS[1]}\nafter\n"


def test_page_without_marks_is_refused_before_the_work(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for words in ("No such file", "needs the lines '<!-- calibration -->'"):
        with pytest.raises(UserError, match=words):
            write_calibration(tmp_path, page, [2], [50], Repetitions(2, 2), 1)
        page.write_text("nothing here", encoding="utf-8")


def test_a_pair_that_is_not_there_is_named_beside_those_that_are(tmp_path: Path) -> None:
    words = r"--pair 't, nu = 2' is no pair of the calibration; there are .*t, nu = 1\.5, t, nu = 3"
    with pytest.raises(UserError, match=words):
        write_calibration(tmp_path, None, [2], [50], Repetitions(2, 2), 1, ["t, nu = 2"])


def test_a_pair_by_its_name_is_tried_alone() -> None:
    chosen = calibrate_command._chosen(every_case((2,)), ["t, nu = 1.5"])
    assert [case.name for case in chosen] == ["t, nu = 1.5"]


def test_command_writes_both_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate_command, "every_case", lambda dims: [nothing()])
    monkeypatch.setattr(calibrate_command, "learned_cases", list)
    monkeypatch.setattr(
        calibrate_command, "estimators", lambda: [Estimator("seed", Seed(), "draws", "mine")]
    )
    page = tmp_path / "page.md"
    page.write_text(f"{MARKS[0]}{MARKS[1]}", encoding="utf-8")
    write_calibration(tmp_path / "out", page, [2], [50], Repetitions(2, 2), 1)
    own = (tmp_path / "out" / "calibration.md").read_text(encoding="utf-8")
    assert own.startswith("# Calibration\n\nMade by `postbench calibrate`")
    assert own.removeprefix("# Calibration\n\n") in page.read_text(encoding="utf-8")


def test_learned_pairs_have_a_table_of_their_own_and_leave_the_other_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [case for case in learned_cases() if case.shows == "density"]
    monkeypatch.setattr(calibrate_command, "learned_cases", lambda: cases)
    page = tmp_path / "page.md"
    page.write_text(f"{MARKS[0]}old\n{MARKS[1]}\n{''.join(LEARNED_MARKS)}", encoding="utf-8")
    write_calibration(tmp_path, page, [2], [50], Repetitions(2, 2), 1, [NAME])
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"{MARKS[0]}old\n{MARKS[1]}\n{LEARNED_MARKS[0]}\nMade by")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(case.truths) for case in cases)
    assert any(row.startswith("| `likelihood_gap` | density | linear-gaussian,") for row in rows)
    exact = next(row for row in rows if row.startswith("| `log_likelihood` | density |"))
    assert "| exact | -6.5207 | " in exact
    assert "| 2 of 2 |" in exact
    assert "skipped" not in text
