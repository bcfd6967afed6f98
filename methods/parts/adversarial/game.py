"""One iteration of Adversarial Variational Bayes: a few steps of the discriminator, one of the
sampler.

The sampler stays as it is while its rival learns. So an iteration first makes all its draws at
once, and their densities. The gradients of both players are recorded functions. What sampler plays,
and what follows it as r, is for the two kinds of ``Play`` to say.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from methods.base import Approximation, Target
from methods.parts.adversarial.contrast import MEMORY, log_normal
from methods.parts.adversarial.hints import hints, verdict
from methods.parts.adversarial.players import Drawn, Maps, fault
from methods.parts.adversarial.settings import Settings
from methods.parts.device import recorded, seen_from
from methods.parts.networks.discriminator import Discriminator
from methods.parts.optimisation.adam import Adam

LAG = 0.2  # share of the newest weights in the mean that ``lookahead`` starts from


class Play(ABC):
    """Both players, their weights and their optimisers; one call of ``play`` is one iteration.

    Args:
        maps: the sampler.
    """

    usual_anneal: float  # where the settings leave it open
    fitted = False  # whether the sampler begins at log p, and not around the origin

    def __init__(self, method: Settings, target: Target, generator: Generator, maps: Maps) -> None:
        self.method, self.generator, self.maps = method, generator, maps
        dim, device = target.dim, method.device
        self.target = seen_from(device, target)
        self.discriminator = Discriminator(
            dim + method.informed, method.width, method.blocks, method.activation, method.zero_last
        )
        self.weights = maps.init(generator, method.scale).to(device)
        self.average = self.weights.clone()
        self.rival = self.discriminator.init(generator).to(device)
        self.trail = self.rival.clone()  # a running mean of the discriminator's weights
        self.sampler_adam = Adam(self.weights, method.sampler_beta1, method.clip)
        self.rival_adam = Adam(self.rival, method.discriminator_beta1, method.clip)
        # running median of log p - log r on q, which knows p up to a constant only
        self.level = torch.zeros((), dtype=torch.float64, device=device)
        self.heat, self.cold = 1.0, 0.0
        self.played = 0
        # the sampler's last draws, and the density and its gradient there
        none = torch.empty(0, dim, dtype=torch.float64)
        self.seen = none, none[:, 0], none
        players = self._draw, self._prepare, self.push, self.pull
        calls = (recorded(function, device) for function in players)
        self._drawn, self._lessons, self._push, self._pull = calls

    @abstractmethod
    def approximation(self, diagnostics: Mapping[str, float]) -> Approximation:
        """The averaged sampler as it stands, with what is to be said of it."""

    @property
    @abstractmethod
    def frame(self) -> tuple[Tensor, ...]:
        """r, as the recorded functions take it; last the origin and the matrix, [D, D], of u."""

    @property
    @abstractmethod
    def shares(self) -> tuple[Tensor, Tensor]:
        """What each row counts in the mean over a lesson, [2 n], and over the sampler's draws,
        [b].
        """

    @abstractmethod
    def follow(self, drawn: Drawn, above: Tensor) -> None:
        """Move r towards the sampler's draws, where T takes log q for ``above`` log p, [b]."""

    @abstractmethod
    def _noise(self, n: int, own: int) -> tuple[Tensor, Tensor]:
        """For n draws of q and as many of r, and for ``own`` draws more of q."""

    @abstractmethod
    def _sample(
        self, weights: Tensor, eps: Tensor, noise: Tensor, frame: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
        """Draws for the lessons, of q and of r, [S n, D] float64; and for the sampler's step its
        noise, its draws and what its hidden layers put out.
        """

    @abstractmethod
    def _log_r(self, z: Tensor, u: Tensor, frame: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Log r and its slope by z at z and u, [n, D]: [n], [n, D]."""

    def play(self, progress: float) -> None:
        """Discriminator steps, then a sampler step, at a share of the run in [0, 1)."""
        method = self.method
        anneal = self.usual_anneal if method.anneal is None else method.anneal
        self.heat = min(1.0, progress / anneal) if anneal else 1.0
        # a pull to the start that lasted would hold back wide posteriors to the very end
        self.cold = (1 - self.heat) ** 3
        decay = method.final_lr + (1 - method.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))
        drawn = self.draw()
        self.learn(drawn, method.discriminator_lr * decay)
        self.follow(drawn, self.teach(drawn, method.sampler_lr * decay))
        self.played += 1
        self.average.lerp_(self.weights, self.newest)

    @property
    def newest(self) -> float:
        """Share of the newest weights in their average."""
        return 1.0 - min(self.method.average, self.played / (self.played + 10))

    def draw(self) -> Drawn:
        """All draws of an iteration."""
        n = self.method.steps * self.method.discriminator_batch
        noise = self._noise(n, self.method.batch)
        z, u, eps, own, own_u, *hidden = self._drawn(self.weights, *noise, *self.frame)
        return Drawn((z, u), eps, own, own_u, hidden)

    def learn(self, drawn: Drawn, lr: float) -> None:
        """The steps of the discriminator."""
        inputs, hints = self.lessons(*drawn.lessons)
        for x, hint in zip(inputs, hints, strict=True):
            gradient, norm = self._push(self.rival, x, hint, self.shares[0])
            self._step(self.rival_adam, gradient, norm, lr)
            self.trail.lerp_(self.rival, LAG)

    def teach(self, drawn: Drawn, lr: float) -> Tensor:
        """The step of the sampler; what T makes of log q - log p, [b]."""
        above: Tensor
        view = *self.view(drawn), *drawn.hidden
        gradient, norm, above = self._pull(self.weights, self.rival, self.trail, *view)
        self._step(self.sampler_adam, gradient, norm, lr)
        return above

    def view(self, drawn: Drawn) -> tuple[Tensor, ...]:
        """What the sampler's gradient is made of, beside the weights and the hidden layers."""
        log_p, slope_p = self.target.value_and_grad(drawn.z)
        self.seen = drawn.z, log_p, slope_p
        draws = drawn.eps, drawn.z, drawn.u
        return *draws, log_p, slope_p, self.shares[1], self._dials(), *self.frame

    def lessons(self, z: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """What the discriminator is shown and what it is told, [S, 2 n, inputs] and [S, 2 n], of
        draws [S, 2 n, D].
        """
        if not self.method.informed:
            return u.float(), torch.zeros(u.shape[:2], device=u.device)
        with torch.no_grad():
            log_p = self.target.log_density(z.flatten(0, 1))
        inputs, hints, self.level = self._lessons(z, u, log_p, self._dials(), *self.frame)
        return inputs, hints

    def _draw(
        self, weights: Tensor, eps: Tensor, noise: Tensor, *frame: Tensor
    ) -> tuple[Tensor, ...]:
        """From noise: z and u of the lessons, [S, 2 n, D]; what the sampler's step is given."""
        of_q, of_r, own_eps, own, hidden = self._sample(weights, eps, noise, frame)
        shape = self.method.steps, -1, own.shape[1]
        z = torch.cat([of_q.view(shape), of_r.view(shape)], 1)
        turn = frame[-1].T
        return z, (z - frame[-2]) @ turn, own_eps, own, (own - frame[-2]) @ turn, *hidden

    def _prepare(
        self, z: Tensor, u: Tensor, log_p: Tensor, dials: Tensor, *frame: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs and hints of the lessons, and the last level."""
        heat, cold, level, newest = dials.unbind()
        flat_z, flat_u = z.flatten(0, 1), u.flatten(0, 1)
        log_r, _ = self._log_r(flat_z, flat_u, frame)
        excess = (self._path(log_p, flat_z, heat, cold) - log_r).view(z.shape[:2])
        hint, level = hints(excess, level, newest)
        return torch.cat([u, hint.unsqueeze(-1)], -1).float(), hint.float(), level

    def push(self, rival: Tensor, x: Tensor, hint: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient of the logistic loss in the discriminator's weights, [weights], and its norm."""
        gradient = self.discriminator.loss_gradient(rival, x, hint, shares)
        return gradient, gradient.norm()

    def pull(
        self,
        weights: Tensor,
        rival: Tensor,
        trail: Tensor,
        eps: Tensor,
        z: Tensor,
        u: Tensor,
        log_p: Tensor,
        slope_p: Tensor,
        shares: Tensor,
        dials: Tensor,
        *frame_and_hidden: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient of E[T + log r - log p], with T and r held constant, in the sampler's weights,
        [weights]; its norm; and T + log r - log p, less a constant, [b].
        """
        frame, hidden = frame_and_hidden[: len(self.frame)], frame_and_hidden[len(self.frame) :]
        heat, cold, level, _ = dials.unbind()
        rival = rival + self.method.lookahead * (rival - trail)
        log_r, slope_r = self._log_r(z, u, frame)
        slope = heat * slope_p - cold * z / self.method.scale**2 - slope_r
        excess = self._path(log_p, z, heat, cold) - log_r - level
        if self.method.informed:
            above, by_u, by_excess = verdict(self.discriminator, rival, u, excess)
            direction = by_u.double() @ frame[-1] + by_excess.unsqueeze(1) * slope
        else:
            log_ratio, by_u = self.discriminator.judge(rival, u.float())
            direction = by_u.double() @ frame[-1] - slope
            above = log_ratio - excess
        direction = (direction * shares.unsqueeze(1)).float()
        direction = direction.view(*eps.shape[:-1], -1)
        gradient = self.maps.gradient(weights, eps, list(hidden), direction)
        return gradient, gradient.norm(), above

    def _path(self, log_p: Tensor, z: Tensor, heat: Tensor, cold: Tensor) -> Tensor:
        """Log density on the way from N(0, scale^2 I) to p, [n] at [n, D]."""
        start: Tensor = log_normal(z / self.method.scale)
        return heat * log_p + cold * start

    def _dials(self) -> Tensor:
        """What changes from one iteration to the next, for the recorded functions."""
        newest = MEMORY if self.played else 1.0
        dials = [self.heat, self.cold, float(self.level), newest]
        return torch.tensor(dials, dtype=torch.float64).to(self.method.device)

    def _step(self, adam: Adam, gradient: Tensor, norm: Tensor, lr: float) -> None:
        if not math.isfinite(float(norm)):
            scale = None if self.played or self.fitted else self.method.scale
            raise FloatingPointError(fault(self.target, self.seen, scale))
        adam.step(gradient, norm, lr)
