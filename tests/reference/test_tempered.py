"""The third route: called where NUTS is no witness, and a witness where modes lie far apart."""

from __future__ import annotations

import math

import pytest

from bench.reference import build, tempered
from bench.reference.agreement import Sample, shares
from bench.reference.run import Run
from methods.parts.sampling.adapt import silent
from problems.mixture import Mixture
from tests.helpers.exact_problems import SIGMAS, seeded
from tests.helpers.reference_parts import building, normal, run_of

FAR = Mixture(separation=3.0, scale=0.3, weight=0.7)  # chains do not walk between these


def test_far_modes_get_their_share_and_log_z_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempered, "RECORDS", 300)
    seen: list[Run] = []

    def good(run: Run) -> bool:
        seen.append(run)
        return len(seen) == 2

    plan = build.Plan(chains=32, stored=3_200, records=200, target_accept=0.8)
    run = tempered.tempered(FAR, plan, 1, good, silent, [])
    assert [each.settings["trajectories_per_record"] for each in seen] == [1, 2]
    assert run is seen[1]
    assert shares("balance", Sample(run.chains), FAR.modes).met
    apart = run.settings["log_z"] / run.settings["log_z_stderr"]  # log Z is 0
    assert abs(apart) < SIGMAS
    assert math.isfinite(run.e_fmi)


def test_nuts_is_no_witness_where_it_missed_a_mode_and_one_where_it_only_disagrees() -> None:
    both = FAR.truth.sample(4_000, seeded(0))
    stored = run_of(both.reshape(4, 1_000, 2))
    one = run_of((normal(4, 1_000, 2) * 0.3) - 3.0)
    (fault, *_) = building._no_witness(FAR, stored, one)
    assert "effective draws" in fault.name
    shifted = run_of(stored.chains + 0.05)
    assert building._no_witness(FAR, stored, shifted) == []
