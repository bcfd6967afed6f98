"""Recorded functions: what is put in the place of an operation gives the same value, sooner."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods.parts import record
from methods.parts.networks.products import affine, product
from methods.parts.record import Recorded


def loss(x: Tensor, first: Tensor, bias: Tensor, last: Tensor) -> Tensor:
    """Of a layer of ELU and its linear end."""
    return (functional.elu(functional.linear(x, first, bias)) @ last.T).square().mean()


def gradients(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    own = [weight.detach().requires_grad_() for weight in weights]
    with torch.enable_grad():
        return torch.autograd.grad(loss(x, *own), own)


def inputs(rows: int, width: int, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = (rows, width), (width, width), (width,), (width, width)
    return [torch.randn(shape, generator=generator) / shape[-1] ** 0.5 for shape in shapes]


@pytest.mark.parametrize(("rows", "width"), [(16, 8), (1024, 128)])  # by either library
def test_a_recorded_gradient_is_that_of_autograd_in_double_precision(rows: int, width: int) -> None:
    recorded = Recorded(gradients)
    recorded(*inputs(rows, width, 0))
    again = inputs(rows, width, 1)  # replayed at what it was not recorded at
    for found, exact in zip(recorded(*again), gradients(*map(Tensor.double, again)), strict=True):
        assert (found - exact).norm() < 1e-5 * exact.norm()


def test_every_product_of_a_recorded_gradient_is_by_the_quicker_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two products forwards and three backwards."""
    taken: list[str] = []

    def counted_product(a: Tensor, b: Tensor) -> Tensor:
        taken.append("product")
        return product(a, b)

    def counted_affine(bias: Tensor, a: Tensor, b: Tensor) -> Tensor:
        taken.append("affine")
        return affine(bias, a, b)

    monkeypatch.setattr(record, "product", counted_product)
    monkeypatch.setattr(record, "affine", counted_affine)
    recorded = Recorded(gradients)
    recorded(*inputs(16, 8, 0))
    assert sorted(taken) == ["affine", *["product"] * 4]
    assert "aten::mm(" not in str(getattr(recorded._replay, "inlined_graph"))  # noqa: B009


@pytest.mark.parametrize("columns", [8, 256])
def test_products_agree_with_double_precision_whichever_library_has_them(columns: int) -> None:
    generator = torch.Generator().manual_seed(0)
    a, bias = torch.randn(512, 256, generator=generator), torch.randn(columns, generator=generator)
    b = torch.randn(256, columns, generator=generator) / 16
    exact = a.double() @ b.double()
    for found in (product(a, b), product(a.T.contiguous().T, b), product(a, b.T.contiguous().T)):
        assert (found - exact).abs().max() < 1e-5
    assert (affine(bias, a, b) - exact - bias).abs().max() < 1e-5
