"""A library that is not there is named with what installs it, and one that is broken says so
itself.
"""

from pathlib import Path

import pytest

from methods.base import NotApplicableError
from methods.parts.optional import library


def test_a_library_that_is_there_is_imported() -> None:
    assert library("statistics", "none").fmean([1.0, 2.0]) == 1.5


def test_a_library_that_is_not_there_is_named_with_what_installs_it() -> None:
    with pytest.raises(
        NotApplicableError, match=r"^It needs no_such, .*pip install 'postbench\[x]'"
    ):
        library("no_such.part", "x")


def test_a_library_that_lacks_something_of_its_own_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_there.py").write_text("import no_such_helper", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_helper"):
        library("half_there", "x")
