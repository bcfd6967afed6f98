r"""How much the codes of q tell of the x they belong to, by draws alone: from below, for every way
of reading them.

.. math::
    I_q(x; z) \ge \log N + \frac1N \sum_i E_{q(z \mid x_i)} \log c(x_i \mid z)

where c(x | z) are any probabilities over the N x: what is lost is the KL from q(x | z) to them.
Read are cells of one or two coordinates, by how many codes of each x were counted there, and
Gaussians of the moments of each x. c is made of some draws, chosen by others, and judged by a third
set, so that the bound holds in expectation however badly c reads.

Source: D. Barber, F. Agakov, The IM algorithm: a variational approach to information maximization,
2003; that draws which choose must not judge: docs/brackets.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bench.metrics.amortised.aggregate_cells import CHOOSING, COUNTED, JUDGED, WIDTHS, Cells
from bench.metrics.amortised.base import PLANE, Pair, fitted, mean_over
from bench.metrics.base import Estimate
from bench.metrics.models.gaussian_mixture import Gaussians

PRIOR = (0.01, 0.1, 1.0)  # draws of each x that a cell is taken to have held before the count
TABLE = 2**25  # entries of a table of x and cells, at most
WORK = 2**24  # pairs of a code that is judged and an x, at most, but two codes of each x
AT_ONCE = 2**22  # numbers of codes whitened by all Gaussians

Reader = Callable[[Tensor], Tensor]  # codes of each x, [N, S, L] -> log c of that x, [N, S]


def told(pair: Pair) -> Estimate:
    """The information in a code, nats, from below; at most log N."""
    count, generator = len(pair.x), pair.generator()
    most = max(min(JUDGED, WORK // count), 2 * count)
    counted, choosing, judged = (
        pair.encoder.sample(pair.x, max(total // count, 2), generator)
        for total in (COUNTED, min(CHOOSING, most), most)
    )
    best, by = max(_readers(counted), key=lambda reader: float(reader[0](choosing).mean()))
    return mean_over(math.log(count) + best(judged), "lower bound", f"From below, {by}.")


def _readers(counted: Tensor) -> Iterator[tuple[Reader, str]]:
    """Ways of reading, and how each reads."""
    start = fitted(counted)
    laws = Gaussians(torch.zeros(len(counted), dtype=torch.float64), start.loc, start.factor)
    yield functools.partial(_by_gaussians, laws), "by a Gaussian for each x"
    for width in WIDTHS if counted.shape[2] <= PLANE else ():
        cells = Cells(width, counted.shape[2])
        if len(counted) * cells.count <= TABLE:
            table = _table(cells, counted)
            for prior in PRIOR:
                reader = functools.partial(_by_cells, cells, table, prior)
                yield reader, f"by draws in cells {width:g} wide"


def _table(cells: Cells, codes: Tensor) -> Tensor:
    """How many codes of each x lie in each cell, [N, cells]."""
    which = torch.arange(len(codes)).unsqueeze(1) * cells.count
    number = cells.number(codes.flatten(0, 1)).reshape(codes.shape[:2])
    size = len(codes) * cells.count
    return torch.bincount((number + which).flatten(), minlength=size).reshape(len(codes), -1)


def _by_cells(cells: Cells, table: Tensor, prior: float, codes: Tensor) -> Tensor:
    number = cells.number(codes.flatten(0, 1)).reshape(codes.shape[:2])
    own = table.gather(1, number) + prior
    return (own / (table.sum(0)[number] + prior * len(table))).double().log()


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
