"""The matrices that ship with the suite."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def presets() -> dict[str, Path]:
    """The files of the presets, by name."""
    folder = Path(str(resources.files("bench") / "presets"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}
