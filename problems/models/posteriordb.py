"""A posterior of posteriordb: program, data and reference draws from a folder in its layout.

``-p posteriordb:posterior=eight_schools-eight_schools_noncentered,folder=DIR`` names one; nothing
is downloaded. Reference draws are used as they are, marked as theirs, once they are shown to fit
the density: brought to unconstrained coordinates they must satisfy Stein's identities.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from problems.base import Problem, Reference
from problems.models.stan_model import StanModel
from problems.parts.posteriordb_folder import Posterior, names, posterior, text_of
from problems.parts.stan import CompiledProgram
from problems.parts.stored import UncertifiedError
from problems.parts.their_draws import (
    UnusableDrawsError,
    arranged,
    stein_fault,
    unconstrained,
)


@dataclass(frozen=True)
class Posteriordb(Problem):
    """A posterior of posteriordb.

    Args:
        posterior: its name.
        folder: a clone of posteriordb; empty for that of POSTBENCH_POSTERIORDB.

    Raises:
        ModuleNotFoundError: if stanli is not installed.
        ValueError: if there is no such folder or posterior, or the program does not compile.
    """

    posterior: str
    folder: str = ""
    libraries: ClassVar[tuple[str, ...]] = ("stanli",)

    def __post_init__(self) -> None:
        try:
            _ = self._model
        except ValueError as error:
            raise ValueError(f"Posteriordb(posterior={self.posterior!r}): {error}") from None

    @classmethod
    def catalogue(cls, folder: str = "") -> tuple[list[Posterior], list[str]]:
        """Every posterior of a folder whose files are all there, and why others cannot be used.

        Raises:
            ValueError: if there is no such folder.
        """
        found, reasons = [], []
        for name in names(folder):
            try:
                found.append(posterior(folder, name))
            except ValueError as error:  # two of posteriordb's lack their data
                reasons.append(str(error))
        return found, reasons

    @classmethod
    def every(cls) -> list[dict[str, str]]:
        """The fields of every posterior whose reference draws can be used, of the folder that
        POSTBENCH_POSTERIORDB names.

        Raises:
            ValueError: if there is no such folder.
        """
        found = []
        for each in cls.catalogue()[0]:
            with contextlib.suppress(ValueError, UncertifiedError):  # what Stan or Stein refuses
                if each.draws is not None and cls(each.name).truth:
                    found.append({"posterior": each.name})
        return found

    @functools.cached_property
    def described(self) -> Posterior:
        """What the folder holds of it."""
        return posterior(self.folder, self.posterior)

    @functools.cached_property
    def _model(self) -> StanModel:
        return StanModel(str(self.described.program), text_of(self.described.data))

    @property
    def name(self) -> str:  # type: ignore[override] # one class is many problems
        """The name of the posterior."""
        return self.posterior

    @property
    def data_files(self) -> dict[str, Path]:
        """Program, data and draws, by name: they decide the posterior and its truth."""
        found = self.described
        files = {"data": found.data, **({"draws": found.draws} if found.draws else {})}
        return {**self._model.data_files, **files}

    @property
    def stan_program(self) -> CompiledProgram:
        """The posterior's Stan program, compiled."""
        return self._model.stan_program

    @property
    def dim(self) -> int:
        return self._model.dim

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Stan's names of the unconstrained parameters."""
        return self._model.coordinates

    @property
    def batched(self) -> bool:
        return False

    @functools.cached_property
    def truth(self) -> Reference:
        """Their reference draws.

        Raises:
            UncertifiedError: if there are none, or they do not fit the density.
        """
        file = self.described.draws
        if file is None:
            raise UncertifiedError(f"posteriordb has no reference draws of {self.posterior!r}.")
        try:
            return _reference(self.stan_program, file, self.described.certificate)
        except UnusableDrawsError as error:
            raise UncertifiedError(
                f"The reference draws of {self.posterior!r} cannot be used: {error}."
            ) from None

    def log_density(self, z: Tensor) -> Tensor:
        return self._model.log_density(z)

    def explain(self, z: Tensor) -> str:
        return self._model.explain(z)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return self._model.constrain(z)

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        return self._model.unconstrain(values)


def _reference(program: CompiledProgram, file: Path, certificate: Mapping[str, Any]) -> Reference:
    """The draws of a file as a truth.

    Raises:
        UnusableDrawsError: if they cannot be read, brought to coordinates, or do not fit.
    """
    try:
        chains = json.loads(text_of(file))
    except ValueError as error:
        raise UnusableDrawsError(str(error)) from None
    stored = arranged(chains)
    many, draws = next(iter(stored.values())).shape[:2]
    rows = {name: value.flatten(0, 1) for name, value in stored.items()}
    z = unconstrained(program, rows)
    if fault := stein_fault(program, z.reshape(many, draws, -1)):
        raise UnusableDrawsError(fault)
    theirs = {"made by": "posteriordb", "file": file.name, **certificate}
    return Reference(z, None, None, theirs)
