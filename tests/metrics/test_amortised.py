"""Figures of a learned pair, on a linear-Gaussian model where all of them are in closed form."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from bench.calibration.learned import Moved, MovedMap, pair_of
from bench.metrics.amortised.aggregate import ActiveUnits, AggregateKl, MutualInformation
from bench.metrics.amortised.aggregate_cells import log_ratio
from bench.metrics.amortised.aggregate_upper import AggregateKlUpper
from bench.metrics.amortised.base import Pair, fitted
from bench.metrics.amortised.gap import AmortisationGap
from bench.metrics.amortised.likelihood import (
    AnnealingGap,
    LikelihoodGap,
    LogLikelihood,
    NegativeLogLikelihood,
)
from bench.metrics.amortised.posterior import (
    AmortisedElbo,
    AmortisedElboUpper,
    PosteriorKl,
    PosteriorKlUpper,
)
from bench.metrics.amortised.reconstruction import ReconstructionError, SquaredError
from bench.metrics.base import Estimate, Skipped
from methods.amortised.base import GaussianEncoder
from methods.parts.sampling.annealed import Annealing, Start
from problems.generative.four_points import FourPoints
from problems.generative.linear_gaussian import LinearGaussian
from tests.helpers.exact_problems import SIGMAS

MODEL = LinearGaussian(held=40)


def pair(moved: float = 0.0, model: LinearGaussian = MODEL) -> Pair:
    return pair_of(model, Moved(model, moved))


def few(one: Pair) -> Pair:
    return dataclasses.replace(one, x=one.x[:6])


def figure(found: Estimate | Skipped) -> Estimate:
    assert isinstance(found, Estimate), found
    return found


def near(found: Estimate | Skipped, true: float, slack: float = 1e-6) -> None:
    value = figure(found)
    assert abs(value.value - true) < 4 * value.stderr + slack, (value, true)


def test_the_log_likelihood_is_that_of_algebra() -> None:
    found = figure(LogLikelihood().measure(pair()))
    assert found.kind == "exact"
    assert found.stderr == 0
    assert abs(found.value - float(MODEL.log_likelihood_of_truth.mean())) < 1e-6


def test_beyond_the_plane_it_is_bounded_from_below_by_annealing_from_the_encoder() -> None:
    model = LinearGaussian(latent=3, held=12)
    three = dataclasses.replace(
        pair(0.5, model), annealing=Annealing(chains=32, steps=40, leapfrogs=3)
    )
    found = figure(LogLikelihood().measure(three))
    assert found.kind == "lower bound"
    near(found, float(model.log_likelihood_of_truth.mean()), 5e-3)
    assert 0 < found.stderr < 0.05
    assert figure(PosteriorKl().measure(three)).kind == "lower bound"
    near(PosteriorKl().measure(three), 0.125, 5e-3)


def test_annealing_starts_at_the_moments_of_an_encoder_without_a_density() -> None:
    """A bound that a few temperatures from the prior leave far below the truth."""
    model = LinearGaussian(latent=4, width=8, noise=0.2, held=12)
    short = Annealing(chains=16, steps=8, leapfrogs=3)
    hidden = dataclasses.replace(pair(0.5, model), encoder=MovedMap(model, 0.5), annealing=short)
    true = float(model.log_likelihood_of_truth.mean())
    found = figure(LogLikelihood().measure(hidden))
    assert found.kind == "lower bound"
    near(found, true, slack=0.05)
    start = Start.prior(len(hidden.x), 4)
    distant = short.lower(hidden._joint, start, hidden.generator()).value.mean()
    assert distant < true - 1


def test_posteriors_of_several_x_are_judged_by_draws_of_their_own() -> None:
    """With one noise for all, an average over x has the error of one x, and says less."""
    hidden = dataclasses.replace(pair(0.5), encoder=MovedMap(MODEL, 0.5))
    first, second = (hidden.at(i, 500) for i in (0, 1))
    for a, b in ((first.draws, second.draws), (first.truth, second.truth)):
        a, b = a - a.mean(0), b - b.mean(0)
        shared = (a * b).mean(0) / (a.std(0) * b.std(0))
        assert float(shared.abs().max()) < SIGMAS / math.sqrt(500)


def test_moments_of_draws_that_have_collapsed_are_a_start_too() -> None:
    start = fitted(torch.ones(2, 20, 3, dtype=torch.float64))
    assert torch.equal(start.loc, torch.ones(2, 3, dtype=torch.float64))
    expected = math.sqrt(3 / 23) * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(start.factor, expected.expand(2, 3, 3))


def test_the_gap_of_annealing_closes_with_the_number_of_temperatures() -> None:
    def gap(steps: int) -> Estimate:
        annealing = Annealing(chains=32, steps=steps, leapfrogs=3)
        return figure(
            AnnealingGap(count=96).measure(dataclasses.replace(pair(), annealing=annealing))
        )

    hasty, slow = gap(3), gap(100)
    assert hasty.value > 4 * hasty.stderr
    assert abs(slow.value) < 4 * slow.stderr + 0.02
    assert slow.stderr < 0.05
    assert slow.value < 0.3 * hasty.value


@pytest.mark.parametrize("moved", [0.0, 0.6])
def test_posterior_kl_and_elbo_of_an_encoder_that_is_off_by_a_known_step(moved: float) -> None:
    gap = 0.5 * moved**2
    found = figure(PosteriorKl().measure(pair(moved)))
    assert found.kind == "exact"
    near(found, gap)
    assert "Greatest at x number" in found.note
    evidence = float(MODEL.log_likelihood_of_truth.mean())
    near(AmortisedElbo().measure(pair(moved)), evidence - gap)
    near(AmortisedElboUpper().measure(pair(moved)), evidence - gap)


def test_a_map_of_noise_is_judged_by_the_search_for_preimages_on_some_x() -> None:
    one = dataclasses.replace(pair(), encoder=MovedMap(MODEL, 0.6))
    found = figure(PosteriorKl(count=3).measure(one))
    assert found.kind == "exact"  # a linear map does not fold
    assert "On 3 of 40 x." in found.note
    near(found, 0.18)
    three = dataclasses.replace(one, x=one.x[:3])
    upper = figure(AmortisedElboUpper(count=40).measure(three))
    evidence = float(MODEL.log_likelihood_of_truth[:3].mean())
    near(upper, evidence - 0.18)
    lower = figure(AmortisedElbo().measure(three))
    above = figure(PosteriorKlUpper().measure(three))
    assert above.value == pytest.approx(evidence - lower.value, abs=4 * above.stderr)
    assert lower.kind == "lower bound"
    assert lower.value <= upper.value + 4 * math.hypot(lower.stderr, upper.stderr)


def test_reconstruction_is_the_expectation_of_a_quadratic_form() -> None:
    decoder_noise, x = MODEL.noise, MODEL.test.double()
    mean, covariance = MODEL.exact(x)
    weight = MODEL.weight.double()
    squares = (x - mean @ weight.T).square().sum(1) + (weight @ covariance @ weight.T).trace()
    near(SquaredError().measure(pair()), float(squares.mean()))
    constant = MODEL.width * (math.log(decoder_noise) + 0.5 * math.log(2 * math.pi))
    near(
        ReconstructionError().measure(pair()),
        float((0.5 * squares / decoder_noise**2).mean()) + constant,
    )


def test_the_aggregate_of_all_codes_is_held_against_the_prior_by_quadrature() -> None:
    one = dataclasses.replace(pair(), x=MODEL.test[:5].double())
    mean, covariance = MODEL.exact(one.x)
    axis = torch.linspace(-7, 7, 561, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    each = torch.distributions.MultivariateNormal(mean[:, None], covariance).log_prob(z)
    mixed = each.logsumexp(0) - math.log(5)
    cell = float(axis[1] - axis[0]) ** 2
    prior = -0.5 * z.square().sum(1) - math.log(2 * math.pi)
    true = float((mixed.exp() * (mixed - prior)).sum() * cell)
    found = figure(AggregateKl().measure(one))
    assert found.kind == "exact"
    assert found.stderr == 0
    assert abs(found.value - true) < 1e-5
    information = float((each.exp() * (each - mixed)).sum() * cell) / 5
    near(MutualInformation().measure(one), information, 1e-4)
    unseen = dataclasses.replace(one, encoder=MovedMap(MODEL, 0.0))
    bound = figure(AggregateKl().measure(unseen))
    assert bound.kind == "lower bound"
    assert 0.97 * true < bound.value < true + 3 * bound.stderr
    assert bound.stderr < 0.01
    told = figure(MutualInformation().measure(unseen))
    assert told.kind == "lower bound"
    assert 0.97 * information < told.value < information + 3 * told.stderr
    above = figure(AggregateKlUpper(count=5).measure(unseen))
    assert above.kind == "upper bound"
    assert true - 3 * above.stderr < above.value < true + 0.05
    assert above.stderr < 0.02
    some = figure(AggregateKlUpper(count=2).measure(unseen))
    assert some.stderr > above.stderr  # the choice of the x
    assert AggregateKlUpper().measure(one) == found


def test_codes_too_narrow_for_panels_are_averaged_over_and_more_coordinates_are_modelled() -> None:
    one = dataclasses.replace(pair(), x=MODEL.test[:5].double())
    thin = dataclasses.replace(one, encoder=Independent(MODEL, 0.0, 1e-6))
    found = figure(AggregateKl().measure(thin))
    assert found.kind == "exact"
    mean, _ = MODEL.exact(thin.x)
    scale = thin.encoder.moments(thin.x)[1][0].diagonal()  # type: ignore[attr-defined]
    entropy = float(scale.log().sum()) + math.log(2 * math.pi) + 1  # of codes that do not overlap
    cross = math.log(2 * math.pi) + 0.5 * float(
        (mean.square().sum(1) + scale.square().sum()).mean()
    )
    near(found, cross - entropy - math.log(5), 0.05)
    model = LinearGaussian(latent=3, held=5)
    three = dataclasses.replace(pair(0.0, model), encoder=MovedMap(model, 0.0))
    known = figure(AggregateKl().measure(pair(0.0, model)))
    bound = figure(AggregateKl().measure(three))
    assert known.kind == "exact"
    assert bound.kind == "lower bound"
    assert 0 < bound.value < known.value + 4 * math.hypot(known.stderr, bound.stderr)


@pytest.mark.parametrize("dim", [1, 2])
def test_cells_bound_the_divergence_of_a_moved_gaussian_from_below(dim: int) -> None:
    generator = torch.Generator().manual_seed(0)
    counted = torch.randn(200_000, dim, generator=generator, dtype=torch.float64) + 0.5
    judged = torch.randn(100_000, dim, generator=generator, dtype=torch.float64) + 0.5
    true = 0.125 * dim
    for width, share in ((0.2, 0.95), (0.8, 0.85)):
        value = log_ratio(counted, judged, width, 1e-2)
        stderr = float(value.std()) / math.sqrt(len(value))
        assert share * true < value.mean() < true + 3 * stderr
    far = torch.full((10, dim), 60.0, dtype=torch.float64)
    assert log_ratio(counted, far, 0.1, 1e-3).max() < math.log(1.1e-3)
    assert log_ratio(far, far, 0.1, 1e-3).isfinite().all()


@dataclass(frozen=True)
class Independent(GaussianEncoder):
    """Means moved, and standard deviations too large by a factor, in independent coordinates."""

    model: LinearGaussian
    moved: float
    wide: float

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, covariance = self.model.exact(x)
        scale = self.wide / torch.linalg.inv(covariance).diagonal().sqrt()  # 1 is the best
        return mean + self.moved, scale.diag().expand(len(x), 2, 2)


def test_the_amortisation_gap_is_what_the_best_gaussian_of_the_family_gains() -> None:
    near(AmortisationGap().measure(few(pair())), 0.0, 2e-3)
    near(AmortisationGap().measure(few(pair(0.6))), 0.18, 2e-3)
    wide = few(dataclasses.replace(pair(), encoder=Independent(MODEL, 0.2, 1.3)))
    _, covariance = MODEL.exact(wide.x)
    precision = torch.linalg.inv(covariance)
    moved = 0.5 * 0.04 * float(precision.sum())
    found = figure(AmortisationGap().measure(wide))
    near(found, moved + 2 * (0.5 * (1.3**2 - 1) - math.log(1.3)), 4e-3)
    assert found.kind == "lower bound"
    unknown = dataclasses.replace(pair(), encoder=MovedMap(MODEL, 0.0))
    assert isinstance(AmortisationGap().measure(unknown), Skipped)


def test_units_are_active_where_their_mean_follows_x() -> None:
    found = figure(ActiveUnits().measure(pair()))
    assert found.value == 2
    idle = dataclasses.replace(MODEL, noise=100.0)
    assert figure(ActiveUnits().measure(pair(model=idle))).value == 0


def test_a_pair_without_data_or_draws_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Pair\(x=\.\.\.\) must hold one x"):
        dataclasses.replace(pair(), x=MODEL.test[:0])
    with pytest.raises(ValueError, match=r"Pair\(draws=\.\.\.\) must be at least 20, got 3"):
        dataclasses.replace(pair(), draws=3)


def test_likelihood_is_held_against_the_law_of_the_data_where_the_decoder_is_learned() -> None:
    given = pair()
    for metric in (LikelihoodGap(), NegativeLogLikelihood()):
        found = metric.measure(given)
        assert isinstance(found, Skipped)
        assert "given" in found.reason
    model = FourPoints()
    decoder = model.decoder(torch.Generator().manual_seed(0)).at_rest()
    fresh = Pair(model, decoder, Moved(MODEL), model.test.double())
    gap, code = (
        figure(LikelihoodGap().measure(fresh)),
        figure(NegativeLogLikelihood().measure(fresh)),
    )
    likely = figure(LogLikelihood().measure(fresh)).value
    assert gap.kind == code.kind == "exact"
    assert code.value == -likely
    assert gap.value == pytest.approx(-math.log(4) - likely)
