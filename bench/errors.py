"""Mistakes that are the user's to mend: shown as a sentence, never as a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A request that cannot be met; the message names what is wrong, what was expected and the way
    out.
    """


class StoppedError(Exception):
    """Ctrl-C, with the sentence that says what is kept and how to go on."""


class PluginError(UserError):
    """A plugin that cannot be used; the message names it and the package it came from."""


def unknown(what: str, name: str, known: Iterable[str], hint: str) -> UserError:
    """The error for a name that is not there: suggests the nearest ones, and how to list
    them all.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    guess = (
        f" Did you mean {' or '.join(repr(n) for n in near)}?"
        if near
        else f" Known: {', '.join(known)}."
    )
    return UserError(f"There is no {what} named {name!r}.{guess} {hint}".rstrip())
