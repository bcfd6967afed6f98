"""The training data of a generative model as a learner sees them: counted, and watched."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from methods.amortised.checkpoints import NOWHERE, Checkpoints
from problems.generative.base import Decoder, GenerativeModel


class CountedData:
    """What a learner may know of a generative model, and where it counts its gradients.

    Args:
        model: whose data they are; its test data and its truth stay out of reach of the learner.

    ``before`` is called ahead of every count: the harness stops there a learner whose budget is
    spent.
    """

    def __init__(self, model: GenerativeModel) -> None:
        self.latent_dim = model.latent_dim
        self.train = model.train
        self.evaluations = 0
        self.gradients = 0
        self.before: Callable[[], None] = lambda: None
        self.checkpoints: Checkpoints = NOWHERE  # where the learner may keep its state
        self._model = model
        self._pristine = self.train.clone(), model.test.clone()

    def batch(self, n: int, generator: Generator) -> Tensor:
        """Training data as a learner reads them, [n, *shape], float32."""
        return self._model.batch(n, generator)

    def decoder(self, generator: Generator) -> Decoder:
        """A decoder with fresh weights, float32."""
        return self._model.decoder(generator)

    def charge(self, rows: int) -> None:
        """Count gradients; refused where the budget was spent before.

        Raises:
            ValueError: if the count is negative.
        """
        if rows < 0:
            raise ValueError(f"charge(rows=...) must not be negative, got {rows}.")
        self.before()
        self.gradients += rows

    def must_be_unchanged(self) -> None:
        """Compare the data with what they were before the learner had them.

        Raises:
            ValueError: if they are others.
        """
        now = self.train, self._model.test
        if not all(torch.equal(a, b) for a, b in zip(now, self._pristine, strict=True)):
            raise ValueError(
                "The learner overwrote the data of the generative model: its figures would be of"
                " other data. A batch must be copied before it is changed in place."
            )
