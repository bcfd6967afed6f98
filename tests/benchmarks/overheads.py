"""What the harness itself costs, in processor seconds of all its processes, by one command.

    python -m tests.benchmarks.overheads

The commands are run as a user runs them, and do next to nothing: a method that yields the standard
normal at once, one metric, few draws. ``of a cell`` is what a run of many cells costs more than one
of a single cell, for each cell more. The page of ``quick`` is that of a store of its shape that the
tests make. Processor seconds rise with what else the machine does; compare figures of one run.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.helpers import synthetic_store

METHOD = """
from dataclasses import dataclass
from typing import ClassVar
import torch
from methods import Gaussian, Method

@dataclass(frozen=True)
class Mine(Method):
    name: ClassVar[str] = "mine"

    def run(self, target, budget, generator):
        zero = torch.zeros(target.dim, dtype=torch.float64)
        yield Gaussian(zero, torch.ones_like(zero))
"""
RUN = "run -p mixture-2d --metric mean_error --draws 200"
FEW, MANY = 20, 120  # cells more than one: before and after the fork server joins its pages


def spent(words: str, folder: Path) -> float:
    """Processor seconds of a command and of all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "bench", *words.split()],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def figures(folder: Path) -> dict[str, float]:
    """Processor seconds by what they are spent on."""
    (folder / "mine.py").write_text(METHOD, encoding="utf-8")
    synthetic_store.build(folder / "quick")
    found = {"list": spent("list", folder), "show": spent("show avb", folder)}
    for name, method in (("a file's", "mine.py:Mine"), ("the suite's", "laplace")):
        run = f"{RUN} -m {method} --out {Path(method).stem}"
        one = found[f"run of one cell and its page, {name} method"] = spent(
            f"{run}-1 --seeds 1", folder
        )
        found[f"no-op run, {name} method"] = spent(f"{run}-1 --seeds 1", folder)
        if method.endswith("Mine"):
            for more in (FEW, MANY):
                many = spent(f"{run}-{more} --seeds {1 + more}", folder)
                found[f"of a cell, {more} of them, {name} method"] = (many - one) / more
    found["page of quick"] = spent("report quick", folder)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        for what, seconds in figures(Path(name)).items():
            print(f"{seconds:8.3f}  {what}", flush=True)


if __name__ == "__main__":
    main()
