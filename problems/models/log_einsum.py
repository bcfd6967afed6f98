"""Sums of products by their logs, as a backend of opt_einsum: unlike Pyro's own, it can be run on
many rows at once.
"""

from __future__ import annotations

import torch
from pyro.ops.einsum.util import Tensordot
from pyro.ops.rings import LogRing
from torch import Tensor

NOTHING = -1e300  # stands for log 0: the slope of a sum of zeros is 0 then, not NaN


def transpose(a: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The tensor with its dimensions in another order."""
    return a.permute(axes)


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """log of the sum over the symbols that the output lacks, of the product of exp(operands)."""
    left, output = equation.split("->")
    inputs = left.split(",")
    gone = sorted(set("".join(inputs)) - set(output))
    order = [*output, *gone]
    total = torch.zeros((), dtype=torch.float64)
    for dims, operand in zip(inputs, operands, strict=True):
        here = [symbol for symbol in order if symbol in dims]
        whole = operand.double().clamp(min=NOTHING).permute([dims.index(symbol) for symbol in here])
        shape = [whole.shape[here.index(symbol)] if symbol in here else 1 for symbol in order]
        total = total + whole.reshape(shape)
    return total.logsumexp(list(range(len(output), len(order)))) if gone else total.clone()


tensordot = Tensordot(einsum)  # type: ignore[no-untyped-call]


class Logs(LogRing):
    """Pyro's ring of logs on this backend."""

    _backend = __name__
