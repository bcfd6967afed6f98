"""The play of a sampler with several heads, with a mixture of Gaussians that follows them.

Every head makes as many draws as any other, and its draws count by its share: so shares can be
learnt, and the functions of an iteration be recorded. A head where log q is above log p loses mass
to those where it is below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Generator, Tensor

from methods.base import Target
from methods.parts.adversarial.game import Play
from methods.parts.adversarial.mixed_contrast import MixedContrast, log_mixture
from methods.parts.adversarial.players import Drawn
from methods.parts.adversarial.settings import Settings
from methods.parts.gaussians.gaussian_mixture import GaussianMixture
from methods.parts.networks.heads import HeadedSampler
from methods.parts.networks.pushforward_mixture import PushforwardMixture

START = 4096  # draws that measure each untrained head


class HeadedGame(Play):
    """Several maps, one of which is chosen by chance for each draw, against a discriminator.

    Args:
        heads: how many; the batches are multiples of it.
        start: a mixture of as many Gaussians, which the affine maps begin at; None for a wide one
            around the origin.
    """

    def __init__(
        self,
        method: Settings,
        target: Target,
        generator: Generator,
        heads: int,
        start: GaussianMixture | None = None,
    ) -> None:
        # as it is yielded, and as it plays
        self.resting = HeadedSampler(heads, target.dim, method.hidden, start)
        start = None if start is None else _on(method.device, start)
        self.sampler = replace(self.resting, bases=start)
        self.fitted = start is not None
        self.usual_anneal = 0.0 if self.fitted else 0.3
        super().__init__(method, target, generator, self.sampler)
        if start is None:
            first, _ = self.sampler.forward(self.weights, self._normal(START))
            self.contrast = MixedContrast.of(first.double())
        else:
            covariances = start.scale_trils @ start.scale_trils.mT
            self.contrast = MixedContrast(start.weights.log(), start.locs, covariances)
        self.average_shares = self.contrast.log_weights

    def approximation(self, diagnostics: Mapping[str, float]) -> PushforwardMixture:
        return self.resting.at_rest(self.average.cpu(), self.average_shares.cpu(), diagnostics)

    @property
    def frame(self) -> tuple[Tensor, ...]:
        return self.contrast.frame

    @property
    def shares(self) -> tuple[Tensor, Tensor]:
        heads, weights = self.sampler.heads, self.contrast.log_weights.exp().float()
        each = self.method.discriminator_batch // heads, self.method.batch // heads
        lesson, own = (weights.repeat_interleave(n) / n for n in each)
        return lesson.repeat(2) / 2, own

    def follow(self, drawn: Drawn, above: Tensor) -> None:
        heads = self.sampler.heads
        excess = above.double().view(heads, -1).mean(1)
        self.contrast.follow(drawn.z.view(heads, -1, self.sampler.dim), excess)
        self.average_shares = self.average_shares.lerp(self.contrast.log_weights, self.newest)

    def _normal(self, n: int) -> Tensor:
        shape = self.sampler.heads, n, self.sampler.dim
        return torch.randn(shape, generator=self.generator).to(self.method.device)

    def _noise(self, n: int, own: int) -> tuple[Tensor, Tensor]:
        heads = self.sampler.heads
        return self._normal((n + own) // heads), self._normal(n // heads)

    def _sample(
        self, weights: Tensor, eps: Tensor, noise: Tensor, frame: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
        loc, factor, *_ = frame
        n = noise.shape[1]
        z, hidden = self.sampler.forward(weights, eps)
        z, of_r = z.double(), loc.unsqueeze(1) + noise.double() @ factor.transpose(1, 2)
        own = z[:, n:].flatten(0, 1)
        return (
            self._by_step(z[:, :n]),
            self._by_step(of_r),
            eps[:, n:].contiguous(),
            own,
            [h[:, n:].contiguous() for h in hidden],
        )

    def _log_r(self, z: Tensor, u: Tensor, frame: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        loc, _, inverse, constant, *_ = frame
        return log_mixture(z, loc, inverse, constant)

    def _by_step(self, z: Tensor) -> Tensor:
        """Every head's draws dealt out to the steps, by head within each: [H, S m, D] -> [S H m,
        D].
        """
        steps = self.method.steps
        dealt = z.reshape(len(z), steps, -1, z.shape[2])
        return dealt.transpose(0, 1).flatten(0, 2)


def _on(device: str, q: GaussianMixture) -> GaussianMixture:
    """A mixture on a device."""
    if device == "cpu":
        return q
    return GaussianMixture(q.weights.to(device), q.locs.to(device), q.scale_trils.to(device))
