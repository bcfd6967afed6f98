"""Methods whose networks or draws may live on a graphics card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.fitting.target import CountedTarget
from methods.avb import AVB
from methods.base import Approximation, Budget, Method, NotApplicableError
from methods.flow_vb import FlowVB
from methods.gaussian_vb import GaussianVB
from methods.pushforward_vb import PushforwardVB
from problems.eight_schools import EightSchools
from tests.helpers.pretend_card import pretended

METHODS: dict[str, Callable[[], Any]] = {
    "avb of one map": lambda: AVB(iterations=2, contrast="diagonal"),
    "avb of heads": lambda: AVB(iterations=2, heads=2),
    "gaussian-vb": lambda: GaussianVB(starts=2, max_draws=2048),
    "gaussian-vb, full": lambda: GaussianVB(starts=2, max_draws=2048, covariance="full"),
    "gaussian-vb, adam": lambda: GaussianVB(optimiser="adam", iterations=3),
    "flow-vb": lambda: FlowVB(iterations=2),
    "pushforward-vb": lambda: PushforwardVB(iterations=2),
}
every_method = pytest.mark.parametrize("name", METHODS)


def last(method: Method) -> Approximation:
    *_, found = method.run(
        CountedTarget(EightSchools()), Budget(), torch.Generator().manual_seed(0)
    )
    return found


@every_method
def test_a_device_that_is_not_here_is_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NotApplicableError, match=r"device='cuda'\) needs a graphics card"):
        last(replace(METHODS[name](), device="cuda"))


@every_method
def test_a_device_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"device=.*cpu, cuda"):
        replace(METHODS[name](), device="tpu")


@every_method
def test_a_method_on_a_graphics_card_begins_as_on_the_cpu(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no graphics card here.")
    here, there = (last(replace(METHODS[name](), device=device)) for device in ("cpu", "cuda"))
    draws = [q.sample(5, torch.Generator().manual_seed(0)) for q in (here, there)]
    assert draws[1].device.type == "cpu"
    torch.testing.assert_close(draws[0], draws[1], rtol=1e-2, atol=1e-2)


@every_method
def test_on_a_pretended_card_no_tensor_is_left_behind(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = METHODS[name]()
    with pretended(monkeypatch) as card:
        q = last(replace(method, device=card))
        drawn = q.sample(5, torch.Generator().manual_seed(0))
    assert drawn.device.type == "cpu"
    here = last(method).sample(5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn, here, rtol=1e-2, atol=1e-2)
