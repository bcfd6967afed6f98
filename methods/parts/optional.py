"""Libraries that a method needs and that not everybody has: imported when it runs, or named with
what installs them.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from methods.base import NotApplicableError


def library(module: str, extra: str) -> ModuleType:
    """A module of an optional library.

    Args:
        module: its name, as imported.
        extra: the extra of this package that installs it.

    Raises:
        NotApplicableError: if it is not installed; one that is there and broken raises what it
            raises.

    Example:
        >>> library("statistics", "none").fmean([1, 2])
        1.5
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise  # it is there, and lacks something of its own
        raise NotApplicableError(
            f"It needs {top}, which is not installed: pip install 'postbench[{extra}]'."
        ) from None
