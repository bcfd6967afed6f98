r"""Any Pyro model is a problem: its posterior, constraints transformed away by Pyro's own
transforms.

.. math:: \log p(z) = \log p(y, x(z)) + \log |\det \partial x / \partial z|

x(z) goes site by site in the order of the model: ``biject_to(support)`` of each unobserved sample
site takes the next coordinates to the site's support, which may depend on the sites before it. Data
come as arguments, plates and masks count as in Pyro. A file with a function ``make`` that returns a
``PyroModel`` is all that ``postbench run -p FILE.py:make`` needs.

Source: E. Bingham et al., Pyro: deep universal probabilistic programming, 2019, arXiv:1810.09538.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from problems.base import Problem, Reference
from problems.models.pyro_walk import Site, Walk
from problems.parts.stored import reference

# by the default dtype
FLOATS = (torch.ones, torch.zeros, torch.empty, torch.eye, torch.linspace, torch.logspace)


@dataclass(frozen=True, eq=False)
class PyroModel(Problem):
    """The posterior of a Pyro model.

    Floating-point arguments become float64, and so do the constants that the model makes while it
    runs; a tensor from elsewhere that is float32 should be made double.

    Args:
        model: the model; every unobserved sample site must be continuous, and none subsampled.
        args, kwargs: what it is called with, data included.
        name: what tables and the stored reference call it.

    Raises:
        ValueError: if the model has a discrete or a subsampled site, a parameter, or nothing to
            infer.
    """

    model: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    name: str = "pyro-model"  # type: ignore[misc] # one class is many problems here, so the name is each instance's own

    def __post_init__(self) -> None:
        if not self.sites:
            raise ValueError(
                f"PyroModel(model={self._called}) has no unobserved sample site: there is nothing"
                " to infer."
            )

    @functools.cached_property
    def sites(self) -> tuple[Site, ...]:
        """The unobserved sample sites in the order of the model."""
        return tuple(self._walk(Walk(self._called), validated=True).sites)

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
        found: Tensor = self._over_rows(self._log_joint, z.reshape(-1, self.dim), z.shape[:-1])
        return found

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """Every unobserved and every deterministic site, in the model's own units: [..., D] ->
        {name: [..., *shape]}.
        """
        found: dict[str, Tensor] = self._over_rows(
            self._values, z.reshape(-1, self.dim), z.shape[:-1]
        )
        return found

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """The way back, from the unobserved sites: {name: [..., *shape]} -> [..., D]."""
        batch = values[self.sites[0].name].shape
        batch = batch[: len(batch) - len(self.sites[0].shape)]
        rows = {site.name: values[site.name].reshape(-1, *site.shape) for site in self.sites}
        found: Tensor = self._over_rows(self._free, rows, batch)
        return found

    def _log_joint(self, row: Tensor) -> Tensor:
        return self._walk(Walk(self._called, row)).log_joint

    def _values(self, row: Tensor) -> dict[str, Tensor]:
        return self._walk(Walk(self._called, row)).values

    def _free(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.cat(self._walk(Walk(self._called, given=values)).free)

    @property
    def _called(self) -> str:
        return getattr(self.model, "__name__", type(self.model).__name__)

    @functools.cached_property
    def _inputs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return _doubled(tuple(self.args)), _doubled(dict(self.kwargs))

    def _walk(self, walk: Walk, *, validated: bool = False) -> Walk:
        args, kwargs = self._inputs
        with pyro.validation_enabled(validated), _float64_constants(), walk:
            self.model(*args, **kwargs)
        return walk

    @functools.cached_property
    def _vectorised(self) -> bool:
        """Whether the model can be run on all rows at once; one that branches on values cannot."""
        rows = torch.linspace(-1, 1, 3 * self.dim, dtype=torch.float64).reshape(3, self.dim)
        one_by_one = torch.stack([self._log_joint(row) for row in rows])
        try:
            at_once = torch.func.vmap(self._log_joint)(rows)
        except Exception:  # whatever vmap cannot do in a stranger's model, a loop can
            return False
        return torch.allclose(at_once, one_by_one, rtol=1e-12, atol=1e-12, equal_nan=True)

    def _over_rows(
        self, one: Callable[[Any], Any], rows: Tensor | dict[str, Tensor], batch: torch.Size
    ) -> Any:
        """Apply a function of one row to rows [n, ...], and give the results the shape [*batch,
        ...].
        """
        n = batch.numel()
        if n == 0:  # as if there were one row, to learn the shapes
            rows = _each(rows, lambda part: part.new_zeros((1, *part.shape[1:])))
        if self._vectorised:
            found = torch.func.vmap(one)(rows)
        else:
            found = _stacked([one(_each(rows, operator.itemgetter(i))) for i in range(max(n, 1))])
        return _each(found, lambda part: part[:n].reshape(batch + part.shape[1:]))


class _Float64(TorchFunctionMode):
    """Says float64 where the model asks for floats without saying which, so that a recorded
    gradient knows it, too.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        floats = func in FLOATS or (
            func is torch.full and isinstance(given.get("fill_value", args[-1]), float)
        )
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
