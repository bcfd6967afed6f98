"""The scripts that a page carries inside: two kept libraries and one of our own."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

SCRIPTS = ("vendor/chart.js", "vendor/sortable.js", "report.js")  # in the order they run


@cache
def scripts() -> tuple[str, ...]:
    """Their text, as it stands between the tags of the page."""
    folder = files("reports") / "templates"
    return tuple((folder / name).read_text(encoding="utf-8").strip() for name in SCRIPTS)


def policy() -> str:
    """The page's content security policy: these scripts and no others, and nothing is fetched.

    A script is named by the hash of its text (Content Security Policy Level 3, W3C,
    www.w3.org/TR/CSP3), so that what a run's own words might smuggle into the page never runs.
    """
    hashes = (hashlib.sha256(text.encode()).digest() for text in scripts())
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"
