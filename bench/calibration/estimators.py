"""What is calibrated: our own metrics, and beside them those that papers and libraries use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bench.calibration.estimator import Estimator
from bench.calibration.gaussians import WALKS
from bench.calibration.rivals import GaussianFit, NeighbourEntropy, OnePreimage, RawNeighbours
from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from bench.metrics.c2st import C2st
from bench.metrics.classifier import KlClassifier
from bench.metrics.coverage import Coverage
from bench.metrics.elbo import Elbo
from bench.metrics.evidence import LogZError, LogZErrorReverse
from bench.metrics.importance import ImportanceEss, PsisKhat
from bench.metrics.kl import KlPQ, KlQP
from bench.metrics.kl_bounds import KlLower, KlUpper
from bench.metrics.knn import KlKnn
from bench.metrics.ksd import Ksd
from bench.metrics.mmd import Mmd
from bench.metrics.modes import ModeBalance
from bench.metrics.moments import MeanError, SdError
from bench.metrics.quantiles import QuantileError
from bench.metrics.sliced_wasserstein import SlicedWasserstein
from bench.metrics.variances import VarianceError
from methods.base import Draws


def estimators() -> list[Estimator]:
    """Every metric for a divergence in nats, those of other libraries, and the metrics for
    everything else.
    """

    return [
        Estimator("kl_qp, density", KlQP(), "density"),
        Estimator("kl_pq, density", KlPQ(), "density", "KL(p||q)"),
        Estimator("kl_lower, map", KlLower(), "map", cheap_up_to=10_000),
        Estimator("kl_upper, map", KlUpper(), "map", cheap_up_to=10_000),
        Estimator("kl_lower, draws", KlLower(), "draws", cheap_up_to=0),
        Estimator("kl_classifier", KlClassifier(), "draws", cheap_up_to=0),
        Estimator("kl_knn", KlKnn(), "draws", cheap_up_to=1000, up_to=10_000),
        Estimator("one preimage", OnePreimage(), "map", ours=False),
        Estimator(
            "kNN, k = 1, raw units",
            RawNeighbours(),
            "draws",
            cheap_up_to=1000,
            up_to=10_000,
            ours=False,
        ),
        Estimator(
            "kNN entropy, log p",
            NeighbourEntropy(),
            "draws",
            cheap_up_to=1000,
            up_to=10_000,
            ours=False,
        ),
        Estimator("Gaussian fit", GaussianFit(), "draws", ours=False),
        *beside_kl(),
    ]


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
    (VarianceError(), "variance error", MOST),
)

OF_DENSITIES: tuple[tuple[Metric, str], ...] = (
    (PsisKhat(), "tail index"),
    (ImportanceEss(), "ESS share"),
    (LogZError(), "log Z error"),
    (LogZErrorReverse(), "log Z error"),
    (Elbo(), "ELBO"),
)


def beside_kl() -> list[Estimator]:
    """Every metric of ours that is no KL: of draws, of chains, of densities.

    ``elbo_gap`` is log Z less ``elbo``, and where q has a density it is ``kl_qp``: it has no row of
    its own.
    """
    draws = [
        Estimator(metric.name, metric, "draws", quantity, upto, MOST)
        for metric, quantity, upto in OF_DRAWS
    ]
    chains = [
        Estimator(
            f"{metric.name}, chain",
            Chained(metric),
            "chain",
            quantity,
            min(upto, 1000),
            max(upto, 1000),
        )
        for metric, quantity, upto in OF_DRAWS
    ]
    chains += [
        Estimator(
            "kl_classifier, chain", Chained(KlClassifier()), "chain", cheap_up_to=0, up_to=MOST
        ),
        Estimator("kl_knn, chain", Chained(KlKnn()), "chain", cheap_up_to=1000, up_to=MOST),
    ]
    densities = [
        Estimator(metric.name, metric, "density", quantity, up_to=MOST)
        for metric, quantity in OF_DENSITIES
    ]
    return [*draws, *chains, *densities, Estimator("elbo, map", Elbo(), "map", "ELBO", 0, MOST)]


@dataclass(frozen=True)
class Chained(Metric):
    """Another metric, told that the draws are chains of equal length, one after the other; see
    ``Walk``.

    An approximation that is ``Draws`` holds the same chains for ever; here every repetition has its
    own.
    """

    metric: Metric
    name: ClassVar[str] = "chained"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        chains = comparison.draws.reshape(WALKS, -1, comparison.draws.shape[1])
        return self.metric.measure(replace(comparison, approximation=Draws(chains)))
