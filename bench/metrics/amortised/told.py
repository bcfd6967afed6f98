r"""How much the codes of q tell of the x they belong to, by draws alone: from below, for every way
of reading them.

.. math::
    I_q(x; z) \ge \log N + \frac1N \sum_i E_{q(z \mid x_i)} \log c(x_i \mid z)

where c(x | z) are any probabilities over the N x: what is lost is the KL from q(x | z) to them.
Codes are read by a small network, trained to name the x, or by Gaussians of the moments of each x.
c is made of some draws, chosen by others, and judged by a third set, so that the bound holds in
expectation however badly c reads.

Source: D. Barber, F. Agakov, The IM algorithm: a variational approach to information maximization,
2003; that draws which choose must not judge: docs/brackets.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor
from torch.nn import functional

from bench.metrics.amortised.aggregate_cells import CHOOSING, COUNTED, JUDGED
from bench.metrics.amortised.base import Pair, fitted, mean_over
from bench.metrics.base import Estimate, kept
from bench.metrics.models.gaussian_mixture import Gaussians
from bench.metrics.models.network import descend, first_weights, outputs

WORK = 2**24  # pairs of a code that is judged and an x, at most, but two codes of each x
AT_ONCE = 2**22  # numbers of codes whitened by all Gaussians
STEPS, BATCH = 1500, 1024  # of the network's training: twice as many prove 0.001 nats more
RATE, DECAY = 1e-2, 1e-3  # AdamW's, the rate falling to zero
FARTHEST = 30.0  # standard deviations; codes beyond would upset the network

Reader = Callable[[Tensor], Tensor]  # codes of each x, [N, S, L] -> log c of that x, [N, S]


@kept
def told(pair: Pair) -> Estimate:
    """The information in a code, nats, from below; at most log N."""
    count, generator = len(pair.x), pair.generator()
    most = max(min(JUDGED, WORK // count), 2 * count)
    training, choosing, judged = (
        pair.encoder.sample(pair.x, max(total // count, 2), generator)
        for total in (COUNTED, min(CHOOSING, most), most)
    )
    readers = _readers(training, generator)
    best, by = max(readers, key=lambda reader: float(reader[0](choosing).mean()))
    return mean_over(math.log(count) + best(judged), "lower bound", f"From below, {by}.")


def _readers(training: Tensor, generator: Generator) -> Iterator[tuple[Reader, str]]:
    """Ways of reading, and how each reads."""
    yield _trained(training, generator), "by a network"
    start = fitted(training)
    laws = Gaussians(torch.zeros(len(training), dtype=torch.float64), start.loc, start.factor)
    yield functools.partial(_by_gaussians, laws), "by a Gaussian for each x"


def _by_gaussians(laws: Gaussians, codes: Tensor) -> Tensor:
    count, draws, dim = codes.shape
    own = torch.arange(count).repeat_interleave(draws)
    rows = max(1, AT_ONCE // (count * dim))
    read = [
        laws.log_joint(z).log_softmax(1).gather(1, of.unsqueeze(1))
        for z, of in zip(
            torch.split(codes.flatten(0, 1), rows), torch.split(own, rows), strict=True
        )
    ]
    return torch.cat(read).reshape(count, draws)


def _trained(codes: Tensor, generator: Generator) -> Reader:
    """A network trained to name the x of a code, down its mean of -log c."""
    count, draws, dim = codes.shape
    flat = codes.flatten(0, 1).float()
    mean, scale = flat.mean(0), flat.std(0).clamp(min=torch.finfo().tiny)

    def log_c(z: Tensor) -> Tensor:
        return outputs(weights, ((z - mean) / scale).clamp(-FARTHEST, FARTHEST)).log_softmax(1)

    def read(codes: Tensor) -> Tensor:
        return torch.stack([log_c(of_one.float())[:, i].double() for i, of_one in enumerate(codes)])

    weights = first_weights(dim, generator, count)
    adam = torch.optim.AdamW(weights, lr=RATE, weight_decay=DECAY)
    for step in range(STEPS):
        adam.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        rows = torch.randint(len(flat), (BATCH,), generator=generator)
        with torch.enable_grad():
            loss = functional.nll_loss(log_c(flat[rows]), rows // draws)
        descend(adam, loss)
    for weight in weights:
        weight.requires_grad_(False)
    return read
