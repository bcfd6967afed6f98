"""The compiled library: built by the machine's C compiler at its first use, and kept.

It lies in ``postbench`` below the user's cache folder ($XDG_CACHE_HOME, or ~/.cache), under a name
made of the source, the compiler and the processor, so that a machine that shares the folder with
others has its own. There is none without a compiler, or where the folder cannot be written, or with
POSTBENCH_COMPILED=0, or for a processor without AVX-512, where torch was as fast at the narrow
networks and a quarter faster at those 256 wide. Torch does the passes then.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from methods.parts.compiled.source import SOURCE

OFF = "POSTBENCH_COMPILED"
# no -ffast-math: what is not a number must stay so, since that is how a run is seen to diverge
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
WANTED = "avx512f"
LIMIT = 60  # seconds a compilation may take


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library, or None where it cannot be had."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "gcc"))), None)
    processor = _processor()
    if os.environ.get(OFF) == "0" or compiler is None or WANTED not in processor:
        return None
    try:
        name = hashlib.sha256("\0".join([SOURCE, *FLAGS, compiler, processor]).encode())
        place = _folder() / f"networks-{name.hexdigest()[:16]}.so"
        if not place.exists():
            _build(compiler, place)
        return ctypes.CDLL(str(place))
    except (OSError, RuntimeError, subprocess.SubprocessError):  # RuntimeError: there is no home
        return None


def _folder() -> Path:
    """Where the library is kept."""
    home = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(home) if home else Path("~/.cache").expanduser()) / "postbench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _build(compiler: str, place: Path) -> None:
    """Compile in a folder of its own and move the whole file, so that nobody loads half of one."""
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        source, built = Path(folder) / "networks.c", Path(folder) / "networks.so"
        source.write_text(SOURCE, encoding="utf-8")
        command = [compiler, *FLAGS, str(source), "-o", str(built)]
        subprocess.run(command, capture_output=True, timeout=LIMIT, check=True)
        built.replace(place)


def _processor() -> str:
    """What the processor can do, for it decides the instructions in the library."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    known = {line for line in lines if line.startswith(("model name", "flags"))}
    return "\n".join([platform.machine(), *sorted(known)])
