r"""Any Stan program is a problem: its posterior, constraints transformed away by Stan's own
transforms.

.. math:: \log p(z) = \log p(y, x(z)) + \log |\det \partial x / \partial z|

up to the constants that Stan drops. ``postbench run -p model.stan:data=data.json`` is all that it
takes; the package ``stanli`` (``pip install 'postbench[stan]'``) compiles the program in some
hundredths of a second, and needs no compiler. The truth is a certified reference: ``postbench
reference build model.stan:data=data.json``.

Source: B. Carpenter et al., Stan: a probabilistic programming language, 2017,
doi:10.18637/jss.v076.i01.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from problems.base import CONTENT, Problem, Reference
from problems.parts.edges import refuse
from problems.parts.stan import CompiledProgram
from problems.parts.stan_text import includes
from problems.parts.stored import reference


@dataclass(frozen=True)
class StanModel(Problem):
    """The posterior of a Stan program.

    Args:
        file: the program, a path; what it includes lies beside it.
        data: a file of JSON as CmdStan reads it, or such an object itself; empty for a program
            without data.

    Raises:
        ModuleNotFoundError: if stanli is not installed.
        ValueError: if the program does not compile, with the compiler's own words, file and line;
            if the data are not those that it asks for.
    """

    file: str = field(metadata={CONTENT: True})
    data: str = field(default="", metadata={CONTENT: True})
    libraries: ClassVar[tuple[str, ...]] = ("stanli",)

    def __post_init__(self) -> None:
        _ = self.stan_program

    @functools.cached_property
    def stan_program(self) -> CompiledProgram:
        """The Stan program of the model, compiled."""
        if self.data.lstrip().startswith("{"):
            return CompiledProgram(Path(self.file), self.data)
        try:
            data = Path(self.data).read_text(encoding="utf-8") if self.data else "{}"
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"StanModel(data={self.data!r}) cannot be read: {error}") from None
        return CompiledProgram(Path(self.file), data, self.data or "no data")

    @property
    def name(self) -> str:  # type: ignore[override] # one class is many problems
        """The name of the program's file."""
        return Path(self.file).stem

    @property
    def typed(self) -> str:
        """As the command line names it."""
        file = os.path.relpath(self.file)
        return f"{file}:data={self.data}" if self.data else file

    @property
    def data_files(self) -> dict[str, Path]:
        """The program and what it includes, by name: with the data they decide the posterior."""
        file = Path(self.file).resolve()
        return {file.name: file, **includes(file, file.read_text(encoding="utf-8"))}

    @property
    def dim(self) -> int:
        return len(self.stan_program.coordinates)

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Stan's names of the unconstrained parameters."""
        return self.stan_program.coordinates

    @property
    def truth(self) -> Reference:
        """The stored reference; ``postbench reference build`` makes it.

        Raises:
            UncertifiedError: if there is none that may be used.
        """
        return reference(self)

    @property
    def batched(self) -> bool:
        return False

    def log_density(self, z: Tensor) -> Tensor:
        found: Tensor = _Density.apply(z, self.stan_program)  # type: ignore[no-untyped-call]
        return found

    def explain(self, z: Tensor) -> str:
        """What Stan says of a point z, [D], without a density."""
        return self.stan_program.fault(z)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """Every parameter and transformed parameter: [..., D] -> {name: [..., *shape]}."""
        found = self.stan_program.constrain(_rows(z, self.dim))
        return {
            name: value.reshape(z.shape[:-1] + value.shape[1:]).to(z.dtype)
            for name, value in found.items()
        }

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """The way back, from the parameters: {name: [..., *shape]} -> [..., D].

        Rounded values are put back into their support first: a simplex sums to 1 again.

        Raises:
            KeyError: if a parameter is missing.
            ValueError: if values have no coordinates, as those on the edge of their support.
        """
        program = self.stan_program
        shapes = program.shapes
        first = values[next(iter(shapes))]
        batch = first.shape[: first.dim() - len(next(iter(shapes.values())))]
        rows = {name: values[name].reshape((-1, *shape)) for name, shape in shapes.items()}
        found = program.unconstrain(rows)
        words = ", ".join(shapes)
        refuse(self.name, words, found.isfinite().all(-1), "lies inside its support")
        return found.reshape((*batch, self.dim))


def _rows(z: Tensor, dim: int) -> Tensor:
    return z.detach().reshape(-1, dim).double().contiguous()


def _recording() -> bool:
    """Whether torch writes down what is done, to do it again without Python."""
    tracer = sys.modules.get("torch.fx.experimental.proxy_tensor")  # loaded by whoever records
    return tracer is not None and tracer.get_proxy_mode() is not None


class _Density(torch.autograd.Function):
    """The density as torch differentiates it, twice where that is asked for."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, program: CompiledProgram) -> Tensor:
        """The log density at points z: [..., D] -> [...]."""
        if _recording():  # a record would keep this one outcome for ever
            raise RuntimeError("The density of a Stan program cannot be recorded by torch.")
        rows = _rows(z, z.shape[-1])
        ctx.program = program
        if ctx.needs_input_grad[0]:
            value, ctx.gradient = program.value_and_grad(rows)
            ctx.save_for_backward(z)
        else:
            value = program.log_density(rows)
        return value.reshape(z.shape[:-1]).to(z.dtype)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None]:
        """The slope by z, times what comes from above: [...] -> [..., D]."""
        (z,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            slope: Tensor = _Slope.apply(z, ctx.program, ctx.gradient)  # type: ignore[no-untyped-call]
        else:
            slope = ctx.gradient.reshape(z.shape).to(z.dtype)
        return above[0].unsqueeze(-1) * slope, None


class _Slope(torch.autograd.Function):
    """The gradient as torch differentiates it, by products with the Hessian."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, program: CompiledProgram, gradient: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        ctx.program = program
        ctx.save_for_backward(z)
        return gradient.reshape(z.shape).to(z.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None, None]:
        """[..., D] -> [..., D]."""
        (z,) = ctx.saved_tensors
        direction = _rows(above[0], z.shape[-1])
        product = ctx.program.curvature(_rows(z, z.shape[-1]), direction)
        return product.reshape(z.shape).to(z.dtype), None, None
