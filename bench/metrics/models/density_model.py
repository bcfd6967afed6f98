r"""The divergence of an approximation that can only be drawn from: fit a density to its draws, and
judge it by others.

.. math:: KL(q \| p) \ge E_q[\log \hat q - \log p] + \log Z \quad \text{for every density } \hat q,

because the two differ by KL(q || q-hat), which is not negative. q-hat is a mixture of Gaussians or,
on demand, a neural spline flow; a classifier between draws of q and of p stands for the model p
e^T. Of these the one that proves most on draws set apart is judged on the rest. How far the bound
stays below the truth is how badly the best model fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from bench.metrics.base import Comparison, Estimate, Skipped
from bench.metrics.draws.samples import constant_coordinates, standardise
from bench.metrics.models import flow_model, gaussian_mixture
from bench.metrics.models.held_out import Split
from bench.metrics.models.scores import bound, scored
from methods.parts.networks import zuko_flow

COMPONENTS = (1, 2, 4, 8, 16, 32)  # of the mixture, tried in turn


@dataclass(frozen=True, eq=False)
class Model:
    """One way to bound KL(q||p) from below.

    Args:
        name: for the note.
        score: T, [n, D] -> [n], nats; log q-hat - log p + log Z for a density.
        normalised: whether the average of e^T over p is known to be 1, as it is for a density.
    """

    name: str
    score: Callable[[Tensor], Tensor]
    normalised: bool

    def proves(self, split: Split) -> float:
        """The bound on the draws set apart, where the average of e^T over p is 1 for every
        model.
        """
        return float(self.score(split.q.choose).mean())

    def judged(self, split: Split) -> tuple[Tensor, Tensor]:
        """T at the draws of q and of p that judge; 0 for the latter where its average needs no
        measuring.
        """
        at_q = self.score(split.q.test)
        return at_q, (
            torch.zeros_like(split.p.test[:, 0]) if self.normalised else self.score(split.p.test)
        )


def modelled(comparison: Comparison, flow_steps: int) -> Estimate | Skipped:
    """A lower bound on KL(q||p) from draws of q, the density of p, and draws of p.

    Without log Z the classifier alone is left.

    Args:
        flow_steps: of training of a neural spline flow; 0 for none.
    """
    refused = _refused(comparison, flow_steps)
    if refused is not None:
        return refused
    found = scored(comparison)
    if isinstance(found, Skipped):
        return found
    generator, parts = comparison.generator(), [split for split, _ in found]
    with torch.no_grad():
        chosen = [
            max(
                _models(split, score, comparison, flow_steps, generator),
                key=lambda model: model.proves(split),
            )
            for split, score in found
        ]
        judged = [model.judged(split) for model, split in zip(chosen, parts, strict=True)]
    at_q, at_p = [q for q, _ in judged], [p for _, p in judged]
    infinite = int(sum((values == math.inf).sum() for values in at_q))
    if infinite:
        return Skipped(
            f"KL(q||p) is infinite: the density of p is 0 at {infinite} of {len(comparison.draws)}"
            " draws of q."
        )
    proved = bound(at_q, at_p, comparison)
    if isinstance(proved, Skipped):
        return proved
    evidence = comparison.evidence
    more = (
        evidence[1]
        if not isinstance(evidence, Skipped) and any(model.normalised for model in chosen)
        else 0.0
    )
    names = " and ".join(sorted({model.name for model in chosen}))
    return replace(proved, stderr=math.hypot(proved.stderr, more), note=f"Proved by {names}.")


def _models(
    split: Split,
    score: Callable[[Tensor], Tensor],
    comparison: Comparison,
    flow_steps: int,
    generator: Generator,
) -> Iterator[Model]:
    log_density = comparison.problem.log_density
    yield Model("a classifier", score, normalised=False)
    evidence = comparison.evidence
    if isinstance(evidence, Skipped):
        return
    log_z = evidence[0]
    mixture = gaussian_mixture.choose(split.q.fit, split.q.choose, COMPONENTS, generator)
    name = f"a mixture of {len(mixture.means)} Gaussians"
    yield Model(name, lambda z: mixture.log_prob(z) - log_density(z) + log_z, normalised=True)
    if flow_steps:
        flow = flow_model.fit(split.q.fit, split.q.choose, flow_steps, generator)
        yield Model(
            "a neural spline flow", lambda z: flow(z) - log_density(z) + log_z, normalised=True
        )


def _refused(comparison: Comparison, flow_steps: int) -> Skipped | None:
    if flow_steps and not zuko_flow.available():
        return Skipped(
            "flow_steps needs the library zuko: pip install zuko, or leave flow_steps at 0."
        )
    scaled = standardise(comparison.draws, comparison.truth, comparison.problem.moments)
    if isinstance(scaled, Skipped):
        return scaled
    if constant := constant_coordinates(comparison.draws):
        return Skipped(
            f"Coordinate {constant[0]} is the same in all draws: they have no density, and KL is"
            " infinite."
        )
    return None
