"""Plugins that are files: loaded under a name of their own, with the modules beside them within
reach.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.plugins.sources import siblings


class _Beside(MetaPathFinder):
    """Finds the modules that plugin files import from beside them, and nothing else.

    Only names that such a file was seen to import are answered, so that a file called like a module
    of Python's, of ours or of a library that we need takes nothing away.
    """

    def __init__(self) -> None:
        self.homes: dict[str, Path] = {}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """The module of that name in the folder that claims it."""
        home = self.homes.get(fullname)
        return None if home is None else PathFinder.find_spec(fullname, [str(home)])

    def claim(self, file: Path) -> None:
        """Take note of what a plugin's file imports from beside it.

        Raises:
            ImportError: if another plugin's file imports a module of that name from another folder:
                Python knows one module of a name.
        """
        for place in siblings(file):
            name = place.stem
            home = self.homes.setdefault(name, file.parent)
            if home != file.parent:
                raise ImportError(
                    f"{file} imports {name} from beside it, and so does a plugin in {home}; give"
                    " one of the two another name, or run them apart"
                )


_BESIDE = _Beside()


def load_file(path: Path) -> ModuleType:
    """The module of a plugin's file, loaded once.

    Raises:
        ImportError: if it is no Python file, or wants a module that another plugin has under that
            name.
        Exception: whatever its code raises.
    """
    name = f"postbench_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    if _BESIDE not in sys.meta_path:
        sys.meta_path.insert(0, _BESIDE)
    _BESIDE.claim(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def member(module: ModuleType, path: str) -> Any:
    """What a module has under a name, or under names with dots between them.

    Raises:
        AttributeError: if there is no such thing; it says what classes the module defines.
    """
    try:
        return functools.reduce(getattr, path.split("."), module)
    except AttributeError as error:
        own = [
            name
            for name, thing in vars(module).items()
            if isinstance(thing, type) and thing.__module__ == module.__name__
        ]
        raise AttributeError(
            f"it has no {path}; the classes that it defines: {', '.join(own) or 'none'}."
        ) from error
