"""The rulers that are not divergences in nats, each with the quantity that it is held against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bench.calibration_estimators import Estimator
from bench.calibration_laws import WALKS
from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from bench.metrics.c2st import C2st
from bench.metrics.classifier import KlClassifier
from bench.metrics.coverage import Coverage
from bench.metrics.elbo import Elbo
from bench.metrics.evidence import LogZError, LogZErrorReverse
from bench.metrics.importance import ImportanceEss, PsisKhat
from bench.metrics.knn import KlKnn
from bench.metrics.ksd import Ksd
from bench.metrics.mmd import Mmd
from bench.metrics.modes import ModeBalance
from bench.metrics.moments import MeanError, SdError
from bench.metrics.quantiles import QuantileError
from bench.metrics.sliced_wasserstein import SlicedWasserstein
from methods.base import Draws

MOST = 10_000  # draws; beyond that what grows with their square would take most of the time
OF_DRAWS: tuple[tuple[Metric, str, int], ...] = (
    (Mmd(), "MMD^2", 1000),
    (SlicedWasserstein(), "SW^2", 1000),
    (C2st(), "C2ST accuracy", 0),
    (Ksd(), "KSD^2", 1000),
    (ModeBalance(), "mode distance", MOST),
    (Coverage(), "coverage error", MOST),
    (QuantileError(), "quantile error", MOST),
    (MeanError(), "mean error", MOST),
    (SdError(), "sd error", MOST),
)
OF_DENSITIES: tuple[tuple[Metric, str], ...] = (
    (PsisKhat(), "tail index"),
    (ImportanceEss(), "ESS share"),
    (LogZError(), "log Z error"),
    (LogZErrorReverse(), "log Z error"),
    (Elbo(), "ELBO"),
)


def rulers() -> list[Estimator]:
    """Every ruler of ours that is no KL: of draws, of chains, of densities.

    ``elbo_gap`` is log Z less ``elbo``, and where q has a density it is ``kl_qp``: it has no row of its own.
    """
    draws = [Estimator(metric.name, metric, "draws", quantity, upto, MOST) for metric, quantity, upto in OF_DRAWS]
    chains = [
        Estimator(f"{metric.name}, chain", Chained(metric), "chain", quantity, min(upto, 1000), max(upto, 1000))
        for metric, quantity, upto in OF_DRAWS
    ]
    chains += [
        Estimator("kl_classifier, chain", Chained(KlClassifier()), "chain", cheap_up_to=0, up_to=MOST),
        Estimator("kl_knn, chain", Chained(KlKnn()), "chain", cheap_up_to=1000, up_to=MOST),
    ]
    densities = [Estimator(metric.name, metric, "density", quantity, up_to=MOST) for metric, quantity in OF_DENSITIES]
    return [*draws, *chains, *densities, Estimator("elbo, map", Elbo(), "map", "ELBO", 0, MOST)]


@dataclass(frozen=True)
class Chained(Metric):
    """Another metric, told that the draws are chains of equal length, one after the other; see ``Walk``.

    An approximation that is ``Draws`` holds the same chains for ever; here every repetition has its own.
    """

    metric: Metric
    name: ClassVar[str] = "chained"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        chains = comparison.draws.reshape(WALKS, -1, comparison.draws.shape[1])
        return self.metric.measure(replace(comparison, approximation=Draws(chains)))
