"""Where commands print: the terminal as it is, or a file with room for whole tables."""

from __future__ import annotations

import os

from rich.console import Console

WIDE = 140  # columns of output that goes to a file or a log; rich assumes 80, and cuts tables there


def console() -> Console:
    """A console as wide as the terminal or as COLUMNS says; wide enough for every table where
    neither is known.
    """
    found = Console()
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(width=WIDE)
