"""Where a density is not finite, in words: what a method says in place of advice about its own
settings.
"""

from __future__ import annotations

from torch import Tensor

from methods.base import Target

SHOWN = 6  # coordinates of a point that are shown


def sound(value: Tensor, gradient: Tensor) -> Tensor:
    """Whether log density [n] and gradient [n, D] are finite, row by row: [n]."""
    return value.isfinite() & gradient.isfinite().all(-1)


def whereabouts(target: Target, z: Tensor, value: Tensor, gradient: Tensor) -> str:
    """How many rows are not finite, what the first of them reads, and why if the target can tell.

    Args:
        target: the density; one that can explain itself has ``explain(z)``, [D] to words.
        z: the rows, [n, D]; value: their log densities, [n]; gradient: theirs, [n, D].
    """
    bad = ~sound(value, gradient)
    first = int(bad.double().argmax())
    bad_values = int((~value.isfinite()).sum())
    what = f"the log density is {float(value[first])}"
    if value[first].isfinite():
        what = f"the log density is {float(value[first]):.6g} but its gradient is not finite"
    count = f"at {int(bad.sum())} of {len(z)} points"
    if 0 < bad_values < int(bad.sum()):
        count += f" ({bad_values} without a finite density)"
    explain = getattr(target, "explain", None)
    why = explain(z[first]) if explain else ""
    return f"{count}, first at z = {point(z[first])}, where {what}" + (f": {why}" if why else "")


def point(z: Tensor) -> str:
    """A point [D] with a few of its coordinates."""
    shown = ", ".join(f"{x:.4g}" for x in z[:SHOWN].tolist())
    return f"[{shown}, ... {len(z)} in all]" if len(z) > SHOWN else f"[{shown}]"
