"""Where results come from: the suite's version and code, the machine, the packages, the time."""

import functools
import hashlib
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path


@functools.cache
def version() -> str:
    """As installed; ``not installed`` where the packages are only on the path."""
    try:
        return metadata.version("postbench")
    except metadata.PackageNotFoundError:
        return "not installed"


SOURCES = (".py", ".csv", ".stan")
PACKAGES = ("torch", "pyro-ppl", "numpy", "scipy", "arviz-stats")


def now() -> str:
    """The time as the store keeps it, such as ``2026-01-31 09:05 UTC``."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def commit() -> str:
    """The commit of the suite's own code, ``and changes`` where it is not as committed; empty where
    it is not run from a clone.
    """
    root, git = Path(__file__).parents[1], shutil.which("git")
    if git is None or not (root / ".git").exists():
        return ""
    try:
        said = [
            subprocess.run(
                [git, "-C", str(root), *words],
                capture_output=True,
                text=True,
                check=True,
                timeout=5,
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{said[0]} and changes" if said[1] else said[0]


def processor() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def code_of(
    places: Iterable[Path],
    more: tuple[str, ...] = (),
    read: Callable[[Path], bytes] = Path.read_bytes,
) -> str:
    """Hash of sources: of each file, and of all that decides something in each folder and below it.

    That is Python files and tables of data; what is compiled or cached does not count, nor does
    where the places lie: a plugin that moves to another folder has the same hash.

    Args:
        places: files and folders.
        more: endings of further files in folders that count, such as ``.html``.
        read: what of a file counts.
    """
    digest = hashlib.sha256()
    found: dict[Path, str] = {}  # each file once, by its way from the place that holds it
    for place in sorted(places):
        for file in _sources(place, more):
            found.setdefault(file, file.relative_to(place.parent).as_posix())
    for _, content in sorted((name, _digest(path, read)) for path, name in found.items()):
        digest.update(content)
    return digest.hexdigest()


def _sources(place: Path, more: tuple[str, ...]) -> list[Path]:
    if place.is_file():
        return [place]
    return [path for path in place.rglob("*") if path.suffix in SOURCES + more and path.is_file()]


@functools.cache
def _digest(path: Path, read: Callable[[Path], bytes]) -> bytes:
    return hashlib.sha256(read(path)).digest()
