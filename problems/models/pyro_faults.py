"""What is wrong at one sample site of a Pyro model, in words: its data, its arguments, its support,
its density.
"""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import ExpandedDistribution, MaskedDistribution
from torch import Tensor
from torch.distributions import Multinomial, TransformedDistribution, constraints

WRAPPERS = (
    dist.Independent,
    torch.distributions.Independent,
    ExpandedDistribution,
    MaskedDistribution,
)
SHOWN = 4  # significant digits of a value


class NoPosteriorError(ValueError):
    """The model is no posterior over the reals; the message says which site, and what to do."""


def base_of(law: Any) -> Any:
    """A distribution without what expands, masks or groups it."""
    while isinstance(law, WRAPPERS):
        law = law.base_dist
    return law


def support_moves(law: Any) -> bool:
    """Whether the support depends on the arguments of the distribution."""
    return bool(constraints.is_dependent(type(base_of(law)).support))  # type: ignore[no-untyped-call]


def inside(law: Any, value: Tensor) -> Tensor | None:
    """Whether values lie in the support, in the shape of their log density; None if it cannot be
    told.
    """
    event = len(law.event_shape)
    base: Any = base_of(law)
    try:
        checks: list[Tensor] = [law.support.check(value)]
        if issubclass(type(base), TransformedDistribution):  # torch calls any shifted support real
            for transform in reversed(base.transforms):
                checks.append(transform.codomain.check(value))
                value = transform.inv(value)
            checks.append(base.base_dist.support.check(value))
    except (NotImplementedError, ValueError, RuntimeError):
        return None
    kept = torch.ones((), dtype=torch.bool)
    for check in checks:
        spare = check.dim() - (value.dim() - event)
        kept = kept & (check.flatten(-spare).all(-1) if spare > 0 else check)
    return kept


def log_prob(law: Any, value: Tensor) -> Tensor:
    """The log density of a site's value, -inf outside a support that moves with its arguments.

    torch's own gives NaN there for a transformed distribution, and that of a Multinomial cannot be
    run on many rows at once.
    """
    base = base_of(law)
    if base is law and isinstance(base, Multinomial):
        return _multinomial(base, value)
    found: Tensor = law.log_prob(value)
    if support_moves(law) and not law.support.is_discrete:
        kept = inside(law, value)
        if kept is not None and kept.shape == found.shape:
            found = torch.where(kept, found, -torch.inf)
    return found


def _multinomial(law: Any, counts: Tensor) -> Tensor:
    r"""log of :math:`n! \prod_k p_k^{x_k} / x_k!`, [..., K] -> [...], with 0 log 0 = 0."""
    ways = (counts.sum(-1) + 1).lgamma() - (counts + 1).lgamma().sum(-1)
    terms = torch.where(counts == 0, 0.0, counts * law.logits)
    found: Tensor = ways + terms.sum(-1)
    return found


def data_fault(law: Any, value: Tensor, mask: Any) -> str:
    """What is wrong with observed values whatever the parameters are; empty if nothing is."""
    if value.is_floating_point() and bool(value.isnan().any()):
        return (
            f"{_of(value.isnan())} of its data are NaN; leave them out, or put a number there and"
            " mask it"
        )
    kept = None if support_moves(law) else inside(law, value)
    if kept is None:
        return ""
    if isinstance(mask, Tensor):
        kept = kept | ~mask
    if mask is False or bool(kept.all()):
        return ""
    return f"{_of(~kept)} of its data lie outside the support, {law.support}"


def fault(law: Any, value: Tensor, density: Tensor) -> str:
    """What keeps a site's log density at this value from being finite; empty if nothing does."""
    if bool(value.isnan().any()):
        return f"{_of(value.isnan())} of its values are NaN"
    if said := argument_fault(law):
        return said
    kept = inside(law, value)
    if kept is not None and not bool(kept.all()):
        return f"{_of(~kept)} of its values lie outside the support, {law.support}"
    if not bool(density.isfinite().all()):
        return f"{_of(~density.isfinite())} of its log densities are not finite"
    return ""


def argument_fault(law: Any) -> str:
    """The first argument of a distribution that breaks its constraint; empty if none does."""
    base = base_of(law)
    for name, constraint in getattr(base, "arg_constraints", {}).items():
        if constraints.is_dependent(constraint) or name not in vars(base):  # type: ignore[no-untyped-call]
            continue
        value = torch.as_tensor(getattr(base, name))
        kept = constraint.check(value)
        if not bool(kept.all()):
            flat = value if kept.shape == value.shape else value.flatten(kept.dim())
            worst = float(flat[~kept].flatten()[0])
            return (
                f"{type(base).__name__} takes a {name} in {constraint}, and {_of(~kept)} of them"
                f" are not, such as {worst:.{SHOWN}g}"
            )
    return ""


def _of(marked: Tensor) -> str:
    return f"{int(marked.sum()):,} of {marked.numel():,}"
