"""A graphics card that is not there: tensors that say they are on a device of their own, hold their
numbers on the CPU, and refuse, as a card would, to meet tensors that are not.

The device is torch's ``meta``, which every build knows. What ``torch.tensor(..., device=...)``
makes holds no numbers there, and is refused as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from torch.optim import adam
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from methods.parts import device

CARD = torch.device("meta")
aten = torch.ops.aten


class OnCard(Tensor):
    """A tensor of the card; what it holds is ``held``, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnCard:
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), held.stride(), held.storage_offset(), dtype=held.dtype, device=CARD
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return played(function, args, kwargs or {})


def played(function, args, kwargs):
    """Run an operation as the card would."""
    device = kwargs.get("device")
    leaves, _ = tree_flatten((args, kwargs))
    tensors = [each for each in leaves if isinstance(each, Tensor)]
    here = [each for each in tensors if not isinstance(each, OnCard)]
    there = [each for each in tensors if isinstance(each, OnCard)]
    moves = function in (aten._to_copy.default, aten.copy_.default)
    if there and not moves and any(each.dim() for each in here):
        raise RuntimeError(f"{function} was given tensors of two devices.")
    target = bool(there) if device is None else torch.device(device).type == "meta"
    if target and isinstance(kwargs.get("generator"), torch.Generator):
        raise RuntimeError(f"{function} on a card was given a generator of the CPU.")
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    held = tree_map(lambda each: each.held if isinstance(each, OnCard) else each, (args, kwargs))
    out = function(*held[0], **held[1])
    if function == aten.copy_.default:
        return args[0]
    owner = {id(each.held): each for each in there}

    def wrapped(each):
        if not isinstance(each, Tensor):
            return each
        if id(each) in owner:
            return owner[id(each)]
        return OnCard(each) if target else each

    return tree_map(wrapped, out)


class Pretended(TorchDispatchMode):
    """Every operation inside goes by way of ``played``."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return played(function, args, kwargs or {})


@contextmanager
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Inside, methods know of the card by the name that this gives."""
    monkeypatch.setattr(device, "DEVICES", ("cpu", "meta"))
    # fused steps of Adam are refused on devices that torch does not list, though the card has them
    monkeypatch.setattr(adam, "_device_dtype_check_for_fused", lambda *_, **__: None)
    with Pretended():
        yield "meta"
