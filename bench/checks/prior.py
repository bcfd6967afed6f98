"""What a problem promises that says its prior is Gaussian: that the rest of its density is a
likelihood.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.checks.finding import Check, InapplicableError, expect
from bench.checks.problem_lab import ProblemLab
from bench.checks.trial import generator
from problems.base import GaussianPrior

FEW = 200  # draws of the prior
FAR = (1e1, 1e3, 1e5)  # prior standard deviations, along each axis of the factor
# relative to the log density: rounding so far out. A scale that is wrong by 1% shows as 1e-2
ROUNDING = 1e-6
MOST = 100.0  # nats by which a likelihood may be larger far out than at draws, and as much again


def _prior(lab: ProblemLab) -> None:
    prior = lab.problem.gaussian_prior
    if prior is None:
        raise InapplicableError("the problem declares no Gaussian prior")
    _shaped(prior, lab.dimension)
    noise = torch.randn(FEW, lab.dimension, generator=generator(7), dtype=torch.float64)
    near = torch.cat([lab.somewhere, prior.loc + noise @ prior.scale_tril.T])
    value = lab.log_density(near) - prior.log_prob(near)
    here = value[: -len(noise)]
    expect(
        bool(here.isfinite().all()),
        "the log density less that of the prior is not finite at draws of the truth",
    )
    bad = int((value.isnan() | (value == torch.inf)).sum())
    expect(bad == 0, f"the likelihood is NaN or infinite at {bad} of {FEW} draws of the prior")
    _bounded(lab, prior, float(value.max()))


def _bounded(lab: ProblemLab, prior: GaussianPrior, best: float) -> None:
    axes = torch.cat([prior.scale_tril.T, -prior.scale_tril.T])
    for far in FAR:
        z = prior.loc + far * axes
        density = lab.log_density(z)
        rest = density - prior.log_prob(z)
        slack = MOST + abs(best) + ROUNDING * density.abs()
        growth = (rest - best - slack).nan_to_num(nan=-torch.inf)
        worst = int(growth.argmax())
        axis = lab.problem.coordinates[worst % lab.dimension]
        expect(
            bool((growth <= 0).all()),
            f"the likelihood grows without bound by {axis}: {float(rest[worst] - best):.3g} nats at"
            f" {far:g} prior standard deviations; expected"
            " a bound: is the prior wider, or elsewhere?",
        )


def _shaped(prior: GaussianPrior, dim: int) -> None:
    loc, root = prior.loc, prior.scale_tril
    expect(
        loc.shape == (dim,) and root.shape == (dim, dim),
        f"the prior has loc {list(loc.shape)} and scale_tril {list(root.shape)}; expected [{dim}]"
        f" and [{dim}, {dim}]",
    )
    for name, tensor in (("loc", loc), ("scale_tril", root)):
        sound: Tensor = tensor.isfinite().all()
        expect(
            tensor.dtype == torch.float64 and bool(sound),
            f"the prior's {name} is {tensor.dtype} or not finite; expected finite torch.float64",
        )
    expect(
        torch.equal(root, root.tril()) and bool((root.diagonal() > 0).all()),
        "the prior's scale_tril is not lower triangular with a positive diagonal",
    )


CHECK = Check("prior", "elliptical slice sampling takes what is left for the likelihood", _prior)
