"""How much work a function is for each row, counted and not timed, so that how many draws a figure
rests on is the same on every machine, however busy.

Counted are the numbers that tensor operations write and the products behind those of matrices; and
of operations and of the calls that Python makes those that each further row adds, which betray a
function that takes its rows one by one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FEW, MORE = 2, 34  # rows that are tried: what both take alike does not count
CALL, OPERATION = 300.0, 2000.0  # what a call and an operation cost, in numbers written
PRODUCT = 0.2  # what a multiplication within a matrix product costs
MATRICES = ("mm", "solve", "cholesky", "inv", "linalg_lu")


class _Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the numbers written by every tensor operation under it, and the operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers, self.operations = 0.0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        written = sum(each.numel() for each in tree_leaves(found) if isinstance(each, Tensor))
        inner = 0.0
        if any(word in func.__name__ for word in MATRICES):
            inner = PRODUCT * max(
                each.shape[-1] for each in tree_leaves(args) if isinstance(each, Tensor)
            )
        self.numbers += written * (1 + inner)
        self.operations += 1
        return found


def per_row(function: Callable[[int], object]) -> float:
    """Work of a function for each of the rows that it is asked for, in numbers written; some
    nanoseconds each.

    Args:
        function: of a number of rows. It is called six times.
    """
    for rows in (FEW, MORE):
        function(rows)  # what it keeps for later calls is made here
    few, more = (_counts(function, rows) for rows in (FEW, MORE))
    numbers, operations, calls = (
        max(b - a, 0.0) / (MORE - FEW) for a, b in zip(few, more, strict=True)
    )
    # rounded, so that a stray call, of a finaliser, does not count
    return numbers + OPERATION * round(operations) + CALL * round(calls)


def affordable(function: Callable[[int], object], *, least: int, most: int, work: float) -> int:
    """How many rows of a function come to so much work: two digits of it, between ``least`` and
    ``most``.
    """
    each = per_row(function)
    count = most if each * most <= work else int(work / each)
    digits: int = 10 ** max(int(math.log10(max(count, 1))) - 1, 0)
    return max(least, min(most, count // digits * digits))


def _counts(function: Callable[[int], object], rows: int) -> tuple[float, float, float]:
    """Numbers written, operations and calls of Python."""
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    with torch.no_grad(), _Counted() as counted:
        function(rows)
    before = sys.getprofile()
    with torch.no_grad():
        sys.setprofile(count)
        try:
            function(rows)
        finally:
            sys.setprofile(before)
    return counted.numbers, float(counted.operations), float(calls)
