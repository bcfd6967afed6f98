"""In the process of a cell freed pages are kept, so that a method with large batches does not wait
for the system; what measuring has freed is not charged to it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.fitting.memory import PeakMemory
from bench.processes.pages import give_back_pages, join_pages, keep_pages
from bench.running.executors import Isolated

ROUNDS, ROWS = 20, 2**23  # tensors of 64 MiB, 16,384 pages each
FEW = 20_000  # pages; without it they are 20 times 16,384
MIB = 2**17  # numbers of 8 bytes in a MiB
glibc = pytest.mark.skipif(sys.platform != "linux", reason="the knobs are those of glibc")


def touch(send: Callable[[dict[str, Any]], None]) -> None:
    """Pages that the system had to hand out while the same size was asked for again and again."""
    torch.zeros(ROWS, dtype=torch.float64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(ROUNDS):
        torch.ones(ROWS, dtype=torch.float64)
    send({"pages": resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before})


def weigh(send: Callable[[dict[str, Any]], None]) -> None:
    """MiB that a method is charged with after something else has come and gone."""
    memory = PeakMemory()
    torch.ones(128 * MIB, dtype=torch.float64)  # as a metric may take
    memory.restart()
    torch.ones(8 * MIB, dtype=torch.float64)
    send({"charged": memory.mebibytes})


@glibc
def test_pages_are_handed_out_once_in_the_process_of_a_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the process finds the functions of this file wherever the suite is installed
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe" / "its_pages.py").write_text(Path(__file__).read_text())
    monkeypatch.syspath_prepend(tmp_path / "probe")
    with Isolated(tmp_path, jobs=1) as executor:
        (said,) = executor.ask("its_pages:touch", (), wall=60.0)
        (charged,) = executor.ask("its_pages:weigh", (), wall=60.0)
    assert said["pages"] < FEW
    assert 8 <= charged["charged"] < 40  # not 128: what something else has freed was handed back


def test_a_c_library_without_the_knobs_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.processes.pages._libc", lambda: None)
    assert not keep_pages()
    give_back_pages()


JOIN = """
import re
from pathlib import Path
from bench.processes.pages import LARGE, join_pages

def large():
    said = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    return int(re.search(r"AnonHugePages: *(\\d+)", said)[1]) * 1024

parts = [bytes([i % 256]) * 100_000 for i in range(1_000)]
before = large()
joined = join_pages()
assert all(set(part) == {i % 256} for i, part in enumerate(parts))
print(joined, large() - before)
"""


@glibc
def test_pages_are_joined_with_what_they_hold() -> None:
    code = [sys.executable, "-c", JOIN]
    done = subprocess.run(code, capture_output=True, text=True, check=True, timeout=60)
    joined, large = (int(word) for word in done.stdout.split())
    if not joined:
        pytest.skip("this system does not join pages when asked to")
    assert joined >= 50_000_000
    assert large >= 50_000_000


def test_where_pages_cannot_be_joined_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.processes.pages._libc", lambda: None)
    assert join_pages() == 0
