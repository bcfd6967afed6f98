"""Functions of tensors, recorded at their first call and then replayed without Python: small
networks gain a third.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx


class Recorded:
    """A function of tensors that are of the same shapes at every call; whatever else it reads stays
    as at the first.

    Args:
        function: without random numbers and without a branch on values; it may differentiate
            inside.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._replay: Callable[..., Tensor] | None = None

    def __call__(self, *tensors: Tensor) -> Tensor:
        """Run the recorded function, and return its value."""
        if self._replay is None:
            self._replay = self._record(tensors)
        return self._replay(*tensors)

    def _record(self, example: tuple[Tensor, ...]) -> Callable[..., Tensor]:
        graph = make_fx(lambda *tensors: self._function(*tensors))(*example)
        with warnings.catch_warnings():
            # jit.trace is deprecated, its successors need a compiler
            warnings.simplefilter("ignore")
            replay: Callable[..., Tensor] = torch.jit.trace(graph, example, check_trace=False)  # type: ignore[no-untyped-call]
        return replay
