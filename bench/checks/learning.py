"""One run of a learner on a generative model of our own, watched from outside; the checks share a
few of them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from bench.checks.bits import Bits
from bench.checks.finding import UnmetError
from bench.checks.trial import generator
from bench.fitting import surroundings
from bench.fitting.fit import learn
from bench.fitting.surroundings import DeadlineError, deadline
from bench.processes.limits import children
from methods.amortised.base import Encoder, Learned, Learner, TrainingData
from methods.base import Budget
from problems.generative.base import Decoder

# gradients: the first rung on which there is a learned pair is used for all runs
LADDER = (2_000, 20_000, 200_000)
SECONDS = 30.0  # of fitting per run: a guard, for a plan made of seconds is not the same twice
PATIENCE = 20.0  # seconds beyond the budget until a run is broken off
CHECKPOINTS = 3
DRAWS = 50  # of each q(z | x)
_RUNS = itertools.count(1)


class Watched:
    """The training data as a learner has them, with what it did to them written down.

    Args:
        data: as the harness hands them over.
    """

    def __init__(self, data: TrainingData) -> None:
        self._data = data
        self.latent_dim = data.latent_dim
        self.train = data.train.clone()
        self._pristine = self.train.clone()
        self.read = 0  # x, by the batch

    def batch(self, n: int, generator: Generator) -> Tensor:
        """Training data as a learner reads them, [n, *shape]."""
        self.read += n
        return self._data.batch(n, generator)

    def decoder(self, generator: Generator) -> Decoder:
        """A decoder with fresh weights."""
        return self._data.decoder(generator)

    def charge(self, rows: int) -> None:
        """Pass gradients on to be counted."""
        self._data.charge(rows)

    @property
    def overwritten(self) -> bool:
        """Whether the data are others than they were."""
        return not torch.equal(self.train, self._pristine)


@dataclass(frozen=True)
class _Seen(Learner):
    """A learner that is shown watched data."""

    learner: Learner
    notes: list[Watched] = field(default_factory=list)

    def run(self, model: TrainingData, budget: Budget, generator: Generator) -> Iterator[Learned]:
        watched = Watched(model)
        self.notes.append(watched)
        return self.learner.run(watched, budget, generator)


@dataclass(frozen=True, eq=False)
class Held:
    """A learned pair, with draws of its encoder, [N, n, L], and the decoder's means there, made
    while the harness held it.
    """

    learned: Learned
    draws: Any
    means: Any


@dataclass(eq=False)
class Course:
    """What one run of a learner showed: its checkpoints, and how it ended.

    Args:
        budget: that it ran under.
        held: each checkpoint, in order; at least one, unless the budget was spent before the first.
        gradients: charged until the last checkpoint; read: x that were read by the batch.
        overwritten: whether it wrote into the training data.
        touched: what it changed outside itself, while it ran or while it waited.
        wall: seconds from the first to the last moment.
        nothing: why it held nothing, where it did not.
    """

    budget: Budget
    held: list[Held] = field(default_factory=list)
    gradients: int = 0
    read: int = 0
    overwritten: bool = False
    touched: set[str] = field(default_factory=set)
    wall: float = 0.0
    nothing: str = ""


def coded(encoder: Encoder, x: Tensor, n: int = DRAWS, seed: int = 1) -> Tensor:
    """Draws of q(z | x) of each x, [N, n, L], as figures take them."""
    with torch.no_grad():
        return encoder.sample(x, n, generator(seed))


def means(learned: Learned) -> Tensor:
    """What the decoder of a pair says of a few z."""
    z = torch.randn(6, learned.decoder.latent_dim, generator=generator(2), dtype=torch.float64)
    with torch.no_grad():
        return learned.decoder.at_rest().mean(z)


def conduct(learner: Learner, model: Bits, budget: Budget, seed: int) -> Course:
    """Run a learner on the bits.

    Raises:
        UnmetError: if it yields something else than a learned pair, or is broken off long after its
            budget.
        NotApplicableError: if the learner says that it cannot be run here.
    """
    course, seen = Course(budget), _Seen(learner)
    surroundings.scramble(next(_RUNS))  # different every time, as global states are
    before, started = surroundings.read(), time.perf_counter()
    processes, most = children(), budget.seconds or budget.guard or 0.0
    try:
        with deadline(most + PATIENCE):
            for checkpoint in learn(model, seen, budget, generator(seed)):
                course.touched.update(surroundings.changed(before, surroundings.read()))
                course.held.append(_held(checkpoint.approximation, model))
                course.gradients = checkpoint.gradients
    except DeadlineError:
        raise UnmetError(
            f"still running {PATIENCE:g} seconds after its budget of {most:g} seconds was spent;"
            " expected an end: yield, or charge, more often, and let the exception pass by which"
            " the data refuse"
        ) from None
    except TimeoutError as error:  # spent before the first pair
        course.nothing = str(error)
    finally:
        course.overwritten = any(notes.overwritten for notes in seen.notes)
    course.read = sum(notes.read for notes in seen.notes)
    course.wall = time.perf_counter() - started
    course.touched.update(surroundings.changed(before, surroundings.read()))
    course.touched.update(surroundings.left_behind(processes))
    return course


def _held(learned: Any, model: Bits) -> Held:
    if not isinstance(learned, Learned):
        raise UnmetError(
            f"yielded a {type(learned).__name__}; expected a methods.amortised.base.Learned"
        )
    for part, base in ((learned.decoder, Decoder), (learned.encoder, Encoder)):
        if not isinstance(part, base):
            raise UnmetError(
                f"yielded a Learned with a {type(part).__name__}; expected a"
                f" {base.__module__}.{base.__name__}"
            )
    return Held(learned, coded(learned.encoder, model.test.double()), means(learned))


def first(learner: Learner, model: Bits, seed: int) -> Course:
    """The run with the smallest budget on the ladder that leads to a learned pair.

    Raises:
        UnmetError: if none does.
        NotApplicableError: if the learner says that it cannot be run here.
    """
    for gradients in LADDER:
        course = conduct(learner, model, Budget(None, gradients, CHECKPOINTS, SECONDS), seed)
        if course.held:
            return course
        if course.wall >= SECONDS:
            break
    raise UnmetError(
        f"nothing was learned of three bits: {course.nothing} Expected a pair: yield earlier, or"
        " check it with fields that make it shorter, as in `postbench check NAME:field=value`"
    )
