"""Adversarial Variational Bayes as a competent user writes it first: modules, autograd, torch's
Adam and clipping, the density as it stands, fresh draws in every step.

Networks, heads, batches, steps, contrast, look ahead and averages are those of ``methods.avb``, so
that a ratio of seconds between the two is what that code gains and nothing else.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.avb import AVB
from methods.base import Approximation
from methods.parts.adversarial.contrast import MEMORY, Contrast
from methods.parts.adversarial.game import LAG
from methods.parts.adversarial.hints import KNEE
from methods.parts.adversarial.one_map import Game
from methods.parts.adversarial.several_maps import HeadedGame
from methods.parts.networks.discriminator import LEAK
from methods.parts.networks.sampler import views

M = TypeVar("M", bound=nn.Module)


class Rival(nn.Module):
    """The residual discriminator: [n, inputs] -> [n]."""

    def __init__(self, method: AVB, inputs: int) -> None:
        super().__init__()
        self.bend: Callable[[Tensor], Tensor] = (
            functional.silu
            if method.activation == "silu"
            else lambda h: functional.leaky_relu(h, LEAK)
        )
        width = method.width
        self.first, self.last = nn.Linear(inputs, width), nn.Linear(width, 1)
        self.blocks = nn.ModuleList(
            nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])
            for _ in range(method.blocks)
        )

    def ordered(self) -> list[nn.Linear]:
        """Layers in the order of the suite's flat weights."""
        inner = [layer for block in self.blocks for layer in block]
        return [self.first, *inner, self.last]

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for one, two in self.blocks:
            h = h + two(self.bend(one(self.bend(h))))
        verdict: Tensor = self.last(self.bend(h)).squeeze(1)
        return verdict


class Maps(nn.Module):
    """Heads of affine maps with one network: eps, [H, n, D] -> z, [H, n, D]; or one network."""

    def __init__(self, game: Game | HeadedGame) -> None:
        super().__init__()
        parts = [part.clone() for part in views(game.weights, game.sampler.shapes)]
        self.parts = nn.ParameterList(parts)
        self.bases = game.sampler.bases if isinstance(game, HeadedGame) else None

    def forward(self, eps: Tensor) -> Tensor:
        if self.bases is None:
            return self._network(eps, list(self.parts)).double()
        linear, shift, own, first, *rest = self.parts
        h = functional.elu(eps @ first + own.unsqueeze(1))
        for matrix, bias in zip(rest[:-1:2], rest[1:-1:2], strict=True):
            h = functional.elu(h @ matrix + bias)
        v = eps @ linear + shift.unsqueeze(1) + h @ rest[-1]
        z: Tensor = self.bases.locs.unsqueeze(1) + v.double() @ self.bases.scale_trils.mT
        return z

    def _network(self, h: Tensor, parts: list[Tensor]) -> Tensor:
        for i in range(0, len(parts) - 2, 2):
            h = functional.elu(torch.addmm(parts[i + 1], h, parts[i]))
        return torch.addmm(parts[-1], h, parts[-2])


class Plain:
    """The loop.

    Args:
        game: not yet played, whose weights and r it begins with; its own from now on.
        method: the settings of that game.
    """

    def __init__(self, game: Game | HeadedGame, method: AVB) -> None:
        self.game, self.method, self.contrast = game, method, game.contrast
        self.heads = game.sampler.heads if isinstance(game, HeadedGame) else 1
        self.target, self.dim = game.target, game.target.dim
        self.maps = Maps(game)
        self.rival = Rival(method, self.dim + method.informed)
        layers = views(game.rival, game.discriminator.shapes)
        with torch.no_grad():
            for layer, matrix, bias in zip(
                self.rival.ordered(), layers[::2], layers[1::2], strict=True
            ):
                layer.weight.copy_(matrix.T)
                layer.bias.copy_(bias)
        self.trail, self.ahead = (self._copy(self.rival) for _ in range(2))
        self.average = self._copy(self.maps)
        betas = (self.method.sampler_beta1, 0.999), (self.method.discriminator_beta1, 0.999)
        self.adam = torch.optim.Adam(self.maps.parameters(), betas=betas[0])
        self.rival_adam = torch.optim.Adam(self.rival.parameters(), betas=betas[1])
        self.level = torch.zeros((), dtype=torch.float64)
        self.played = 0

    def play(self, progress: float) -> None:
        """One iteration; log p at its full weight."""
        method = self.method
        decay = method.final_lr + (1 - method.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))
        for _ in range(method.steps):
            self._learn(method.discriminator_lr * decay)
        self._teach(method.sampler_lr * decay)
        self.played += 1

    def _learn(self, lr: float) -> None:
        n = self.method.discriminator_batch
        with torch.no_grad():
            z, of_r = self.maps(self._noise(n)), self._of_r(n)
            x, hint = self._shown(torch.cat([self._rows(z), of_r]), learn=True)
        verdict = self.rival(x) + hint
        of_q, of_r = verdict[:n], verdict[n:]
        loss = self._mean(functional.softplus(-of_q)) + self._mean(functional.softplus(of_r))
        self._descend(self.rival_adam, self.rival, 0.5 * loss, lr)
        self._follow(self.trail, self.rival, LAG)

    def _teach(self, lr: float) -> None:
        with torch.no_grad():
            pairs = zip(
                self.ahead.parameters(),
                self.rival.parameters(),
                self.trail.parameters(),
                strict=True,
            )
            for ahead, newest, mean in pairs:
                ahead.copy_(newest + self.method.lookahead * (newest - mean))
        z = self._rows(self.maps(self._noise(self.method.batch)))
        excess = self._excess(z)
        if self.method.informed:
            hint = (excess - self.level).clamp(-KNEE, KNEE)
            inputs = torch.column_stack([self._frame(z), hint]).float()
            above = self.ahead(inputs) + hint - (excess - self.level).clamp(max=KNEE)
        else:
            above = self.ahead(self._frame(z).float()) - excess
        self._descend(self.adam, self.maps, self._mean(above), lr)
        self._move(z.detach(), above.detach())
        memory = 1 - min(self.method.average, self.played / (self.played + 10))
        self._follow(self.average, self.maps, memory)

    def _shown(self, z: Tensor, *, learn: bool) -> tuple[Tensor, Tensor]:
        u = self._frame(z)
        if not self.method.informed:
            return u.float(), torch.zeros(len(z))
        excess = self._excess(z)
        memory = MEMORY if self.played else 1.0
        self.level = self.level.lerp(excess[: len(z) // 2].median(), memory)
        hint = (excess - self.level).clamp(-KNEE, KNEE).nan_to_num(nan=-KNEE)
        return torch.column_stack([u, hint]).float(), hint.float()

    def _excess(self, z: Tensor) -> Tensor:
        log_p: Tensor = self.target.log_density(z)
        if isinstance(self.contrast, Contrast):
            return log_p - self.contrast.log_prob(self.contrast.standardise(z))
        loc, _, inverse, constant, *_ = self.contrast.frame
        u = (z - loc.unsqueeze(1)) @ inverse.mT
        by_head = constant.unsqueeze(1) - 0.5 * u.square().sum(-1)
        return log_p - by_head.logsumexp(0)

    def _frame(self, z: Tensor) -> Tensor:
        *_, middle, turn = self.game.frame
        u: Tensor = (z - middle) @ turn.T
        return u

    def _noise(self, n: int) -> Tensor:
        shape = (n, self.dim) if self.heads == 1 else (self.heads, n // self.heads, self.dim)
        return torch.randn(shape, generator=self.game.generator)

    def _of_r(self, n: int) -> Tensor:
        noise = self._noise(n).double()
        if isinstance(self.contrast, Contrast):
            return self.contrast.restore(noise)
        return self._rows(self.contrast.loc.unsqueeze(1) + noise @ self.contrast.factor.mT)

    def _rows(self, z: Tensor) -> Tensor:
        return z.reshape(-1, self.dim)

    def _mean(self, values: Tensor) -> Tensor:
        """Every head by its share."""
        if isinstance(self.contrast, Contrast):
            return values.mean()
        return values.view(self.heads, -1).mean(1) @ self.contrast.log_weights.exp().to(
            values.dtype
        )

    def _move(self, z: Tensor, above: Tensor) -> None:
        if isinstance(self.contrast, Contrast):
            self.contrast.follow(z)
            return
        heads = self.heads
        self.contrast.follow(z.view(heads, -1, self.dim), above.double().view(heads, -1).mean(1))

    def _descend(self, adam: torch.optim.Adam, module: nn.Module, loss: Tensor, lr: float) -> None:
        adam.param_groups[0]["lr"] = lr
        adam.zero_grad()
        parameters = list(module.parameters())
        for weight, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            weight.grad = slope
        nn.utils.clip_grad_norm_(parameters, self.method.clip)
        adam.step()

    @staticmethod
    @torch.no_grad()
    def _follow(mean: nn.Module, newest: nn.Module, share: float) -> None:
        torch._foreach_lerp_(list(mean.parameters()), list(newest.parameters()), share)

    @staticmethod
    def _copy(module: M) -> M:
        return copy.deepcopy(module).requires_grad_(False)

    def approximation(self, diagnostics: Mapping[str, float]) -> Approximation:
        """The averaged sampler as it stands."""
        weights = torch.cat([part.detach().reshape(-1) for part in self.average.parameters()])
        if isinstance(self.game, HeadedGame):
            return self.game.sampler.at_rest(weights, self.contrast.log_weights, diagnostics)
        self.game.average = weights
        return self.game.approximation(diagnostics)
