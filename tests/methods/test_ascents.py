"""The ways of several points up to a mode, climbed at once."""

from __future__ import annotations

import itertools

import torch
from torch import Generator

from bench.fitting.target import CountedTarget
from methods.parts.gaussians.ascents import ascents
from methods.parts.gaussians.laplace import FLAT, STEPS, offered, starts
from methods.parts.optimisation.lbfgs import minimise
from problems.signed_eight_schools import SignedEightSchools


def test_points_that_climb_together_go_the_ways_that_each_goes_alone() -> None:
    target = CountedTarget(SignedEightSchools())
    locs = 4 * torch.rand(4, target.dim, generator=Generator().manual_seed(0)).double() - 2

    def loss(z: torch.Tensor) -> tuple[float, torch.Tensor]:
        value, gradient = target.value_and_grad(z)
        return -float(value), -gradient

    for loc, way in zip(locs, ascents(target, locs), strict=True):
        steps = itertools.islice(minimise(loss, loc, tolerance=FLAT), STEPS)
        path = torch.stack([loc, *(x for _, x in steps)])
        torch.testing.assert_close(way.path, path, rtol=0, atol=1e-8)
        torch.testing.assert_close(way.values, target.value_and_grad(path)[0], rtol=0, atol=1e-8)
        frames = zip(offered(target, *way, full=True), starts(target, loc, full=True), strict=True)
        for found, alone in frames:
            torch.testing.assert_close(found.factor, alone.factor, rtol=0, atol=1e-5)


def test_points_that_climb_together_cost_one_call_a_step_of_the_longest_way() -> None:
    target = CountedTarget(SignedEightSchools())
    locs = 4 * torch.rand(4, target.dim, generator=Generator().manual_seed(1)).double() - 2
    calls = []
    target.before = lambda: calls.append(1)
    alone = []
    for loc in locs:
        calls.clear()
        ascents(target, loc[None])
        alone.append(len(calls))
    calls.clear()
    ascents(target, locs)
    assert len(calls) == max(alone)
