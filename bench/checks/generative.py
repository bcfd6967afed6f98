"""What a generative model promises: data that stay the same, decoders by their generator alone, and
a likelihood that is the law of what they draw.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.checks.finding import Check, InapplicableError, expect, once
from bench.checks.settings import must_be_frozen, must_be_unchanged, must_have_a_name, snapshot
from bench.checks.statistics import SIGMAS
from bench.checks.trial import generator
from bench.fitting import surroundings
from bench.processes.limits import children
from problems.base import Problem
from problems.generative.base import Decoder, GenerativeModel, log_prior

FEW = 3  # x, and z of each, that shapes are tried with
MANY = 4000  # draws of x that are held against the decoder's mean
ROUNDING = 1e-9  # relative, of sums in another order
GRADIENT = 1e-4  # of the gradient's size
STEP = 1e-5


class ModelLab:
    """A generative model, its data and a decoder of it."""

    def __init__(self, model: GenerativeModel) -> None:
        self.model = model
        self.fields = snapshot(model)

    @once
    def train(self) -> Tensor:
        """The training data of the model, found sound."""
        return _data("train", self.model.train)

    @once
    def test(self) -> Tensor:
        """The test data of the model, found sound."""
        return _data("test", self.model.test)

    @once
    def fresh(self) -> Decoder:
        """A decoder as the model makes it."""
        found: Any = self.model.decoder(generator(1))
        expect(
            isinstance(found, Decoder),
            f"decoder() gave a {type(found).__name__}; expected a problems.generative.base.Decoder",
        )
        made: Decoder = found
        return made

    @once
    def decoder(self) -> Decoder:
        """A decoder at rest, float64."""
        return self.fresh.at_rest()

    @property
    def x(self) -> Tensor:
        """A few test data, float64."""
        return self.test[:FEW].double()

    def z(self, *shape: int) -> Tensor:
        """Draws of the prior, [*shape, L]."""
        size = (*shape, self.model.latent_dim)
        return torch.randn(size, generator=generator(2), dtype=torch.float64)


def _data(name: str, found: Any) -> Tensor:
    expect(
        isinstance(found, Tensor) and found.ndim >= 2 and len(found) > 0,
        f"{name} is {list(found.shape) if isinstance(found, Tensor) else type(found).__name__};"
        " expected a tensor [N, *shape], one x or more",
    )
    expect(found.dtype == torch.float32, f"{name} is {found.dtype}; expected torch.float32")
    bad = int((~found.isfinite()).sum())
    expect(bad == 0, f"{bad} of the {found.numel()} entries of {name} are not finite")
    data: Tensor = found
    return data


def _latent(lab: ModelLab) -> None:
    seen: Any = lab.model.latent_dim
    expect(
        type(seen) is int and seen >= 1,
        f"latent_dim is {seen!r}; expected a whole number, 1 or more",
    )


def _shapes(lab: ModelLab) -> None:
    train, test = lab.train.shape[1:], lab.test.shape[1:]
    expect(
        train == test,
        f"an x of train has the shape {list(train)} and one of test {list(test)}; expected the"
        " same",
    )


def _same(lab: ModelLab) -> None:
    for name, before in (("train", lab.train), ("test", lab.test)):
        surroundings.scramble(1)
        expect(
            torch.equal(before, getattr(lab.model, name)),
            f"{name} was other data at a second read; expected the same: binarise, or draw, by a"
            " seed that is a field",
        )


def _batch(lab: ModelLab) -> None:
    for n in (1, 7):
        seen: Any = lab.model.batch(n, generator(1))
        want = [n, *lab.train.shape[1:]]
        expect(
            isinstance(seen, Tensor) and list(seen.shape) == want and seen.dtype == torch.float32,
            f"batch({n}) gave {list(seen.shape) if isinstance(seen, Tensor) else type(seen)};"
            f" expected {want}, torch.float32",
        )
    before = lab.train.clone()
    lab.model.batch(7, generator(1)).add_(1)
    expect(
        torch.equal(before, lab.model.train),
        "a batch that is changed in place changes the training data; expected a copy",
    )


def _batch_repeats(lab: ModelLab) -> None:
    surroundings.scramble(1)
    one = lab.model.batch(64, generator(1))
    surroundings.scramble(2)
    expect(
        torch.equal(one, lab.model.batch(64, generator(1))),
        "batch() gave different data from equal generators; expected a function of the generator's"
        " state alone",
    )
    if bool((lab.train == lab.train[0]).all()):
        return
    expect(
        not torch.equal(one, lab.model.batch(64, generator(2))),
        "batch() gave the same data from different generators; expected others",
    )


def _decoder(lab: ModelLab) -> None:
    decoder, shape = lab.fresh, tuple(lab.test.shape[1:])
    expect(
        (decoder.latent_dim, tuple(decoder.shape)) == (lab.model.latent_dim, shape),
        f"the decoder is for z [{decoder.latent_dim}] and x {list(decoder.shape)}; expected"
        f" [{lab.model.latent_dim}] and {list(shape)}, as of the data",
    )
    other = {str(w.dtype) for w in decoder.parameters() if w.dtype != torch.float32}
    expect(not other, f"weights of the decoder are {', '.join(other)}; expected torch.float32")


def _fresh(lab: ModelLab) -> None:
    surroundings.scramble(1)
    one = _weights(lab.model.decoder(generator(1)))
    surroundings.scramble(2)
    again, other = (_weights(lab.model.decoder(generator(seed))) for seed in (1, 2))
    expect(
        torch.equal(one, again),
        "decoder() gave different weights from equal generators; expected a function of the"
        " generator's state alone",
    )
    if lab.fresh.learned:
        expect(
            not torch.equal(one, other),
            "decoder() gave the same weights from different generators; expected fresh ones, or"
            " weights that need no gradient where the decoder is given",
        )
    else:
        expect(
            torch.equal(one, other),
            "a decoder that is given, none of its weights to be learned, depends on the generator;"
            " expected the same every time",
        )


def _weights(decoder: Decoder) -> Tensor:
    state = [tensor.double().flatten() for tensor in decoder.state_dict().values()]
    return torch.cat(state) if state else torch.zeros(0)


def _likelihood(lab: ModelLab) -> None:
    decoder, x = lab.decoder, lab.x
    count = len(x)
    table = decoder.log_likelihood(x, lab.z(5, count))
    cases = [
        (x, lab.z(count), [count]),
        (x[0], lab.z(5), [5]),
        (x[0], lab.z(2, 5), [2, 5]),
        (x, lab.z(5, count), [5, count]),
        (x, lab.z(5, 1), [5, count]),
    ]
    for data, z, want in cases:
        seen = decoder.log_likelihood(data, z)
        expect(
            list(seen.shape) == want,
            f"log_likelihood of x {list(data.shape)} and z {list(z.shape)} gave"
            f" {list(seen.shape)}; expected {want}",
        )
        expect(
            seen.dtype == torch.float64,
            f"log_likelihood of a decoder at rest is {seen.dtype}; expected torch.float64",
        )
    rows = torch.stack([decoder.log_likelihood(x, row) for row in lab.z(5, count)])
    expect(_close(rows, table), "log_likelihood of a batch is not that of its rows alone")
    pairs, z = decoder.pairs(x, lab.z(5)), lab.z(5, 1)
    expect(
        pairs.shape == (5, count) and _close(pairs, decoder.log_likelihood(x, z)),
        f"pairs(x, z) gave {list(pairs.shape)}, or other values than log_likelihood of each pair;"
        f" expected the same, {[5, count]}",
    )
    expect(bool(table.isfinite().all()), "log p(x | z) is not finite at draws of the prior")


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=ROUNDING, atol=ROUNDING)


def _draws(lab: ModelLab) -> None:
    shape = list(lab.test.shape[1:])
    for z in (lab.z(), lab.z(4), lab.z(2, 3)):
        for name, seen in (
            ("mean", lab.decoder.mean(z)),
            ("sample", lab.decoder.sample(z, generator(1))),
        ):
            want = [*z.shape[:-1], *shape]
            expect(
                list(seen.shape) == want,
                f"{name} of z {list(z.shape)} gave {list(seen.shape)}; expected {want}",
            )
    surroundings.scramble(1)
    one, again = (lab.decoder.sample(lab.z(9), generator(1)) for _ in range(2))
    expect(
        torch.equal(one, again),
        "sample() gave different draws from equal generators; expected a function of the"
        " generator's state alone",
    )


def _mean(lab: ModelLab) -> None:
    for z in lab.z(FEW):
        drawn = lab.decoder.sample(z.expand(MANY, -1), generator(3)).flatten(1)
        want = lab.decoder.mean(z).flatten()
        rare = 10 * (1 + want.abs()) / MANY  # what comes up less than ten times is not counted on
        away = (drawn.mean(0) - want).abs() - SIGMAS * drawn.std(0) / MANY**0.5 - rare
        expect(
            float(away.max()) <= 0,
            f"the average of {MANY} draws of sample() is off mean() by more than {SIGMAS:g}"
            f" standard errors at {int((away > 0).sum())} of {len(away)} entries of x; expected"
            " E[x | z]",
        )


def _posterior(lab: ModelLab) -> None:
    x, z = lab.x[0], lab.z(6)
    found: Any = lab.model.posterior(lab.fresh, x)
    expect(
        isinstance(found, Problem),
        f"posterior() gave a {type(found).__name__}; expected a problems.base.Problem",
    )
    expect(
        found.dim == lab.model.latent_dim,
        f"the posterior has {found.dim} dimensions; expected latent_dim = {lab.model.latent_dim}",
    )
    seen = found.log_density(z)
    want = lab.decoder.log_likelihood(x, z) + log_prior(z)
    expect(
        seen.shape == want.shape and _close(seen, want),
        "the posterior's log density is not log p(x | z) + log N(z; 0, I); expected that, in"
        " float64",
    )


def _gradient(lab: ModelLab) -> None:
    x, z = lab.x[0], lab.z(6).requires_grad_()
    (seen,) = torch.autograd.grad(lab.decoder.log_likelihood(x, z).sum(), z)
    with torch.no_grad():
        steps = STEP * torch.eye(lab.model.latent_dim, dtype=torch.float64)
        up, down = (
            lab.decoder.log_likelihood(x, z.unsqueeze(1) + sign * steps) for sign in (1, -1)
        )
        wrong = (seen - (up - down) / (2 * STEP)).abs() / (1 + seen.abs().amax(-1, keepdim=True))
    expect(
        float(wrong.max()) <= GRADIENT,
        f"the gradient of log p(x | z) by z is off finite differences by {float(wrong.max()):.2g}"
        f" of its size; expected {GRADIENT:g} at most",
    )


def _truth(lab: ModelLab) -> None:
    seen: Any = lab.model.log_likelihood_of_truth
    if seen is None:
        raise InapplicableError("the law that drew the data is not known")
    expect(
        isinstance(seen, Tensor)
        and seen.shape == lab.test.shape[:1]
        and seen.dtype == torch.float64
        and bool(seen.isfinite().all()),
        f"log_likelihood_of_truth is {list(seen.shape) if isinstance(seen, Tensor) else seen!r};"
        f" expected finite numbers, [{len(lab.test)}], torch.float64, or None",
    )


def _global_state(lab: ModelLab) -> None:
    surroundings.scramble(1)
    before, processes = surroundings.read(), children()
    _ = lab.model.train, lab.model.test
    lab.model.batch(2, generator(1))
    decoder = lab.model.decoder(generator(1)).at_rest()
    decoder.sample(lab.z(2), generator(1))
    touched = surroundings.changed(before, surroundings.read())
    touched += surroundings.left_behind(processes)
    expect(not touched, f"changed {' and '.join(touched)}; expected them as they were")


CHECKS: tuple[Check[ModelLab], ...] = (
    Check(
        "name",
        "tables and command lines call it by this name",
        lambda lab: must_have_a_name(lab.model),
    ),
    Check(
        "frozen",
        "results are filed under the fields, which must not change after that",
        lambda lab: must_be_frozen(lab.model),
    ),
    Check("latent_dim", "encoders make room for as many coordinates", _latent),
    Check("data", "learners take x as float32, and figures are of x of the same shape", _shapes),
    Check("data: the same", "figures of two runs are of the same x", _same),
    Check("batch", "learners read x by the batch, and may change what they read", _batch),
    Check(
        "batch: reproducible", "a run that cannot be had again cannot be checked", _batch_repeats
    ),
    Check("decoder", "learners step in float32, and z and x have their lengths", _decoder),
    Check("decoder: fresh", "seeds stand for independent repetitions", _fresh),
    Check(
        "likelihood", "figures take one x with many z, many x with one z, and pairs", _likelihood
    ),
    Check("draws", "pages show x that the decoder draws, and its means", _draws),
    Check("mean", "reconstructions are means, and must be those of the law", _mean),
    Check("gradient", "annealing sees the likelihood through its gradient by z", _gradient),
    Check("posterior", "for one x, z has a posterior, which metrics compare with", _posterior),
    Check("truth", "what is lost to the law of the data is a figure of every x", _truth),
    Check(
        "global state",
        "what one model changes for all would decide the results of the next",
        _global_state,
    ),
    Check(
        "fields",
        "the next run with the same settings must be the same run",
        lambda lab: must_be_unchanged(lab.model, lab.fields),
    ),
)
