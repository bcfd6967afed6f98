"""Functions of tensors, recorded at their first call and then replayed without Python: small
networks gain a third.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from methods.parts.networks.products import affine, by_one_dnn, product
from methods.parts.networks.sampler import elu

aten = torch.ops.aten
ONE_DNN = "mkldnn._linear_pointwise.default"  # by this name, since it is not in every torch


class Recorded:
    """A function of tensors that are of the same shapes at every call; whatever else it reads stays
    as at the first.

    Args:
        function: of tensors to a tensor or a tuple of them, without random numbers and without a
            branch on values; it may differentiate inside, and change the tensors it is given in
            place.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._replay: Callable[..., Any] | None = None

    def __call__(self, *tensors: Tensor) -> Any:
        """Run the recorded function, and return its value."""
        if self._replay is None:
            self._replay = self._record(tensors)
        return self._replay(*tensors)

    def _record(self, example: tuple[Tensor, ...]) -> Callable[..., Any]:
        # to record is to run: on copies, since the function may change what it is given
        def copies() -> tuple[Tensor, ...]:
            return tuple(tensor.detach().clone() for tensor in example)

        graph = _quick(make_fx(lambda *tensors: self._function(*tensors))(*copies()))
        with warnings.catch_warnings():
            # jit.trace is deprecated, its successors need a compiler
            warnings.simplefilter("ignore")
            replay: Callable[..., Any] = torch.jit.trace(graph, copies(), check_trace=False)  # type: ignore[no-untyped-call]
        return replay


def _quick(graph: GraphModule) -> GraphModule:
    """The same with its products, those of gradients among them, by the quicker library, and
    slopes of ELU from its values, which takes no second exponential.
    """
    values: dict[Any, Any] = {}
    for node in graph.graph.nodes:
        if node.target == aten.mm.default:
            node.target = product
        elif node.target == aten.addmm.default and not node.kwargs:
            node.target = affine
        elif str(node.target) == ONE_DNN:
            node.target, node.args = by_one_dnn, node.args[:3]
        elif node.target == aten.elu.default and node.args[1:] in ((), (1.0,)):
            node.target, node.args = elu, node.args[:1]
            values[node.args[0]] = node
        elif node.target == aten.elu_backward.default and node.args[-1] in values:
            *before, _, x = node.args
            node.args = *before, True, values[x]
    graph.recompile()
    return graph
