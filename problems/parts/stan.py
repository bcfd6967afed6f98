"""A Stan program with its data: its density, its names, and both ways between its scales, one row
a microsecond and what the model takes. Constants are dropped as Stan drops them, Jacobians are in.
"""

from __future__ import annotations

import ctypes
import functools
import json
import math
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from problems.base import StanProgram
from problems.parts.stan_library import Text, each, library, stanli
from problems.parts.stan_text import expanded, includes, supports
from problems.parts.stan_values import columns_of, flat, grouped, laid_out, with_lengths

SEED = 1  # of random numbers in transformed data, as stanli has it
DIFFERENCE = 1e-3  # length of the step of second derivatives


@functools.lru_cache(maxsize=64)
def _compiled(text: str, file: Path, included: tuple[str, ...]) -> str:
    """What the compiler makes of a program; ``included`` are the texts that it includes, so that a
    change of one counts.
    """
    try:
        return str(stanli().stan_to_mir(text, include_paths=[str(file.parent)]))
    except RuntimeError as error:
        raise ValueError(str(error).strip().replace("'string'", repr(str(file)))) from None


class CompiledProgram(StanProgram):
    """A program that is compiled, and given its data.

    Args:
        file: the program.
        data: JSON, as CmdStan reads it.
        source: what the data are called in errors.

    Raises:
        ModuleNotFoundError: if stanli is not installed.
        ValueError: if the program does not compile, with the compiler's own words, file and line;
            if the data are not those that it asks for; if it has no parameters.
    """

    def __init__(self, file: Path, data: str = "{}", source: str = "the data") -> None:
        self.file, self.data, self._source = file, data, source
        self._text = _read(file)
        others = includes(file, self._text)
        texts = {name: _read(path) for name, path in others.items()}
        self._mir = _compiled(self._text, file.resolve(), tuple(texts.values()))
        self._supports = supports(expanded(self._text, texts))
        self._library = library()
        self._model = self._constructed()
        weakref.finalize(self, self._library.bs_model_destruct, self._model)
        self._free = laid_out(columns_of(self._names("bs_param_unc_names")), self._supports)
        self.coordinates = tuple(column.label for column in self._free)
        self._parameters = columns_of(self._names("bs_param_names", False, False))
        self._all = columns_of(self._names("bs_param_names", True, False))
        if not self.coordinates:
            raise ValueError(f"{file} has no parameters: there is nothing to infer.")

    def __reduce__(self) -> tuple[Any, ...]:
        return CompiledProgram, (self.file, self.data, self._source)

    def model(self) -> Any:
        return stanli().Model(mir=self._mir, data=self.data, seed=SEED)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column.label for column in self._parameters)

    def log_density(self, z: Tensor) -> Tensor:
        """Of rows [n, D], in nats: [n]; -inf where Stan finds an error, or no number."""
        value = torch.full((len(z),), -math.inf, dtype=torch.float64)
        each("bs_log_density", self._model, True, True, z, value, None)
        return value.nan_to_num_(nan=-math.inf, posinf=math.inf, neginf=-math.inf)

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log density and gradient of rows [n, D]: [n], [n, D]; -inf and 0 where Stan finds an
        error, or no number.
        """
        value = torch.full((len(z),), -math.inf, dtype=torch.float64)
        gradient = torch.zeros(z.shape, dtype=torch.float64)
        each("bs_log_density_gradient", self._model, True, True, z, value, gradient, None)
        nowhere = value.isnan() | (value == -math.inf)
        return value.masked_fill(nowhere, -math.inf), gradient.masked_fill(nowhere[:, None], 0.0)

    def curvature(self, z: Tensor, direction: Tensor) -> Tensor:
        """The Hessian times a direction, row by row: [n, D], [n, D] -> [n, D].

        By central differences of the gradient, at four points: stanli has no second derivatives.
        """
        length = direction.norm(dim=-1, keepdim=True)
        step = DIFFERENCE * direction / length.clamp(min=torch.finfo(z.dtype).tiny)
        near, far = (
            self.value_and_grad(z + k * step)[1] - self.value_and_grad(z - k * step)[1]
            for k in (1, 2)
        )
        product: Tensor = (8 * near - far) / (12 * DIFFERENCE) * length
        return product

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """Every parameter and transformed parameter by its name: [n, D] -> {name: [n, *shape]};
        NaN where Stan finds an error.
        """
        found = torch.full((len(z), len(self._all)), math.nan, dtype=torch.float64)
        each("bs_param_constrain", self._model, True, False, z, found, None, None)
        return grouped(found, self._all)

    def free(self, values: Tensor) -> Tensor:
        found = torch.full((len(values), len(self.coordinates)), math.nan, dtype=torch.float64)
        each("bs_param_unconstrain", self._model, values, found, None)
        return with_lengths(found, self._unit_vectors) if self.open else found

    @property
    def open(self) -> bool:
        return bool(self._unit_vectors)

    @functools.cached_property
    def _unit_vectors(self) -> list[list[int]]:
        """The places of the coordinates of each unit vector."""
        found: dict[tuple[str, tuple[int, ...]], list[int]] = {}
        for place, column in enumerate(self._free):
            if self._supports.get(column.name) == "unit_vector":
                found.setdefault((column.name, column.index[:-1]), []).append(place)
        return list(found.values())

    def unconstrain(self, values: dict[str, Tensor]) -> Tensor:
        """The way back, from the parameters alone: {name: [n, *shape]} -> [n, D]; NaN or infinite
        where a value has no coordinates.
        """
        return self.free(flat(values, self._parameters, self._supports))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter."""
        return {
            name: tuple(value.shape[1:])
            for name, value in grouped(
                torch.zeros(1, len(self._parameters)), self._parameters
            ).items()
        }

    def fault(self, z: Tensor) -> str:
        """What Stan says of a point [D] that has no density; empty if it says nothing."""
        row, value = z.detach().double().contiguous(), torch.zeros(1, dtype=torch.float64)
        said = Text()
        self._library.bs_log_density(
            self._model, True, True, row.data_ptr(), value.data_ptr(), ctypes.byref(said)
        )
        return self._words(said)

    def _constructed(self) -> int:
        try:
            content = json.loads(self.data)
        except ValueError as error:
            raise ValueError(f"{self._source} is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise ValueError(f"{self._source} must be a JSON object with a key for each variable.")
        content["__stanli"] = {
            "build_id": stanli().build_id(),
            "mir": self._mir,
            "name": self.file.stem,
        }
        said = Text()
        model = self._library.bs_model_construct(
            json.dumps(content).encode(), SEED, ctypes.byref(said)
        )
        words = self._words(said)
        if not model:
            raise ValueError(f"{self.file} with {self._source}: {words}")
        return int(model)

    def _words(self, said: ctypes.c_char_p) -> str:
        words = (said.value or b"").decode(errors="replace").strip()
        if said.value is not None:
            self._library.bs_free_error_msg(said)
        return words.replace("'string'", repr(str(self.file)))

    def _names(self, function: str, *more: bool) -> list[str]:
        words = getattr(self._library, function)(self._model, *more).decode()
        return [name for name in words.split(",") if name]


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The Stan program {file} cannot be read: {error}") from None
