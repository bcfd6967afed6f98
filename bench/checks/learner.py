"""What a learner promises: it yields a decoder and an encoder at rest, from its own generator,
within its budget, and touches nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bench.checks import learning
from bench.checks.approximation import CHECKS as APPROXIMATION
from bench.checks.bits import Bits
from bench.checks.finding import Check, InapplicableError, expect, once
from bench.checks.learning import DRAWS, Course, coded, conduct, first
from bench.checks.settings import must_be_frozen, must_be_unchanged, must_have_a_name, snapshot
from bench.checks.statistics import SIGMAS
from bench.checks.trial import generator
from methods.amortised.base import Learned, Learner
from methods.base import Approximation, Budget, NotApplicableError

SOON = 5.0  # seconds that a step may go on after the budget is spent
SHORT = 0.5  # seconds of the budget that tests it
MANY = 2000  # draws by which two laws are compared
ROUNDING = 1e-9


class LearnerLab:
    """A learner and the runs of it that the checks share."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.fields = snapshot(learner)
        self.overwritten = False
        self.model = Bits()

    @once
    def first_run(self) -> Course:
        """What the learner makes of three bits, from the first seed; with a decoder that is given
        where it learns none.
        """
        try:
            return self._watched(first, 1)
        except NotApplicableError:
            self.model = Bits(given=True)
        try:
            return self._watched(first, 1)
        except NotApplicableError as error:
            raise InapplicableError(f"the learner cannot be run here: {error}") from None

    def _watched(self, run: Callable[..., Course], seed: int) -> Course:
        course = run(self.learner, self.model, seed=seed)
        self.overwritten |= course.overwritten
        return course

    def again(self, budget: Budget, seed: int) -> Course:
        """Run the learner once more on the same model."""
        return conduct(self.learner, self.model, budget, seed)

    @once
    def second_run(self) -> Course:
        """The first run once more, from the same seed: it must learn the same."""
        return self.again(self.first_run.budget, 1)

    @once
    def longer_run(self) -> Course:
        """The first run, or one ten times as long where that held no more than one pair."""
        run = self.first_run
        if len(run.held) > 1:
            return run
        return self.again(replace(run.budget, gradients=10 * (run.budget.gradients or 1)), 1)

    @property
    def learned(self) -> Learned:
        """The last pair of the first run."""
        return self.first_run.held[-1].learned

    @property
    def x(self) -> Tensor:
        """Test data, [4, 1, 3], float64."""
        _ = self.first_run
        return self.model.test.double()

    @once
    def approximation(self) -> Approximation:
        """q(z | x) of the second x."""
        found: Any = self.learned.encoder.at(self.x[1])
        expect(
            isinstance(found, Approximation),
            f"encoder.at(x) gave a {type(found).__name__}; expected a methods.base.Approximation",
        )
        of_type: Approximation = found
        return of_type


@dataclass(frozen=True)
class _One:
    """Where checks of approximations find what they check."""

    approximation: Approximation


def _yields(lab: LearnerLab) -> None:
    _ = lab.first_run  # raises where there is nothing


def _shape(lab: LearnerLab) -> None:
    for count in (1, len(lab.x)):
        for n in (1, 2, DRAWS):
            seen: Any = coded(lab.learned.encoder, lab.x[:count], n)
            want = [count, n, lab.model.latent_dim]
            expect(
                isinstance(seen, Tensor) and list(seen.shape) == want,
                f"encoder.sample of {count} x and {n} draws gave"
                f" {list(seen.shape) if isinstance(seen, Tensor) else type(seen).__name__};"
                f" expected {want}",
            )


def _plain(lab: LearnerLab) -> None:
    draws = lab.learned.encoder.sample(lab.x, 2, generator(1))
    expect(draws.dtype == torch.float64, f"draws are {draws.dtype}; expected torch.float64")
    expect(draws.device.type == "cpu", f"draws are on {draws.device}; expected them on the CPU")
    expect(
        not draws.requires_grad,
        "draws carry a gradient; expected sample() to work under torch.no_grad() or to detach",
    )


def _finite(lab: LearnerLab) -> None:
    draws = coded(lab.learned.encoder, lab.x)
    bad = int((~draws.isfinite()).any(-1).sum())
    expect(bad == 0, f"{bad} of {len(lab.x) * DRAWS} draws of q(z | x) are not finite")
    with torch.no_grad():
        likely = lab.learned.decoder.at_rest().log_likelihood(lab.x.unsqueeze(1), draws)
    bad = int((~likely.isfinite()).sum())
    expect(bad == 0, f"{bad} of {likely.numel()} log p(x | z) are not finite; expected none")


def _at_rest(lab: LearnerLab) -> None:
    decoder = lab.learned.decoder
    own = lab.model.decoder(generator(1))
    expect(
        (decoder.latent_dim, decoder.shape) == (own.latent_dim, own.shape),
        f"the decoder is for z [{decoder.latent_dim}] and x {list(decoder.shape)}; expected those"
        f" of the model, [{own.latent_dim}] and {list(own.shape)}",
    )
    if not own.learned:
        z = torch.randn(5, 2, generator=generator(3), dtype=torch.float64)
        expect(
            torch.equal(decoder.at_rest().mean(z), own.at_rest().mean(z)),
            "a decoder that is given was changed; expected its weights, which need no gradient, as"
            " they were",
        )


def _one_by_one(lab: LearnerLab) -> None:
    alone = lab.approximation.sample(MANY, generator(1))
    together = coded(lab.learned.encoder, lab.x, MANY, seed=2)[1]
    worst = float(_apart(alone, together).max())
    expect(
        worst <= SIGMAS,
        f"draws of encoder.at(x) and of encoder.sample(x, n) differ by {worst:.1f} standard errors"
        f" for the same x; expected {SIGMAS:g} at most",
    )


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """How far two samples [n, L] differ in location, spread and ties of their ranks, in standard
    errors.
    """
    ranks = torch.cat([a, b]).argsort(0).argsort(0).double() / (len(a) + len(b) - 1) - 0.5
    ties = ranks[:, :1] * ranks[:, 1:]
    values = torch.cat([ranks, ranks.square(), ties], 1)
    one, other = values[: len(a)], values[len(a) :]
    error = (one.var(0) / len(one) + other.var(0) / len(other)).sqrt()
    return (one.mean(0) - other.mean(0)).abs() / error.clamp(min=1e-12)


def _density(lab: LearnerLab) -> None:
    encoder, x = lab.learned.encoder, lab.x
    z = coded(encoder, x, 6)
    with torch.no_grad():
        seen, alone = encoder.log_prob(x, z), lab.approximation.log_prob(z[1])
    expect(
        (seen is None) == (alone is None),
        f"encoder.log_prob gives {'None' if seen is None else 'a density'} and that of encoder.at"
        f" {'None' if alone is None else 'one'}; expected the same of both",
    )
    if seen is None or alone is None:
        raise InapplicableError("the encoder has no density: log_prob gives None")
    want = list(z.shape[:2])
    expect(
        list(seen.shape) == want and seen.dtype == torch.float64,
        f"encoder.log_prob of {list(z.shape)} gave {list(seen.shape)}, {seen.dtype}; expected"
        f" {want}, torch.float64",
    )
    away = float((seen[1] - alone).abs().max())
    expect(
        torch.allclose(seen[1], alone, rtol=0, atol=1e-6, equal_nan=True),
        f"encoder.log_prob is off encoder.at(x).log_prob by {away:.2g} nats; expected the same",
    )


def _equal(a: Tensor, b: Tensor) -> bool:
    """To the last bit; NaN is the same as NaN."""
    return torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def _reproducible(lab: LearnerLab) -> None:
    for one, other in zip(lab.first_run.held, lab.second_run.held, strict=False):
        expect(
            _equal(one.draws, other.draws) and _equal(one.means, other.means),
            "two runs from equal generators learned different things; expected the same to the last"
            " bit: some random numbers come from elsewhere, or the clock decides",
        )


def _repeats(lab: LearnerLab) -> None:
    torch.manual_seed(0)
    draws = coded(lab.learned.encoder, lab.x)
    torch.manual_seed(1)
    expect(
        _equal(draws, coded(lab.learned.encoder, lab.x)),
        "encoder.sample() gave different draws from equal generators; expected a function of the"
        " generator's state alone",
    )


def _seeds_matter(lab: LearnerLab) -> None:
    one, other = (coded(lab.learned.encoder, lab.x, seed=seed) for seed in (1, 2))
    expect(
        not torch.equal(one, other),
        "encoder.sample() gave the same draws from different generators; expected others: is the"
        " given generator used?",
    )


def _global_state(lab: LearnerLab) -> None:
    touched = sorted(lab.first_run.touched)
    expect(
        not touched,
        f"changed {' and '.join(touched)}; expected them as they were, also while the learner waits"
        " at a yield",
    )


def _fields(lab: LearnerLab) -> None:
    _ = lab.first_run  # has been run
    must_be_unchanged(lab.learner, lab.fields)


def _data(lab: LearnerLab) -> None:
    expect(
        not lab.overwritten,
        "the training data were overwritten; expected them as they were: a batch, or `train`, must"
        " be copied before it is changed in place",
    )


def _gradient_budget(lab: LearnerLab) -> None:
    run = lab.first_run
    if not run.gradients and not run.read:
        raise InapplicableError("the learner charged nothing, and read no batch to learn from")
    expect(
        run.gradients > 0,
        f"read {run.read:,} x by the batch and charged nothing; expected charge(rows) for what is"
        " carried backwards: by it the budget is spent",
    )


def _time_budget(lab: LearnerLab) -> None:
    _ = lab.first_run  # has warmed up whatever needs it
    course = lab.again(Budget(seconds=SHORT), 1)
    expect(
        course.wall < SHORT + SOON,
        f"ended after {course.wall:.1f} seconds on a budget of {SHORT:g}; expected an end within"
        f" {SOON:g} seconds of it",
    )


def _unchanged(lab: LearnerLab) -> None:
    run = lab.longer_run
    if len(run.held) < 2:
        raise InapplicableError(
            f"the learner yielded once in {run.gradients:,} gradients: nothing came after"
        )
    for held in run.held:
        same = _equal(held.draws, coded(held.learned.encoder, lab.x))
        expect(
            same and _equal(held.means, learning.means(held.learned)),
            f"{'a decoder' if same else 'an encoder'} was another after the learner had gone on"
            " than before; expected a copy to be yielded, not weights that are still at work"
            " (`decoder.at_rest()`)",
        )


def _of_one(check: Check[Any]) -> Check[LearnerLab]:
    """A check of approximations, of q(z | x) at one x."""
    return Check(f"at x: {check.name}", check.why, lambda lab: check.hold(_One(lab.approximation)))


CHECKS: tuple[Check[LearnerLab], ...] = (
    Check(
        "name",
        "tables and command lines call it by this name",
        lambda lab: must_have_a_name(lab.learner),
    ),
    Check(
        "frozen",
        "results are filed under the fields, which must not change after that",
        lambda lab: must_be_frozen(lab.learner),
    ),
    Check("yields", "the harness measures the pairs that a learner yields", _yields),
    Check("data", "the figures would be of other data, and so would those of all others", _data),
    Check("shape", "figures take draws as [N, n, L], for any N and n", _shape),
    Check(
        "float64",
        "half of the digits are lost in float32, and a gradient is of no use to a figure",
        _plain,
    ),
    Check("finite", "a NaN in one weight is a NaN in every figure", _finite),
    Check("decoder", "a likelihood is one of the model's own data, and z has its length", _at_rest),
    Check(
        "one by one", "figures ask for one x, and for all of them, and mean the same", _one_by_one
    ),
    Check("density", "the ELBO mixes draws and log q(z | x), for all x at once", _density),
    *map(_of_one, APPROXIMATION[:5]),
    Check("reproducible", "a figure that cannot be had again cannot be checked", _reproducible),
    Check(
        "sampling repeats",
        "figures draw from one encoder more than once, and must not disturb each other",
        _repeats,
    ),
    Check(
        "seeds matter",
        "seeds stand for independent repetitions: their spread is the error bar",
        _seeds_matter,
    ),
    Check(
        "global state",
        "what one learner changes for all would decide the results of the next",
        _global_state,
    ),
    Check("fields", "the next run with the same settings must be the same run", _fields),
    Check("gradient budget", "learners are compared at equal cost", _gradient_budget),
    Check("time budget", "one learner must not hold up a night of runs", _time_budget),
    Check(
        "stays as yielded",
        "an early checkpoint that changes later is measured as what it is not",
        _unchanged,
    ),
)
