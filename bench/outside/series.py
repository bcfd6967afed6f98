"""What is read from a file of draws: one series a chain, with the places of its draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """One chain as it stands in a file.

    Args:
        file: that it was read from.
        chain: its name there; empty where the file is one chain.
        columns: draws by the name of their column, [draws] each.
        places: of each draw in the file, from 1: lines of a text, rows of a table, draws of an
            array.
        unit: what a place is: "line", "row" or "draw".
        digits: the most significant digits with which any value of its parameters is written; None
            where values are stored in binary.
        divergences: divergent transitions, where the file counts them.
    """

    file: Path
    chain: str
    columns: Mapping[str, Values]
    places: NDArray[np.int64]
    unit: str = "line"
    digits: int | None = None
    divergences: int | None = None

    @property
    def title(self) -> str:
        """How messages call it: the file, and the chain where a file holds several."""
        return f"{self.file}, chain {self.chain}" if self.chain else str(self.file)

    def at(self, draw: int) -> str:
        """Where a draw stands, in words; draws are counted from 0."""
        return f"{self.title}, {self.unit} {int(self.places[draw])}"

    def __len__(self) -> int:
        return len(self.places)
