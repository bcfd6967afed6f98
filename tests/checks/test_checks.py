"""The checks pass what is sound, see what is broken, and every built-in is held to them."""

from __future__ import annotations

import importlib.util
import itertools
import random
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Generator

from bench.checks import method, trial
from bench.checks.check import check, checks_of
from bench.checks.finding import Check, Finding, InapplicableError, UnmetError
from bench.plugins import spec
from bench.plugins.built_in import BUILT_IN, GROUPS, Group
from methods.base import Budget, Method, Target
from methods.parts.gaussians.gaussian import Gaussian
from problems.base import Exact, Problem

PLUGINS = Path(__file__).parents[1] / "helpers" / "plugins"
README = Path(__file__).parents[2] / "README.md"
CONTRACT = README.parent / "docs" / "contract.md"

SOUND: list[tuple[Group, str]] = [
    ("methods", "Sound"),
    ("methods", "SoundChains"),
    ("methods", "SoundWithoutGradients"),
    ("problems", "Sound"),
    ("problems", "SoundReference"),
    ("problems", "SoundLine"),
    ("metrics", "Sound"),
    ("metrics", "SoundSkipper"),
]
# What is broken in one way may break more than one promise: draws from the global generator are
# neither ours nor repeatable.
BROKEN: list[tuple[Group, str, set[str], str]] = [
    ("methods", "Unspeakable", {"name"}, "'two words'"),
    ("methods", "Thawed", {"frozen"}, "expected @dataclass(frozen=True)"),
    ("methods", "YieldsTensors", {"yields"}, "yielded a Tensor"),
    ("methods", "YieldsNothing", {"yields"}, "without yielding"),
    ("methods", "Planar", {"yields"}, "methods.py, line"),
    (
        "methods",
        "Squeezed",
        {"shape"},
        "gave the shape [2] on a posterior in 2 dimensions; expected [1, 2]",
    ),
    ("methods", "Attached", {"float64"}, "draws carry a gradient"),
    ("methods", "Single", {"float64", "chains"}, "torch.float32; expected torch.float64"),
    ("methods", "Infinite", {"finite"}, "1 of 100 draws"),
    ("methods", "Fickle", {"reproducible"}, "equal generators"),
    ("methods", "Worldly", {"reproducible", "global state"}, "the random state of torch"),
    (
        "methods",
        "Counting",
        {"sampling repeats", "stays as yielded"},
        "a function of the generator's state alone",
    ),
    ("methods", "Deaf", {"seeds matter"}, "the same draws from different generators"),
    ("methods", "DeafChains", {"seeds matter"}, "is the given generator used?"),
    ("methods", "Leaky", {"global state"}, "torch's gradient mode"),
    ("methods", "Wandering", {"global state"}, "the current directory"),
    ("methods", "Fathering", {"global state"}, "the processes at work"),
    ("methods", "Numbered", {"chains"}, "[1] are named by no text"),
    ("methods", "Restless", {"fields"}, "the field history was [] before use"),
    ("methods", "Hoarder", {"gradient budget"}, "expected 2,020 at most"),
    ("methods", "Sleeper", {"time budget"}, "on a budget of 0.5"),
    ("methods", "Endless", {"yields"}, "still running"),
    ("methods", "Reused", {"stays as yielded"}, ".detach().clone()"),
    ("methods", "Flat", {"density: shape"}, "log_prob of [2] gave [1]; expected []"),
    (
        "methods",
        "Unnormalised",
        {"density: normalised", "density: of the draws"},
        "integrates to 1.22",
    ),
    ("methods", "Elsewhere", {"density: of the draws"}, "standard errors"),
    ("methods", "Crowded", {"map"}, "expected a map of each row"),
    ("methods", "Transposed", {"map: jacobian"}, "finite differences"),
    ("methods", "Talkative", {"chains"}, "['sampler']"),
    ("problems", "Unspeakable", {"name"}, "expected letters"),
    ("problems", "Thawed", {"frozen"}, "Thawed is not frozen"),
    ("problems", "Fractional", {"dim"}, "dim is 2.0"),
    ("problems", "Repetitive", {"coordinates"}, "('z', 'z') repeat"),
    ("problems", "Wrapped", {"density: shape"}, "expected []"),
    ("problems", "Single", {"density: float64"}, "torch.float32"),
    ("problems", "Crowded", {"density: rows"}, "rows not to see each other"),
    ("problems", "Cut", {"density: finite", "prior"}, "of 30000 draws"),
    ("problems", "Famous", {"traits"}, "traits has ['famous']; expected some of"),
    ("problems", "NarrowMinded", {"density: far out"}, "NaN or +inf"),
    ("problems", "HalfDetached", {"gradient"}, "the gradient by z[2]"),
    ("problems", "Drifting", {"density: rows", "gradient: recorded"}, "from call to call"),
    ("problems", "OneWay", {"round trip"}, "standard deviations"),
    ("problems", "Broken", {"round trip"}, "raised KeyError: 'rate' (problems.py, line"),
    ("problems", "Narrow", {"prior"}, "grows without bound by z[2]"),
    ("problems", "Squeezed", {"truth: draws"}, "truth.sample(1) gave the shape [2]"),
    ("problems", "Worldly", {"truth: reproducible", "global state"}, "equal generators"),
    ("problems", "Stuck", {"truth: independent"}, "500 of 1,000 draws"),
    ("problems", "Wider", {"truth: of the density"}, "spread of z[2]"),
    ("problems", "OffEvidence", {"truth: log_z"}, "log_z is 1.6; bridge sampling says 1.5"),
    ("problems", "Lopsided", {"truth: modes"}, "0.5500 by its weight"),
    ("problems", "Unfounded", {"truth: reference"}, "holds 400 draws"),
    ("problems", "Restless", {"fields"}, "the field seen"),
    ("problems", "Meddling", {"global state"}, "the random state of torch"),
    ("metrics", "Unspeakable", {"name"}, "'a:b'"),
    ("metrics", "Costly", {"name"}, "'gradients', which the tables give to a cost"),
    ("metrics", "Thawed", {"frozen"}, "Thawed is not frozen"),
    ("metrics", "Unitless", {"declared"}, "unit is None"),
    ("metrics", "BareNumber", {"returns"}, "gave a float"),
    ("metrics", "Speechless", {"returns"}, "without a reason"),
    ("metrics", "TensorValue", {"value"}, "is a Tensor; expected a float"),
    ("metrics", "NotANumber", {"value"}, "is NaN"),
    ("metrics", "Negative", {"stderr"}, "-0.1"),
    ("metrics", "Guess", {"kind"}, "'guess'; expected one of exact"),
    ("metrics", "Biased", {"ideal"}, "expected 0"),
    ("metrics", "Fickle", {"deterministic"}, "expected the same"),
    ("metrics", "Worldly", {"deterministic", "global state"}, "comparison.generator()"),
    ("metrics", "Vandal", {"inputs"}, "the draws were changed"),
    ("metrics", "Restless", {"fields"}, "the field history"),
]

NO_DENSITY = dict.fromkeys(
    ("density: shape", "density: normalised", "density: of the draws"), "no density"
)
NO_MAP = dict.fromkeys(("map", "map: jacobian"), "not a map")
NO_CHAINS = {"chains": "not made of chains"}
SKIPPED: dict[str, dict[str, str]] = {
    "gaussian-vb": NO_MAP | NO_CHAINS,
    "gaussian-vb:covariance=full": NO_MAP | NO_CHAINS,
    "laplace": NO_MAP | NO_CHAINS,
    "pathfinder": NO_MAP | NO_CHAINS,
    "batch-and-match": NO_MAP | NO_CHAINS,
    "gaussian-mixture-vb": NO_MAP | NO_CHAINS,
    "iw-vb": NO_DENSITY | NO_MAP,
    "avb": NO_DENSITY | NO_CHAINS,
    "pushforward-vb": NO_DENSITY | NO_CHAINS,
    "svgd": NO_DENSITY | NO_MAP,
    "sivi": NO_DENSITY | NO_CHAINS,
    "uivi": NO_DENSITY | NO_CHAINS,
    "ksivi": NO_DENSITY | NO_CHAINS,
    "ssge-vi": NO_DENSITY | NO_CHAINS,
    "flow-vb": NO_MAP | NO_CHAINS,
    "pyro-nuts": NO_DENSITY | NO_MAP,
    "pyro-hmc": NO_DENSITY | NO_MAP,
    "stan-nuts": NO_DENSITY | NO_MAP,
    "batched-hmc": NO_DENSITY | NO_MAP,
    "elliptical-slice": NO_DENSITY
    | NO_MAP
    | {"stays as yielded": "a budget of gradients that it does not take leaves the last alone"},
    "mclmc": NO_DENSITY | NO_MAP,
    "smc": NO_DENSITY | NO_MAP,
    "ais": NO_DENSITY | NO_MAP,
    "numpyro-nuts": NO_DENSITY | NO_MAP,
    "blackjax-nuts": NO_DENSITY | NO_MAP,
    "nutpie-nuts": NO_DENSITY | NO_MAP,
    "exact": (
        NO_DENSITY
        | NO_MAP
        | NO_CHAINS
        | {"stays as yielded": "it cannot be improved, and is yielded once"}
    ),
    "kl_classifier": {"ideal": "a lower bound"},
    "kl_knn": {"ideal": "biased at a finite number of draws"},
    "mean_error": {"ideal": "an absolute value is never 0"},
    "sd_error": {"ideal": "an absolute value is never 0"},
    "variance_error": {"ideal": "biased by 2 / m at m draws of the truth"},
    "mode_balance": {"ideal": "a sum of absolute values is never 0"},
    "elbo": {"ideal": "log Z differs from problem to problem"},
    "sliced_wasserstein": {"ideal": "an estimate, compared with its floor"},
    "c2st": {"ideal": "a lower bound"},
    "psis_khat": {"ideal": "it has no ideal value"},
    "importance_ess": {"ideal": "an estimate"},
    "log_z_error": {"ideal": "an estimate"},
    "log_z_error_reverse": {"ideal": "an estimate"},
    "coverage": {"ideal": "an absolute value is never 0"},
    "quantile_error": {"ideal": "an absolute value is never 0"},
    "mean_error_constrained": {"ideal": "an absolute value is never 0"},
    "sd_error_constrained": {"ideal": "an absolute value is never 0"},
    "quantile_error_constrained": {"ideal": "an absolute value is never 0"},
    "coverage_constrained": {"ideal": "an absolute value is never 0"},
}
SHORT = {
    **dict.fromkeys(
        ("pyro-nuts", "pyro-hmc", "stan-nuts", "numpyro-nuts", "blackjax-nuts", "nutpie-nuts"),
        "chains=2,warmup=20,draws=20",
    ),
    "batched-hmc": "chains=16,draws=20",
    "elliptical-slice": "chains=16,warmup=20,draws=20",
    "gaussian-mixture-vb": "components=2,starts=4",
    "pathfinder": "paths=4",
    "iw-vb": "iterations=300",
    "flow-vb": "transforms=1,hidden=[16]",
}
OPTIONAL = {
    "stan-nuts": "stanli",
    "numpyro-nuts": "numpyro",
    "blackjax-nuts": "blackjax",
    "nutpie-nuts": "nutpie",
}
ALSO: list[tuple[Group, str]] = [("methods", "gaussian-vb:covariance=full")]
OF_POSTERIORS: tuple[Group, ...] = ("problems", "methods", "metrics")
EVERY = [(group, name) for group in OF_POSTERIORS for name in BUILT_IN[group]] + ALSO


def held(group: Group, text: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in check(spec.parse(group, text))}


def outcome(found: dict[str, Finding], which: str) -> dict[str, str]:
    return {name: finding.why for name, finding in found.items() if finding.outcome == which}


def plugin(group: Group, name: str) -> str:
    return f"{PLUGINS / group}.py:{name}"


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_built_ins_keep_the_contract(group: Group, name: str) -> None:
    if name in OPTIONAL and importlib.util.find_spec(OPTIONAL[name]) is None:
        pytest.skip(f"{OPTIONAL[name]} is not installed")
    found = held(group, f"{name}:{SHORT[name]}" if name in SHORT else name)
    assert outcome(found, "fail") == {}
    assert set(outcome(found, "skipped")) == set(expected_skips(group, name))


def expected_skips(group: Group, name: str) -> dict[str, str]:
    if group != "problems":
        return SKIPPED.get(name, {})
    built: Problem = spec.parse("problems", name).build()
    skips = {} if built.modes else {"truth: modes": "it names none"}
    if built.gaussian_prior is None:
        skips["prior"] = "it declares none"
    if isinstance(built.truth, Exact):
        return skips | {"truth: reference": "the truth is exact"}
    return skips | {"truth: independent": "stored draws are checked by their certificate"}


@pytest.mark.parametrize(("group", "name"), SOUND)
def test_what_is_sound_passes(group: Group, name: str) -> None:
    found = held(group, plugin(group, name))
    assert outcome(found, "fail") == {}
    assert outcome(found, "pass")


@pytest.mark.parametrize(("group", "name", "expected", "words"), BROKEN)
def test_what_is_broken_is_seen(
    monkeypatch: pytest.MonkeyPatch, group: Group, name: str, expected: set[str], words: str
) -> None:
    if name in ("Endless", "Sleeper"):  # patience costs time
        monkeypatch.setattr(trial, "SECONDS", 1.0 if name == "Endless" else trial.SECONDS)
        monkeypatch.setattr(trial, "PATIENCE", 1.0 if name == "Endless" else trial.PATIENCE)
        monkeypatch.setattr(method, "SOON", 1.0)
    failed = outcome(held(group, plugin(group, name)), "fail")
    assert set(failed) == expected
    assert any(words in why for why in failed.values()), failed


def test_every_check_sees_something_broken() -> None:
    for group in ("methods", "problems", "metrics"):
        names = set(held(group, plugin(group, "Sound")))
        seen = {name for of, _, expected, _ in BROKEN if of == group for name in expected}
        assert names == seen, group


def test_findings_come_one_by_one() -> None:
    findings = check(spec.parse("methods", plugin("methods", "YieldsNothing")))
    assert next(findings) == Finding(
        "name", "pass", "tables and command lines call it by this name"
    )
    rest = list(findings)
    assert rest[1].outcome == "fail"
    assert {finding.outcome for finding in rest[2:]} == {"skipped"}


@pytest.mark.parametrize(
    ("group", "name"), [("methods", "Worldly"), ("methods", "Leaky"), ("problems", "Meddling")]
)
def test_no_trace_is_left(group: Group, name: str) -> None:
    def shared() -> tuple[object, ...]:
        torch_wide = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads())
        alarm = (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL))
        return (
            *torch_wide,
            *alarm,
            torch.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            random.getstate(),
        )

    before = shared()
    for _ in check(spec.parse(group, plugin(group, name))):
        assert shared() == before


@pytest.mark.parametrize("page", [README, CONTRACT], ids=lambda page: page.name)
def test_the_ten_lines_of_the_pages_pass(page: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (complete,) = (block for block in blocks if "(Method):" in block)
    file = tmp_path / "mine.py"
    file.write_text(complete, encoding="utf-8")
    (name,) = re.findall(r"class (\w+)\(Method\)", complete)
    assert outcome(held("methods", f"{file}:{name}"), "fail") == {}


@pytest.mark.parametrize("group", GROUPS)
def test_the_contract_lists_every_check(group: Group) -> None:
    checks: tuple[Check[object], ...] = checks_of(group)
    text = CONTRACT.read_text(encoding="utf-8")
    assert [check.name for check in checks if f"| `{check.name}` | {check.why} |" not in text] == []


NEXT = re.compile(r"there is no reference yet; next: `postbench reference build .*Waiting`")
NEED_NO_TRUTH = ("gradient", "gradient: recorded", "round trip", "density: finite", "global state")


def test_a_problem_that_waits_for_its_reference_is_not_broken() -> None:
    found = held("problems", plugin("problems", "Waiting"))
    assert outcome(found, "fail") == {}
    assert NEXT.search(outcome(found, "skipped")["truth: draws"])
    assert set(NEED_NO_TRUTH) <= set(outcome(found, "pass"))


def test_a_density_that_is_nan_everywhere_is_broken_with_or_without_a_reference() -> None:
    found = held("problems", plugin("problems", "Waiting:lost=true"))
    failed = outcome(found, "fail")
    assert {"gradient", "density: finite", "density: far out"} <= set(failed)
    assert "finite at 0 of 1000 points" in failed["density: finite"]


@dataclass(frozen=True)
class Longer(Method):
    """A Gaussian that grows for ever."""

    name: ClassVar[str] = "longer"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Gaussian]:
        for i in itertools.count(1):
            target.value_and_grad(torch.zeros(1, target.dim, dtype=torch.float64))
            yield Gaussian(torch.zeros(target.dim).double(), i * torch.ones(target.dim).double())


def test_runs_that_the_guard_cut_short_are_not_held_to_be_the_same() -> None:
    """On a busy machine the clock ends them where it will."""
    whole = trial.conduct(Longer(), 2, Budget(None, 20, 3, 60.0), seed=1)
    cut = trial.conduct(Longer(), 2, Budget(None, 10**9, 3, 0.5), seed=1)
    assert not whole.cut_short
    assert cut.cut_short
    reproducible = next(each for each in checks_of("methods") if each.name == "reproducible")
    with pytest.raises(InapplicableError, match="cut short after 30 seconds, and so by the clock"):
        reproducible.hold(SimpleNamespace(first_run=whole, second_run=cut))
    cut.cut_short = False
    with pytest.raises(UnmetError, match="gave different draws"):
        reproducible.hold(SimpleNamespace(first_run=whole, second_run=cut))
