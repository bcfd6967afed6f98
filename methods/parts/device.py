"""Where a method works: on the CPU, or with its weights and its draws on a graphics card.

Two things stay on the CPU. Random numbers, from the generator that is given: they are the same
whatever the device. And the density: the data of a problem lie there, and those that wrap another
library could be evaluated nowhere else. A call takes the points there and brings the values back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from methods.base import NotApplicableError, Target
from methods.parts.gaussians.gaussian import Gaussian
from methods.parts.record import Recorded
from methods.parts.validate import require

DEVICES = "cpu", "cuda"


def placed(method: Any) -> None:
    """Check the field ``device`` of a method.

    Raises:
        ValueError: if there is no such device.
    """
    require(method, "device", method.device in DEVICES, f"be one of {', '.join(DEVICES)}")


def present(method: Any) -> str:
    """The device that a method names, where there is one.

    Raises:
        NotApplicableError: if it is not here.
    """
    device: str = method.device
    if device == "cuda" and not torch.cuda.is_available():
        raise NotApplicableError(
            f"{type(method).__name__}(device='cuda') needs a graphics card that torch"
            f" {torch.__version__} can use, and sees none; take device='cpu'."
        )
    return device


class Afar:
    """A target for points of any device, evaluated on the CPU; the outcome is where the points are.

    Args:
        target: the density.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    @property
    def dim(self) -> int:
        """D, the number of coordinates."""
        return self._target.dim

    def log_density(self, z: Tensor) -> Tensor:
        """[..., D] -> [...], nats, differentiable."""
        return self._target.log_density(z.cpu()).to(z.device)

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """[..., D] -> ([...], [..., D])."""
        value, slope = self._target.value_and_grad(z.cpu())
        return value.to(z.device), slope.to(z.device)

    def gradient(self, z: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return self._target.gradient(z.cpu()).to(z.device)

    def explain(self, z: Tensor) -> str:
        """What keeps the log density at z, [D], from being finite, if the target can tell."""
        explain = getattr(self._target, "explain", None)
        return explain(z.cpu()) if explain else ""


def seen_from(device: str, target: Target) -> Target:
    """The target for points of a device."""
    return target if device == "cpu" else Afar(target)


def recorded(function: Callable[..., Any], device: str) -> Callable[..., Any]:
    """The function, recorded where that pays: a card is not kept waiting by Python as a core is."""
    return Recorded(function) if device == "cpu" else function


def at_rest(q: Gaussian) -> Gaussian:
    """The same Gaussian on the CPU."""
    if q.loc.device.type == "cpu":
        return q
    return Gaussian(q.loc.cpu(), q.scale_tril.cpu(), q.diagnostics)
