"""The networks' passes as operators of torch, which can be recorded as its own are.

They are for single precision on the processor and have no gradient of their own; ``ready`` says
whether they are there for some tensors. What they compute is documented where they are called.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from methods.parts.compiled.library import library

OPERATORS = (
    "teach(Tensor weights, Tensor x, Tensor offset, Tensor shares, int width, int blocks,"
    " float leak) -> Tensor",
    "judge(Tensor weights, Tensor x, int width, int blocks, float leak) -> (Tensor, Tensor)",
    "maps(Tensor weights, Tensor eps, int[] layers, int[] widths, float gain) -> (Tensor, Tensor)",
    "maps_gradient(Tensor weights, Tensor eps, Tensor hidden, Tensor direction, int[] layers,"
    " int[] widths, float gain) -> Tensor",
)
# of a layer: where its matrix begins in the weights, where its bias, and how far a head's bias lies
# from the last head's; the affine short cut comes last, its matrix at -1 where there is none
Where = tuple[int, int, int]
MEMORY_ERROR = "There is no memory for the networks' intermediate results; take smaller batches."


def ready(*tensors: Tensor) -> bool:
    """Whether the compiled passes are there for these, and need not be differentiated."""
    plain = all(each.dtype == torch.float32 and each.device.type == "cpu" for each in tensors)
    watched = torch.is_grad_enabled() and any(each.requires_grad for each in tensors)
    return plain and not watched and _registered() is not None


def compiled_maps(
    weights: Tensor, eps: Tensor, layers: Sequence[Where], widths: list[int], gain: float
) -> tuple[Tensor, list[Tensor]]:
    """A sampler with heads: eps, [H, n, K] -> [H, n, D], and the hidden layers, [H, n, width].

    Args:
        widths: of the noise, the hidden layers and the draws; gain: by which the last bias and the
            short cut are larger than their weights.
    """
    where = [number for layer in layers for number in layer]
    v, flat = torch.ops.postbench.maps(weights, eps, where, widths, gain)
    rows = eps.shape[:2]
    parts = flat.split([rows[0] * rows[1] * width for width in widths[1:-1]])
    return v, [part.view(*rows, -1) for part in parts]


def compiled_gradient(
    weights: Tensor,
    eps: Tensor,
    direction: Tensor,
    hidden: Sequence[Tensor],
    layers: Sequence[Where],
    widths: list[int],
    gain: float,
) -> Tensor:
    """Gradient in the weights of the sum of the maps times a direction, [H, n, D]: [weights]."""
    where = [number for layer in layers for number in layer]
    stored = torch.cat([h.reshape(-1) for h in hidden])
    found: Tensor = torch.ops.postbench.maps_gradient(
        weights, eps, stored, direction, where, widths, gain
    )
    return found


@functools.cache
def _registered() -> torch.library.Library | None:
    """The operators, once there is a library for them."""
    if library() is None:
        return None
    ours = torch.library.Library("postbench", "DEF")  # type: ignore[no-untyped-call]
    for operator, function in zip(OPERATORS, (_teach, _judge, _maps, _maps_gradient), strict=True):
        name = ours.define(operator)  # type: ignore[no-untyped-call]
        ours.impl(name, function, "CPU")  # type: ignore[no-untyped-call]
    return ours


def _teach(
    weights: Tensor,
    x: Tensor,
    offset: Tensor,
    shares: Tensor,
    width: int,
    blocks: int,
    leak: float,
) -> Tensor:
    gradient = torch.zeros_like(weights)
    _run_discriminator(weights, x, (offset, shares, gradient, None, None), width, blocks, leak)
    return gradient


def _judge(
    weights: Tensor, x: Tensor, width: int, blocks: int, leak: float
) -> tuple[Tensor, Tensor]:
    verdict, by_input = (
        x.new_empty(len(x)),
        torch.empty_like(x, memory_format=torch.contiguous_format),
    )
    _run_discriminator(weights, x, (None, None, None, verdict, by_input), width, blocks, leak)
    return verdict, by_input


def _run_discriminator(
    weights: Tensor,
    x: Tensor,
    rest: Sequence[Tensor | None],
    width: int,
    blocks: int,
    leak: float,
) -> None:
    sizes = (*x.shape, width, blocks)
    _call("discriminator", (weights, x, *rest), [ctypes.c_int(size) for size in sizes], leak)


def _maps(
    weights: Tensor, eps: Tensor, layers: list[int], widths: list[int], gain: float
) -> tuple[Tensor, Tensor]:
    heads, n, _ = eps.shape
    v, hidden = eps.new_empty(heads, n, widths[-1]), eps.new_empty(heads * n * sum(widths[1:-1]))
    _call("maps", (weights, eps, v, hidden), _layout(layers, widths, heads, n), gain)
    return v, hidden


def _maps_gradient(
    weights: Tensor,
    eps: Tensor,
    hidden: Tensor,
    direction: Tensor,
    layers: list[int],
    widths: list[int],
    gain: float,
) -> Tensor:
    gradient = torch.zeros_like(weights)
    layout = _layout(layers, widths, *eps.shape[:2])
    _call("maps_gradient", (weights, eps, hidden, direction, gradient), layout, gain)
    return gradient


def _layout(layers: list[int], widths: list[int], heads: int, n: int) -> list[object]:
    numbers = (ctypes.c_int64 * len(layers))(*layers), (ctypes.c_int64 * len(widths))(*widths)
    return [*numbers, *(ctypes.c_int(size) for size in (len(widths) - 2, heads, n))]


def _call(name: str, tensors: Sequence[Tensor | None], sizes: list[object], number: float) -> None:
    held = [None if each is None else each.contiguous() for each in tensors]
    pointers = [ctypes.c_void_p(None if each is None else each.data_ptr()) for each in held]
    found = library()
    assert found is not None
    if getattr(found, name)(*pointers, *sizes, ctypes.c_float(number)):
        raise MemoryError(MEMORY_ERROR)
