"""What an approximation promises beyond its draws: a density that is theirs, a map that is open,
chains in order.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from bench.checks import statistics
from bench.checks.finding import Check, InapplicableError, expect
from bench.checks.trial import draw, generator
from methods import PushforwardMixture
from methods.base import Approximation, Draws, Pushforward

MANY = 10_000
FEW = 8
FORWARD = 1e-9  # relative: a row in a batch may be summed in another order than alone
JACOBIAN = 1e-4  # relative to the largest entry: finite differences of a network
STEP = 1e-6
# overlap of a density with the bumps fitted to its draws, below which there is nothing to tell
RELIABLE = 0.05


class HasApproximation(Protocol):
    """Where the checks find what they check."""

    @property
    def approximation(self) -> Approximation: ...


def _log_prob(approximation: Approximation, z: Tensor) -> Tensor:
    with torch.no_grad():
        found = approximation.log_prob(z)
    if found is None:
        raise InapplicableError("the approximation has no density: log_prob gives None")
    return found


def _density_shape(lab: HasApproximation) -> None:
    z = draw(lab.approximation, 6)
    dim = z.shape[1]
    alone = _log_prob(lab.approximation, z)
    expect(alone.dtype == torch.float64, f"log_prob is {alone.dtype}; expected torch.float64")
    for shape in ((6, dim), (dim,), (2, 3, dim)):
        seen = _log_prob(lab.approximation, z.flatten()[: torch.Size(shape).numel()].reshape(shape))
        expect(
            seen.shape == shape[:-1],
            f"log_prob of {list(shape)} gave {list(seen.shape)}; expected {list(shape[:-1])}",
        )
        want = alone.flatten()[: seen.numel()].reshape(seen.shape)
        expect(
            torch.allclose(seen, want, rtol=1e-9, atol=1e-9),
            f"log_prob of {list(shape)} and of [6, {dim}] disagree on the same points",
        )
    expect(bool(alone.isfinite().all()), "log_prob is not finite at the approximation's own draws")


def _bumps(draws: Tensor) -> statistics.Bumps:
    try:
        return statistics.bumps(draws)
    except ArithmeticError as error:
        raise InapplicableError(f"no density can be fitted to the draws: {error}") from None


def _normalised(lab: HasApproximation) -> None:
    _log_prob(lab.approximation, draw(lab.approximation, 2))
    proposal = _bumps(draw(lab.approximation, MANY))
    points = proposal.sample(MANY, generator(2))
    weights = (_log_prob(lab.approximation, points) - proposal.log_prob(points)).exp()
    share = float(weights.sum().square() / weights.square().sum() / MANY)
    if share < RELIABLE:
        raise InapplicableError(
            f"importance sampling is not reliable here: {share:.1%} of its draws are effective"
        )
    mean, stderr = float(weights.mean()), float(weights.std()) / MANY**0.5
    expect(
        abs(mean - 1) <= statistics.SIGMAS * stderr,
        f"the density integrates to {mean:.4f} +- {stderr:.4f}; expected 1: is its normalising"
        " constant there?",
    )


def _density_of_draws(lab: HasApproximation) -> None:
    _log_prob(lab.approximation, draw(lab.approximation, 2))
    draws, fitted = (
        draw(lab.approximation, MANY, seed=3),
        _bumps(draw(lab.approximation, MANY, seed=4)),
    )
    found = statistics.bridge(
        draws, lambda z: _log_prob(lab.approximation, z), fitted, generator(5)
    )
    if found.overlap < RELIABLE:
        raise InapplicableError(
            f"the densities that can be fitted to the draws have {found.overlap:.1%} in common with"
            " log_prob"
        )
    worst = float(found.scores.abs().max())
    expect(
        worst <= statistics.SIGMAS,
        f"draws and log_prob disagree by {worst:.1f} standard errors; expected"
        f" {statistics.SIGMAS:g} at most",
    )


def _pushforwards(lab: HasApproximation) -> list[tuple[Pushforward, Tensor]]:
    """The maps of an approximation, with noise for each."""
    approximation = lab.approximation
    if isinstance(approximation, PushforwardMixture):
        maps = approximation.heads
    elif isinstance(approximation, Pushforward):
        maps = (approximation,)
    else:
        raise InapplicableError("the approximation is not a Pushforward")
    noise = generator(6)
    return [
        (one, torch.randn(FEW, one.noise_dim, generator=noise, dtype=torch.float64)) for one in maps
    ]


def _map(lab: HasApproximation) -> None:
    for approximation, noise in _pushforwards(lab):
        _is_a_map(approximation, noise)


def _is_a_map(approximation: Pushforward, noise: Tensor) -> None:
    with torch.no_grad():
        z = approximation.forward(noise)
        expect(z.dtype == torch.float64, f"forward gave {z.dtype}; expected torch.float64")
        expect(
            torch.equal(z, approximation.forward(noise)),
            "forward gave different points for the same noise; expected a function",
        )
        rows = torch.cat([approximation.forward(row) for row in noise.unsqueeze(1)])
    expect(
        rows.shape == z.shape,
        f"forward gave {list(z.shape)} for all rows and {list(rows.shape)} one by one; expected the"
        " same",
    )
    expect(
        _close(z, rows, FORWARD),
        "forward gave other points for a batch than for its rows one by one; expected a map of"
        " each row",
    )


def _jacobian(lab: HasApproximation) -> None:
    for approximation, noise in _pushforwards(lab):
        _has_its_jacobian(approximation, noise)


def _has_its_jacobian(approximation: Pushforward, noise: Tensor) -> None:
    with torch.no_grad():
        steps = STEP * torch.eye(noise.shape[1], dtype=torch.float64)
        columns = [
            (approximation.forward(noise + e) - approximation.forward(noise - e)) / (2 * STEP)
            for e in steps
        ]
    want = torch.stack(columns, -1)
    seen = approximation.jacobian(noise)
    expect(
        seen.shape == want.shape,
        f"jacobian gave {list(seen.shape)}; expected [n, D, K] = {list(want.shape)}",
    )
    away = float((seen - want).abs().max())
    expect(
        _close(seen, want, JACOBIAN),
        f"jacobian is off finite differences of forward by {away:.2g}; its largest entry is"
        f" {want.abs().max():.2g}",
    )


def _close(a: Tensor, b: Tensor, relative: float) -> bool:
    return bool((a - b).abs().max() <= relative * b.abs().max().clamp(min=1e-300))


def _chains(lab: HasApproximation) -> None:
    approximation = lab.approximation
    if not isinstance(approximation, Draws):
        raise InapplicableError("the approximation is not Draws")
    chains = approximation.chains
    expect(
        chains.ndim == 3, f"chains have the shape {list(chains.shape)}; expected [chains, draws, D]"
    )
    expect(chains.dtype == torch.float64, f"chains are {chains.dtype}; expected torch.float64")
    strange = [key for key in approximation.diagnostics if not isinstance(key, str)]
    expect(not strange, f"the diagnostics {strange} are named by no text; expected strings")
    bad = [
        key
        for key, value in approximation.diagnostics.items()
        if not isinstance(value, int | float)
    ]
    expect(
        not bad,
        f"the diagnostics {bad} are not numbers; expected them as float, as the store keeps them",
    )


CHECKS: tuple[Check[HasApproximation], ...] = (
    Check("density: shape", "metrics evaluate log_prob on batches of any shape", _density_shape),
    Check(
        "density: normalised", "every KL is off by what the normalising constant lacks", _normalised
    ),
    Check(
        "density: of the draws",
        "a KL mixes draws and log_prob: they must be of one law",
        _density_of_draws,
    ),
    Check("map", "bounds on the KL of a sampler need its map as a function of each row", _map),
    Check("map: jacobian", "the density of a map is one over its Jacobian", _jacobian),
    Check("chains", "effective sample sizes need the draws in order, by chain", _chains),
)
