"""What is to be inferred: a log density over unconstrained reals, and the truth it is judged by.

To add a problem: make a frozen dataclass that derives from ``Problem``; set ``name``; give ``dim``
and ``truth``; write ``log_density`` over all of R^D (transform constraints away and add the log
Jacobian); where the model has parameters in units of its own, override ``constrain`` and
``unconstrain``. ``postbench check FILE.py:Class`` holds it to the contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Exact:
    """A posterior known in closed form, or by quadrature.

    Args:
        sample: independent draws, ``(n, generator) -> [n, D]``, float64.
        log_z: log of the integral of ``exp(log_density)``, nats: the log evidence of a Bayesian
            model.
    """

    sample: Callable[[int, Generator], Tensor]
    log_z: float


@dataclass(frozen=True)
class Reference:
    """A posterior known by long, certified simulation.

    Args:
        draws: nearly independent draws, [n, D], float64.
        log_z: estimate of the log evidence in nats, or None.
        log_z_stderr: its standard error in nats, or None.
        certificate: how the draws were made and which checks they passed.
    """

    draws: Tensor
    log_z: float | None
    log_z_stderr: float | None
    certificate: Mapping[str, Any]

    def sample(self, n: int, generator: Generator) -> Tensor:
        """A random subset without repetition: [n, D].

        Raises:
            ValueError: if more draws are asked for than are stored.
        """
        if n > len(self.draws):
            raise ValueError(
                f"sample(n={n}) asks for more than the {len(self.draws)} stored reference draws."
            )
        return self.draws[torch.randperm(len(self.draws), generator=generator)[:n]]

    def half(self, which: Literal[0, 1]) -> Reference:
        """Every second draw: the two halves share none, so that one can be held against the
        other.
        """
        return replace(self, draws=self.draws[which::2])


Truth = Exact | Reference


@dataclass(frozen=True)
class Modes:
    """Named modes: which one a point belongs to, and how much of the truth each holds.

    Args:
        label: ``[..., D] -> [...]``, integers that index ``weights``.
        weights: true share of each mode; they sum to one.
    """

    label: Callable[[Tensor], Tensor]
    weights: tuple[float, ...]


class Problem(ABC):
    """A posterior over R^D, all constraints transformed away. Its settings are the fields of a
    frozen dataclass.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def dim(self) -> int:
        """D, the number of unconstrained coordinates."""

    @property
    @abstractmethod
    def truth(self) -> Truth:
        """What the approximations are compared with."""

    @abstractmethod
    def log_density(self, z: Tensor) -> Tensor:
        """Unnormalised log density in nats, Jacobians and additive constants included: [..., D] ->
        [...].
        """

    @property
    def modes(self) -> Modes | None:
        """The modes by name, where the posterior has such."""
        return None

    @property
    def coordinates(self) -> tuple[str, ...]:
        """A label for each unconstrained coordinate, as plots print it."""
        return tuple(f"z[{i + 1}]" for i in range(self.dim))

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """Named parameters in the model's own units: [..., D] -> {name: [..., *shape]}."""
        return {"z": z}

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """The way back from ``constrain``: {name: [..., *shape]} -> [..., D]."""
        return values["z"]
