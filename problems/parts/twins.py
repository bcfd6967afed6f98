"""Stan twins of problems: the same posterior in Stan's words, in the same coordinates, as one more
witness of the density and for what runs Stan's own sampler.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from problems.base import StanProgram
from problems.parts.stan import CompiledProgram

FOLDER = Path(__file__).parents[1] / "models" / "twins"


def twin(name: str, **data: Any) -> StanProgram:
    """The twin of that name with its data.

    Args:
        name: of the file, without its ending.
        data: numbers, sequences of them and tensors, by Stan's names.

    Raises:
        ModuleNotFoundError: if stanli is not installed.
    """
    return _twin(name, json.dumps({word: _plain(value) for word, value in data.items()}))


@functools.lru_cache(maxsize=16)
def _twin(name: str, data: str) -> StanProgram:
    return CompiledProgram(FOLDER / f"{name}.stan", data)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value
