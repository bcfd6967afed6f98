"""The one place where a page survives a value: what cannot be drawn or tabulated says so where it
would have stood.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.store import Store
from reports.pictures.density import Array

Made = TypeVar("Made")
Other = TypeVar("Other")
LONGEST = 200  # letters of an error that are shown


def guarded(make: Callable[[], Made], instead: Callable[[str], Other]) -> Made | Other:
    """What ``make`` makes, or where it fails for whatever value, ``instead`` of the reason.

    A run of hours must not lose its page to one figure of one method: draws come from plugins, and
    files from disks.
    """
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return make()
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return instead(said if len(said) <= LONGEST else f"{said[:LONGEST]}…")


def finite_draws(store: Store, name: str) -> tuple[Array, list[str], str]:
    """Draws [n, D] that were kept under a name, float64, without the rows that are not finite; the
    coordinates' labels; and a remark, empty where there is none.

    Draws that were not kept, that cannot be read or of which none is finite are [0, D]; then the
    remark says why.
    """

    def read() -> tuple[Array, list[str], str]:
        found = store.draws(name)
        if found is None:
            why = store.unreadable(name)
            why = f"its draws cannot be read: {why.rstrip('.')}" if why else "no draws were kept"
            return np.empty((0, 0)), [], why
        draws, labels = np.asarray(found[0], dtype=np.float64), list(found[1])
        if draws.ndim != 2:
            return np.empty((0, 0)), [], f"the kept draws have {draws.ndim} dimensions, not 2"
        sound = np.asarray(np.isfinite(draws).all(axis=1))
        labels = [*labels, *(f"z[{i + 1}]" for i in range(len(labels), draws.shape[1]))]
        return draws[sound], labels[: draws.shape[1]], _lost(sound)

    return guarded(read, lambda why: (np.empty((0, 0)), [], f"its draws cannot be read ({why})"))


def _lost(sound: NDArray[np.bool_]) -> str:
    n, bad = len(sound), len(sound) - int(sound.sum())
    if not n:
        return "no draws were kept"
    if bad == n:
        return "none of its draws is finite"
    share = bad / n
    return f"{math.ceil(1000 * share) / 10:g}% of its draws are not finite" if bad else ""
