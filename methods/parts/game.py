"""One iteration of Adversarial Variational Bayes: a few steps of the discriminator, one of the
sampler.

The sampler stays as it is while its rival learns. So an iteration first makes all its draws at
once, and their densities. The gradients of both players are recorded functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from methods.base import Target
from methods.parts.adam import Adam
from methods.parts.avb_settings import Settings
from methods.parts.contrast import MEMORY, REMEDY, Contrast, log_normal
from methods.parts.discriminator import Discriminator
from methods.parts.finite import sound, whereabouts
from methods.parts.networks import Sampler, SamplerNetwork
from methods.parts.record import Recorded

# nats; how far log p - log r may be from its usual level before an informed discriminator is told
# "far" alone
KNEE = 10.0
LAG = 0.2  # share of the newest weights in the mean that ``lookahead`` starts from
START = 4096  # draws that measure the untrained sampler


@dataclass(frozen=True)
class Drawn:
    """The draws of one iteration, S steps of n for the discriminator and b for the sampler.

    Args:
        lessons: of q and then r for each step, and u: [S, 2 n, D] both, float64.
        eps, z, u: of the sampler's step: [b, K], float32; [b, D] both, float64.
        hidden: what the sampler's layers put out there, [b, width].
    """

    lessons: tuple[Tensor, Tensor]
    eps: Tensor
    z: Tensor
    u: Tensor
    hidden: list[Tensor]


class Game:
    """Both players, their weights and their optimisers; one call of ``play`` is one iteration."""

    def __init__(self, method: Settings, target: Target, generator: Generator) -> None:
        self.method, self.target, self.generator = method, target, generator
        dim = target.dim
        self.sampler = Sampler(method.noise_dim or dim, dim, method.hidden, method.skip)
        self.discriminator = Discriminator(
            dim + method.informed, method.width, method.blocks, method.activation, method.zero_last
        )
        self.weights = self.sampler.init(generator, method.scale)
        self.average = self.weights.clone()
        self.rival = self.discriminator.init(generator)
        self.trail = self.rival.clone()  # a running mean of the discriminator's weights
        self.sampler_adam = Adam(self.weights, method.sampler_beta1, method.clip)
        self.rival_adam = Adam(self.rival, method.discriminator_beta1, method.clip)
        self.contrast = Contrast(
            method.contrast, self.sampler(self.weights, self._noise(START)).double()
        )
        # running median of log p - log r on q, which knows p up to a constant only
        self.level = torch.zeros((), dtype=torch.float64)
        self.heat, self.cold = 1.0, 0.0
        self.played = 0
        # the sampler's last draws, and the density and its gradient there
        self.seen = self.contrast.loc.expand(0, -1), torch.empty(0), torch.empty(0, dim)
        self._drawn, self._lessons = Recorded(self._draw), Recorded(self._prepare)
        self._push, self._pull = Recorded(self.push), Recorded(self.pull)

    def play(self, progress: float) -> None:
        """Discriminator steps, then a sampler step, at a share of the run in [0, 1)."""
        method = self.method
        self.heat = min(1.0, progress / method.anneal) if method.anneal else 1.0
        # a pull to the start that lasted would hold back wide posteriors to the very end
        self.cold = (1 - self.heat) ** 3
        decay = method.final_lr + (1 - method.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))
        drawn = self.draw()
        self.learn(drawn, method.discriminator_lr * decay)
        self.teach(drawn, method.sampler_lr * decay)
        self.contrast.follow(drawn.z)
        self.played += 1
        self.average.lerp_(self.weights, 1 - min(method.average, self.played / (self.played + 10)))

    def approximation(self) -> SamplerNetwork:
        """The averaged sampler as it stands."""
        return SamplerNetwork(self.sampler, self.average)

    def draw(self) -> Drawn:
        """All draws of an iteration."""
        method, contrast = self.method, self.contrast
        n = method.steps * method.discriminator_batch
        eps = self._noise(n + method.batch)
        noise = torch.randn(n, self.target.dim, generator=self.generator)
        z, u, own, own_u, *hidden = self._drawn(
            self.weights, eps, noise, contrast.loc, contrast.factor, contrast.inverse
        )
        return Drawn((z, u), eps[n:], own, own_u, hidden)

    def learn(self, drawn: Drawn, lr: float) -> None:
        """The steps of the discriminator."""
        inputs, hints = self.lessons(*drawn.lessons)
        for x, hint in zip(inputs, hints, strict=True):
            gradient, norm = self._push(self.rival, x, hint)
            self._step(self.rival_adam, gradient, norm, lr)
            self.trail.lerp_(self.rival, LAG)

    def teach(self, drawn: Drawn, lr: float) -> None:
        """The step of the sampler."""
        view = self.view(drawn)
        gradient, norm = self._pull(self.weights, self.rival, self.trail, *view)
        self._step(self.sampler_adam, gradient, norm, lr)

    def view(self, drawn: Drawn) -> tuple[Tensor, ...]:
        """What the sampler's gradient is made of, as ``pull`` takes it, beside the weights."""
        log_p, slope_p = self.target.value_and_grad(drawn.z)
        self.seen = drawn.z, log_p, slope_p
        frame = self.contrast.inverse, self.contrast.log_det, self._dials()
        return drawn.eps, drawn.z, drawn.u, log_p, slope_p, *frame, *drawn.hidden

    def lessons(self, z: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """What the discriminator is shown and what it is told, [S, 2 n, inputs] and [S, 2 n], of
        draws [S, 2 n, D].
        """
        if not self.method.informed:
            return u.float(), torch.zeros(u.shape[:2])
        with torch.no_grad():
            log_p = self.target.log_density(z.flatten(0, 1))
        inputs, hints, self.level = self._lessons(z, u, log_p, self.contrast.log_det, self._dials())
        return inputs, hints

    def _draw(
        self,
        weights: Tensor,
        eps: Tensor,
        noise: Tensor,
        loc: Tensor,
        factor: Tensor,
        inverse: Tensor,
    ) -> tuple[Tensor, ...]:
        """From noise [S n + b, K] and [S n, D]: z and u of the lessons, of the sampler's step, and
        what its hidden layers put out.
        """
        steps, n = self.method.steps, len(noise)
        z, hidden = self.sampler.forward(weights, eps)
        z = z.double()
        u = (z - loc) @ inverse.T
        noise = noise.double()
        r = loc + noise @ factor.T
        pairs = [
            torch.stack([a[:n].view(steps, -1, a.shape[1]), b.view(steps, -1, a.shape[1])], 1)
            for a, b in ((z, r), (u, noise))
        ]
        lessons = [pair.flatten(1, 2) for pair in pairs]
        return (*lessons, z[n:], u[n:], *(h[n:] for h in hidden))

    def _prepare(
        self, z: Tensor, u: Tensor, log_p: Tensor, log_det: Tensor, dials: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs and hints of the lessons, and the last level."""
        heat, cold, level, newest = dials.unbind()
        excess = self._excess(log_p.view(z.shape[:2]), z, u, log_det, heat, cold)
        usual = excess[:, : z.shape[1] // 2].nanmedian(1).values
        levels = []
        for middle in usual.unbind():
            level = level.lerp(middle, newest)
            levels.append(level)
        # where r strays, a density may overflow
        hint = (excess - torch.stack(levels).unsqueeze(1)).clamp(-KNEE, KNEE).nan_to_num(nan=-KNEE)
        return torch.cat([u, hint.unsqueeze(-1)], -1).float(), hint.float(), level

    def push(self, rival: Tensor, x: Tensor, hint: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient of the logistic loss in the discriminator's weights, [weights], and its norm."""
        gradient = self.discriminator.loss_gradient(rival, x, hint)
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
        inverse: Tensor,
        log_det: Tensor,
        dials: Tensor,
        *hidden: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Gradient of E[T + log r - log p], with T and r held constant, in the sampler's weights,
        [weights], and its norm.

        An informed T is network(u, hint) + hint, and the hint's own slope cancels that of log p.
        Beyond the knee it would not: there log p counts as capped, or a narrow funnel, whose neck
        the network cannot see, would draw everything in.
        """
        heat, cold, level, _ = dials.unbind()
        rival = rival + self.method.lookahead * (rival - trail)
        slope = heat * slope_p - cold * z / self.method.scale**2 + u @ inverse
        if self.method.informed:
            excess = self._excess(log_p, z, u, log_det, heat, cold) - level
            inputs = torch.column_stack([u, excess.clamp(-KNEE, KNEE)]).float()
            by_input = self.discriminator.slope(rival, inputs).double()
            by_hint = by_input[:, -1] * (excess.abs() < KNEE) - (excess < -KNEE).double()
            direction = by_input[:, :-1] @ inverse + by_hint.unsqueeze(1) * slope
        else:
            direction = self.discriminator.slope(rival, u.float()).double() @ inverse - slope
        gradient = self.sampler.gradient(weights, eps, hidden, (direction / len(u)).float())
        return gradient, gradient.norm()

    def _excess(
        self, log_p: Tensor, z: Tensor, u: Tensor, log_det: Tensor, heat: Tensor, cold: Tensor
    ) -> Tensor:
        """Log density on the way from N(0, scale^2 I) to p, less log r, [...] at [..., D]."""
        start: Tensor = log_normal(z / self.method.scale)
        return heat * log_p + cold * start - (log_normal(u) - log_det)

    def _dials(self) -> Tensor:
        """What changes from one iteration to the next, for the recorded functions."""
        newest = MEMORY if self.played else 1.0
        return torch.tensor([self.heat, self.cold, float(self.level), newest], dtype=torch.float64)

    def _noise(self, n: int) -> Tensor:
        return torch.randn(n, self.sampler.noise_dim, generator=self.generator)

    def _step(self, adam: Adam, gradient: Tensor, norm: Tensor, lr: float) -> None:
        if not math.isfinite(float(norm)):
            raise FloatingPointError(self._fault())
        adam.step(gradient, norm, lr)

    def _fault(self) -> str:
        """Why a gradient is not finite: the density at the last draws, or the training."""
        z, value, slope = self.seen
        bad = z.isfinite().all(-1) & ~sound(value, slope)
        if not bad.any():
            return f"AVB diverged: a gradient is not finite; {REMEDY}."
        where = f"the density is not finite {whereabouts(self.target, z, value, slope)}"
        if self.played == 0:
            return (
                f"AVB cannot start from N(0, {self.method.scale:g}^2) in each coordinate: {where}."
                " If it is finite elsewhere, change scale."
            )
        return f"AVB came to where {where}; {REMEDY}."
