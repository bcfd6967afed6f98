"""Draws from binary files: tables in Parquet, arrays in ``.npz``, ArviZ's netCDF."""

from __future__ import annotations

import importlib
import itertools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.outside.series import Series, Values
from bench.outside.text import split

WHOLE = "draws"  # the array of all unconstrained coordinates


def read_parquet(file: Path) -> list[Series]:
    """The chains of a Parquet table, one column a parameter.

    Raises:
        UserError: if it is no such table, or a column holds no numbers.
    """
    import pandas as pd

    try:
        frame = pd.read_parquet(file)
    except Exception as error:  # each of Arrow's own kinds
        raise UserError(f"{file} cannot be read as Parquet: {error}.") from None
    named = [name for name in frame.index.names if name is not None]
    frame = frame.reset_index() if named else frame
    columns = {}
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise UserError(f"{file}, column {str(name)!r} holds no numbers.")
        columns[str(name)] = frame[name].to_numpy(dtype=np.float64)
    if not len(frame):
        raise UserError(f"{file} holds no draws.")
    return split(file, columns, np.arange(1, len(frame) + 1), "row")


def read_npz(file: Path) -> list[Series]:
    """The chains of NumPy's archive: an array ``[chains, draws, *shape]`` a parameter.

    Raises:
        UserError: if it is no such archive, or the shapes do not match.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name]) for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} cannot be read as .npz: {error}.") from None
    return _chains(file, arrays, None)


def read_netcdf(file: Path) -> list[Series]:
    """The chains of the group ``posterior`` of a netCDF file as ArviZ writes it.

    Raises:
        UserError: if a library is missing, or the file holds no such group.
    """
    try:
        xarray = importlib.import_module("xarray")
        for below in ("h5netcdf", "h5py"):
            importlib.import_module(below)
    except ImportError:
        raise UserError(
            f"{file}: netCDF needs the libraries xarray, h5netcdf and h5py; pip install"
            " 'postbench[arviz]' brings them."
        ) from None
    try:
        with xarray.open_dataset(file, group="posterior", engine="h5netcdf") as found:
            posterior = found.load()
    except Exception as error:  # of three libraries
        raise UserError(
            f"{file} cannot be read as ArviZ's netCDF: its group 'posterior' is expected; {error}."
        ) from None
    arrays = {
        str(name): values.transpose("chain", "draw", ...).to_numpy()
        for name, values in posterior.data_vars.items()
        if {"chain", "draw"} <= set(values.dims)
    }
    return _chains(file, arrays, _diverging(xarray, file))


def _diverging(xarray: Any, file: Path) -> Values | None:
    try:
        with xarray.open_dataset(file, group="sample_stats", engine="h5netcdf") as stats:
            values = stats["diverging"].transpose("chain", "draw").to_numpy()
    except Exception:  # no such group, or no such figure: nothing is known of divergences
        return None
    return np.asarray(values, dtype=np.float64)


def _chains(file: Path, arrays: Mapping[str, Any], diverging: Values | None) -> list[Series]:
    if not arrays:
        raise UserError(f"{file} holds no draws.")
    first, shape = next((name, a.shape[:2]) for name, a in arrays.items())
    for name, array in arrays.items():
        if array.ndim < 2 or array.shape[:2] != shape or array.dtype.kind not in "fiu":
            raise UserError(
                f"{file}, array {name!r} is {array.dtype} of shape {list(array.shape)}; expected"
                f" numbers [chains, draws, ...] with chains and draws as in {first!r},"
                f" {list(shape)}."
            )
    columns = dict(flattened(arrays))
    return [
        Series(
            file,
            str(chain + 1) if shape[0] > 1 else "",
            {name: values[chain] for name, values in columns.items()},
            np.arange(1, shape[1] + 1),
            "draw",
            None,
            None if diverging is None else int(diverging[chain].sum()),
        )
        for chain in range(shape[0])
    ]


def flattened(arrays: Mapping[str, Any]) -> Iterator[tuple[str, Values]]:
    """Arrays [chains, draws, *shape] as columns [chains, draws], named from 1: ``theta[2,1]``."""
    for name, array in arrays.items():
        for index in itertools.product(*map(range, array.shape[2:])):
            place = ",".join(str(i + 1) for i in index)
            values = array[(slice(None), slice(None), *index)].astype(np.float64)
            yield f"{name}[{place}]" if place else name, values
