"""How a posterior is approximated: one method per file, what they share in ``parts``.

``from methods import Method, Budget, Target, Approximation, Pushforward, Draws, Gaussian`` has what
a method of your own is made of.
"""

from methods.base import (
    Approximation,
    Budget,
    Draws,
    Evidence,
    Method,
    NotApplicableError,
    Pushforward,
    SemiImplicit,
    Span,
    Target,
)
from methods.parts.gaussians.gaussian import Gaussian
from methods.parts.networks.pushforward_mixture import PushforwardMixture

__all__ = [
    "Approximation",
    "Budget",
    "Draws",
    "Evidence",
    "Gaussian",
    "Method",
    "NotApplicableError",
    "Pushforward",
    "PushforwardMixture",
    "SemiImplicit",
    "Span",
    "Target",
]
