"""Values on the edge of a constraint have no unconstrained coordinates: they are refused, and
counted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

REMEDY = "leave these draws out, or give them with all their digits"
OFF = 0.02  # by which a simplex may miss 1, for rounded numbers; they are made to sum to 1 again


def log_of(where: str, name: str, values: Tensor) -> Tensor:
    """The logarithm of positive values, [...] -> [...].

    Args:
        where: whose parameter it is, for the error; name: its name.

    Raises:
        ValueError: if a value is not positive and finite, with their number.
    """
    refuse(where, name, (values > 0) & values.isfinite(), "is positive and finite")
    return values.log()


def refuse(where: str, name: str, kept: Tensor, rule: str) -> None:
    """Raise ValueError unless all is kept.

    Args:
        where, name: as of ``log_of``; kept: which values have coordinates; rule: what those do.
    """
    lost = int((~kept).sum())
    if lost:
        raise ValueError(
            f"{where}: {lost:,} of {kept.numel():,} values of {name!r} have no unconstrained"
            f" coordinates: each must be one that {rule}; {REMEDY}."
        )


def interior(support: Any, x: Tensor) -> tuple[Tensor, str]:
    """Which values lie inside a support of torch's and not on its edge, and that rule in words.

    Whatever has other edges than those known here need only be finite.

    Args:
        support: a constraint; x: values, [..., *event].

    Returns:
        Booleans in the shape of x or with fewer dimensions at its end.
    """
    inner = getattr(support, "base_constraint", None)
    if inner is not None:
        return interior(inner, x)
    kind = type(support).__name__.strip("_")
    if kind == "Simplex":
        return (x > 0).all(-1) & ((x.sum(-1) - 1).abs() < OFF), "has positive entries that sum to 1"
    if kind in ("CorrCholesky", "LowerCholesky"):
        diagonal = x.diagonal(dim1=-2, dim2=-1)
        return (diagonal > 0).all(-1) & x.isfinite().all(-1).all(-1), "has a positive diagonal"
    if kind in ("CorrMatrix", "PositiveDefinite"):
        return torch.linalg.cholesky_ex(x)[1] == 0, "is positive definite"
    kept, rules = x.isfinite(), ["is finite"]
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if low is not None:
        kept, rules = kept & (x > low), [*rules, "lies above the lower bound"]
    if high is not None:
        kept, rules = kept & (x < high), [*rules, "lies below the upper bound"]
    return kept, " and ".join(rules)


def settled(support: Any, x: Tensor) -> Tensor:
    """Values of a simplex scaled to sum to 1, which rounding made them miss; others as they are."""
    inner = getattr(support, "base_constraint", None)
    if inner is not None:
        return settled(inner, x)
    return x / x.sum(-1, keepdim=True) if type(support).__name__ == "_Simplex" else x
