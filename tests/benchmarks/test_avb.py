"""An iteration of AVB beside a plain eager loop of the same algorithm: read the ratio of the two.

Run with ``tox -e bench``, or ``pytest tests/benchmarks/test_avb.py``; the test runs skip them.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional

from bench.fitting.target import CountedTarget
from bench.plugins import registry
from methods.avb import AVB, Game
from methods.parts.adversarial.contrast import MEMORY
from methods.parts.adversarial.game import KNEE, LAG

SCHOOLS = registry.load(registry.find("problems", "eight-schools"))()
SETTINGS: dict[str, AVB] = {
    "defaults": AVB(),
    "paper": AVB(
        contrast="diagonal",
        width=256,
        blocks=5,
        activation="leaky-relu",
        zero_last=True,
        batch=512,
        discriminator_batch=512,
        steps=2,
        sampler_lr=1e-4,
        discriminator_lr=2e-4,
        discriminator_beta1=0.5,
        informed=False,
        lookahead=0,
        skip=False,
        anneal=0,
        average=0,
        final_lr=1,
        clip=1e6,
    ),
}


class Plain:
    """The same iteration as one would write it first: autograd, torch's Adam, a draw a step."""

    def __init__(self, method: AVB) -> None:
        game = Game(method, CountedTarget(SCHOOLS, compiled=False), Generator().manual_seed(0))
        self.method, self.game = method, game
        self.weights, self.rival = (
            game.weights.clone().requires_grad_(),
            game.rival.clone().requires_grad_(),
        )
        self.trail, self.average = game.rival.clone(), game.weights.clone()
        betas = (method.sampler_beta1, 0.999), (method.discriminator_beta1, 0.999)
        self.adam = torch.optim.Adam([self.weights], method.sampler_lr, betas=betas[0])
        self.rival_adam = torch.optim.Adam([self.rival], method.discriminator_lr, betas=betas[1])
        self.level = torch.zeros((), dtype=torch.float64)

    def play(self) -> None:
        n = self.method.discriminator_batch
        for _ in range(self.method.steps):
            with torch.no_grad():
                noise = self._normal(n)
                z = torch.cat([self._draw(n), self.game.contrast.restore(noise)])
            verdict = self._verdict(z, self.rival, learn=True)
            loss = (
                functional.softplus(-verdict[:n]).mean() + functional.softplus(verdict[n:]).mean()
            )
            self._descend(self.rival_adam, self.rival, 0.5 * loss)
            self.trail.lerp_(self.rival.detach(), LAG)
        z = self._draw(self.method.batch)
        ahead = self.rival.detach()
        ahead = ahead + self.method.lookahead * (ahead - self.trail)
        log_p = self.game.target.log_density(z)
        u = self.game.contrast.standardise(z)
        excess = log_p - self.game.contrast.log_prob(u)
        verdict = self._verdict(z, ahead, learn=False)
        self._descend(self.adam, self.weights, (verdict - excess.clamp(max=KNEE)).mean())
        self.game.contrast.follow(z.detach())
        self.average.lerp_(self.weights.detach(), 1 - self.method.average)

    def _verdict(self, z: Tensor, rival: Tensor, *, learn: bool) -> Tensor:
        u = self.game.contrast.standardise(z)
        if not self.method.informed:
            return self.game.discriminator(rival, u.float())
        excess = self.game.target.log_density(z) - self.game.contrast.log_prob(u)
        if learn:
            self.level = self.level.lerp(excess[: len(z) // 2].median(), MEMORY)
        hint = (excess - self.level).clamp(-KNEE, KNEE)
        return self.game.discriminator(rival, torch.column_stack([u, hint]).float()) + hint.float()

    def _draw(self, n: int) -> Tensor:
        return self.game.sampler(self.weights, self._normal(n).float()).double()

    def _normal(self, n: int) -> Tensor:
        shape = (n, SCHOOLS.dim)
        return torch.randn(shape, generator=self.game.generator, dtype=torch.float64)

    def _descend(self, adam: torch.optim.Adam, weights: Tensor, loss: Tensor) -> None:
        (weights.grad,) = torch.autograd.grad(loss, weights)
        torch.nn.utils.clip_grad_norm_([weights], self.method.clip)
        adam.step()


@pytest.mark.parametrize("sizes", SETTINGS)
@pytest.mark.parametrize("loop", ["plain", "avb"])
def test_iteration(benchmark: Any, sizes: str, loop: str) -> None:
    method = SETTINGS[sizes]
    benchmark.group = f"one iteration of AVB, {sizes}"
    if loop == "plain":
        play = Plain(method).play
    else:
        game = Game(method, CountedTarget(SCHOOLS), Generator().manual_seed(0))

        def play() -> None:
            game.play(0.5)

    rounds = 200 if sizes == "defaults" else 10
    benchmark.pedantic(play, rounds=rounds, warmup_rounds=rounds // 10 + 2)
