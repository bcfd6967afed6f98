"""Products of matrices by the quicker of the libraries that torch ships with.

Torch multiplies by its BLAS. Where that is Intel's and the processor is not, large products run at
half of what oneDNN makes of the same processor, in single precision both; small ones cost oneDNN
more to prepare than to compute. Which of the two is taken depends on the sizes alone, so a result
does not depend on what else the machine does.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

# products of entries, from which on oneDNN earns its 10 microseconds of preparation; results of few
# columns, which BLAS is slow at, earn it sooner
LARGE, LARGE_NARROW, NARROW = 2_000_000, 300_000, 16


def product(a: Tensor, b: Tensor) -> Tensor:
    """[n, K] times [K, m] -> [n, m]."""
    if _large(a, b):
        return by_one_dnn(a, b.T, None)
    return a @ b


def affine(bias: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """[n, K] times [K, m], plus [m] -> [n, m]."""
    if _large(a, b):
        return by_one_dnn(a, b.T, bias)
    return torch.addmm(bias, a, b)


def _large(a: Tensor, b: Tensor) -> bool:
    """Whether oneDNN is there for them and quicker; it offers no gradient."""
    return (
        a.numel() * b.shape[1] >= (LARGE_NARROW if 1 < b.shape[1] <= NARROW else LARGE)
        and a.dtype == b.dtype == torch.float32
        and a.device.type == "cpu"
        and not (torch.is_grad_enabled() and (a.requires_grad or b.requires_grad))
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def by_one_dnn(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    """a times b transposed, plus a bias if there is one: [n, K], [m, K], [m] -> [n, m]."""
    return _script()(a, b, bias)


@functools.cache
def _script() -> Callable[..., Tensor]:
    """The same as a script, since the operation takes a list of numbers, which torch.jit.trace does
    not record by itself.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, as torch.jit.trace is
        script: Callable[..., Tensor] = torch.jit.script(_pointwise)
    return script


def _pointwise(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")  # type: ignore[no-any-return]
