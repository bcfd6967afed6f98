r"""Do two sets of draws tell the same posterior? Every mean, spread and quantile of every
coordinate, mode by mode.

For a test function f and a mode with indicator w, both samples estimate :math:`E[w f] / E[w]`. The
standard error is that of the mean of :math:`w (f - \hat f) / \bar w`, with as many draws as that
series is worth by its autocorrelation. Inside a mode a sampler that seldom changes modes is still
worth many draws; how much each mode holds is compared on its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.metrics.draws.chains import ess_mean
from bench.reference.limits import Check, above, below, together
from problems.base import Modes

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
KINDS = ("mean", "spread", *(f"{level:.0%} quantile" for level in LEVELS))
ENOUGH = 400.0  # effective draws of the worse sample, below which agreement says little


@dataclass(frozen=True, eq=False)
class Sample:
    """Draws of a route or of the exact truth, as the comparison of routes takes them.

    Args:
        chains: [chains, draws, D].
        independent: whether every draw counts in full.
    """

    chains: Tensor
    independent: bool = False

    def average(self, series: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means, standard errors and effective draws of series [chains, draws, K], each [K]."""
        flat = series.flatten(0, 1)
        effective = (
            torch.full((series.shape[-1],), len(flat), dtype=torch.float64)
            if self.independent
            else ess_mean(series)
        )
        return flat.mean(0), flat.std(0) / effective.sqrt(), effective


@dataclass(frozen=True)
class _Difference:
    where: str
    score: float
    effective: float


def compare(
    name: str, stored: Sample, other: Sample, coordinates: Sequence[str], modes: Modes | None
) -> list[Check]:
    """Hold one sample against the other.

    Args:
        name: of the comparison, for the certificate.
        stored: the one whose quantiles and centres the test functions are made of.
        other: the one it is held against.
        coordinates: their names.
        modes: named modes, or None.
    """
    found = list(_differences(stored, other, coordinates, modes))
    limit = together(len(found))
    worst = max(found, key=lambda difference: difference.score)
    note = f"worst of {len(found)} in standard errors: {worst.where}"
    checks = [below(name, worst.score, limit, note)]
    if not other.independent:
        least = min(found, key=lambda difference: difference.effective)
        checks.append(above(f"{name}: effective draws", least.effective, ENOUGH, least.where))
    return checks


def shares(name: str, sample: Sample, modes: Modes) -> Check:
    """Hold the share of each mode against its true weight."""
    weights = torch.tensor(modes.weights, dtype=torch.float64)
    labels = torch.nn.functional.one_hot(modes.label(sample.chains), len(weights)).double()
    mean, stderr, _ = sample.average(labels)
    scores = _scores(mean - weights, stderr)
    worst = int(scores.argmax())
    note = (
        f"mode {worst} holds {float(mean[worst]):.4f} +- {float(stderr[worst]):.4f}, by weight"
        f" {float(weights[worst]):.4f}"
    )
    return below(name, float(scores[worst]), together(len(weights)), note)


def within(chains: Tensor, modes: Modes | None) -> Tensor:
    """Draws less the mean of their mode, [chains, draws, D]: what a sampler that changes modes
    slowly still mixes.
    """
    if modes is None:
        return chains
    labels = modes.label(chains)
    centred = chains.clone()
    for mode in range(len(modes.weights)):
        inside = labels == mode
        if bool(inside.any()):
            centred[inside] -= chains[inside].mean(0)
    return centred


def _differences(
    stored: Sample, other: Sample, names: Sequence[str], modes: Modes | None
) -> Iterator[_Difference]:
    count = len(modes.weights) if modes else 1
    for mode in range(count):
        inside = [_inside(sample.chains, modes, mode) for sample in (stored, other)]
        place = f" in mode {mode}" if modes else ""
        if not all(bool(mask.any()) for mask in inside):
            yield _Difference(f"no draws{place}", math.inf, 0.0)
            continue
        for j, coordinate in enumerate(names):
            yield from _coordinate(stored, other, inside, j, f"{coordinate}{place}")


def _coordinate(
    stored: Sample, other: Sample, inside: Sequence[Tensor], j: int, where: str
) -> Iterator[_Difference]:
    mine = stored.chains[..., j]
    kept = mine[inside[0]]
    centre, cuts = (
        kept.mean(),
        torch.quantile(kept[: 1 << 24], torch.tensor(LEVELS, dtype=kept.dtype)),
    )
    found = []
    for sample, mask in zip((stored, other), inside, strict=True):
        x = sample.chains[..., j].unsqueeze(-1)
        tests = torch.cat([x, (x - centre).square(), (x <= cuts).double()], -1)
        weight = mask.double().unsqueeze(-1)
        mean = (weight * tests).mean((0, 1)) / weight.mean()
        _, stderr, effective = sample.average(weight * (tests - mean) / weight.mean())
        found.append((mean, stderr, effective * weight.mean()))
    (a, a_error, _), (b, b_error, effective) = found
    scores = _scores(a - b, torch.hypot(a_error, b_error))
    for k, kind in enumerate(KINDS):
        yield _Difference(f"{kind} of {where}", float(scores[k]), float(effective[k]))


def _inside(chains: Tensor, modes: Modes | None, mode: int) -> Tensor:
    return modes.label(chains) == mode if modes else torch.ones(chains.shape[:2], dtype=torch.bool)


def _scores(difference: Tensor, stderr: Tensor) -> Tensor:
    """Absolute differences in standard errors; 0 where there is no difference at all."""
    return torch.where(difference == 0, 0.0, difference.abs() / stderr)
