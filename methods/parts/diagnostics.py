r"""What chains say about their own health, computed when somebody asks: a few hundredths of a
second, not part of sampling.

Source: A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, Rank-normalization, folding,
and localization: an improved R-hat, 2021, arXiv:1903.08008; E-FMI: M. Betancourt, A conceptual
introduction to Hamiltonian Monte Carlo, 2017, arXiv:1701.02434, section 6.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

SHORTEST = 4  # draws per chain, below which nothing can be told


class ChainDiagnostics(Mapping[str, float]):
    r"""Figures by name; NaN or inf where there is none: fewer than four draws, a single chain,
    chains that never move.

    - ``r_hat``: split, rank-normalised R-hat, the largest over the coordinates; 1.01 or more is a
      warning.
    - ``ess_bulk``, ``ess_tail``: effective draws for the centre, and for the 5% and 95% quantiles,
      the least over the coordinates.
    - ``e_fmi``: :math:`\sum_n (E_n - E_{n-1})^2 / \sum_n (E_n - \bar E)^2` of the energies E_n on
      which the trajectories ran, the least over the chains; below 0.3 the momenta are too weak for
      the tails; left out where the sampler has no such energies.
    - whatever the sampler adds.

    Args:
        chains: [chains, draws, D].
        energies: [chains, draws], nats; None for a sampler without momenta.
        sampler: figures of the sampler's own.
    """

    def __init__(
        self, chains: Tensor, energies: Tensor | None, sampler: Mapping[str, float]
    ) -> None:
        self._chains, self._energies, self._sampler = chains, energies, dict(sampler)

    def __getitem__(self, name: str) -> float:
        return self._figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    @cached_property
    def _figures(self) -> dict[str, float]:
        from arviz_stats import base  # takes a second, and is seldom needed

        arviz: Any = base.array_stats  # type: ignore[attr-defined]
        chains = self._chains.numpy()
        names = ("r_hat", "ess_bulk", "ess_tail") + (
            ("e_fmi",) if self._energies is not None else ()
        )
        if chains.shape[1] < SHORTEST:
            return dict.fromkeys(names, np.nan) | self._sampler
        axes = {"chain_axis": 0, "draw_axis": 1}
        with np.errstate(divide="ignore", invalid="ignore"):  # a chain that never moves
            figures = {
                "r_hat": float(arviz.rhat(chains, **axes).max()),
                "ess_bulk": float(arviz.ess(chains, method="bulk", **axes).min()),
                "ess_tail": float(
                    arviz.ess(chains, method="tail", prob=(0.05, 0.95), **axes).min()
                ),
            }
            if self._energies is not None:
                figures["e_fmi"] = float(arviz.bfmi(self._energies.numpy(), **axes).min())
        return figures | self._sampler
