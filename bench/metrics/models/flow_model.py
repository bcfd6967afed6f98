"""A neural spline flow as density model: sees finer than a Gaussian mixture, and takes its time.
Needs the library zuko.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from bench.metrics.models.network import descend
from methods.parts.networks.zuko_flow import build

TRANSFORMS, HIDDEN, BINS = 3, (64, 64), 8
BATCH = 512
RATE = 2e-3  # Adam's, falling to zero
EVERY = 100  # steps between two looks at the draws set apart


def fit(
    sample: Tensor, other: Tensor, steps: int, generator: Generator
) -> Callable[[Tensor], Tensor]:
    """A flow fitted to a sample, [n, D], as it was when it found other draws likeliest: its log
    density, [m, D] -> [m], nats.

    Durkan, Bekasov, Murray & Papamakarios, "Neural spline flows" (2019), arXiv 1906.04032, as zuko
    has it.
    """
    centre, scale = sample.mean(0), sample.std(0)
    unit, apart = (((part - centre) / scale).float() for part in (sample, other))
    flow = build(
        "spline-autoregressive",
        sample.shape[1],
        transforms=TRANSFORMS,
        hidden=HIDDEN,
        bins=BINS,
        generator=generator,
    )
    adam = torch.optim.Adam(flow.parameters(), lr=RATE)
    best, kept = -math.inf, {}
    for step in range(steps):
        adam.param_groups[0]["lr"] = RATE * (1 - step / steps)
        rows = torch.randint(len(unit), (BATCH,), generator=generator)
        with torch.enable_grad():
            descend(adam, -flow().log_prob(unit[rows]).mean())
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            value = float(_log_prob(flow, apart).mean())
            if value > best:
                best, kept = (
                    value,
                    {name: weight.clone() for name, weight in flow.state_dict().items()},
                )
    flow.load_state_dict(kept)
    return lambda z: _log_prob(flow, ((z - centre) / scale).float()) - scale.log().sum()


def _log_prob(flow: torch.nn.Module, unit: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([flow().log_prob(part) for part in torch.split(unit, 4 * BATCH)]).double()
