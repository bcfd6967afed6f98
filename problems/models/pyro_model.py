r"""Any Pyro model is a problem: its posterior, constraints transformed away by Pyro's own
transforms.

.. math:: \log p(z) = \log p(y, x(z)) + \log |\det \partial x / \partial z|

x(z) goes site by site in the order of the model: ``biject_to(support)`` of each unobserved sample
site takes the next coordinates to the site's support, which may depend on the sites before it. Data
come as arguments, plates and masks count as in Pyro. Finite discrete sites are summed out. A file
with a function ``make`` that returns a ``PyroModel`` is all that ``postbench run -p FILE.py:make``
needs.

Source: E. Bingham et al., Pyro: deep universal probabilistic programming, 2019, arXiv:1810.09538.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode

from problems.base import Problem, Reference
from problems.models.pyro_enumerated import enumerated, log_joint
from problems.models.pyro_faults import NoPosteriorError
from problems.models.pyro_walk import Site, Walk
from problems.models.pyro_words import SUMMED
from problems.parts.edges import refuse
from problems.parts.stored import reference

TRIES = 20  # points, besides the origin, at which a model is tried before it is refused
LONGEST = 200  # letters of another library's error

DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]
# by the default dtype
FLOATS = (torch.ones, torch.zeros, torch.empty, torch.eye, torch.linspace, torch.logspace)


@dataclass(frozen=True, eq=False)
class PyroModel(Problem):
    """The posterior of a Pyro model.

    Floating-point arguments become float64, and so do the constants that the model makes while it
    runs; a tensor from elsewhere that is float32 should be made double.

    Args:
        model: the model; every unobserved sample site must be continuous, or discrete with
            finitely many values, which are summed out; none may be subsampled.
        args, kwargs: what it is called with, data included.
        name: what tables and the stored reference call it.

    Raises:
        ValueError: if the model has a discrete site of infinitely many values, a subsampled site,
            a parameter, or nothing to infer.
    """

    model: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    name: str = "pyro-model"  # type: ignore[misc] # one class is many problems here, so the name is each instance's own

    def __post_init__(self) -> None:
        if not self.sites:
            raise ValueError(
                f"PyroModel(model={self._called}) has no unobserved continuous sample site:"
                " there is nothing to infer."
            )

    @property
    def sites(self) -> tuple[Site, ...]:
        """The unobserved continuous sample sites in the order of the model."""
        return tuple(self._learnt.sites)

    @property
    def summed_out(self) -> tuple[str, ...]:
        """The discrete sample sites, which have no coordinates: the density is their sum."""
        return tuple(self._learnt.discrete)

    @property
    def transforms(self) -> dict[str, str]:
        """What each site is, and how it gets to its coordinates, by its name."""
        return {
            **{site.name: site.words for site in self.sites},
            **dict.fromkeys(self.summed_out, SUMMED),
        }

    @functools.cached_property
    def _learnt(self) -> Walk:
        """A walk that has seen every site.

        Learnt without a look at the density, which may be nothing at the point where they are:
        only arguments of distributions must be sound at one of several points.
        """
        generator, errors = Generator().manual_seed(0), []
        for i in range(1 + TRIES):
            walk = Walk(self._called, start=None if i == 0 else generator)
            try:
                return self._walk(walk, validated=True)
            except NoPosteriorError:
                raise
            except ValueError as error:
                errors.append(error)
        where = self._explained(Walk(self._called, explain=True)) or walk.place
        raise ValueError(
            f"PyroModel(model={self._called}): {where}; at none of {1 + TRIES} points are the"
            f" arguments of every distribution sound: {errors[0]}"
        ) from errors[0]

    @property
    def dim(self) -> int:
        return sum(site.size for site in self.sites)

    @property
    def coordinates(self) -> tuple[str, ...]:
        return tuple(label for site in self.sites for label in site.labels)

    @property
    def truth(self) -> Reference:
        """The stored reference; ``postbench reference build`` makes it.

        Raises:
            UncertifiedError: if there is none that may be used.
        """
        return reference(self)

    def log_density(self, z: Tensor) -> Tensor:
        rows = z.reshape(-1, self.dim).double()
        found: Tensor = self._over_rows(self._log_joint, rows, z.shape[:-1])
        return found.to(z.dtype)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """Every unobserved and every deterministic site, in the model's own units: [..., D] ->
        {name: [..., *shape]}, of the type of z.
        """
        rows = z.reshape(-1, self.dim).double()
        found: dict[str, Tensor] = self._over_rows(self._values, rows, z.shape[:-1])
        return {
            name: value.to(z.dtype) if value.is_floating_point() else value
            for name, value in found.items()
        }

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """The way back, from the unobserved sites: {name: [..., *shape]} -> [..., D], of their
        type.

        Raises:
            ValueError: if values lie on the edge of their support, where rounding puts them: no
                coordinates are theirs; the site is named, and how many.
        """
        first = values[self.sites[0].name]
        batch = first.shape[: first.dim() - len(self.sites[0].shape)]
        rows = {site.name: values[site.name].reshape(-1, *site.shape) for site in self.sites}
        found: dict[str, Tensor] = self._over_rows(self._free, rows, batch)
        coordinates = found.pop("")
        for name, kept in found.items():
            refuse(
                f"PyroModel(model={self._called}).unconstrain",
                name,
                kept,
                "lies inside its support and not on the edge",
            )
        return coordinates.to(first.dtype if first.is_floating_point() else torch.float64)

    def explain(self, z: Tensor) -> str:
        """Which site keeps the log density at z, [D], from being finite, and why; empty if none."""
        return self._explained(Walk(self._called, z.detach().double(), explain=True))

    @property
    def batched(self) -> bool:
        return not self._obstacle

    def _log_joint(self, row: Tensor) -> Tensor:
        return self._joint(Walk(self._called, row, summed=bool(self.summed_out)))

    def _joint(self, walk: Walk) -> Tensor:
        """The log joint density where a walk's coordinates lie, discrete sites summed out."""
        if not walk.summed:
            return self._walk(walk).log_joint
        nesting = self._learnt.nesting
        model = enumerated(self.model, nesting)
        self._walk(walk, model)
        return walk.log_joint + log_joint(model.trace, nesting)

    def _values(self, row: Tensor) -> dict[str, Tensor]:
        return self._walk(Walk(self._called, row)).values

    def _free(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        walk = self._walk(Walk(self._called, given=values))
        return {**walk.kept, "": torch.cat(walk.free)}

    def _explained(self, walk: Walk) -> str:
        try:
            self._walk(walk)
        except (ValueError, RuntimeError) as error:  # such as a matrix without a Cholesky factor
            return walk.fault or f"{walk.place}: {str(error).strip().splitlines()[0]}"
        return walk.fault

    @property
    def _called(self) -> str:
        return getattr(self.model, "__name__", type(self.model).__name__)

    @functools.cached_property
    def _inputs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return _doubled(tuple(self.args)), _doubled(dict(self.kwargs))

    def _walk(self, walk: Walk, model: Any = None, *, validated: bool = False) -> Walk:
        args, kwargs = self._inputs
        with pyro.validation_enabled(validated), _float64_constants(), walk:
            (model or self.model)(*args, **kwargs)
        return walk

    @functools.cached_property
    def _obstacle(self) -> str:
        """What keeps the model from being run on all rows at once, empty if nothing does; said
        once.
        """
        rows = torch.linspace(-1, 1, 3 * self.dim, dtype=torch.float64).reshape(3, self.dim)
        walks: list[Walk] = []

        def joint(row: Tensor) -> Tensor:
            walks.append(Walk(self._called, row, summed=bool(self.summed_out)))
            return self._joint(walks[-1])

        one_by_one = torch.stack([joint(row) for row in rows])
        try:
            at_once = torch.func.vmap(joint)(rows)
        except Exception as error:  # whatever vmap cannot do in a stranger's model, a loop can
            found = f"{walks[-1].ahead(walks[0])} ({str(error).strip().splitlines()[0][:LONGEST]})"
        else:
            if torch.allclose(at_once, one_by_one, rtol=1e-12, atol=1e-12, equal_nan=True):
                return ""
            found = "its log density, which differs between rows at once and one by one"
        warnings.warn(
            f"PyroModel(model={self._called}) is run row by row, and n rows take n times as long:"
            f" torch.vmap stops at {found}. Write that part without branches on values and with"
            " operations that torch.vmap knows, or as pyro.factor of its log density.",
            stacklevel=2,
        )
        return found

    def _over_rows(
        self, one: Callable[[Any], Any], rows: Tensor | dict[str, Tensor], batch: torch.Size
    ) -> Any:
        """Apply a function of one row to rows [n, ...], and give the results the shape [*batch,
        ...].
        """
        n = batch.numel()
        if n == 0:  # as if there were one row, to learn the shapes
            rows = _each(rows, lambda part: part.new_zeros((1, *part.shape[1:])))
        if self.batched:
            found = torch.func.vmap(one)(rows)
        else:
            found = _stacked([one(_each(rows, operator.itemgetter(i))) for i in range(max(n, 1))])
        return _each(found, lambda part: part[:n].reshape(batch + part.shape[1:]))


class _Float64(TorchFunctionMode):
    """Says float64 where the model asks for floats without saying which, so that a recorded
    gradient knows it, too. Reads ``x.data``, which no batch of rows has, as ``x.detach()``.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == DATA:  # made anew at every access
            return args[0].detach()
        given = dict(kwargs or {})
        filled = given.get("fill_value", args[-1] if args else None)
        floats = func in FLOATS or (func is torch.full and isinstance(filled, float))
        if floats and given.get("dtype") is None:
            given["dtype"] = torch.float64
        return func(*args, **given)


@contextlib.contextmanager
def _float64_constants() -> Iterator[None]:
    """Numbers in the model become float64 tensors: in float32 a scale of 0.1 is off by 1e-8."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Float64():
            yield
    finally:
        torch.set_default_dtype(before)


def _doubled(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.double()
    if type(value) in (tuple, list):
        return type(value)(map(_doubled, value))
    if type(value) is dict:
        return {name: _doubled(part) for name, part in value.items()}
    return value


def _each(tree: Any, function: Callable[[Tensor], Tensor]) -> Any:
    return (
        {name: function(part) for name, part in tree.items()}
        if isinstance(tree, dict)
        else function(tree)
    )


def _stacked(trees: list[Any]) -> Any:
    if isinstance(trees[0], dict):
        return {name: torch.stack([tree[name] for tree in trees]) for name in trees[0]}
    return torch.stack(trees)
