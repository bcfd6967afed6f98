"""The C interface of BridgeStan in the library that the package ``stanli`` brings: its functions,
called for many rows of tables, on many threads where that is worth it.

Source: E. A. Roualdes, B. Ward, B. Carpenter, A. Seyboldt, S. D. Axen, BridgeStan: efficient
in-memory access to the methods of a Stan model, 2023, doi:10.21105/joss.05236.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

WANTED = "A Stan program needs the package stanli: pip install 'postbench[stan]'."
WORTH = 2e-3  # seconds of work that are worth threads
TRIED = 8  # rows that tell how long they take
CHUNK = 64  # rows between two moments at which Python may be interrupted
_POINTER, Text = ctypes.c_void_p, ctypes.c_char_p
_ERROR = ctypes.POINTER(Text)
_YES = ctypes.c_bool
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "bs_model_construct": (_POINTER, [Text, ctypes.c_uint, _ERROR]),
    "bs_model_destruct": (None, [_POINTER]),
    "bs_free_error_msg": (None, [Text]),
    "bs_param_names": (Text, [_POINTER, _YES, _YES]),
    "bs_param_unc_names": (Text, [_POINTER]),
    "bs_log_density": (ctypes.c_int, [_POINTER, _YES, _YES, _POINTER, _POINTER, _ERROR]),
    "bs_log_density_gradient": (
        ctypes.c_int,
        [_POINTER, _YES, _YES, _POINTER, _POINTER, _POINTER, _ERROR],
    ),
    "bs_param_constrain": (
        ctypes.c_int,
        [_POINTER, _YES, _YES, _POINTER, _POINTER, _POINTER, _ERROR],
    ),
    "bs_param_unconstrain": (ctypes.c_int, [_POINTER, _POINTER, _POINTER, _ERROR]),
}


def stanli() -> Any:
    """The package.

    Raises:
        ModuleNotFoundError: if it is not installed, with what installs it.
    """
    try:
        return importlib.import_module("stanli")
    except ModuleNotFoundError as error:
        if error.name != "stanli":
            raise
        raise ModuleNotFoundError(WANTED, name="stanli") from None


@functools.cache
def library() -> ctypes.CDLL:
    """The functions of the interface, with their types."""
    folder = Path(stanli().__file__).parent / "_bin"
    library = ctypes.CDLL(str(next(folder.glob("*stanli.*"))))
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def each(name: str, model: int, *arguments: Tensor | bool | None) -> None:
    """Call a function of the library for each row of the tables among its arguments.

    The library lets go of Python's lock, and a model may be called from many threads. Where it
    finds an error it writes nothing.

    Args:
        name: of the function; model: its first argument.
        arguments: the others; a table [n, ...] stands for the address of its row, and one that is
            written to must be contiguous.
    """
    function = getattr(library(), name)
    tables = [
        part.detach().contiguous() if isinstance(part, Tensor) else part for part in arguments
    ]
    rows = max(len(part) for part in tables if isinstance(part, Tensor))

    def work(first: int, last: int) -> None:
        for start in range(first, last, CHUNK):
            count = min(CHUNK, last - start)
            words = (_addresses(part, start, count) for part in tables)
            # all in C, without a step of Python's for a row
            deque(map(function, repeat(model, count), *words), maxlen=0)

    _shared(work, rows)


def _addresses(part: Tensor | bool | None, start: int, count: int) -> Iterable[Any]:
    """Where each of some rows of a table begins; other arguments over and over."""
    if not isinstance(part, Tensor):
        return repeat(part, count)
    width = part.element_size() * part[0].numel()
    first = part.data_ptr() + start * width
    return range(first, first + count * width, width)


def _shared(work: Callable[[int, int], None], rows: int) -> None:
    """Rows shared out among as many threads as torch may use, if they take long enough."""
    threads, begun, first = torch.get_num_threads(), time.perf_counter(), min(rows, TRIED)
    work(0, first)
    rest = rows - first
    if threads < 2 or not rest or rest * (time.perf_counter() - begun) < first * WORTH:
        work(first, rows)
        return
    cuts = [first + rest * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, cuts[:-1], cuts[1:]))
