"""How a posterior is approximated: the four types that every method meets.

To add a method: make a frozen dataclass that derives from ``Method``, its hyperparameters as
fields; set ``name``; write ``run`` as a generator that improves an approximation and yields it
every so often. The harness resumes it, pauses its clock while it measures, and closes it when the
budget is spent; a method needs no clock and no callback. Draw random numbers from the given
generator only. ``postbench check FILE.py:Class`` holds a method to the contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import torch
from torch import Generator, Tensor


class Target(Protocol):
    """What a method sees of a problem: its density and dimension, never its truth. Every call is
    counted.

    The harness's own target has two things more, which a target need not have: ``explain(z)``, why
    the density at z, [D], is not finite, in words; and ``prior``, a ``GaussianPrior`` or None.
    """

    @property
    def dim(self) -> int:
        """D, the number of coordinates."""

    def log_density(self, z: Tensor) -> Tensor:
        """Unnormalised log density, differentiable: [..., D] -> [...], nats. A row counts once
        forward, once backward.
        """

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log density and its gradient, detached: [..., D] -> ([...], [..., D]). The fastest way to
        a gradient and its value.
        """

    def gradient(self, z: Tensor) -> Tensor:
        """The gradient alone, detached: [..., D] -> [..., D]. Counted as if with the value, and
        faster where many are asked for.
        """


@dataclass(frozen=True)
class Budget:
    """What a method may spend; None is without limit. The harness enforces it at every ``yield``.

    A method with a schedule (annealing, cosine decay) should plan it by its own number of steps and
    by ``gradients``: a plan made from ``seconds`` makes the result depend on the speed of the
    machine.

    Args:
        seconds: time of fitting, measuring and set-up excluded. Set-up (see ``Method.run``) may
            take as long again.
        gradients: rows of gradient evaluations.
        checkpoints: how often quality is measured, the end included, at log-spaced points of the
            budget; where there is none, at fixed numbers of gradients.
        guard: seconds of set-up and fitting after which the harness stops a method that plans by
            gradients or by its own steps; a safety net and nothing to plan by.

    Example:
        >>> budget = Budget(gradients=10_000)
        >>> budget.seconds is None
        True
        >>> steps = budget.gradients // 32  # of a method that takes 32 gradients a step
        >>> steps
        312
        >>> Budget(gradients=0)
        Traceback (most recent call last):
        ...
        ValueError: Budget(gradients=...) must be positive, got 0; leave it out for no limit.
    """

    seconds: float | None = None
    gradients: int | None = None
    checkpoints: int = 1
    guard: float | None = None

    def __post_init__(self) -> None:
        for name in ("seconds", "gradients", "guard"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(
                    f"Budget({name}=...) must be positive, got {value}; leave it out for no limit."
                )
        if self.checkpoints < 1:
            raise ValueError(f"Budget(checkpoints=...) must be at least 1, got {self.checkpoints}.")


@dataclass(frozen=True)
class Evidence:
    """A method's own estimate of log Z, the log of the integral of the target's density.

    Args:
        log_z: nats.
        stderr: its standard error, nats.
    """

    log_z: float
    stderr: float


class NotApplicableError(Exception):
    """Raised by a method that cannot be run here, and that is no fault of its own: a library is not
    installed (``methods.parts.optional`` says so), or the posterior lacks what the method needs.

    The cell is ``skipped``, and the message, a sentence that names what is missing, its reason.
    """


class Approximation(ABC):
    """What a method makes of a posterior. It must not change after it was yielded.

    ``diagnostics`` are figures by name that the method has to say of it; most have none.
    ``evidence`` is the method's own estimate of log Z; None where it makes none.
    """

    diagnostics: Mapping[str, float] = MappingProxyType({})
    evidence: Evidence | None = None

    @abstractmethod
    def sample(self, n: int, generator: Generator) -> Tensor:
        """Draws, [n, D], float64, a function of the generator's state alone."""

    def log_prob(self, z: Tensor) -> Tensor | None:
        """Normalised log density, [..., D] -> [...], nats; None where there is none to be had (an
        implicit one).
        """
        return None


class Pushforward(Approximation):
    """z = f(eps), eps ~ N(0, I): a sampler whose map is open to the metrics. Where f is injective
    its density follows.

    Example:
        >>> class Doubled(Pushforward):
        ...     noise_dim = 2
        ...
        ...     def forward(self, eps):  # [n, 2] -> [n, 2]
        ...         return 2 * eps
        >>> q = Doubled()
        >>> q.sample(5, torch.Generator().manual_seed(0)).shape
        torch.Size([5, 2])
        >>> q.jacobian(torch.zeros(1, 2, dtype=torch.float64)).tolist()
        [[[2.0, 0.0], [0.0, 2.0]]]
    """

    noise_dim: int

    @abstractmethod
    def forward(self, eps: Tensor) -> Tensor:
        """The map f: [n, K] -> [n, D], float64, row by row."""

    def sample(self, n: int, generator: Generator) -> Tensor:
        with torch.no_grad():
            return self.forward(
                torch.randn(n, self.noise_dim, generator=generator, dtype=torch.float64)
            )

    def jacobian(self, eps: Tensor) -> Tensor:
        """df/deps for each row, [n, K] -> [n, D, K]; override where it is cheap by hand."""
        row = torch.func.jacrev(lambda e: self.forward(e.unsqueeze(0)).squeeze(0))
        jacobian: Tensor = torch.func.vmap(row)(eps)
        return jacobian.detach()


class SemiImplicit(Pushforward):
    r"""A mixture of Gaussians over noise: no closed density, and one for each noise, by which the
    metrics bound it from both sides.

    .. math:: z = m(\psi) + s(\psi) \eta, \quad \psi \sim N(0, I_K), \eta \sim N(0, I_D)

    As a ``Pushforward`` its noise is psi and then eta: ``noise_dim`` is K + D.
    """

    mixing_dim: int  # K

    @abstractmethod
    def conditional(self, psi: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviations of z given psi: [n, K] -> [n, D], [n, D], float64, row by
        row.
        """

    def forward(self, eps: Tensor) -> Tensor:
        loc, scale = self.conditional(eps[:, : self.mixing_dim])
        return loc + scale * eps[:, self.mixing_dim :]


@dataclass(frozen=True, eq=False)
class Draws(Approximation):
    """Draws alone, as MCMC makes them.

    Args:
        chains: [chains, draws, D], float64, in the order they were made.
        diagnostics: figures that tell whether to trust them (split R-hat, bulk ESS, divergences,
            ...).
        evidence: the method's own estimate of log Z; None where it makes none.
        interacting: whether the draws were made with regard to one another, as the particles of
            SVGD are: they are not independent, and no interval may pretend that they are.

    Example:
        >>> chains = torch.arange(8.0, dtype=torch.float64).reshape(2, 4, 1)
        >>> q = Draws(chains, {"divergences": 0})  # two chains of four draws, D = 1
        >>> q.sample(4, torch.Generator()).flatten().tolist()  # evenly spaced, none twice
        [0.0, 2.0, 5.0, 7.0]
        >>> q.sample(100, torch.Generator()).shape  # no more than there are
        torch.Size([8, 1])
    """

    chains: Tensor
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    evidence: Evidence | None = None
    interacting: bool = False

    def sample(self, n: int, generator: Generator) -> Tensor:
        """At most n draws, evenly spaced over the chains, [min(n, chains * draws), D]; never one of
        them twice.
        """
        flat = self.chains.flatten(0, 1)
        if n >= len(flat):
            return flat
        return flat[torch.linspace(0, len(flat) - 1, n, dtype=torch.float64).round().long()]


@dataclass(frozen=True)
class Span:
    """Where a search may look for a number: from low to high, by its logarithm where ``log``. Two
    integers make it an integer.
    """

    low: float
    high: float
    log: bool = False


class Method(ABC):
    """A way to approximate a posterior. Hyperparameters are the fields of a frozen dataclass.

    Example:
        >>> @dataclass(frozen=True)
        ... class Walkers(Method):
        ...     step: float = 0.1
        ...     name = "walkers"
        ...
        ...     def run(self, target, budget, generator):
        ...         z = torch.zeros(4, target.dim, dtype=torch.float64)
        ...         while True:  # the harness stops it when the budget is spent
        ...             z = z + self.step * target.value_and_grad(z)[1]
        ...             yield Draws(z.unsqueeze(1))
        >>> Walkers(step=0.2)
        Walkers(step=0.2)
    """

    name: ClassVar[str]
    source: ClassVar[str] = ""  # "Authors, year, arXiv or DOI" of the paper that proposed it
    # what `postbench tune` searches, by field; where there is none it goes by types and defaults
    search: ClassVar[Mapping[str, Sequence[Any] | Span]] = MappingProxyType({})

    @abstractmethod
    def run(
        self, target: Target, budget: Budget, generator: Generator
    ) -> Iterator[Approximation | None]:
        """Yield ever better approximations; return when there is no better one to come.

        A method that compiles or records before it fits yields None once, when it is ready and
        before its first approximation: the seconds until then are counted as set-up, apart from
        those of fitting. Gradients count wherever they are taken.

        Args:
            target: the density, counted.
            budget: what may be spent, to plan by; stopping is the harness's part.
            generator: the only source of randomness.

        Raises:
            NotApplicableError: if it cannot be run here, and that is no fault of its own.
        """
