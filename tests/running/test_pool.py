"""A job that the end of the fork server cuts off is lost, and never blamed for it."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.processes.pool import LOST, Gone, Pool

HALF = b"\0\0\x10\0{"  # says that 4,096 bytes follow, of which one comes


def stop_midway(send: Callable[[dict[str, Any]], None]) -> None:
    send({"server": os.getppid()})
    for descriptor in range(3, 1024):
        try:
            os.write(descriptor, HALF)
        except OSError:
            continue
    time.sleep(600)


@pytest.mark.parametrize("heard_first", ["the server", "the job"])
def test_a_job_in_the_middle_of_a_report_is_lost_with_the_server(
    heard_first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "its_pool.py").write_text(Path(__file__).read_text())
    monkeypatch.syspath_prepend(tmp_path)
    said: list[Any] = []
    with Pool([]) as pool:
        job = pool.start("its_pool:stop_midway", ())
        while not job.reader.midway:
            said += [what for _, what in pool.events()]
        os.kill(said[0]["server"], signal.SIGKILL)
        hang_up = select.poll()
        hang_up.register(job.pipe, 0)
        hang_up.poll()  # the job has ended too, before the runner has heard of the server's end
        if heard_first == "the job":  # its end comes between two looks at the server
            said += pool._messages(job)
        while not isinstance(said[-1], Gone):
            said += [what for _, what in pool.events()]
    assert (said[-1].lost, said[-1].why) == (True, LOST)
