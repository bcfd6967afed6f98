"""One walk through a Pyro model: where its unobserved sites are, what values they take, and the log
joint density.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Generator, Tensor
from torch.distributions import biject_to

from problems.models.pyro_faults import (
    NoPosteriorError,
    argument_fault,
    base_of,
    data_fault,
    fault,
    log_prob,
)
from problems.models.pyro_words import words
from problems.parts.edges import interior, settled


@dataclass(frozen=True)
class Site:
    """One unobserved sample site of a Pyro model, as a run of the model shows it.

    Args:
        name: in the model.
        shape: of its value, [*shape].
        free: shape of its coordinates, [*free].
        prefix: what to call them: the name, ``log name`` where the transform is exp, ``free name``
            for other transforms.
        words: its distribution, its support, and the transform to that.
    """

    name: str
    shape: tuple[int, ...]
    free: tuple[int, ...]
    prefix: str
    words: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """One for each coordinate, counted from 1."""
        if not self.free:
            return (self.prefix,)
        places = torch.cartesian_prod(*[torch.arange(1, n + 1) for n in self.free]).reshape(
            -1, len(self.free)
        )
        return tuple(f"{self.prefix}[{','.join(str(int(i)) for i in place)}]" for place in places)

    @property
    def size(self) -> int:
        """How many unconstrained coordinates the site has."""
        return math.prod(self.free)


class Walk(Messenger):
    """Goes through a model once: gives every unobserved site its value, and adds up the log joint
    density.

    Entered outside the model, so that it sees each site after plates, masks and conditions have
    done their part.

    Args:
        called: the model's name, for errors.
        row: coordinates [D]; None to learn the sites, each at coordinates of its own.
        given: values by name to find the coordinates of, in place of ``row``.
        start: what the coordinates at which sites are learnt are drawn with; None for zeros.
        explain: whether to keep in words what is not finite, and where.
        summed: whether the densities of sites are summed up elsewhere, so that only those of the
            transforms count.
    """

    def __init__(
        self,
        called: str,
        row: Tensor | None = None,
        given: Mapping[str, Tensor] | None = None,
        *,
        start: Generator | None = None,
        explain: bool = False,
        summed: bool = False,
    ) -> None:
        self.summed = summed
        self.discrete: list[str] = []  # finite discrete sites, which are summed out
        self.nesting = 0  # dimensions that plates take up
        self._called, self._row, self._given = called, row, given
        self._start, self._explain = start, explain
        self._at = 0
        self.passed: list[str] = []  # the sites behind it
        self.kept: dict[str, Tensor] = {}  # whether the given values have coordinates
        self.place = "before its first site"  # how far the walk has come, for errors
        self.fault = ""
        self.log_joint = torch.zeros((), dtype=torch.float64)
        self.values: dict[str, Tensor] = {}
        self.free: list[Tensor] = []
        self.sites: list[Site] = []

    def _pyro_param(self, message: Any) -> None:
        raise NoPosteriorError(
            f"PyroModel(model={self._called}) has the parameter {message['name']!r}; a posterior"
            " has none: give its value as an argument."
        )

    def _pyro_sample(self, message: Any) -> None:
        self.place = f"the site {message['name']!r}"
        dims = [-frame.dim for frame in message["cond_indep_stack"] if frame.vectorized]
        self.nesting = max([self.nesting, *dims])
        if site_is_subsample(message):
            if message["fn"].subsample_size not in (None, message["fn"].size):
                raise NoPosteriorError(
                    f"PyroModel(model={self._called}): the plate {message['name']!r} is subsampled,"
                    " which makes the density random; leave subsample_size out."
                )
        elif not message["is_observed"] and message["value"] is None:
            self._place(message)

    def _pyro_post_sample(self, message: Any) -> None:
        if site_is_subsample(message):
            return
        if message["infer"].get("_deterministic"):
            if self.discrete:  # it may be another for every value of what is summed out
                return
            self.values[message["name"]] = message["value"]
            return
        law, value = message["fn"], torch.as_tensor(message["value"])
        if self._learning:  # at no point in particular, where the density says nothing
            if message["is_observed"] and (said := data_fault(law, value, message["mask"])):
                raise NoPosteriorError(f"PyroModel(model={self._called}): {self.place}: {said}.")
            if self._explain and not self.fault and (said := argument_fault(law)):
                self.fault = f"{self.place}: {said}"
        elif not self.summed:
            density = log_prob(law, value)
            if (
                self._explain
                and not self.fault
                and (said := fault(law, value, _kept(density, message)))
            ):
                self.fault = f"{self.place}: {said}"
            scaled = scale_and_mask(density, message["scale"], message["mask"])  # type: ignore[no-untyped-call]
            self.log_joint = self.log_joint + scaled.sum()
        self.passed.append(message["name"])
        self.place = f"what follows the site {message['name']!r}"

    def ahead(self, whole: Walk) -> str:
        """Where this walk stopped, named by the site that comes next in one that did not."""
        left = whole.passed[len(self.passed) :]
        at_site = not left or self.place == f"the site {left[0]!r}"
        return self.place if at_site else f"the site {left[0]!r} or what leads up to it"

    @property
    def _learning(self) -> bool:
        return self._row is None and self._given is None

    def _place(self, message: Any) -> None:
        if message["fn"].support.is_discrete:
            self._stand_in(message)
            return
        name, transform, shape = message["name"], self._transform(message), message["fn"].shape()
        if self._given is not None:
            support = message["fn"].support
            x = settled(support, self._given[name].double())
            self.kept[name] = interior(support, self._given[name].double())[0].all()
            u = transform.inv(x)
        else:
            free = torch.Size(transform.inverse_shape(shape))
            u = self._next(free)
            x = transform(u)
        if self._learning:
            called, said = _prefix(name, transform, u), words(message["fn"], transform)
            self.sites.append(Site(name, tuple(shape), tuple(u.shape), called, said))
        self.log_joint = self.log_joint + transform.log_abs_det_jacobian(u, x).sum()
        self.values[name] = message["value"] = x
        self.free.append(u.reshape(-1))

    def _stand_in(self, message: Any) -> None:
        """Give a discrete site the first of its values, where all of them are not gone through."""
        law = message["fn"]
        if not law.has_enumerate_support:
            raise NoPosteriorError(
                f"PyroModel(model={self._called}): the site {message['name']!r} is discrete, and a"
                f" {type(base_of(law)).__name__} has no finite list of values to sum over; sum it"
                " out of the model, or observe it."
            )
        self.discrete.append(message["name"])
        message["value"] = law.enumerate_support(expand=True)[0]

    def _next(self, shape: torch.Size) -> Tensor:
        if self._row is None:
            if self._start is None:
                return torch.zeros(shape, dtype=torch.float64)
            return torch.randn(shape, generator=self._start, dtype=torch.float64)
        start, self._at = self._at, self._at + shape.numel()
        return self._row[start : self._at].reshape(shape)

    def _transform(self, message: Any) -> Any:
        where = f"PyroModel(model={self._called}): the site {message['name']!r}"
        try:
            return biject_to(message["fn"].support)
        except NotImplementedError:
            raise NoPosteriorError(
                f"{where} has a support that Pyro has no transform for: {message['fn'].support}."
            ) from None


def _kept(density: Tensor, message: Any) -> Tensor:
    """The log density of a site, 0 where it is masked."""
    mask = message["mask"]
    return density if mask is None else torch.where(torch.as_tensor(mask), density, 0.0)


def _prefix(name: str, transform: Any, u: Tensor) -> str:
    """What the coordinates of a site are called, found out at one point."""
    u = u + 0.5
    x = transform(u)
    if x.shape == u.shape and torch.equal(x, u):
        return name
    if x.shape == u.shape and torch.allclose(x, u.exp(), rtol=1e-12):
        return f"log {name}"
    return f"free {name}"
