"""Draws that are not all finite: the rest of them, and the approximation without the others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from methods.base import Approximation, Draws, Evidence, Pushforward

FEWEST = 10  # finite draws, below which there is nothing to measure
ROUNDS = 20  # of drawing anew in place of those that are not finite


class DivergedError(Exception):
    """The approximation is not made of finite numbers."""


@dataclass(frozen=True)
class _Rest(Approximation):
    """An approximation without its draws that are not finite; its density is left as it is."""

    whole: Approximation

    @property
    def evidence(self) -> Evidence | None:  # type: ignore[override]
        return self.whole.evidence

    def sample(self, n: int, generator: Generator) -> Tensor:
        return _rest(self.whole, n, generator)

    def log_prob(self, z: Tensor) -> Tensor | None:
        return self.whole.log_prob(z)


@dataclass(frozen=True)
class _RestOfMap(Pushforward):
    """A map without the draws that are not finite."""

    whole: Pushforward

    @property
    def evidence(self) -> Evidence | None:  # type: ignore[override]
        return self.whole.evidence

    @property
    def noise_dim(self) -> int:  # type: ignore[override]
        return self.whole.noise_dim

    def forward(self, eps: Tensor) -> Tensor:
        return self.whole.forward(eps)

    def jacobian(self, eps: Tensor) -> Tensor:
        return self.whole.jacobian(eps)

    def log_prob(self, z: Tensor) -> Tensor | None:
        return self.whole.log_prob(z)

    def sample(self, n: int, generator: Generator) -> Tensor:
        return _rest(self.whole, n, generator)


def finite(
    approximation: Approximation, draws: Tensor, dim: int
) -> tuple[Tensor, Approximation, str]:
    """The finite ones of draws [n, D], a copy; the approximation that they are of; and the share
    that was left out, in words, empty where that is none.

    Raises:
        ValueError: if they are no draws of D coordinates.
        DivergedError: if too few of them are finite.
    """
    if not isinstance(draws, Tensor) or draws.ndim != 2 or draws.shape[1] != dim or not len(draws):
        shape = list(draws.shape) if isinstance(draws, Tensor) else type(draws).__name__
        raise ValueError(
            f"sample() returned shape {shape}; expected [n, {dim}] with n of at least 1."
        )
    draws = draws.detach().double().clone()
    good = torch.isfinite(draws).all(-1)
    bad = int((~good).sum())
    whole = approximation.chains if isinstance(approximation, Draws) else None
    lost = 0 if whole is None else int((~torch.isfinite(whole)).any(-1).sum())
    if not bad and not lost:
        return draws, approximation, ""
    if int(good.sum()) < min(FEWEST, len(draws)):
        raise DivergedError(f"{bad} of {len(draws)} draws are not finite.")
    said = (bad, len(draws)) if whole is None else (lost, whole.shape[:2].numel())
    share = f"{said[0]:,} of {said[1]:,} draws are not finite; measured on the rest"
    return draws[good], _without_them(approximation), share


def _without_them(approximation: Approximation) -> Approximation:
    if isinstance(approximation, Draws):
        good = torch.isfinite(approximation.chains).all(-1)  # [chains, draws]
        chains = good.any(1)  # a chain that is lost altogether takes no other's draws with it
        steps = good[chains].all(0)
        kept = approximation.chains[chains][:, steps]
        if kept.shape[1] < 2:
            raise DivergedError(f"{int((~good).sum())} of {good.numel()} draws are not finite.")
        return replace(approximation, chains=kept)
    if isinstance(approximation, Pushforward):
        return _RestOfMap(approximation)
    return _Rest(approximation)


def _rest(whole: Approximation, n: int, generator: Generator) -> Tensor:
    """n finite draws, [n, D]; those that are not are drawn anew."""
    found: list[Tensor] = []
    missing = n
    for _ in range(ROUNDS):
        draws = whole.sample(max(missing, FEWEST), generator)
        found.append(draws[torch.isfinite(draws).all(-1)][:missing])
        missing -= len(found[-1])
        if missing == 0:
            return torch.cat(found)
    raise DivergedError(f"{missing} of {n} draws are not finite after {ROUNDS} rounds.")
