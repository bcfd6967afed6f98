"""What a metric promises: an estimate that knows its error, or a reason why there is none, and
hands off what it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.checks.estimates import declared, kind, returns, value
from bench.checks.finding import Check, Finding, InapplicableError, expect, findings, once
from bench.checks.hill import Hill, HillInUnits, HillItself
from bench.checks.settings import must_be_frozen, must_be_unchanged, must_have_a_name, snapshot
from bench.checks.statistics import SIGMAS
from bench.checks.trial import generator
from bench.fitting import surroundings
from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from bench.processes.limits import children
from methods.base import Approximation, Draws, Pushforward

N = 400
CHAINS = 4
PERFECT = "the truth itself"
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class _Tilted(Pushforward):
    """An affine map that misses the hill by a little."""

    noise_dim: int

    def forward(self, eps: Tensor) -> Tensor:
        return 0.8 * eps + 0.5 * eps.roll(1, -1) + 0.3


class MetricLab:
    """A metric and what it says of three approximations, made anew for each call."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.fields = snapshot(metric)

    def measure(self) -> Iterator[tuple[str, Comparison, Estimate | Skipped]]:
        """Each kind of approximation in words, the comparison, and what came of it.

        A metric of a model's own units has nothing to say where these are the coordinates: what is
        skipped on every approximation is tried where one parameter is a scale.
        """
        found = list(self._measured(Hill(2)))
        if all(isinstance(result, Skipped) for _, _, result in found):
            found = list(self._measured(HillInUnits(2)))
        yield from found

    def _measured(self, hill: Hill) -> Iterator[tuple[str, Comparison, Estimate | Skipped]]:
        for words, approximation in _approximations(hill):
            draws, truth = approximation.sample(N, generator(1)), hill.truth.sample(N, generator(2))
            comparison = Comparison(hill, approximation, draws, truth, seed=3)
            with torch.no_grad():
                yield words, comparison, self.metric.measure(comparison)

    @once
    def results(self) -> dict[str, Estimate | Skipped]:
        """By the words for the approximation."""
        return {words: found for words, _, found in self.measure()}

    def measure_again(self) -> Iterator[tuple[str, Comparison, Estimate | Skipped]]:
        """Measure all approximations once more; raises what the first time raised."""
        list(self.results)
        yield from self.measure()

    def estimates(self) -> dict[str, Estimate]:
        """The figures by the words for the approximation, those that were skipped left out."""
        found = {
            words: result for words, result in self.results.items() if isinstance(result, Estimate)
        }
        if not found:
            raise InapplicableError("the metric is skipped on every approximation tried")
        return found


def _approximations(hill: Hill) -> Iterator[tuple[str, Approximation]]:
    yield PERFECT, HillItself(hill)
    yield "a map without a density", _Tilted(hill.dim)
    yield "chains", Draws(hill.truth.sample(N, generator(4)).reshape(CHAINS, -1, hill.dim))


def check_metric(metric: Metric) -> Iterator[Finding]:
    """Hold a metric against every check of metrics, one finding after the other."""
    return findings(MetricLab(metric), CHECKS)


def _stderr(lab: MetricLab) -> None:
    for words, found in lab.estimates().items():
        expect(
            isinstance(found.stderr, float),
            f"the stderr for {words} is a {type(found.stderr).__name__}; expected a float",
        )
        expect(found.stderr >= 0, f"the stderr for {words} is {found.stderr}; expected 0 or more")


def _ideal(lab: MetricLab) -> None:
    ideal, found = lab.metric.ideal, lab.estimates().get(PERFECT)
    if ideal is None or found is None or found.kind != "exact":
        raise InapplicableError(
            "the metric has no ideal value, or no exact figure to compare with it"
        )
    allowed = SIGMAS * found.stderr + ROUNDING
    expect(
        abs(found.value - ideal) <= allowed,
        f"the truth itself reads {found.value:.4g} +- {found.stderr:.2g}; expected {ideal:g}",
    )


def _deterministic(lab: MetricLab) -> None:
    surroundings.scramble(1)
    once_more = {words: found for words, _, found in lab.measure_again()}
    for words, found in lab.results.items():
        again = once_more[words]
        expect(
            repr(found) == repr(again),
            f"two calls on equal comparisons gave {found} and {again} for {words}; expected the"
            " same",
        )


def _inputs(lab: MetricLab) -> None:
    for _, comparison, _ in lab.measure_again():
        fresh = comparison.approximation.sample(N, generator(1))
        expect(
            torch.equal(comparison.draws, fresh),
            "the draws were changed; expected them as they were",
        )
        truth = comparison.problem.truth.sample(N, generator(2))
        expect(
            torch.equal(comparison.truth, truth),
            "the draws of the truth were changed; expected them as they were",
        )


def _global_state(lab: MetricLab) -> None:
    surroundings.scramble(2)
    before, processes = surroundings.read(), children()
    list(lab.measure_again())
    touched = surroundings.changed(before, surroundings.read())
    touched += surroundings.left_behind(processes)
    expect(
        not touched,
        f"changed {' and '.join(touched)}; expected them as they were: comparison.generator() is"
        " for drawing",
    )


CHECKS: tuple[Check[MetricLab], ...] = (
    Check(
        "name",
        "tables and command lines call it by this name",
        lambda lab: must_have_a_name(lab.metric),
    ),
    Check(
        "frozen",
        "results are filed under the fields, which must not change after that",
        lambda lab: must_be_frozen(lab.metric),
    ),
    Check(
        "declared",
        "tables print the unit, and mark the best by the ideal",
        lambda lab: declared(lab.metric),
    ),
    Check("returns", "a figure without its uncertainty is no figure", returns),
    Check("value", "the store keeps plain floats, and NaN says nothing", value),
    Check("stderr", "differences are judged by it", _stderr),
    Check("kind", "a bound must not be read as a value", kind),
    Check("ideal", "a perfect approximation must not look bad", _ideal),
    Check("deterministic", "a figure that cannot be had again cannot be checked", _deterministic),
    Check("inputs", "all metrics look at the same draws", _inputs),
    Check(
        "global state",
        "what one metric changes for all would decide what the next one reads",
        _global_state,
    ),
    Check(
        "fields",
        "the next figure with the same settings must be the same",
        lambda lab: must_be_unchanged(lab.metric, lab.fields),
    ),
)
