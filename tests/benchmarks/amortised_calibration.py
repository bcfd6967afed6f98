"""How far figures of a learned pair are off, and how often their intervals hold, on a linear model
with Gaussian noise, where algebra says what each must read; every repetition draws afresh.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.amortised_calibration --repetitions 100

The encoder is the posterior, moved by 0.6 of its standard deviations; with a density, and as a map
of noise that hides it.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

from bench.metrics.amortised.aggregate import AggregateKl, MutualInformation
from bench.metrics.amortised.base import Pair, PairMetric
from bench.metrics.amortised.likelihood import LogLikelihood
from bench.metrics.amortised.posterior import AmortisedElbo, PosteriorKl
from bench.metrics.amortised.reconstruction import ReconstructionError, SquaredError
from bench.metrics.base import Skipped
from methods.parts.sampling.annealed import Annealing
from problems.generative.linear_gaussian import LinearGaussian
from tests.metrics.test_amortised import MODEL, MapEncoder, pair

MOVED = 0.6
NORMAL = 1.96  # half width of a 95% interval, in standard errors
ROUNDING = 1e-5  # nats, that quadrature is off


def mixture(one: Pair) -> tuple[float, float]:
    """KL of all codes to the prior, and the information in a code, nats, on a grid of the plane."""
    axis = torch.linspace(-7, 7, 281, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    each = one.encoder.log_prob(one.x, z.expand(len(one.x), *z.shape))
    assert each is not None
    mixed = each.logsumexp(0) - math.log(len(one.x))
    prior = -0.5 * z.square().sum(1) - math.log(2 * math.pi)
    cell = 0.05**2
    divergence = float((mixed.exp() * (mixed - prior)).sum()) * cell
    return divergence, float((each.exp() * (each - mixed)).sum()) * cell / len(one.x)


def squares(one: Pair) -> Tensor:
    """E |x - W z|^2 for each x, [N]."""
    mean, covariance = MODEL.exact(one.x)
    moved = mean + MOVED * torch.linalg.cholesky(covariance)[:, 0]
    weight = MODEL.weight.double()
    return (one.x - moved @ weight.T).square().sum(1) + (weight @ covariance @ weight.T).trace()


def cases() -> list[tuple[str, PairMetric, Pair, float, int]]:
    """What is tried: the encoder, the figure, the pair, what it must read, and one in how many
    repetitions.
    """
    one = pair(MOVED)
    hidden = dataclasses.replace(one, encoder=MapEncoder(MODEL, MOVED))
    three = LinearGaussian(latent=3, held=12)
    annealed = dataclasses.replace(
        pair(MOVED, three), annealing=Annealing(chains=32, steps=40, leapfrogs=3)
    )
    evidence, (aggregate, information) = float(MODEL.log_likelihood_of_truth.mean()), mixture(one)
    error, gap = float(squares(one).mean()), 0.5 * MOVED**2
    constant = MODEL.width * (math.log(MODEL.noise) + 0.5 * math.log(2 * math.pi))
    reconstruction = 0.5 * error / MODEL.noise**2 + constant
    beyond = float(three.log_likelihood_of_truth.mean())
    return [
        ("density", LogLikelihood(), one, evidence, 20),
        ("density, L = 3", LogLikelihood(), annealed, beyond, 2),
        ("density", AmortisedElbo(), one, evidence - gap, 1),
        ("density", PosteriorKl(), one, gap, 5),
        ("density", ReconstructionError(), one, reconstruction, 1),
        ("density", SquaredError(), one, error, 1),
        ("density", AggregateKl(), one, aggregate, 20),
        ("map", AggregateKl(), hidden, aggregate, 5),
        ("density", MutualInformation(), one, information, 1),
    ]


def row(name: str, metric: PairMetric, one: Pair, true: float, repetitions: int) -> str:
    """One line of the table."""
    found, stderrs, kinds = [], [], set()
    for seed in range(repetitions):
        estimate = metric.measure(dataclasses.replace(one, seed=seed))
        assert not isinstance(estimate, Skipped), estimate
        found.append(estimate.value)
        stderrs.append(estimate.stderr)
        kinds.add(estimate.kind)
    values, errors = torch.tensor(found), torch.tensor(stderrs)
    slack = NORMAL * errors + ROUNDING
    held = {
        "lower bound": values - slack <= true,
        "exact": (values - true).abs() <= slack,
    }[min(kinds)]
    spread = float(values.std()) if repetitions > 1 else 0.0
    return (
        f"| `{metric.name}` | {name} | {', '.join(sorted(kinds))} | {true:.4f} |"
        f" {float(values.mean()) - true:+.5f} | {spread:.5f} | {float(errors.mean()):.5f} |"
        f" {int(held.sum())} of {repetitions} |"
    )


def main(say: Callable[[str], None] = print) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=100)
    asked = parser.parse_args()
    say("| figure | q shows | kind | truth | mean less truth | sd | mean stderr | intervals hold |")
    say("|---|---|---|---|---|---|---|---|")
    for name, metric, one, true, part in cases():
        say(row(name, metric, one, true, max(1, asked.repetitions // part)))


if __name__ == "__main__":
    main()
