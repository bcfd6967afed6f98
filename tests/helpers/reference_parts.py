"""Ingredients of the tests of references: chains with a known memory, runs to check, and ways to
harm a stored one.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from torch import Tensor

from bench.reference.build import RefusedError
from bench.reference.run import Run
from methods.parts.sampling import learning
from problems.parts.stored import draws_hash, files, read, seal
from tests.helpers.exact_problems import seeded

# the package has a function of that name, too
building = importlib.import_module(RefusedError.__module__)
NEAR = "mixture-2d:separation=0.3"  # two named modes that chains walk between
ZEROS, UNIT = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def walk(chains: int, draws: int, memory: float, seed: int = 1) -> Tensor:
    """Autoregressive chains of standard normals, [chains, draws, 2]."""
    noise = normal(chains, draws, 2, seed=seed).numpy()
    noise[:, 1:] *= math.sqrt(1 - memory**2)
    return torch.from_numpy(lfilter([1.0], [1.0, -memory], noise, axis=1))


def run_of(chains: Tensor, divergences: int = 0, e_fmi: float = 1.0) -> Run:
    return Run("route", chains, chains.shape[0] * chains.shape[1], divergences, e_fmi, {}, 0, 0.0)


def failed(checks: list[Any]) -> list[str]:
    return [check.name for check in checks if not check.met]


def shorten(patch: pytest.MonkeyPatch, rounds: int) -> None:
    """Let chains arrive for so many rounds only."""
    patch.setattr(learning, "MOST_ROUNDS", rounds)


def edit(folder: Path, change: Callable[[dict[str, Any]], None], *, sealed: bool = True) -> None:
    path = files("eight-schools", folder)[1]
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content | ({"seal": seal(content)} if sealed else {})))


def replace_draws(folder: Path, change: Callable[[Any], Any], *, certified: bool) -> None:
    npz, certificate = files("eight-schools", folder)
    held = read(npz, certificate)
    unit = change(held.unit.copy()).astype(np.float32)
    np.savez_compressed(npz, loc=held.loc, scale=held.scale, unit=unit)
    if certified:
        edit(
            folder,
            lambda c: c["draws"].update(
                sha256=draws_hash(held.loc, held.scale, unit), count=len(unit)
            ),
        )
