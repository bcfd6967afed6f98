"""Plugins that do harm, each in one way named by ``how``: the faults of the runner's table."""

import contextlib
import itertools
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from bench.metrics.base import Comparison, Estimate, Metric
from methods.base import Approximation, Budget, Draws, Method, Target
from problems.base import Exact, Problem

N = 100
SURROGATE = "a\udc80b"
NAPS = "POSTBENCH_TEST_NAPS"  # environment variable: where processes that must not stay are noted


def normal(n: int = N, dim: int = 2) -> Tensor:
    """Fixed draws of a standard normal, [n, D]."""
    return torch.randn(n, dim, generator=Generator().manual_seed(1), dtype=torch.float64)


@dataclass(frozen=True)
class Shifted(Approximation):
    """N(shift, I)."""

    shift: float
    dimension: int

    def sample(self, n: int, generator: Generator) -> Tensor:
        return self.shift + torch.randn(n, self.dimension, generator=generator, dtype=torch.float64)


class Grumpy(dict[str, float]):
    """A mapping that cannot be read."""

    def items(self) -> Any:
        raise LookupError("no figures today")


class MuteError(Exception):
    """An exception that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


DIAGNOSTICS: Mapping[str, Any] = {
    "text": {"sampler": "nuts", "rhat": 1.0},
    "mixed keys": {1: 1.0, "a": 2.0},
    "tuple keys": {("a", 1): 1.0},
    "keys that become one": {1: 1.0, "1": 2.0},
    "surrogate key": {SURROGATE: 1.0},
    "unreadable": Grumpy(),
    "list": [1.0, 2.0],
    "float32": {"rhat": np.float32(1.5), "ess": torch.tensor(2.5)},
    "past floats": {"big": 10**400, "large": 10**30},
}


@dataclass(frozen=True)
class Diagnosed(Method):
    """Hands back chains with diagnostics of its own kind."""

    how: str = "text"
    name: ClassVar[str] = "diagnosed"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        yield Draws(normal(dim=target.dim).unsqueeze(0), DIAGNOSTICS[self.how])


@dataclass(frozen=True)
class Spoilt(Method):
    """Yields draws of which some are not finite, as chains or from a map without a density."""

    bad: int = 1
    n: int = 10_000
    chains: bool = True
    name: ClassVar[str] = "spoilt"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        draws = normal(self.n, target.dim)
        draws[: self.bad, 0] = math.inf
        yield Draws(draws.reshape(4, -1, target.dim)) if self.chains else Torn(self.bad / self.n)


@dataclass(frozen=True)
class Torn(Approximation):
    """A standard normal in two coordinates, a share of whose draws is lost."""

    share: float

    def sample(self, n: int, generator: Generator) -> Tensor:
        draws = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        draws[torch.rand(n, generator=generator) < self.share] = math.nan
        return draws


def _raise(error: BaseException) -> None:
    raise error


def _note(process: int) -> None:
    with Path(os.environ[NAPS]).open("a", encoding="utf-8") as file:
        file.write(f"{process}\n")


def _nap() -> None:
    _note(os.getpid())
    time.sleep(600)
    os._exit(0)


def _fork_and_die() -> None:
    if os.fork() == 0:
        _nap()
    os._exit(7)


def _daemon() -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _nap()
        os._exit(0)
    time.sleep(0.2)


def _write_everywhere(data: bytes) -> None:
    for descriptor in range(3, 1024):
        with contextlib.suppress(OSError):
            os.write(descriptor, data)


def _half_a_message_and(what: Callable[[], None]) -> None:
    _write_everywhere(b"\x00\x00\x10\x00{")
    what()


def _deaf(target: Target) -> None:
    while True:
        with contextlib.suppress(BaseException):
            target.value_and_grad(torch.zeros(1, target.dim, dtype=torch.float64))


def _hold_the_interpreter() -> None:
    sum(itertools.repeat(0))  # a loop in C, which looks at no signal


def _deaf_to_alarms() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def _change_everything() -> None:
    torch.set_default_dtype(torch.float16)
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    np.seterr(all="raise")
    torch.set_grad_enabled(False)
    os.environ["OMP_NUM_THREADS"] = "64"
    os.environ["POSTBENCH_TEST_LEFT"] = "behind"
    warnings.simplefilter("error")
    os.chdir("/")


def _go_where_nothing_is() -> None:
    place = tempfile.mkdtemp()
    os.chdir(place)
    shutil.rmtree(place)


def _jump(seconds: float) -> None:
    for name in ("time", "monotonic", "perf_counter"):
        setattr(time, name, lambda: seconds)


def _use_up_descriptors() -> None:
    with contextlib.suppress(OSError):
        while True:
            os.dup(0)


def _recurse(depth: int = 0) -> int:
    return _recurse(depth + 1) + 1


def _stay_in_a_thread() -> None:
    threading.Thread(target=time.sleep, args=(600,)).start()


HARM: Mapping[str, Callable[[], object]] = {
    "surrogate in the error": lambda: _raise(RuntimeError(SURROGATE)),
    "error without words": lambda: _raise(MuteError()),
    "error of five million letters": lambda: _raise(RuntimeError("x" * 5_000_000)),
    "raise": lambda: _raise(RuntimeError("late")),
    "sys.exit": lambda: sys.exit("bye"),
    "keyboard interrupt": lambda: _raise(KeyboardInterrupt()),
    "recursion": _recurse,
    "os._exit(0)": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "abort": os.abort,
    "kill the group": lambda: os.killpg(0, signal.SIGKILL),
    "hang in C": _hold_the_interpreter,
    "hang in Python": lambda: time.sleep(600),
    "deaf to alarms": _deaf_to_alarms,
    "close descriptors": lambda: os.closerange(3, 1024),
    "junk": lambda: _write_everywhere(b"no message at all"),
    "pickle": lambda: _write_everywhere(b"\x00\x00\x00\x10cos\nsystem\n(S'id'\ntR."),
    "half a message and exit": lambda: _half_a_message_and(lambda: os._exit(3)),
    "half a message and hang": lambda: _half_a_message_and(_hold_the_interpreter),
    "fork and die": _fork_and_die,
    "Popen": lambda: _note(subprocess.Popen(["sleep", "600"]).pid),
    "daemon": _daemon,
    "everything": _change_everything,
    "lost directory": _go_where_nothing_is,
    "clock to the future": lambda: _jump(1e12),
    "clock to the past": lambda: _jump(-1e12),
    "no descriptors": _use_up_descriptors,
    "no output": lambda: [os.close(1), os.close(2)],
    "flood of words": lambda: print("begin" + "x" * 10_000_000 + "end"),
    "surrogate printed": lambda: print(SURROGATE),
    "thread": _stay_in_a_thread,
    "kill the server": lambda: [os.kill(os.getppid(), signal.SIGKILL), time.sleep(600)],
    "nothing": lambda: None,
}


@dataclass(frozen=True)
class Harm(Method):
    """Yields once, does harm, and yields once more, both times what is one off the truth."""

    how: str = "nothing"
    name: ClassVar[str] = "harm"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        yield Shifted(1.0, target.dim)
        target.value_and_grad(torch.zeros(1, target.dim, dtype=torch.float64))
        HARM[self.how]()
        yield Shifted(1.0, target.dim)


@dataclass(frozen=True)
class Deaf(Method):
    """Yields once, and goes on whatever it is told: by the target, or at its end."""

    how: str = "target"
    name: ClassVar[str] = "deaf"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        if self.how == "end":
            while True:
                target.value_and_grad(torch.zeros(1, target.dim, dtype=torch.float64))
                with contextlib.suppress(BaseException):
                    yield Shifted(1.0, target.dim)
        yield Shifted(1.0, target.dim)
        if self.how == "clock":
            while True:
                with contextlib.suppress(BaseException):
                    time.sleep(600)
        _deaf(target)


@dataclass(frozen=True)
class Other(Method):
    """Yields what is no approximation."""

    name: ClassVar[str] = "other"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        yield normal()  # type: ignore[misc]


@dataclass(frozen=True)
class Column(Problem):
    """A standard normal in the plane whose density gives [n, 1] for n points."""

    name: ClassVar[str] = "column"
    value: ClassVar[float] = 1.0

    @property
    def dim(self) -> int:
        return 2

    @property
    def truth(self) -> Exact:
        return Exact(
            lambda n, generator: (
                self.value * torch.randn(n, 2, generator=generator, dtype=torch.float64)
            ),
            math.log(2 * math.pi),
        )

    def log_density(self, z: Tensor) -> Tensor:
        return -0.5 * z.square().sum(-1, keepdim=True)


@dataclass(frozen=True)
class LostTruth(Column):
    """The same with a density of the right shape, and a truth whose draws are not finite."""

    name: ClassVar[str] = "lost-truth"
    value: ClassVar[float] = math.nan

    def log_density(self, z: Tensor) -> Tensor:
        return super().log_density(z).squeeze(-1)


def _overwrite(comparison: Comparison) -> Estimate:
    comparison.draws.zero_()
    comparison.truth.numpy()[:] = 7.0
    return Estimate(0.0, 0.0, "exact")


MEASURES: Mapping[str, Callable[[Comparison], Any]] = {
    "float32": lambda _: Estimate(np.float32(1.5), np.float32(0.5), "exact"),  # type: ignore[arg-type]
    "torch": lambda _: Estimate(torch.tensor(1.5), torch.tensor(0.5), "exact"),  # type: ignore[arg-type]
    "large": lambda _: Estimate(10**30, 0, "exact"),
    "infinite": lambda _: Estimate(math.inf, 0.0, "exact"),
    "surrogate": lambda _: Estimate(1.0, 0.0, "exact", SURROGATE),
    "too large": lambda _: Estimate(10**400, 0.0, "exact"),
    "none": lambda _: Estimate(None, 0.0, "exact"),  # type: ignore[arg-type]
    "no error": lambda _: Estimate(1.0, None, "exact"),  # type: ignore[arg-type]
    "array": lambda _: Estimate(np.ones(3), 0.0, "exact"),  # type: ignore[arg-type]
    "text": lambda _: Estimate("1.0", 0.0, "exact"),  # type: ignore[arg-type]
    "guess": lambda _: Estimate(1.0, 0.0, "guess"),  # type: ignore[arg-type]
    "nan": lambda _: Estimate(math.nan, 0.0, "exact"),
    "nothing": lambda _: None,
    "bare": lambda _: 1.0,
    "exit": lambda _: sys.exit(3),
    "surrogate error": lambda _: _raise(RuntimeError(SURROGATE)),
    "overwrite": _overwrite,
    "everything": lambda _: _change_everything() or Estimate(0.0, 0.0, "exact"),
    "hang": lambda _: time.sleep(600),
    "die": lambda _: os._exit(0),
    "hang in C": lambda _: _hold_the_interpreter(),
}


class _Measure(Metric):
    how: ClassVar[str]

    def measure(self, comparison: Comparison) -> Any:
        return MEASURES[self.how](comparison)


def measures(how: str, name: str) -> type[_Measure]:
    """A metric that does what ``how`` says, under a name of its own."""
    body = {"how": how, "name": name, "__module__": __name__}
    return dataclass(frozen=True)(type("Measures", (_Measure,), body))


for _how in MEASURES:
    globals()["".join(word.title() for word in _how.split())] = measures(
        _how, _how.replace(" ", "_")
    )
Gradients = measures("infinite", "gradients")
Twin = measures("infinite", "float32")


@dataclass(frozen=True)
class Tidy(Metric):
    """How many of the surroundings are not what they were when the cell began: 0 is right."""

    name: ClassVar[str] = "tidy"

    def measure(self, comparison: Comparison) -> Estimate:
        wrong = [
            torch.get_default_dtype() is not torch.float32,
            "POSTBENCH_TEST_LEFT" in os.environ,
            np.geterr()["divide"] == "raise",
            any(each[0] == "error" and each[2] is Warning for each in warnings.filters),
            os.getcwd() == "/",  # noqa: PTH109
        ]
        return Estimate(float(sum(wrong)), 0.0, "exact")


@dataclass(frozen=True)
class First(Metric):
    """Mean of the first coordinate of both sides."""

    name: ClassVar[str] = "first"

    def measure(self, comparison: Comparison) -> Estimate:
        both = comparison.draws[:, 0].mean(), comparison.truth[:, 0].mean()
        return Estimate(float(both[0]), abs(float(both[1])), "exact")
