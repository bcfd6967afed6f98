"""The play of a sampler that is one map, with a Gaussian that follows it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from methods.base import Target
from methods.parts.adversarial.contrast import Contrast, log_normal
from methods.parts.adversarial.game import Play
from methods.parts.adversarial.players import Drawn
from methods.parts.adversarial.settings import Settings
from methods.parts.networks.sampler import Sampler, SamplerNetwork

START = 4096  # draws that measure the untrained sampler


class Game(Play):
    """One map against a discriminator."""

    usual_anneal = 0.6

    def __init__(self, method: Settings, target: Target, generator: Generator) -> None:
        dim = target.dim
        self.sampler = Sampler(method.noise_dim or dim, dim, method.hidden, method.skip)
        super().__init__(method, target, generator, self.sampler)
        device = method.device
        first = torch.randn(START, self.sampler.noise_dim, generator=generator).to(device)
        self.contrast = Contrast(method.contrast, self.sampler(self.weights, first).double())
        rows = 2 * method.discriminator_batch, method.batch
        self._shares = _alike(rows[0], device), _alike(rows[1], device)

    def approximation(self, diagnostics: Mapping[str, float]) -> SamplerNetwork:
        found = SamplerNetwork(self.sampler, self.average.cpu())
        found.diagnostics = diagnostics
        return found

    @property
    def frame(self) -> tuple[Tensor, ...]:
        r, device = self.contrast, self.method.device
        # a contrast that does not follow is made on the CPU
        return r.factor.to(device), r.log_det.to(device), r.loc, r.inverse.to(device)

    @property
    def shares(self) -> tuple[Tensor, Tensor]:
        return self._shares

    def follow(self, drawn: Drawn, above: Tensor) -> None:
        self.contrast.follow(drawn.z)

    def _noise(self, n: int, own: int) -> tuple[Tensor, Tensor]:
        eps = torch.randn(n + own, self.sampler.noise_dim, generator=self.generator)
        of_r = torch.randn(n, self.sampler.dim, generator=self.generator)
        return eps.to(self.method.device), of_r.to(self.method.device)

    def _sample(
        self, weights: Tensor, eps: Tensor, noise: Tensor, frame: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
        factor, _, loc, _ = frame
        n = len(noise)
        z, hidden = self.sampler.forward(weights, eps)
        z, of_r = z.double(), loc + noise.double() @ factor.T
        return z[:n], of_r, eps[n:], z[n:], [h[n:] for h in hidden]

    def _log_r(self, z: Tensor, u: Tensor, frame: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        _, log_det, _, inverse = frame
        return log_normal(u) - log_det, -u @ inverse


def _alike(n: int, device: str) -> Tensor:
    return torch.full((n,), 1 / n, device=device)
