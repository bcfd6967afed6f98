r"""The evidence of many x at once, by adaptive quadrature over a latent space of one or two
dimensions, and with it every posterior p(z | x).

.. math:: \log p(x) = \log \int p(x \mid z) N(z; 0, I) dz

A box around the origin is cut into panels with Gauss-Legendre nodes in each. A panel is replaced by
its halves (quarters in the plane) until these agree with it, for every x, to a small share of its
evidence. The sums over the last panels and over their parents are two grids, one twice as fine as
the other: what the two differ by, panel by panel, is the stated error of the coarser one, and the
finer is given. A network with kinks costs more panels and needs no other rule. The box grows until
its outermost panels hold nothing.

Draws of a posterior are exact: a panel in proportion to its area and to a bound of the density
there, a uniform point in it, kept with the probability density / bound. A bound that a point is
seen to exceed is raised, and all draws are made anew.

Source: P. van Dooren, L. de Ridder, An adaptive algorithm for numerical integration over an
n-dimensional cube, 1976, doi:10.1016/0771-050X(76)90005-X; rejection: J. von Neumann, Various
techniques used in connection with random digits, 1951.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial import legendre
from torch import Generator, Tensor

# log p(x_i | z_j) of all pairs, nats: z [n, d] -> [n, N], float64
Pairs = Callable[[Tensor], Tensor]

HALF_WIDTH = 8.0  # of the box at first
WIDEST = 60.0  # the box may grow so far
SPLITS = 24  # at most
CROWD = 400_000  # panels at one time: more means a likelihood that has jumps, or is no number
OUTSIDE = 1e-8  # share of the mass in the outermost panels that lets the box grow
SLACK = 0.1  # nats of the bound over the greatest density seen at a panel's nodes, the first time
ROUNDS = 30  # of raising the bounds
AT_ONCE = 2**21  # pairs of z and x in one call
PER_SIDE = {1: 64, 2: 16}  # panels along an axis at first, by the number of dimensions


@dataclass(frozen=True, eq=False)
class LatentGrid:
    """Panels that resolve the joint density of every x, and what it integrates to.

    Args:
        log_evidence: log p(x_i), nats, [N], by the finer of two grids.
        error: bound on what the coarser grid is off, relative to p(x_i) and so in nats, [N].
        mean, covariance: of each posterior, [N, d], [N, d, d].
        log_likelihood: its mean under each posterior, nats, [N].
        centre: of the panels, [P, d]; half_width: [P].
        bounds: greatest log joint density at the nodes of each panel, [P, N], nats.
        pairs: log likelihood of all pairs.
    """

    log_evidence: Tensor
    error: Tensor
    mean: Tensor
    covariance: Tensor
    log_likelihood: Tensor
    centre: Tensor
    half_width: Tensor
    bounds: Tensor
    pairs: Pairs

    def log_posterior(self, i: int, z: Tensor) -> Tensor:
        """log p(z | x_i), nats: [n, d] -> [n]."""
        value: Tensor = self.pairs(z)[:, i] + log_prior(z) - self.log_evidence[i]
        return value

    @torch.no_grad()
    def sample(self, i: int, n: int, generator: Generator) -> Tensor:
        """Independent draws of p(z | x_i), [n, d].

        Raises:
            ArithmeticError: if the density exceeds every bound, as at a pole.
        """
        slack = torch.full_like(self.half_width, SLACK)
        state = generator.get_state()
        for _ in range(ROUNDS):
            found = self._reject(i, n, slack, generator)
            if isinstance(found, Tensor):
                return found
            generator.set_state(state)
            slack[found[0]] = torch.maximum(2 * slack[found[0]], found[1])
        raise ArithmeticError(f"No bound holds for the density of the posterior of row {i}.")

    def _reject(
        self, i: int, n: int, slack: Tensor, generator: Generator
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Draws; or the panels whose bound was exceeded, and the slack that each needs."""
        bound = self.bounds[:, i] + slack
        dim = self.centre.shape[1]
        mass = bound + dim * (2 * self.half_width).log() - self.log_evidence[i]
        weights = mass.exp().cumsum(0)
        kept: list[Tensor] = []
        have, tries = 0, 2 * n + 16
        while have < n:
            share = torch.rand(tries, generator=generator, dtype=torch.float64) * weights[-1]
            panel = torch.searchsorted(weights, share).clamp(max=len(weights) - 1)
            place = 2 * torch.rand(tries, dim, generator=generator, dtype=torch.float64) - 1
            z = self.centre[panel] + self.half_width[panel, None] * place
            over = self.log_posterior(i, z) + self.log_evidence[i] - bound[panel]
            if bool((over > 0).any()):
                high = over > 0
                raised = torch.zeros_like(bound).scatter_reduce(
                    0, panel[high], (over + slack[panel])[high] + SLACK, "amax"
                )
                return raised.nonzero().squeeze(1), raised[raised > 0]
            take = torch.rand(tries, generator=generator, dtype=torch.float64).log() < over
            kept.append(z[take])
            have += int(take.sum())
        return torch.cat(kept)[:n]


def log_prior(z: Tensor) -> Tensor:
    """log N(z; 0, I), nats: [..., d] -> [...]."""
    return -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)


def latent_grid(pairs: Pairs, dim: int, tolerance: float = 1e-6, nodes: int = 4) -> LatentGrid:
    """Resolve p(x_i, z) over all z for every x_i; a few dozen x at a time, since they share panels.

    Args:
        pairs: log likelihood of all pairs, [n, d] -> [n, N], float64, finite.
        dim: d, 1 or 2.
        tolerance: of the coarser grid's error, relative to p(x_i); the finer grid's is smaller.
        nodes: Gauss-Legendre nodes of a panel along each axis.

    Raises:
        ValueError: if the latent space has more than two dimensions.
        ArithmeticError: if the panels become too many, or mass lies beyond the widest box.
    """
    if dim not in (1, 2):
        raise ValueError(f"latent_grid(dim=...) must be 1 or 2, got {dim}.")
    width = HALF_WIDTH
    while width <= WIDEST:
        with torch.no_grad():
            panels = _resolve(pairs, dim, width, tolerance, nodes)
            outer = panels.outermost(width)
            if outer < OUTSIDE:
                return _gathered(pairs, panels, nodes)
        width *= 1.5
    raise ArithmeticError(
        f"A posterior has a share {outer:.2g} of its mass at the edge of a box that reaches"
        f" {width / 1.5:g} prior standard deviations: check the likelihood."
    )


@dataclass(frozen=True, eq=False)
class _Panels:
    """Panels that are fine enough: centre [P, d], half width [P], log of the integral over each,
    nats, [P, N], and the stated error, [N].
    """

    centre: Tensor
    half: Tensor
    log_mass: Tensor
    error: Tensor

    def outermost(self, width: float) -> float:
        """The greatest share that any posterior has in panels at the edge of the box."""
        edge = self.centre.abs().amax(1) + 1.5 * self.half > width
        share = self.log_mass[edge].logsumexp(0) - self.log_mass.logsumexp(0)
        return float(share.max().exp())


def _resolve(pairs: Pairs, dim: int, width: float, tolerance: float, nodes: int) -> _Panels:
    side = PER_SIDE[dim]
    edge = width * (2 * torch.arange(side, dtype=torch.float64) + 1 - side) / side
    centre = torch.cartesian_prod(*[edge] * dim).reshape(-1, dim)
    half = torch.full((len(centre),), width / side, dtype=torch.float64)
    log_mass = _log_mass(pairs, centre, half, nodes)
    done: list[tuple[Tensor, Tensor, Tensor]] = []
    settled = torch.full((log_mass.shape[1],), -math.inf, dtype=torch.float64)
    error = torch.zeros_like(settled)
    for depth in range(SPLITS):
        parts, small = _split(centre, half)
        fine = _log_mass(pairs, parts, small, nodes)
        total = torch.logaddexp(settled, fine.logsumexp(0))
        gap = _gap(fine, log_mass, total)
        rough = _rough(gap, 0.5 * (tolerance - error)) | (depth == 0)
        error = error + gap[~rough].sum(0)
        good = ~rough.repeat_interleave(2**dim)
        done.append((parts[good], small[good], fine[good]))
        settled = torch.logaddexp(settled, fine[good].logsumexp(0))
        centre, half, log_mass = parts[~good], small[~good], fine[~good]
        if not len(centre):
            columns = [torch.cat(found) for found in zip(*done, strict=True)]
            return _Panels(columns[0], columns[1], columns[2], error)
        if len(centre) > CROWD:
            break
    raise ArithmeticError(
        f"{len(centre)} panels of width {2 * float(half[0]):.2g} do not resolve the likelihood near"
        f" z = {centre[0].tolist()}: it must be finite and continuous."
    )


def _gap(fine: Tensor, coarse: Tensor, total: Tensor) -> Tensor:
    """What a panel and the sum of its parts differ by, as a share of the evidence, [P, N]."""
    parts = (fine - total).exp().reshape(len(coarse), -1, fine.shape[1]).sum(1)
    return (parts - (coarse - total).exp()).abs().nan_to_num(nan=math.inf)


def _rough(gap: Tensor, allowed: Tensor) -> Tensor:
    """The panels that must be cut further, so that the gaps of all others together stay within what
    is allowed to each x: [P, N], [N] -> [P].
    """
    small_first, order = gap.sort(0)
    rough = torch.zeros_like(gap, dtype=torch.bool)
    return rough.scatter(0, order, small_first.cumsum(0) > allowed).any(1)


def _split(centre: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """The 2^d parts of every panel, one after another."""
    dim = centre.shape[1]
    corner = torch.cartesian_prod(*[torch.tensor([-0.5, 0.5], dtype=torch.float64)] * dim)
    parts = centre[:, None] + half[:, None, None] * corner.reshape(1, -1, dim)
    return parts.reshape(-1, dim), (half / 2).repeat_interleave(2**dim)


@functools.cache
def _rule(dim: int, nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes in [-1, 1]^d, [K, d], and logs of their weights, [K]."""
    place, weight = legendre.leggauss(nodes)
    axis, logs = torch.from_numpy(place), torch.from_numpy(np.log(weight))
    places = torch.cartesian_prod(*[axis] * dim).reshape(-1, dim)
    return places, torch.cartesian_prod(*[logs] * dim).reshape(-1, dim).sum(1)


def _values(pairs: Pairs, centre: Tensor, half: Tensor, nodes: int) -> Iterator[_Values]:
    """The joint density at the nodes of all panels, some panels at a time."""
    places, log_weight = _rule(centre.shape[1], nodes)
    columns = pairs(centre[:1]).shape[1]
    chunk = max(1, AT_ONCE // (len(places) * columns))
    for c, h in zip(torch.split(centre, chunk), torch.split(half, chunk), strict=True):
        z = c[:, None] + h[:, None, None] * places
        flat = z.reshape(-1, centre.shape[1])
        value = (pairs(flat) + log_prior(flat)[:, None]).reshape(*z.shape[:2], columns)
        yield _Values(z, value, log_weight + centre.shape[1] * h.log()[:, None])


@dataclass(frozen=True, eq=False)
class _Values:
    """Nodes z [P, K, d], log joint density there [P, K, N], logs of the weights [P, K]."""

    z: Tensor
    value: Tensor
    log_weight: Tensor


def _log_mass(pairs: Pairs, centre: Tensor, half: Tensor, nodes: int) -> Tensor:
    return torch.cat(
        [
            (at.value + at.log_weight[..., None]).logsumexp(1)
            for at in _values(pairs, centre, half, nodes)
        ]
    )


def _gathered(pairs: Pairs, panels: _Panels, nodes: int) -> LatentGrid:
    """Bounds and moments, in one more pass over the panels."""
    log_evidence = panels.log_mass.logsumexp(0)
    columns, dim = len(log_evidence), panels.centre.shape[1]
    mean = torch.zeros(columns, dim, dtype=torch.float64)
    second = torch.zeros(columns, dim, dim, dtype=torch.float64)
    log_likelihood = torch.zeros_like(log_evidence)
    bounds = []
    for at in _values(pairs, panels.centre, panels.half, nodes):
        weight = (at.value + at.log_weight[..., None] - log_evidence).exp().flatten(0, 1)
        z = at.z.flatten(0, 1)
        mean += weight.T @ z
        second += torch.einsum("kn,kd,ke->nde", weight, z, z)
        likelihood = at.value.flatten(0, 1) - log_prior(z)[:, None]
        log_likelihood += (weight * likelihood).nan_to_num(nan=0.0).sum(0)  # 0 of minus infinity
        bounds.append(at.value.amax(1))
    covariance = second - mean[:, :, None] * mean[:, None, :]
    return LatentGrid(
        log_evidence,
        panels.error,
        mean,
        covariance,
        log_likelihood,
        panels.centre,
        panels.half,
        torch.cat(bounds),
        pairs,
    )
