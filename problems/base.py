"""What is to be inferred: a log density over unconstrained reals, and the truth it is judged by.

To add a problem: make a frozen dataclass that derives from ``Problem``; set ``name``; give ``dim``
and ``truth``; write ``log_density`` over all of R^D (transform constraints away and add the log
Jacobian); where the model has parameters in units of its own, override ``constrain`` and
``unconstrain``. ``postbench check FILE.py:Class`` holds it to the contract.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
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
        mean, variance: of each coordinate, [D], where mathematics gives them; an audit compares
            with them in place of draws, whose noise is then no part of it.

    Example:
        >>> def sample(n, generator):
        ...     return torch.randn(n, 2, generator=generator, dtype=torch.float64)
        >>> truth = Exact(sample, log_z=0.0)  # a standard normal in the plane, normalised
        >>> truth.sample(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2])
    """

    sample: Callable[[int, Generator], Tensor]
    log_z: float
    mean: Tensor | None = None
    variance: Tensor | None = None


@dataclass(frozen=True)
class Reference:
    """A posterior known by long, certified simulation.

    Args:
        draws: nearly independent draws, [n, D], float64.
        log_z: estimate of the log evidence in nats, or None.
        log_z_stderr: its standard error in nats, or None.
        certificate: how the draws were made and which checks they passed.

    Example:
        >>> draws = torch.arange(6.0, dtype=torch.float64).reshape(6, 1)
        >>> truth = Reference(draws, log_z=-1.5, log_z_stderr=0.01, certificate={"route": "nuts"})
        >>> truth.sample(6, torch.Generator()).sort(0).values.flatten().tolist()  # none twice
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        >>> truth.half(0).draws.flatten().tolist(), truth.half(1).draws.flatten().tolist()
        ([0.0, 2.0, 4.0], [1.0, 3.0, 5.0])
        >>> truth.sample(7, torch.Generator())
        Traceback (most recent call last):
        ...
        ValueError: sample(n=7) asks for more than the 6 stored reference draws.
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

    Example:
        >>> modes = Modes(lambda z: (z[..., 0] > 0).long(), (0.3, 0.7))  # left and right of zero
        >>> modes.label(torch.tensor([[-1.0], [2.0]])).tolist()
        [0, 1]
    """

    label: Callable[[Tensor], Tensor]
    weights: tuple[float, ...]


Trait = Literal[
    "bounded",
    "correlated",
    "curved",
    "funnel",
    "gaussian",
    "heavy-tailed",
    "hierarchical",
    "multimodal",
    "regression",
    "skewed",
    "time-series",
]
# What makes a posterior hard or easy, at the defaults of its fields: a closed list.
TRAITS: dict[Trait, str] = {
    "bounded": "has parameters with bounds, which are transformed away",
    "correlated": "two coordinates of its one mode have a correlation of 0.6 or more, about",
    "curved": "its mass lies along a curve or a surface",
    "funnel": "the scale of some coordinates follows another over orders of magnitude",
    "gaussian": "it is a Gaussian",
    "heavy-tailed": "its tails fall as a power",
    "hierarchical": "its parameters have a prior that is learned with them",
    "multimodal": "it has more modes than one",
    "regression": "it is of the coefficients or the function of a regression",
    "skewed": "a side of a coordinate is much longer than the other",
    "time-series": "its coordinates follow each other in time",
}
CONTENT = "content"  # metadata of a field that is a path: what counts is what the file holds


class StanProgram(ABC):
    """A Stan program whose density, in Stan's unconstrained coordinates, is that of a problem, in
    the same order and up to one constant: what Stan's own sampler runs on.
    """

    @abstractmethod
    def model(self) -> Any:
        """The program with its data as a ``stanli.Model``.

        Raises:
            ModuleNotFoundError: if stanli is not installed, with what installs it.
        """

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The names of the parameters, entry by entry, as Stan writes a draw."""

    @abstractmethod
    def log_density(self, z: Tensor) -> Tensor:
        """The program's own density with Jacobians, less the constants that Stan drops, nats:
        [n, D] -> [n].
        """

    @abstractmethod
    def free(self, values: Tensor) -> Tensor:
        """Unconstrained coordinates of draws, a column each of ``columns``: [n, P] -> [n, D]; NaN
        or infinite where there are none.
        """

    @property
    def open(self) -> bool:
        """Whether draws leave a coordinate open, as a unit vector does: it has as many coordinates
        as entries, and they may be of any length. ``free`` draws that from its own law.
        """
        return False


@dataclass(frozen=True, eq=False)
class GaussianPrior:
    """The prior of a problem, where that is a Gaussian in its unconstrained coordinates.

    What is left of the log density without it is the log likelihood, of which elliptical slice
    sampling makes use.

    Args:
        loc: the mean, [D], float64.
        scale_tril: lower triangular factor of the covariance, [D, D], float64.

    Example:
        >>> prior = GaussianPrior.independent((0.0, 0.0), (2.0, 2.0))
        >>> round(float(prior.log_prob(torch.zeros(2).double())), 4)  # -log(2 pi) - log 4
        -3.2242
    """

    loc: Tensor
    scale_tril: Tensor

    @staticmethod
    def independent(loc: Sequence[float], scale: Sequence[float]) -> GaussianPrior:
        """Of independent coordinates, with a mean and a standard deviation for each of the D."""
        scales = torch.tensor(scale, dtype=torch.float64)
        return GaussianPrior(torch.tensor(loc, dtype=torch.float64), scales.diag())

    def log_prob(self, z: Tensor) -> Tensor:
        """Normalised log density: [..., D] -> [...], nats."""
        rows = (z - self.loc).reshape(-1, len(self.loc))
        white: Tensor = torch.linalg.solve_triangular(self.scale_tril, rows.T, upper=False)
        constant = self.scale_tril.diagonal().log().sum() + 0.5 * len(self.loc) * math.log(
            2 * math.pi
        )
        return -0.5 * white.square().sum(0).reshape(z.shape[:-1]) - constant


class Problem(ABC):
    """A posterior over R^D, all constraints transformed away. Its settings are the fields of a
    frozen dataclass.

    Example:
        >>> @dataclass(frozen=True)
        ... class Standard(Problem):  # a standard normal, less its constant
        ...     dim: int = 2
        ...     name = "standard"
        ...
        ...     def log_density(self, z):  # [..., D] -> [...]
        ...         return -0.5 * z.square().sum(-1)
        ...
        ...     @property
        ...     def truth(self):
        ...         log_z = 0.5 * self.dim * torch.log(torch.tensor(2 * torch.pi)).item()
        ...         return Exact(lambda n, g: torch.randn(n, self.dim, generator=g).double(), log_z)
        >>> problem = Standard(dim=3)
        >>> problem.log_density(torch.ones(5, 3, dtype=torch.float64)).tolist()
        [-1.5, -1.5, -1.5, -1.5, -1.5]
        >>> problem.coordinates
        ('z[1]', 'z[2]', 'z[3]')
    """

    name: ClassVar[str]
    traits: ClassVar[tuple[Trait, ...]] = ()  # what it is known for, of the list TRAITS

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
    def gaussian_prior(self) -> GaussianPrior | None:
        """The prior, where that is Gaussian in the coordinates z, all of them; None elsewhere."""
        return None

    @property
    def moments(self) -> float | None:
        """Moments of orders below this one exist, infinity where all do: figures made of others
        are left out. None where it is not known: draws of the truth decide.
        """
        return None

    @property
    def batched(self) -> bool:
        """Whether the log density runs all rows at once; a loop over them is not recorded."""
        return True

    @property
    def stan_program(self) -> StanProgram | None:
        """A Stan program of the same density, where there is one."""
        return None

    def explain(self, z: Tensor) -> str:
        """What keeps the log density at z, [D], from being finite, where the problem can tell."""
        return ""

    @property
    def coordinates(self) -> tuple[str, ...]:
        """A label for each unconstrained coordinate, as plots print it."""
        return tuple(f"z[{i + 1}]" for i in range(self.dim))

    @property
    def transforms(self) -> Mapping[str, str]:
        """What each parameter is, and how it gets to its coordinates, in words by its name; empty
        where a problem leaves that to its prose.
        """
        return {}

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """Named parameters in the model's own units: [..., D] -> {name: [..., *shape]}."""
        return {"z": z}

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """The way back from ``constrain``: {name: [..., *shape]} -> [..., D]."""
        return values["z"]
