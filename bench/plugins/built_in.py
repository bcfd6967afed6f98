"""What ships with the suite, by name: the one place of the harness that names implementations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["problems", "methods", "metrics", "models", "learners", "figures"]

GROUPS: tuple[Group, ...] = ("problems", "methods", "metrics", "models", "learners", "figures")
# what amortised inference has in place of problems, methods and metrics: generative models,
# learners, and figures of a learned decoder and encoder
AMORTISED: dict[Group, Group] = {
    "problems": "models",
    "methods": "learners",
    "metrics": "figures",
}


@dataclass(frozen=True)
class Entry:
    """Where a name on the command line leads: a group, a class or function, and its package.

    Args:
        group: what kind of thing it is.
        name: as typed on the command line; for a file, ``path/to/file.py:Class`` with the path made
            absolute.
        reference: ``module:Class``, ``FILE.py:Class``, or a file that is a problem by itself.
        package: the distribution it came from and its version, for blame and credit.
        distribution: the name of that distribution alone; empty for ours and for files.
    """

    group: Group
    name: str
    reference: str
    package: str
    distribution: str = ""

    @property
    def file(self) -> str:
        """The path of a plugin that is a file, ``FILE.py:Class`` or a program; empty for others."""
        return self.name if ".py:" in self.name or is_program(self.name) else ""


def is_program(name: str) -> bool:
    """Whether a name is of a file that is a problem by itself, such as a Stan program."""
    return name.endswith(tuple(PROGRAMS))


BUILT_IN: dict[Group, dict[str, str]] = {
    "problems": {
        "mixture-2d": "problems.mixture:Mixture",
        "ring-2d": "problems.ring:Ring",
        "eight-schools": "problems.eight_schools:EightSchools",
        "eight-schools-centred": "problems.eight_schools:EightSchoolsCentred",
        "eight-schools-signed": "problems.signed_eight_schools:SignedEightSchools",
        "gaussian-2": "problems.gaussian:Gaussian2",
        "gaussian-100": "problems.gaussian:Gaussian100",
        "isotropic-2": "problems.gaussian:Isotropic2",
        "isotropic-100": "problems.gaussian:Isotropic100",
        "student-t": "problems.student_t:StudentT",
        "banana": "problems.banana:Banana",
        "funnel": "problems.funnel:Funnel",
        "torus": "problems.torus:Torus",
        "crescents": "problems.crescents:Crescents",
        "gaussian-mixture-2": "problems.gaussian_mixture:GaussianMixture2",
        "gaussian-mixture-10": "problems.gaussian_mixture:GaussianMixture10",
        "gaussian-mixture-50": "problems.gaussian_mixture:GaussianMixture50",
        "student-mixture": "problems.student_mixture:StudentMixture",
        "linear-regression": "problems.linear_regression:LinearRegression",
        "gp-regression": "problems.gp_regression:GPRegression",
        "state-space": "problems.state_space:StateSpace",
        "copula": "problems.copula:Copula",
        "flow": "problems.flow:Flow",
        "horseshoe": "problems.horseshoe:Horseshoe",
        "poisson-effects": "problems.poisson_effects:PoissonEffects",
        "gp-classification": "problems.gp_classification:GPClassification",
        "logistic-regression": "problems.logistic_regression:LogisticRegression",
    },
    "methods": {
        "gaussian-vb": "methods.gaussian_vb:GaussianVB",
        "laplace": "methods.laplace:Laplace",
        "pathfinder": "methods.pathfinder:Pathfinder",
        "batch-and-match": "methods.batch_and_match:BatchAndMatch",
        "iw-vb": "methods.iw_vb:ImportanceWeightedVB",
        "gaussian-mixture-vb": "methods.gaussian_mixture_vb:GaussianMixtureVB",
        "avb": "methods.avb:AVB",
        "pushforward-vb": "methods.pushforward_vb:PushforwardVB",
        "svgd": "methods.svgd:SVGD",
        "sivi": "methods.sivi:SIVI",
        "uivi": "methods.uivi:UIVI",
        "ksivi": "methods.ksivi:KSIVI",
        "ssge-vi": "methods.ssge_vi:SSGEVI",
        "flow-vb": "methods.flow_vb:FlowVB",
        "pyro-nuts": "methods.pyro_mcmc:PyroNUTS",
        "pyro-hmc": "methods.pyro_mcmc:PyroHMC",
        "stan-nuts": "methods.stan_nuts:StanNUTS",
        "batched-hmc": "methods.batched_hmc:BatchedHMC",
        "elliptical-slice": "methods.elliptical_slice:EllipticalSlice",
        "mclmc": "methods.mclmc:MCLMC",
        "smc": "methods.smc:SMC",
        "ais": "methods.ais:AIS",
        "numpyro-nuts": "methods.numpyro_nuts:NumpyroNUTS",
        "blackjax-nuts": "methods.blackjax_nuts:BlackjaxNUTS",
        "nutpie-nuts": "methods.nutpie_nuts:NutpieNUTS",
        "exact": "bench.fitting.exact:ExactDraws",
    },
    "metrics": {
        "kl_qp": "bench.metrics.kl:KlQP",
        "kl_pq": "bench.metrics.kl:KlPQ",
        "kl_lower": "bench.metrics.kl_bounds:KlLower",
        "kl_upper": "bench.metrics.kl_bounds:KlUpper",
        "kl_classifier": "bench.metrics.classifier:KlClassifier",
        "kl_knn": "bench.metrics.knn:KlKnn",
        "mmd": "bench.metrics.mmd:Mmd",
        "mean_error": "bench.metrics.moments:MeanError",
        "sd_error": "bench.metrics.moments:SdError",
        "variance_error": "bench.metrics.variances:VarianceError",
        "mode_balance": "bench.metrics.modes:ModeBalance",
        "elbo": "bench.metrics.elbo:Elbo",
        "elbo_gap": "bench.metrics.elbo:ElboGap",
        "sliced_wasserstein": "bench.metrics.sliced_wasserstein:SlicedWasserstein",
        "ksd": "bench.metrics.ksd:Ksd",
        "c2st": "bench.metrics.c2st:C2st",
        "psis_khat": "bench.metrics.importance:PsisKhat",
        "importance_ess": "bench.metrics.importance:ImportanceEss",
        "log_z_error": "bench.metrics.evidence:LogZError",
        "log_z_error_reverse": "bench.metrics.evidence:LogZErrorReverse",
        "coverage": "bench.metrics.coverage:Coverage",
        "quantile_error": "bench.metrics.quantiles:QuantileError",
        "mean_error_constrained": "bench.metrics.own_units:MeanErrorConstrained",
        "sd_error_constrained": "bench.metrics.own_units:SdErrorConstrained",
        "quantile_error_constrained": "bench.metrics.own_units:QuantileErrorConstrained",
        "coverage_constrained": "bench.metrics.own_units:CoverageConstrained",
    },
    "models": {
        "four-points": "problems.generative.four_points:FourPoints",
        "fixed-decoder": "problems.generative.fixed_decoder:FixedDecoder",
        "drawn-bits": "problems.generative.drawn_bits:DrawnBits",
        "linear-gaussian": "problems.generative.linear_gaussian:LinearGaussian",
        "digits": "problems.generative.digits:Digits",
        "mnist-5k": "problems.generative.mnist:Mnist5k",
        "mnist": "problems.generative.mnist:Mnist",
    },
    "learners": {
        "vae": "methods.amortised.vae:VAE",
        "vae-flow": "methods.amortised.vae_flow:FlowVAE",
        "iwae": "methods.amortised.iwae:IWAE",
        "avb": "methods.amortised.avb:AmortisedAVB",
        "exact": "methods.amortised.exact_posterior:ExactPosterior",
    },
    "figures": {
        "log_likelihood": "bench.metrics.amortised.likelihood:LogLikelihood",
        "negative_log_likelihood": "bench.metrics.amortised.likelihood:NegativeLogLikelihood",
        "likelihood_gap": "bench.metrics.amortised.likelihood:LikelihoodGap",
        "annealing_gap": "bench.metrics.amortised.likelihood:AnnealingGap",
        "mean_elbo": "bench.metrics.amortised.posterior:AmortisedElbo",
        "mean_elbo_upper": "bench.metrics.amortised.posterior:AmortisedElboUpper",
        "reconstruction_error": "bench.metrics.amortised.reconstruction:ReconstructionError",
        "squared_error": "bench.metrics.amortised.reconstruction:SquaredError",
        "posterior_kl": "bench.metrics.amortised.posterior:PosteriorKl",
        "posterior_kl_upper": "bench.metrics.amortised.posterior:PosteriorKlUpper",
        "aggregate_kl": "bench.metrics.amortised.aggregate:AggregateKl",
        "aggregate_kl_upper": "bench.metrics.amortised.aggregate_upper:AggregateKlUpper",
        "mutual_information": "bench.metrics.amortised.aggregate:MutualInformation",
        "active_units": "bench.metrics.amortised.aggregate:ActiveUnits",
        "amortisation_gap": "bench.metrics.amortised.gap:AmortisationGap",
    },
}

# What is nothing without its fields: found by its name, and not listed beside the others.
ON_REQUEST: dict[Group, dict[str, str]] = {
    "problems": {"posteriordb": "problems.models.posteriordb:Posteriordb"},
    "methods": {"judged": "bench.fitting.judged:Judged"},
    "metrics": {},
    "models": {},
    "learners": {},
    "figures": {},
}

# Files that are problems by themselves, by the end of their names, and the class that reads them.
PROGRAMS = {".stan": "problems.models.stan_model:StanModel"}

# What a matrix that names no metrics is measured by, beside the metrics of installed plugins.
STANDARD: dict[Group, tuple[str, ...]] = {
    "metrics": ("kl_qp", "kl_upper", "kl_pq", "mean_error", "sd_error", "mmd", "mode_balance"),
    "figures": (
        *("log_likelihood", "negative_log_likelihood", "likelihood_gap"),
        *("mean_elbo", "mean_elbo_upper", "reconstruction_error"),
        *("aggregate_kl", "aggregate_kl_upper", "posterior_kl", "posterior_kl_upper"),
        *("mutual_information", "active_units"),
    ),
}
