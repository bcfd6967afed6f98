"""How a sample site of a Pyro model gets to its coordinates, in words."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributions import Transform, transforms

from problems.models.pyro_faults import base_of

# Of what a density is where a matrix stands for another one, by the name of the support.
OF_WHAT = {
    "CorrCholesky": "the density is of the Cholesky factor L, not of the correlation matrix L Lᵀ",
    "LowerCholesky": "the density is of the Cholesky factor L, not of the matrix L Lᵀ",
    "CorrMatrix": "the density is of the correlation matrix, not of its Cholesky factor",
    "PositiveDefinite": "the density is of the matrix, not of its Cholesky factor",
}
SUMMED = "has finitely many values, which are summed out: it has no coordinates"


def words(law: Any, transform: Transform) -> str:
    """The distribution of a site, its support, and the transform from coordinates to that."""
    support, steps = _name(_bare(law.support)), [_step(part) for part in _parts(transform)]
    way = f"from its coordinates by {', then '.join(steps)}" if steps else "its own coordinates"
    said = f"{_name(base_of(law))}, support {support}; {way}"
    return f"{said}; {OF_WHAT[support]}" if support in OF_WHAT else said


def _bare(support: Any) -> Any:
    """A support without what only says how many of its values belong together."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support


def _parts(transform: Any) -> list[Any]:
    """The steps of a transform that do something, in order."""
    if isinstance(transform, transforms.ComposeTransform):
        return [step for part in transform.parts for step in _parts(part)]
    if isinstance(transform, transforms.IndependentTransform):
        return _parts(transform.base_transform)
    plain = (
        isinstance(transform, transforms.AffineTransform)
        and bool((torch.as_tensor(transform.loc) == 0).all())
        and bool((torch.as_tensor(transform.scale) == 1).all())
    )
    return [] if plain else [transform]


def _step(transform: Any) -> str:
    inner = getattr(transform, "_inv", None)  # of an inverse the transform itself, else a reference
    # not by the name of the class, which zuko changes
    inverse = isinstance(inner, transforms.Transform)
    return f"the inverse of {_name(inner)}" if inverse else _name(transform)


def _name(part: Any) -> str:
    return type(part).__name__.lstrip("_")
