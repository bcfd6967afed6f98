"""A density that is not finite is named as such, with a point and a count, whatever the method."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from methods.avb import AVB
from methods.base import Budget, Method
from methods.batch_and_match import BatchAndMatch
from methods.batched_hmc import BatchedHMC
from methods.gaussian_mixture_vb import GaussianMixtureVB
from methods.gaussian_vb import GaussianVB
from methods.iw_vb import ImportanceWeightedVB
from methods.laplace import Laplace
from methods.mclmc import MCLMC
from methods.pathfinder import Pathfinder
from methods.pushforward_vb import PushforwardVB
from methods.pyro_mcmc import PyroHMC, PyroNUTS
from methods.sivi import SIVI
from methods.smc import SMC
from methods.svgd import SVGD
from problems.base import Problem

METHODS: list[Method] = [
    GaussianVB(),
    GaussianVB(covariance="full"),
    GaussianVB(covariance="low-rank"),
    GaussianVB(optimiser="adam"),
    GaussianMixtureVB(),
    ImportanceWeightedVB(),
    Laplace(),
    Pathfinder(),
    BatchAndMatch(),
    AVB(iterations=20),
    PyroNUTS(chains=1),
    PyroHMC(chains=1),
    BatchedHMC(chains=16),
    MCLMC(chains=16),
    PushforwardVB(iterations=20),
    SVGD(particles=50),
    SIVI(iterations=20),
    SMC(particles=100),
]


class Nowhere(Problem):
    """NaN at every point, as a negative scale somewhere in a model gives."""

    name: ClassVar[str] = "nowhere"
    truth: Any = None
    dim = 2

    def log_density(self, z: Tensor) -> Tensor:
        return (z.sum(-1) - 1e6).log()


class Kink(Nowhere):
    """Finite everywhere, without a gradient anywhere."""

    def log_density(self, z: Tensor) -> Tensor:
        return -(z.square().sum(-1) * 0).sqrt()


class Void(Nowhere):
    """Nothing but -inf, without a slope, as data outside their support give."""

    def log_density(self, z: Tensor) -> Tensor:
        return torch.where(z.sum(-1) > 1e6, 0.0, -torch.inf).double() + 0 * z.sum(-1)


every_method = pytest.mark.parametrize("method", METHODS, ids=repr)


@every_method
def test_where_it_is_nan_is_said(method: Method) -> None:
    target = CountedTarget(Nowhere())
    with pytest.raises((ValueError, FloatingPointError)) as caught:
        list(method.run(target, Budget(), Generator().manual_seed(0)))
    said = str(caught.value)
    assert "not finite at" in said or "It is not at" in said
    assert "the log density is nan" in said
    assert "first at z = [" in said
    assert "sampler_lr" not in said
    assert target.evaluations < 15_000  # it does not search for ever


@every_method
def test_where_it_is_nothing_everywhere_is_said(method: Method) -> None:
    class Explained(CountedTarget):
        def explain(self, z: Tensor) -> str:
            return "the site 'y'"

    with pytest.raises((ValueError, FloatingPointError)) as caught:
        list(method.run(Explained(Void()), Budget(), Generator().manual_seed(0)))
    assert "the log density is -inf: the site 'y'" in str(caught.value)


@every_method
def test_a_gradient_that_is_nan_is_told_from_a_density_that_is(method: Method) -> None:
    with pytest.raises((ValueError, FloatingPointError), match="but its gradient is not finite"):
        list(method.run(CountedTarget(Kink()), Budget(), Generator().manual_seed(0)))


def test_a_hole_that_avb_falls_into_is_told_from_a_step_that_is_too_long() -> None:
    class Hole(Nowhere):
        def log_density(self, z: Tensor) -> Tensor:
            return -0.5 * (z - 3).square().sum(-1) + (4 - z[..., 0]).sqrt()

    method = AVB(iterations=4000, batch=64, sampler_lr=0.01, anneal=0, steps=1)
    run = method.run(CountedTarget(Hole()), Budget(), Generator().manual_seed(0))
    with pytest.raises(FloatingPointError, match=r"AVB came to where .* at \d+ of 64 points"):
        list(run)


def test_a_target_that_can_explain_itself_is_asked() -> None:
    class Explained(CountedTarget):
        def explain(self, z: Tensor) -> str:
            return f"the site 'y' at {z.numel()} coordinates"

    with pytest.raises(ValueError, match="where the log density is nan: the site 'y' at 2"):
        list(PyroNUTS().run(Explained(Nowhere()), Budget(), torch.Generator().manual_seed(0)))
