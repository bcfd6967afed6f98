"""Every way a stored reference can go wrong is caught, named with the way out, and keeps it from
being used.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import UserError
from bench.reference.table import stems
from bench.reference.verify import absent, verify
from problems.base import Problem
from problems.eight_schools import EightSchools
from problems.parts import stored
from problems.parts.certified import KEYS, missing
from problems.parts.stored import SHIPPED, UncertifiedError, files, stem_of
from tests.helpers.reference_parts import edit, replace_draws


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for path in files("eight-schools", SHIPPED):
        shutil.copy(path, tmp_path)
    return tmp_path


def _one_draw(unit: Any) -> Any:
    unit[17, 3] += 1e-3
    return unit


def _wide(unit: Any) -> Any:
    return 1.1 * unit


def _tied(unit: Any) -> Any:
    """Right marginals, wrong joint."""
    unit[:, 0] = np.roll(unit[:, 0], 1)
    return unit


def _flip(path: Path) -> None:
    """In the middle of what is compressed, where zlib finds it."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x41
    path.write_bytes(content)


HARMS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "a draw": (lambda f: replace_draws(f, _one_draw, certified=False), ["draws"]),
    "a draw fewer": (lambda f: replace_draws(f, lambda u: u[1:], certified=False), ["draws"]),
    "the order": (lambda f: replace_draws(f, lambda u: u[::-1], certified=False), ["draws"]),
    "another law, hashed": (
        lambda f: replace_draws(f, _wide, certified=True),
        ["density", "moments", "log Z", "Stein identities"],
    ),
    "another joint, hashed": (
        lambda f: replace_draws(f, _tied, certified=True),
        ["density", "log Z", "Stein identities"],
    ),
    "the certificate": (
        lambda f: edit(f, lambda c: c["log_z"].update(value=0.0), sealed=False),
        ["certificate"],
    ),
    "a check unmet": (
        lambda f: edit(f, lambda c: c["checks"][0].update(met=False)),
        ["certificate"],
    ),
    "the density's values": (
        lambda f: edit(f, lambda c: c["density"]["values"].reverse()),
        ["density"],
    ),
    "the moments": (lambda f: edit(f, lambda c: c["moments"]["mean"].reverse()), ["moments"]),
    "log Z, sealed anew": (
        lambda f: edit(f, lambda c: c["log_z"].update(value=c["log_z"]["value"] + 0.1)),
        ["log Z"],
    ),
    "an entry, sealed anew": (lambda f: edit(f, lambda c: c.pop("moments")), ["certificate"]),
    "its draws' hash, sealed anew": (
        lambda f: edit(f, lambda c: c["draws"].pop("sha256")),
        ["certificate"],
    ),
    "a check without a name, sealed anew": (
        lambda f: edit(f, lambda c: c["checks"][2].pop("name")),
        ["certificate"],
    ),
    "no draws": (lambda f: files("eight-schools", f)[0].unlink(), ["files"]),
    "no certificate": (lambda f: files("eight-schools", f)[1].unlink(), ["files"]),
    "broken draws": (lambda f: files("eight-schools", f)[0].write_bytes(b"PK\x03\x04"), ["files"]),
    "empty draws": (lambda f: files("eight-schools", f)[0].write_bytes(b""), ["files"]),
    "a bit of the archive": (lambda f: _flip(files("eight-schools", f)[0]), ["files"]),
    "broken certificate": (lambda f: files("eight-schools", f)[1].write_text("{"), ["files"]),
    "no certificate inside": (lambda f: files("eight-schools", f)[1].write_text("[]"), ["files"]),
    "an empty certificate": (
        lambda f: files("eight-schools", f)[1].write_text("{}"),
        ["certificate"],
    ),
    "an entry of it": (lambda f: edit(f, lambda c: c.pop("draws"), sealed=False), ["certificate"]),
    "its format": (lambda f: edit(f, lambda c: c.update(format=2)), ["certificate"]),
}


@pytest.mark.parametrize("harm", HARMS)
def test_each_harm_is_caught_and_named(harm: str, copy: Path) -> None:
    do, caught = HARMS[harm]
    do(copy)
    findings = [f for f in verify(None, copy) if f.name.startswith("eight-schools:")]
    found = {f.name.split(": ")[1] for f in findings if f.outcome == "fail"}
    assert found == set(caught)
    assert all(f.why for f in findings)
    assert all(
        f.why.endswith("`postbench reference build eight-schools`")
        for f in findings
        if f.outcome == "fail"
    )
    relied_on = found & {"certificate", "draws"}
    assert {f.why.split()[1] for f in findings if f.outcome == "skipped"} <= relied_on


def test_every_entry_that_is_read_is_missed_in_one_sentence(copy: Path) -> None:
    content = json.loads(files("eight-schools", copy)[1].read_text())
    assert missing(content) == ""
    for path in KEYS:
        *tables, last = path.split(".")
        harmed = json.loads(json.dumps(content))
        place = harmed
        for name in tables:
            place = place[name]
        del place[last]
        assert missing(harmed) == f"the certificate lacks {path}"
    edit(copy, lambda c: c.pop("log_z"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(stored.VARIABLE, str(copy))
        with pytest.raises(
            UncertifiedError, match=r"lacks log_z.value, log_z.stderr .*; put both files back"
        ):
            stored.reference(EightSchools())


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_file_is_named(which: int, copy: Path) -> None:
    gone = files("eight-schools", copy)[which]
    gone.unlink()
    (finding,) = verify(["eight-schools"], copy)
    assert finding.outcome == "fail"
    assert finding.why.startswith(
        f"{gone.name} is missing from {copy}; put both files back as they were, or make"
    )


def test_a_missing_reference_is_named(tmp_path: Path) -> None:
    (finding,) = verify(["eight-schools:tau_scale=2.5"], tmp_path)
    assert finding.outcome == "fail"
    assert finding.name == "eight-schools-tau_scale=2.5: files"
    assert finding.why.endswith("`postbench reference build eight-schools:tau_scale=2.5` makes one")


def test_a_problem_without_a_reference_anywhere_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(absent()) == []
    monkeypatch.setattr(stored, "SHIPPED", tmp_path)
    monkeypatch.setenv(stored.VARIABLE, str(tmp_path))
    missing = {finding.name: finding for finding in absent()}
    assert set(missing) == {
        f"{stem}: files" for stem in stems(SHIPPED)
    }  # two of which have a truth without it
    assert missing["horseshoe: files"].outcome == "fail"
    assert missing["horseshoe: files"].why.endswith(
        "`postbench reference build horseshoe` makes one."
    )
    assert missing["eight-schools: files"].why.startswith(
        "the shipped reference is gone; put both files back"
    )


def test_a_name_of_no_problem_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="eight-schols"):
        list(verify(["eight-schols"], tmp_path))


def _renamed(folder: Path, problem: Problem) -> None:
    for old, new in zip(
        files("eight-schools", folder), files(stem_of(problem), folder), strict=True
    ):
        old.rename(new)


def test_a_changed_density_is_caught_and_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = EightSchools(tau_scale=5.0001)
    _renamed(copy, changed)
    findings = list(verify(["eight-schools:tau_scale=5.0001"], copy))
    (fault,) = [f for f in findings if f.outcome == "fail"]
    assert fault.name.endswith(": density")
    assert "the log density is not what was certified, such as" in fault.why
    assert "undo the change of the problem, or make a reference of it as it is now" in fault.why
    monkeypatch.setenv(stored.VARIABLE, str(copy))
    with pytest.raises(UncertifiedError, match=r"of another density: at \d+ of 25 fixed points"):
        stored.reference(changed)


def test_a_problem_with_another_number_of_coordinates_is_of_another_density(copy: Path) -> None:
    more = EightSchools(y=(1.0,) * 9, sigma=(1.0,) * 9)
    _renamed(copy, more)
    setting = ",".join(
        f"{name}={json.dumps(value)}" for name, value in stored.settings_of(more).items()
    )
    findings = {f.name.split(": ")[1]: f for f in verify([f"eight-schools:{setting}"], copy)}
    assert findings["density"].why.startswith("the problem has 11 coordinates, the reference 10")
    assert findings["Stein identities"].outcome == "skipped"


@pytest.mark.parametrize(
    "harm", ["a draw", "the certificate", "a check unmet", "no draws", "broken draws"]
)
def test_a_harmed_reference_is_never_used(
    harm: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(stored.VARIABLE, str(copy))
    assert stored.reference(EightSchools()).draws.shape == (10_000, 10)
    HARMS[harm][0](copy)
    with pytest.raises(
        UncertifiedError,
        match=r"'eight-schools' cannot be used: .*; put both.*reference build eight-schools`",
    ):
        stored.reference(EightSchools())


def test_a_density_out_of_reach_is_skipped_not_passed(copy: Path) -> None:
    edit(copy, lambda c: c["problem"].update(name="somebody-elses"))
    for old, new in zip(files("eight-schools", copy), files("somebody-elses", copy), strict=True):
        old.rename(new)
    outcomes = {f.name: f.outcome for f in verify(None, copy) if f.name.startswith("somebody")}
    assert (
        outcomes["somebody-elses: density"]
        == outcomes["somebody-elses: Stein identities"]
        == "skipped"
    )
    assert outcomes["somebody-elses: draws"] == "pass"
