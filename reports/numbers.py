"""Numbers as a scientist writes them: no digit that the uncertainty does not bear out, and units
that fit the size.
"""

from __future__ import annotations

import math
from collections.abc import Callable

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MINUS = "−"
BOUNDS = {"lower bound": "≥ ", "upper bound": "≤ "}


def plus_minus(value: float, half_width: float) -> str:
    """``0.0312 ± 0.0041``: two digits of the half-width, the value to the same place; four digits
    where there is none.
    """
    return between(value, value, half_width)


def between(lower: float, upper: float, half_width: float) -> str:
    """``0.2964 to 0.2969 ± 0.0074``: two ends, each within the half-width; once where both read
    alike, the smaller first.
    """
    if not (math.isfinite(lower) and math.isfinite(upper)):
        return _joined(
            *(_unending(x) if not math.isfinite(x) else plain(x, 4) for x in (lower, upper))
        )
    lower, upper = sorted((lower, upper))
    if not (half_width > 0 and math.isfinite(half_width)):
        return _joined(plain(lower, 4), plain(upper, 4))
    scale = max(abs(lower), abs(upper), half_width)
    if scale < 1e-4 or scale >= 1e6:
        power = math.floor(math.log10(scale))
        inside = between(*(_shifted(x, power) for x in (lower, upper, half_width)))
        return f"({inside}) × 10{str(power).translate(SUPERSCRIPT)}"
    places = min(max(0, 1 - _power(half_width, 2)), 5)
    shown = max(half_width, 10.0**-places)  # never ± 0
    return f"{_joined(_signed(lower, places), _signed(upper, places))} ± {shown:.{places}f}"


def _joined(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def bounded(value: float, half_width: float, kind: str) -> str:
    """``≥ 0.0312 ± 0.0041`` for a lower bound, ``≤`` for an upper one, else as ``plus_minus``."""
    return BOUNDS.get(kind, "") + plus_minus(value, half_width)


def span(low: float, high: float, written: Callable[[float], str]) -> str:
    """``28.1–30.7 s``: a range whose unit is written once; empty where both ends read alike."""
    ends = written(low), written(high)
    if ends[0] == ends[1]:
        return ""
    units = [end.partition(" ")[2] for end in ends]
    shared = units[0] == units[1] and not any(letter.isdigit() for letter in units[0])
    return f"{ends[0].partition(' ')[0] if shared else ends[0]}–{ends[1]}"


def plain(value: float, digits: int = 3) -> str:
    """A number to so many significant digits, without an uncertainty."""
    if not math.isfinite(value):
        return _unending(value)
    if value == 0:
        return "0"
    power = _power(value, digits)
    if power < -4 or power >= 6:
        return (
            f"{_signed(_shifted(value, power), digits - 1)} × 10{str(power).translate(SUPERSCRIPT)}"
        )
    return _signed(value, max(0, digits - 1 - power))


def count(value: float) -> str:
    """A count in few letters: ``512``, ``1.2 k``, ``3.4 M``."""
    if not math.isfinite(value):
        return _unending(value)
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor * 0.9995:
            return f"{plain(value / factor, 2 if value < 99.5 * factor else 3)}{unit}"
    return f"{value:.0f}"


def whole(value: int) -> str:
    """``100,000``: an integer in full, in groups of three."""
    return f"{value:,}"


def seconds(value: float) -> str:
    """``34 ms``, ``12.3 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if value == 0:
        return "0 s"
    if value < 1e-3:
        return f"{plain(value * 1e6, 2)} µs"
    if value < 0.9995:
        return f"{plain(value * 1e3, 2)} ms"
    if value < 119.5:
        return f"{plain(value, 3)} s"
    if value < 7170:
        return _two(*divmod(round(value), 60), "min", "s")
    return _two(*divmod(round(value / 60), 60), "h", "min")


def _two(large: int, small: int, unit: str, part: str) -> str:
    return f"{large} {unit} {small} {part}" if small else f"{large} {unit}"


def memory(mebibytes: float) -> str:
    """``0.4 MiB``, ``120 MiB``, ``1.2 GiB``."""
    if mebibytes >= 1000:
        return f"{plain(mebibytes / 1024, 2)} GiB"
    return f"{mebibytes:.0f} MiB" if mebibytes >= 10 else f"{mebibytes:.1f} MiB"


def _unending(value: float) -> str:
    return "—" if math.isnan(value) else "∞" if value > 0 else f"{MINUS}∞"


def _power(value: float, digits: int) -> int:
    """Power of ten of the first digit after rounding to so many digits: 0.0996 to two digits is
    0.10, so -1.
    """
    return int(f"{abs(value):.{digits - 1}e}".partition("e")[2])


def _shifted(value: float, power: int) -> float:
    """A value over a power of ten, in two steps, since 10^-324 is no float."""
    half = power // 2
    return value / 10.0**half / 10.0 ** (power - half)


def _signed(value: float, places: int) -> str:
    text = f"{value:.{places}f}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("-")
