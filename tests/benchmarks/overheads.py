"""What the suite costs beside fitting and measuring, in processor seconds: commands that only look,
a run that has nothing to do, the fixed cost of a run, a page, and a cell.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.overheads
    OMP_NUM_THREADS=1 python -m tests.benchmarks.overheads --run results/quick  # and its page

Each is the median of a few goes, of all processes that a command starts. A cell is what one more
cell adds: the difference of two runs of different lengths, over the cells between them.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

GOES = 3
FEW, MANY = 10, 110  # cells of the runs whose difference is a cell's cost
PLUGIN = '''
from dataclasses import dataclass
import torch
from methods import Draws, Method


@dataclass(frozen=True)
class Trivial(Method):
    """Zeros, at once."""

    name = "trivial"

    def run(self, target, budget, generator):
        yield Draws(torch.randn(1, 100, target.dim, generator=generator, dtype=torch.float64))
'''
CELL = ("-p", "mixture-2d", "--draws", "100", "--gradients", "100", "--jobs", "1")


def spent(words: Sequence[str]) -> float:
    """Processor seconds of a command and all its children.

    Raises:
        CalledProcessError: if it fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "bench", *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def median(words: Sequence[str]) -> float:
    """Of a command that may be given again and again."""
    return statistics.median(spent(words) for _ in range(GOES))


def run(folder: Path, method: str, cells: int, *more: str) -> list[str]:
    """The command of a run of that many cells."""
    out = ("--out", str(folder), "--metric", "mean_error")
    return ["run", "-m", method, *CELL, "--seeds", str(cells), *out, *more]


def of_a_cell(folder: Path, method: str) -> float:
    """What one more cell of a method adds to a run; its page has one line either way."""
    took = []
    for go in range(GOES):
        few = spent(run(folder / f"few-{go}", method, FEW))
        many = spent(run(folder / f"many-{go}", method, MANY))
        took.append((many - few) / (MANY - FEW))
    return statistics.median(took)


def main() -> None:
    """Print one line for each."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("--run", type=Path, help="folder of a run whose page is written again")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "trivial.py").write_text(PLUGIN, encoding="utf-8")
        os.chdir(folder)
        one = run(folder / "one", "exact", 1)
        lines = {
            "postbench list": median(["list"]),
            "postbench show eight-schools": median(["show", "eight-schools"]),
            "a run of one cell, with its page": statistics.median(
                spent(run(folder / f"one-{go}", "exact", 1)) for go in range(GOES)
            ),
            "the same run again, with nothing to do": min(spent(one) for _ in range(1 + GOES)),
            "one more cell, method exact": of_a_cell(folder / "own", "exact"),
            "one more cell, a method of a file": of_a_cell(
                folder / "file", f"{folder / 'trivial.py'}:Trivial"
            ),
        }
        if asked.run is not None:
            pages = ["--html", str(folder / "page.html"), "--markdown", str(folder / "page.md")]
            lines["the page of the run"] = median(["report", str(asked.run.absolute()), *pages])
    for what, seconds in lines.items():
        print(f"{what:42s}{seconds:8.3f} s")


if __name__ == "__main__":
    main()
