"""Iterations of amortised AVB per processor second, beside a plain loop of the same algorithm:
torch's modules, autograd and Adam, as one would write it first.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.amortised --size ours --rounds 5
    OMP_NUM_THREADS=1 python -m tests.benchmarks.amortised --size paper --iterations 20
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from methods.amortised.avb import AmortisedAVB, Discriminator, fed
from methods.amortised.base import Learned
from methods.base import Budget
from problems.generative.base import perceptron
from problems.generative.four_points import FourPoints
from tests.benchmarks.alternate import Contender, alternate, table

SIZES = {
    "ours": AmortisedAVB(),
    "paper": AmortisedAVB(batch=512, noise_dim=64, width=256, blocks=5),
}
MODEL = FourPoints()


class Free:
    """The four points, nothing counted."""

    latent_dim, train = MODEL.latent_dim, MODEL.train
    batch, decoder = staticmethod(MODEL.batch), staticmethod(MODEL.decoder)

    def charge(self, rows: int) -> None:
        """Nothing."""


def ours(method: AmortisedAVB, iterations: int) -> Contender:
    """Recorded steps; what is recorded is timed as set-up."""

    def ready() -> Iterator[Learned]:
        long = replace(method, iterations=10**6, every=iterations)
        run = long.run(Free(), Budget(), torch.Generator().manual_seed(0))
        next(run)
        return run

    def work(run: Iterator[Learned], seed: int) -> float:
        next(run)
        return float(iterations)

    return Contender("recorded", work, set_up=ready)


def plain(method: AmortisedAVB, iterations: int) -> Contender:
    """The loop as one would write it first."""

    def work(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        decoder = MODEL.decoder(generator)
        widths = (4 + method.noise_dim, *method.hidden, MODEL.latent_dim)
        encoder = perceptron(widths, generator)
        rival = Discriminator(4, MODEL.latent_dim, method.width, method.blocks, generator)
        makers = nn.ModuleList([encoder, decoder])
        make = torch.optim.Adam(makers.parameters(), lr=method.lr, betas=(method.beta1, 0.999))
        judge = torch.optim.Adam(rival.parameters(), lr=1e-3, betas=(method.beta1, 0.999))
        for _ in range(iterations):
            for _ in range(method.steps):
                x = MODEL.batch(method.batch, generator)
                eps = torch.randn(method.batch, method.noise_dim, generator=generator)
                noise = torch.randn(method.batch, MODEL.latent_dim, generator=generator)
                z = fed(encoder, x, eps).detach()
                of_q, of_r = rival(x, z), rival(x, noise)
                loss = functional.softplus(-of_q).mean() + functional.softplus(of_r).mean()
                judge.zero_grad()
                loss.backward()
                judge.step()
            x = MODEL.batch(method.batch, generator)
            eps = torch.randn(method.batch, method.noise_dim, generator=generator)
            z = fed(encoder, x, eps)
            loss = (rival(x, z) - decoder.log_likelihood(x, z)).mean()
            make.zero_grad()
            loss.backward()
            make.step()
        return float(iterations)

    return Contender("plain loop", work)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=sorted(SIZES), default="ours")
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    method = SIZES[asked.size]
    pair = [ours(method, asked.iterations), plain(method, asked.iterations)]
    print(table(f"four-points, {asked.size}", alternate(pair, asked.rounds)))


if __name__ == "__main__":
    main()
