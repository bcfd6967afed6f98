"""Problems that stand in for another one: made by a function, or judged by another truth."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from problems.base import GaussianPrior, Modes, Problem, StanProgram, Truth


class Delegate(Problem):
    """A problem that is another one in all that it does not override."""

    @property
    @abstractmethod
    def inner(self) -> Problem:
        """The problem that it stands for."""

    @property
    def dim(self) -> int:
        return self.inner.dim

    @property
    def truth(self) -> Truth:
        return self.inner.truth

    @property
    def modes(self) -> Modes | None:
        return self.inner.modes

    @property
    def gaussian_prior(self) -> GaussianPrior | None:
        return self.inner.gaussian_prior

    @property
    def moments(self) -> float | None:
        return self.inner.moments

    @property
    def coordinates(self) -> tuple[str, ...]:
        return self.inner.coordinates

    @property
    def transforms(self) -> Mapping[str, str]:
        return self.inner.transforms

    @property
    def batched(self) -> bool:
        return self.inner.batched

    @property
    def stan_program(self) -> StanProgram | None:
        return self.inner.stan_program

    def explain(self, z: Tensor) -> str:
        return self.inner.explain(z)

    def log_density(self, z: Tensor) -> Tensor:
        return self.inner.log_density(z)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return self.inner.constrain(z)

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        return self.inner.unconstrain(values)


def from_function(make: Callable[..., Any]) -> type[Problem]:
    """A class of problems from a function that makes one; the function's parameters are its fields.

    Raises:
        TypeError: if a parameter has no annotation, or the function cannot be called by name; on
            making an instance, if the function returns no ``Problem``.
    """

    def settle(self: Any) -> None:
        made = make(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})
        if not isinstance(made, Problem):
            raise TypeError(
                f"{make.__name__}() returned a {type(made).__name__}; expected an instance of"
                " problems.base.Problem."
            )
        object.__setattr__(self, "_made", made)
        object.__setattr__(made, "made_by", self)  # the command that builds its reference names it

    body = {
        "__post_init__": settle,
        "inner": property(lambda self: self._made),
        "name": make.__name__,
        "traits": property(lambda self: self._made.traits),
        "__doc__": make.__doc__,
    }
    cls = dataclasses.make_dataclass(
        make.__name__, _fields(make), bases=(Delegate,), namespace=body, frozen=True
    )
    cls.__module__ = make.__module__
    return cls


def bound(cls: type[Problem], file: str) -> type[Problem]:
    """A class of problems that read a ``file`` with that file settled: it is no field any more, and
    names the class.
    """
    settled = dataclasses.field(default=file, init=False)
    body = {"name": Path(file).stem, "__doc__": cls.__doc__, "__module__": cls.__module__}
    return dataclasses.make_dataclass(
        cls.__name__, [("file", str, settled)], bases=(cls,), namespace=body, frozen=True
    )


def _fields(make: Callable[..., Any]) -> list[Any]:
    """The parameters of a function as ``dataclasses.make_dataclass`` takes fields.

    Raises:
        TypeError: if one has no annotation, or cannot be given by name.
    """
    hints = typing.get_type_hints(make)
    fields: list[Any] = []
    for name, parameter in inspect.signature(make).parameters.items():
        if (
            parameter.kind
            in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
                parameter.POSITIONAL_ONLY,
            )
            or name not in hints
        ):
            raise TypeError(
                f"{make.__name__}(): parameter {name!r} needs an annotation, and must be one that"
                " is given by name."
            )
        default = dataclasses.MISSING if parameter.default is parameter.empty else parameter.default
        fields.append(
            (name, hints[name])
            if default is dataclasses.MISSING
            else (name, hints[name], dataclasses.field(default=default))
        )
    return fields
