r"""Data with latent variables: a training set, a prior over z, and a family of decoders.

.. math:: p_\theta(x, z) = p_\theta(x \mid z)\, N(z; 0, I_L)

For one x, and a decoder held fixed, p(z | x) is a ``Problem``: whatever measures a posterior
measures it.

To add a generative model: make a frozen dataclass that derives from ``GenerativeModel``, the
decoder's architecture among its fields; set ``name``; give ``latent_dim``, ``train``, ``test`` and
``decoder``. Data that are drawn anew at every read override ``batch``.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from problems.base import Exact, GaussianPrior, Problem, Truth
from problems.generative.parts.latent_grid import LatentGrid, latent_grid
from problems.generative.parts.latent_grid import log_prior as log_prior
from problems.parts.stored import UncertifiedError
from problems.parts.validate import bad_setting

Activation = Literal["elu", "silu", "relu", "tanh"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
}


def perceptron(
    widths: Sequence[int],
    generator: Generator,
    activation: Activation = "elu",
    scale: float = 1.0,
) -> nn.Sequential:
    """Layers of these widths, float32, an activation between any two: weights are
    N(0, scale^2 / inputs), by the generator alone, and biases zero.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        # one made in full would draw from the global state
        layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            weight = torch.randn(outputs, inputs, generator=generator)
            layer.weight.copy_(scale * weight / math.sqrt(inputs))
            layer.bias.zero_()
        layers += [layer, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def require_perceptron(model: Any) -> None:
    """Raise ValueError unless ``hidden`` and ``activation`` are those of a perceptron."""
    if not model.hidden or min(model.hidden) < 1:
        raise bad_setting(model, "hidden", "be one width or more, each at least 1")
    if model.activation not in ACTIVATIONS:
        raise bad_setting(model, "activation", f"be one of {', '.join(ACTIVATIONS)}")


class Decoder(nn.Module, ABC):
    """p(x | z): a network from z to the parameters of a law of x. Its state is plain tensors, by
    ``state_dict``; a weight that needs no gradient is given, and not to be learned.

    Args:
        latent_dim: L, length of z; shape: of one x.
    """

    def __init__(self, latent_dim: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.latent_dim, self.shape = latent_dim, shape

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Parameters of the law of x: [..., L] -> [..., *parameters]."""

    @abstractmethod
    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z), nats: [..., *shape], [..., L] -> [...], the leading sizes broadcast."""

    @abstractmethod
    def mean(self, z: Tensor) -> Tensor:
        """E[x | z]: [..., L] -> [..., *shape]."""

    @abstractmethod
    def sample(self, z: Tensor, generator: Generator) -> Tensor:
        """A draw of x for every z: [..., L] -> [..., *shape]."""

    def pairs(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x_i | z_j) of all pairs, nats: [N, *shape], [n, L] -> [n, N]."""
        return self.log_likelihood(x, z.unsqueeze(1))

    @property
    def learned(self) -> bool:
        """Whether there is a weight to be learned."""
        return any(weight.requires_grad for weight in self.parameters())

    def at_rest(self) -> Self:
        """A copy in float64 on the CPU that does not change and needs no gradient: what figures are
        made with.
        """
        return copy.deepcopy(self).cpu().double().requires_grad_(False)


class BernoulliDecoder(Decoder):
    r"""Independent bits, their logits by a network.

    .. math::
        \log p(x \mid z) = \sum_i x_i\, l_i(z) - \log(1 + e^{l_i(z)})

    Args:
        network: from z to logits, [n, L] -> [n, pixels]; latent_dim: L; shape: of one x.
    """

    def __init__(self, network: nn.Module, latent_dim: int, shape: tuple[int, ...]) -> None:
        super().__init__(latent_dim, shape)
        self.network = network

    def forward(self, z: Tensor) -> Tensor:
        """Logits: [..., L] -> [..., *shape]."""
        logits: Tensor = self.network(z.reshape(-1, self.latent_dim))
        return logits.reshape(*z.shape[:-1], *self.shape)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        logits = self(z).flatten(z.dim() - 1)
        bits = x.to(logits.dtype).flatten(x.dim() - len(self.shape))
        value: Tensor = (bits * logits).sum(-1) - functional.softplus(logits).sum(-1)
        return value

    def pairs(self, x: Tensor, z: Tensor) -> Tensor:
        logits = self(z).flatten(1)
        bits = x.to(logits.dtype).flatten(1)
        value: Tensor = logits @ bits.T - functional.softplus(logits).sum(-1, keepdim=True)
        return value

    def mean(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self(z))

    def sample(self, z: Tensor, generator: Generator) -> Tensor:
        return torch.bernoulli(self.mean(z), generator=generator)


@dataclass(frozen=True, eq=False)
class LatentPosterior(Problem):
    """p(z | x) of one x, under a decoder that is held fixed; unnormalised: its log Z is log p(x).

    Args:
        model: where the data are from; decoder: at rest, float64; x: [*shape], float64.
    """

    model: GenerativeModel
    decoder: Decoder
    x: Tensor
    name: ClassVar[str] = "latent-posterior"

    @property
    def dim(self) -> int:
        return self.decoder.latent_dim

    @functools.cached_property
    def grid(self) -> LatentGrid:
        """Panels over z, where it has one or two coordinates: log p(x) good to 1e-6."""
        x = self.x.unsqueeze(0)
        return latent_grid(lambda z: self.decoder.pairs(x, z), self.dim)

    @property
    def truth(self) -> Truth:
        """Exact, by quadrature, where z has one or two coordinates."""
        if self.dim > 2:
            raise UncertifiedError(
                f"The posterior of an x of {self.model.name} has no stored truth: z has {self.dim}"
                " coordinates, and quadrature reaches two."
            )
        grid = self.grid
        return Exact(lambda n, generator: grid.sample(0, n, generator), float(grid.log_evidence[0]))

    @property
    def gaussian_prior(self) -> GaussianPrior:
        """The prior of the latent variable z, N(0, I)."""
        return GaussianPrior.independent((0.0,) * self.dim, (1.0,) * self.dim)

    def log_density(self, z: Tensor) -> Tensor:
        """log p(x, z), nats: [..., L] -> [...]."""
        return self.decoder.log_likelihood(self.x, z) + log_prior(z)


class GenerativeModel(ABC):
    """Data, a prior N(0, I) of their latent variables, and a family of decoders. Its settings are
    the fields of a frozen dataclass.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def latent_dim(self) -> int:
        """L, the length of z."""

    @property
    @abstractmethod
    def train(self) -> Tensor:
        """What a learner learns from, [N, *shape], float32; of data that are binarised, the
        probabilities of a one.
        """

    @property
    @abstractmethod
    def test(self) -> Tensor:
        """What figures are taken on, [N, *shape], float32, always the same."""

    @abstractmethod
    def decoder(self, generator: Generator) -> Decoder:
        """A decoder with fresh weights, float32. One whose weights need no gradient is given: it is
        the same every time, and only q(z | x) is to be learned.
        """

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one x, without the number of them."""
        return tuple(self.test.shape[1:])

    @property
    def log_likelihood_of_truth(self) -> Tensor | None:
        """log p(x) of each test x under the law that drew the data, nats, [N]; None where that is
        not known.
        """
        return None

    def batch(self, n: int, generator: Generator) -> Tensor:
        """Training data drawn with replacement, [n, *shape], float32; override where data are drawn
        anew at every read.
        """
        train = self.train
        return train[torch.randint(len(train), (n,), generator=generator)]

    def posterior(self, decoder: Decoder, x: Tensor) -> Problem:
        """p(z | x) under a decoder, which is copied: float64."""
        return LatentPosterior(self, decoder.at_rest(), x.detach().cpu().double())
