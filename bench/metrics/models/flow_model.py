"""A neural spline flow as density model: sees finer than a Gaussian mixture, and takes its time.
Needs the library zuko.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from bench.metrics.models.network import descend

TRANSFORMS, HIDDEN, BINS = 3, (64, 64), 8
BATCH = 512
RATE = 2e-3  # Adam's, falling to zero
EVERY = 100  # steps between two looks at the draws set apart


def available() -> bool:
    """Whether zuko, the library behind neural spline flows, is installed."""
    return importlib.util.find_spec("zuko") is not None


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
    flow = _first(sample.shape[1], generator)
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


def _first(dim: int, generator: Generator) -> torch.nn.Module:
    zuko = importlib.import_module("zuko")  # an optional library
    seed = int(torch.randint(2**31, (1,), generator=generator))
    with torch.random.fork_rng(
        devices=[]
    ):  # zuko draws first weights from the global state, which is put back after
        torch.manual_seed(seed)
        flow: torch.nn.Module = zuko.flows.NSF(
            dim, 0, transforms=TRANSFORMS, hidden_features=HIDDEN, bins=BINS
        )
    return flow


def _log_prob(flow: torch.nn.Module, unit: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([flow().log_prob(part) for part in torch.split(unit, 4 * BATCH)]).double()
