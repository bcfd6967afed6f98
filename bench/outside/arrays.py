"""Draws from binary files: tables in Parquet, arrays in ``.npz``, ArviZ's netCDF."""

from __future__ import annotations

import importlib
import itertools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UserError, unknown
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


def xarray_for(file: Path) -> Any:
    """The library that reads and writes netCDF, with what is below it.

    Raises:
        UserError: if one is missing, with what installs it.
    """
    try:
        for below in ("h5netcdf", "h5py"):
            importlib.import_module(below)
        return importlib.import_module("xarray")
    except ImportError:
        raise UserError(
            f"{file}: netCDF needs the libraries xarray, h5netcdf and h5py; pip install"
            " 'postbench[arviz]' brings them."
        ) from None


def read_netcdf(file: Path, group: str = "", *, unconstrained: bool = False) -> list[Series]:
    """The chains of the group ``posterior`` of a netCDF file as ArviZ writes it.

    Args:
        file: to read.
        group: the group that ``posterior`` lies in; empty for the root, or for the one place where
            the file holds draws.
        unconstrained: whether the group ``unconstrained_posterior`` is taken, where there is one.

    Raises:
        UserError: if a library is missing, or the file holds no such group.
    """
    xarray = xarray_for(file)
    place = _place(file, group.strip("/"), _groups(file))
    inside = f"{place}/unconstrained_posterior" if unconstrained else ""
    if inside.strip("/") not in _groups(file):
        inside = f"{place}/posterior"
    try:
        with xarray.open_dataset(file, group=inside, engine="h5netcdf") as found:
            posterior = found.load()
    except Exception as error:  # of three libraries
        raise UserError(
            f"{file} cannot be read as ArviZ's netCDF: its group {inside.strip('/')!r} is expected;"
            f" {error}."
        ) from None
    arrays = {
        str(name): values.transpose("chain", "draw", ...).to_numpy()
        for name, values in posterior.data_vars.items()
        if {"chain", "draw"} <= set(values.dims)
    }
    return _chains(file, arrays, _diverging(xarray, file, place))


def _groups(file: Path) -> list[str]:
    """Every group of a netCDF file by its path; none where it cannot be read as one."""
    found: list[str] = []
    try:
        with importlib.import_module("h5py").File(file, "r") as content:
            content.visititems(
                lambda path, node: found.append(path) if hasattr(node, "keys") else None
            )
    except OSError:
        return []
    return found


def _place(file: Path, group: str, groups: list[str]) -> str:
    """The group whose ``posterior`` is meant; the root where the file does not tell.

    Raises:
        UserError: if there is no such group, or there are several and none was named.
    """
    ends = ("posterior", "unconstrained_posterior")
    parts = (path.rpartition("/") for path in groups)
    held = list(dict.fromkeys(place for place, _, name in parts if name in ends))
    if not group and ("" in held or not held):
        return ""
    if not group and len(held) == 1:
        return held[0]
    if not group:
        raise UserError(
            f"{file} holds draws in {len(held)} groups; name one by --group:"
            f" {', '.join(map(repr, held[:20]))}{', ...' if len(held) > 20 else ''}."
        )
    if group not in held:
        raise unknown(f"group of draws in {file}", group, held, "")
    return group


def _diverging(xarray: Any, file: Path, place: str) -> Values | None:
    try:
        with xarray.open_dataset(file, group=f"{place}/sample_stats", engine="h5netcdf") as stats:
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
