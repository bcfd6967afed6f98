"""The compiled library: built by the machine's C compiler at its first use, and kept.

It lies in ``postbench`` below the user's cache folder ($XDG_CACHE_HOME, or ~/.cache), under a name
made of the source, the compiler and the processor, so that a machine that shares the folder with
others has its own. Without a compiler, or with POSTBENCH_COMPILED=0, there is none, and torch does
the networks' passes.
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
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
LIMIT = 60  # seconds a compilation may take


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library, or None where it cannot be had."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "gcc"))), None)
    if os.environ.get(OFF) == "0" or compiler is None:
        return None
    try:
        name = hashlib.sha256("\0".join([SOURCE, *FLAGS, compiler, _processor()]).encode())
        place = _folder() / f"networks-{name.hexdigest()[:16]}.so"
        if not place.exists():
            _build(compiler, place)
        return ctypes.CDLL(str(place))
    except (OSError, subprocess.SubprocessError):
        return None


def _folder() -> Path:
    """Where the library is kept; a folder of this process where the user's cannot be written."""
    home = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(home) if home else Path("~/.cache").expanduser()) / "postbench"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):
        pass
    return Path(tempfile.mkdtemp(prefix="postbench-"))


def _build(compiler: str, place: Path) -> None:
    """Compile in a folder of its own and move the whole file, so that nobody loads half of one."""
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        source, built = Path(folder) / "networks.c", Path(folder) / "networks.so"
        source.write_text(SOURCE, encoding="utf-8")
        for native in (["-march=native"], ["-mcpu=native"], []):
            command = [compiler, *FLAGS, *native, str(source), "-o", str(built)]
            done = subprocess.run(command, capture_output=True, timeout=LIMIT, check=False)
            if done.returncode == 0:
                built.replace(place)
                return
    raise OSError(f"{compiler} does not compile the networks: {done.stderr.decode()}")


def _processor() -> str:
    """What the processor can do, for it decides the instructions in the library."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    known = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return "\n".join([platform.machine(), *sorted(set(known))])
