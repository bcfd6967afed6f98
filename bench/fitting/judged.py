"""Draws that another program made, from the file that `postbench judge` keeps of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Generator

from methods.base import Budget, Draws, Method, Target


@dataclass(frozen=True)
class Judged(Method):
    """Draws from a file, and what they cost as the user told it.

    Args:
        file: an .npz with ``draws`` [chains, draws, D], unconstrained; its content decides the
            cell's key.
        seconds: of fitting, as told; None where it was not.
        gradients: rows of gradient evaluations, as told; None where it was not.

    Raises:
        ValueError: if a cost is negative or not finite.
    """

    file: str
    seconds: float | None = None
    gradients: int | None = None
    name: ClassVar[str] = "judged"
    unshown: ClassVar[tuple[str, ...]] = ("file", "seconds", "gradients")

    def __post_init__(self) -> None:
        for field in ("seconds", "gradients"):
            value = getattr(self, field)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"Judged({field}=...) must not be negative, got {value}.")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Draws]:
        with np.load(Path(self.file), allow_pickle=False) as archive:
            chains = torch.from_numpy(archive["draws"].astype(np.float64))
            known = "divergences" in archive.files
            diagnostics = {"divergences": float(archive["divergences"])} if known else {}
        yield Draws(chains, diagnostics)
