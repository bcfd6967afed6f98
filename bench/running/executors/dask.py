"""Cells on a Dask cluster, one that is started here or one that stands: each in a process of its
own on a worker's machine.

Only this side writes to the run's folder; workers need no disk in common with it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.processes.wire import JunkError, Message
from bench.running.events import Ended, Event, Measured, Started, unpacked
from bench.running.executors import remote, travel
from bench.running.executors.inline import Events
from bench.running.matrix import Cell
from bench.store import label
from bench.store.draws import DrawsFolder

Future = Any  # of distributed, an optional library

LOCAL = "local"  # in place of an address: a cluster of this machine
AHEAD, LEAST = 4, 16  # cells for each thread of the workers that are handed in, and at least
BREATH = 1.0  # seconds between two looks at the cluster
PATIENCE = 10.0  # seconds for a scheduler to answer, and without a worker until that is said
LOST = (
    "The scheduler of the Dask cluster was lost. What had arrived is kept; the same command"
    " continues, on this cluster when it is back or on another."
)


class Dask:
    """A cluster whose workers run cells, a process of its own for each. Use as a context: leaving
    it ends the cells that still run, and the cluster if it was started here.

    Args:
        folder: of the store.
        where: ``local``, or a scheduler: ``tcp://HOST:PORT``, or the JSON file that it wrote.
        jobs: workers of a cluster that is started here.
        say: takes a sentence for the user.
    """

    def __init__(self, folder: Path, where: str, jobs: int, say: Callable[[str], None]) -> None:
        self.folder, self.where, self.jobs, self._say = folder.absolute(), where, jobs, say
        self.run_id = f"postbench-{uuid.uuid4().hex[:12]}"
        self.threads = max(1, jobs)
        self.refused: dict[str, str] = {}
        self._loads = travel.Loads()
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._out: dict[Future, tuple[Cell, tuple[str, ...]]] = {}
        self._workers: tuple[str, ...] = ()
        self._looked = 0.0

    def __enter__(self) -> Dask:
        try:
            import distributed
        except ModuleNotFoundError:
            raise UserError(
                "--dask needs dask.distributed, which is not installed:"
                " pip install 'postbench[dask]'."
            ) from None
        with contextlib.ExitStack() as stack:
            address = _started(distributed, stack, self.jobs) if self.where == LOCAL else self.where
            self.client = stack.enter_context(_connected(distributed, address))
            self.client.subscribe_topic(self.run_id, lambda event: self._heard.put(event[1]))
            self._look()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):  # of a scheduler that is gone
            self.client.cancel(list(self._out), force=True)
        self._out.clear()
        self._stack.close()

    def run(self, cells: Sequence[Cell]) -> Events:
        """Yield each cell's events; a start as it is heard of, the others when the cell has ended
        and its rows and draws have come.

        Raises:
            UserError: if the scheduler is lost; if no worker is left that may run cells.
        """
        waiting = deque(cells)
        by_key = {cell.key: cell for cell in cells}
        begun: set[str] = set()
        while waiting or self._out:
            self._look()
            while waiting and len(self._out) < max(LEAST, AHEAD * self.threads):
                self._submit(waiting.popleft(), {})
            for cell, said in self._ended(by_key, begun):
                if "started" in said:
                    yield cell, Started()
                    continue
                if cell.key not in begun:
                    yield cell, Started()
                yield from ((cell, event) for event in self._events(cell, said))

    def _ended(self, by_key: Mapping[str, Cell], begun: set[str]) -> Iterator[tuple[Cell, Message]]:
        """What has come in: starts, and what ended cells have left."""
        done: list[Future] = []
        for item in self._incoming():
            if not isinstance(item, dict):
                done.append(item)
            elif (cell := by_key.get(str(item.get("started")))) is not None:
                begun.add(cell.key)
                yield cell, {"started": True}
        for future, said in self._results([each for each in done if each in self._out]):
            cell, _ = self._out.pop(future)
            if "lacking" in said:
                self._submit(cell, {p: Path(p).read_bytes() for p in self._loads.of(cell).files})
            elif "refused" in said:
                self._refuse(str(said["worker"]), str(said["refused"]))
                self._submit(cell, {})
            else:
                yield cell, said

    def _incoming(self) -> list[Any]:
        """Starts that were told and tasks that have ended since; waits a moment for the first."""
        with contextlib.suppress(queue.Empty):
            found = [self._heard.get(timeout=BREATH)]
            while not self._heard.empty():
                found.append(self._heard.get())
            return found
        return []

    def _results(self, done: Sequence[Future]) -> Iterator[tuple[Future, Message]]:
        from distributed import KilledWorker

        if any(future.status == "cancelled" for future in done) or self.client.status != "running":
            raise UserError(LOST)
        well = [future for future in done if future.status == "finished"]
        try:
            yield from zip(well, self.client.gather(well), strict=True)
        except OSError as error:
            raise UserError(LOST) from error
        for future in done:
            if future.status == "error":
                found = future.exception()
                if not isinstance(found, KilledWorker):
                    raise UserError(
                        "A worker of the Dask cluster cannot run cells"
                        f" ({type(found).__name__}: {found}); install this version of postbench"
                        " wherever workers run."
                    )
                yield future, {"killed": f"{found.last_worker.address}"}

    def _submit(self, cell: Cell, files: Mapping[str, bytes]) -> None:
        """Hand a cell to the cluster; to workers that were not refused, once any was."""
        allowed = tuple(worker for worker in self._workers if worker not in self.refused)
        if self.refused and not allowed:
            raise UserError(
                f"No worker of the Dask cluster can run the cells. {self._refusals()} Start workers"
                " of this version, and the same command continues."
            )
        future = self.client.submit(
            remote.run,
            travel.suite(),
            self.run_id,
            pickle.dumps(self._loads.of(cell)),
            dict(files),
            key=f"{self.run_id}-{cell.key}-{uuid.uuid4().hex[:8]}",
            pure=False,
            workers=list(allowed) if self.refused else None,
        )
        self._out[future] = cell, allowed if self.refused else ()
        future.add_done_callback(self._heard.put)

    def _refuse(self, worker: str, why: str) -> None:
        if worker not in self.refused:
            self.refused[worker] = why
            self._say(f"The worker {worker} is refused: {why}.")

    def _refusals(self) -> str:
        return " ".join(f"{worker} is refused: {why}." for worker, why in self.refused.items())

    def _look(self) -> None:
        """See which workers there are, and hand in again what waits for some that are gone."""
        now = time.monotonic()
        if self._looked and now - self._looked < BREATH:
            return
        try:
            found = self.client.nthreads()
        except (OSError, RuntimeError) as error:
            raise UserError(LOST) from error
        if not found and self._looked and not self._workers:
            self._alone(now)
        self._looked, self._workers = now, tuple(found)
        self.threads = max(1, sum(found.values()))
        for future, (cell, allowed) in list(self._out.items()):
            if allowed and not set(allowed) & set(found):
                del self._out[future]
                self.client.cancel([future], force=True)
                self._submit(cell, {})

    def _alone(self, now: float) -> None:
        if not hasattr(self, "_since"):
            self._since = now
        if now - self._since > PATIENCE:
            self._since = float("inf")
            self._say(
                f"The cluster {self.where} has no worker yet; the run goes on when one joins."
            )

    def _events(self, cell: Cell, said: Message) -> Iterator[Event]:
        """The events of a cell that has ended, its draws and its log kept before."""
        if "killed" in said:
            why = "each worker that ran it was lost, four in a row; the last one was"
            yield Ended("crashed", f"{why} {said['killed']}")
            return
        failed = self._keep(cell, said["files"])
        try:
            events = [unpacked(message) for message in said["events"]]
        except JunkError as error:
            events = [Ended("crashed", f"{error}")]
        for event in events:
            if isinstance(event, Ended) and failed:
                yield Ended(
                    event.status, "; ".join(filter(None, [event.reason, failed])), event.diagnostics
                )
            elif isinstance(event, Measured | Ended):
                yield event

    def _keep(self, cell: Cell, files: Mapping[str, bytes]) -> str:
        """Write what a cell has left into the run's folder; why that failed, empty if it did not.

        The truth is that of the first seed where that has come, as in a run without a cluster.
        """
        truth = f"truth-{label(cell.problem.name, cell.problem_settings)}"
        draws = DrawsFolder(self.folder / "draws")
        for name, content in files.items():
            path = self.folder / Path(name).parent.name / Path(name).name
            if path.name.startswith("truth-"):
                path = draws.file(truth)
                if cell.seed != 0 and path.is_file():
                    continue
            part = path.with_name(f".{os.getpid()}-{path.name}")
            try:
                part.write_bytes(content)
                part.replace(path)
            except OSError as error:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
                return f"{path} could not be kept: {error.strerror or error}."
        return ""


def _started(distributed: Any, stack: contextlib.ExitStack, workers: int) -> str:
    """Start a cluster of this machine, to end with the stack, and give its address."""
    import dask

    settings = {
        "distributed.scheduler.worker-saturation": 1.0,  # a cell waits for no busy worker
        "distributed.worker.profile.enabled": False,  # nor is it looked at while it runs
    }
    stack.enter_context(dask.config.set(settings))
    cluster = stack.enter_context(
        distributed.LocalCluster(
            n_workers=max(1, workers),
            threads_per_worker=1,
            memory_limit=None,  # cells have limits of their own
            dashboard_address="127.0.0.1:0",  # whatever other cluster has the usual port
            silence_logs=logging.CRITICAL,
        )
    )
    return str(cluster.scheduler_address)


def _connected(distributed: Any, where: str) -> Any:
    """A client of a scheduler.

    Raises:
        UserError: if there is none.
    """
    try:
        if where.endswith(".json"):  # distributed would wait for such a file for ever
            where = json.loads(Path(where).read_text(encoding="utf-8"))["address"]
        return distributed.Client(where, timeout=PATIENCE)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"--dask {where}: no scheduler answers there ({error or type(error).__name__});"
            " expected tcp://HOST:PORT, or the file of `dask scheduler --scheduler-file FILE.json`."
        ) from None
