"""Iterations of learners per processor second, beside plain loops of the same algorithms: torch's
modules, autograd, Adam, clipping and averages, as one would write them first.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.amortised --size avb --rounds 5
    OMP_NUM_THREADS=1 python -m tests.benchmarks.amortised --size avb-paper --iterations 20
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bench.processes.pages import keep_pages
from methods.amortised.avb import AmortisedAVB, Discriminator
from methods.amortised.base import Learned
from methods.amortised.iwae import IWAE, Weighted
from methods.amortised.vae import VAE, Moments, NegativeELBO, encoder_network
from methods.base import Budget
from problems.generative.base import perceptron
from problems.generative.four_points import FourPoints
from tests.benchmarks.alternate import Contender, alternate, table

SIZES: dict[str, AmortisedAVB | VAE | IWAE] = {
    "avb": AmortisedAVB(),
    "avb-paper": AmortisedAVB(
        batch=512,
        noise_dim=64,
        width=256,
        blocks=5,
        lr=2e-5,
        discriminator_lr=1e-4,
        final_lr=1.0,
        average=0.0,
    ),
    "vae": VAE(),
    "iwae": IWAE(),
}
MODEL = FourPoints()


class Free:
    """The four points, nothing counted."""

    latent_dim, train = MODEL.latent_dim, MODEL.train
    batch, decoder = staticmethod(MODEL.batch), staticmethod(MODEL.decoder)

    def charge(self, rows: int) -> None:
        """Nothing."""


def ours(method: AmortisedAVB | VAE | IWAE, iterations: int) -> Contender:
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


class Walker:
    """A module, its Adam and the average of its weights."""

    def __init__(self, module: nn.Module, method: AmortisedAVB | VAE | IWAE, average: bool) -> None:
        self.module, self.clip = module, method.clip
        betas = method.beta1, 0.999
        self.adam = torch.optim.Adam(module.parameters(), lr=method.lr, betas=betas)
        self.average: AveragedModel | None = None
        if average and method.average:
            ema = get_ema_multi_avg_fn(method.average)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(module, multi_avg_fn=ema)

    def step(self, loss: Tensor) -> None:
        """Downhill on a loss."""
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.module.parameters(), self.clip)
        self.adam.step()
        if self.average is not None:
            self.average.update_parameters(self.module)


def plain_avb(method: AmortisedAVB, iterations: int) -> Contender:
    """The loop of AVB as one would write it first."""

    def work(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        decoder = MODEL.decoder(generator)
        widths = (4 + method.noise_dim, *method.hidden, MODEL.latent_dim)
        encoder = perceptron(widths, generator)
        rival = Discriminator(4, MODEL.latent_dim, method.width, method.blocks, generator)
        maker = Walker(nn.ModuleList([encoder, decoder]), method, average=True)
        judge = Walker(rival, method, average=False)

        def read() -> tuple[Tensor, Tensor]:
            x = MODEL.batch(method.batch, generator)
            eps = torch.randn(method.batch, method.noise_dim, generator=generator)
            return x, torch.cat([x, eps], 1)

        for _ in range(iterations):
            for _ in range(method.steps):
                x, both = read()
                noise = torch.randn(method.batch, MODEL.latent_dim, generator=generator)
                with torch.no_grad():
                    z = encoder(both)
                of_q, of_r = rival(x, z), rival(x, noise)
                judge.step(functional.softplus(-of_q).mean() + functional.softplus(of_r).mean())
            x, both = read()
            z = encoder(both)
            maker.step((rival(x, z) - decoder.log_likelihood(x, z)).mean())
        return float(iterations)

    return Contender("plain loop", work)


def plain_bound(method: VAE | IWAE, iterations: int) -> Contender:
    """The loop of a VAE or an IWAE as one would write it first."""

    def work(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        decoder, latent = MODEL.decoder(generator), MODEL.latent_dim
        moments = Moments(encoder_network(MODEL, method.hidden, False, generator), latent, False)
        weighs = isinstance(method, IWAE)
        bound = Weighted(moments, decoder) if weighs else NegativeELBO(moments, decoder)
        walker = Walker(bound, method, average=True)
        shape = (method.k, method.batch, latent) if weighs else (method.batch, latent)
        for _ in range(iterations):
            x = MODEL.batch(method.batch, generator)
            walker.step(bound(x, torch.randn(shape, generator=generator)))
        return float(iterations)

    return Contender("plain loop", work)


def contenders(method: AmortisedAVB | VAE | IWAE, iterations: int) -> list[Contender]:
    """Ours and the plain loop."""
    plain = plain_avb if isinstance(method, AmortisedAVB) else plain_bound
    return [ours(method, iterations), plain(method, iterations)]  # type: ignore[arg-type]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=sorted(SIZES), default="avb")
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    method = SIZES[asked.size]
    keep_pages()  # as the process of a cell does
    pair = contenders(method, asked.iterations)
    print(table(f"four-points, {asked.size}", alternate(pair, asked.rounds)))


if __name__ == "__main__":
    main()
