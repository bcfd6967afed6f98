"""Draws of many methods on many problems as one netCDF file of the layout that ArviZ opens.

``PROBLEM/METHOD`` and ``PROBLEM/truth`` are groups, and each holds what ArviZ calls inference data:
``posterior`` in the model's own units, ``unconstrained_posterior`` and ``sample_stats``.

Source of the layout: R. Kumar, C. Carroll, A. Hartikainen, O. Martin, ArviZ: a unified library for
exploratory analysis of Bayesian models in Python, 2019, doi:10.21105/joss.01143.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.outside.arrays import xarray_for
from bench.outside.series import Values

TRUTH = "truth"  # the group of the truth's draws, beside those of the methods
DIMENSIONS = ("chain", "draw")


@dataclass(frozen=True, eq=False)
class Branch:
    """What one group holds: a method on a problem, or the truth of it.

    Args:
        problem, method: labels.
        chains: names of the chains, a whole number each: the seeds.
        z: unconstrained draws, [chains, draws, D].
        coordinates: a label for each of the D.
        named: draws in the model's own units, {name: [chains, draws, *shape]}; empty where the
            model could not be made.
        stats: figures of every draw by name, [chains, draws] each.
        facts: what else is known, plain values by name.
    """

    problem: str
    method: str
    chains: Sequence[int]
    z: Values
    coordinates: Sequence[str]
    named: Mapping[str, Values] = field(default_factory=dict)
    stats: Mapping[str, Values] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def write(branches: Sequence[Branch], facts: Mapping[str, Any], file: Path) -> None:
    """Write a netCDF file.

    Args:
        branches: what it holds.
        facts: of the whole file, plain values by name.
        file: to write.

    Raises:
        UserError: if a library is missing.
        OSError: if the file cannot be written.
    """
    xarray = xarray_for(file)
    tree = {"/": xarray.Dataset(attrs=_plain(facts))}
    for path, branch in zip(paths(branches), branches, strict=True):
        tree[path] = xarray.Dataset(
            attrs=_plain({"problem": branch.problem, "method": branch.method, **branch.facts})
        )
        if branch.named:
            tree[f"{path}/posterior"] = _table(xarray, branch, branch.named)
        tree[f"{path}/unconstrained_posterior"] = _table(
            xarray, branch, {"z": branch.z}, {"coordinate": list(branch.coordinates)}
        )
        if branch.stats:
            tree[f"{path}/sample_stats"] = _table(xarray, branch, branch.stats)
    xarray.DataTree.from_dict(tree).to_netcdf(file, engine="h5netcdf")


def paths(branches: Sequence[Branch]) -> list[str]:
    """The group of each: the labels of problem and method, their slashes replaced; a number after
    it where two are the same.
    """
    found: list[str] = []
    for branch in branches:
        wanted = path = f"{_name(branch.problem)}/{_name(branch.method)}"
        count = 1
        while path in found:
            count += 1
            path = f"{wanted} ({count})"
        found.append(path)
    return found


def _name(label: str) -> str:
    """A label as a group of netCDF may be called."""
    bare = "".join(letter if letter.isprintable() and letter != "/" else "-" for letter in label)
    return bare.strip(" .") or "-"


def _table(
    xarray: Any,
    branch: Branch,
    values: Mapping[str, Values],
    labels: Mapping[str, Sequence[str]] | None = None,
) -> Any:
    """A dataset with the dimensions ``chain`` and ``draw``; those of a shape are named after their
    variable, as ArviZ does it.
    """
    variables = {}
    for name, array in values.items():
        shown = f"{name}_" if name in DIMENSIONS else name.replace("/", "-")
        more = labels or [f"{shown}_dim_{i}" for i in range(array.ndim - 2)]
        variables[shown] = ((*DIMENSIONS, *more), np.asarray(array, dtype=np.float64))
    coordinates = {"chain": list(branch.chains), "draw": np.arange(branch.z.shape[1])}
    facts = {"inference_library": "postbench"}
    return xarray.Dataset(variables, {**coordinates, **(labels or {})}, attrs=facts)


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as netCDF keeps them: texts and numbers; all else as JSON, None left out."""
    return {
        name: value if isinstance(value, str | int | float) else json.dumps(value)
        for name, value in facts.items()
        if value is not None and not isinstance(value, bool)
    }
