"""The presets with the settings of the authors' experiments on generative models: each cell builds,
and its learner takes a step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.running.matrix import Cell, expand, presets, read
from bench.running.settings import AUTHORS
from methods.amortised.avb import AmortisedAVB
from methods.amortised.vae import VAE
from methods.base import Budget
from problems.generative.base import GenerativeModel
from problems.generative.digits import Digits
from problems.generative.four_points import FourPoints
from tests.methods.test_learners import Seen

SMALL: dict[str, GenerativeModel] = {
    "four-points": FourPoints(),
    "mnist-5k": Digits(latent=8, hidden=(16,)),
}
CELLS = [cell for name in ("paper-amortised", "paper-mnist") for cell in expand(read(name))]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.problem.name} {cell.method.name}")
def test_a_learner_with_the_authors_settings_takes_its_first_step(cell: Cell) -> None:
    assert cell.origin.words == AUTHORS
    found: Any = replace(cell.method.build(), iterations=1)
    model = SMALL[cell.problem.name]
    seen = Seen(model)
    (learned,) = found.run(seen, Budget(), torch.Generator().manual_seed(0))
    steps = 2 * found.steps + 1 if isinstance(found, AmortisedAVB) else 1
    assert seen.rows == steps * found.batch
    z = learned.encoder.sample(model.test[:2], 50, torch.Generator().manual_seed(0))
    assert z.isfinite().all()
    assert (z.std(1) > 0).all()


def test_the_settings_are_those_of_the_authors_code() -> None:
    found = [cell.method.build() for cell in CELLS]
    toy_vae, toy_avb, digits_vae, digits_avb, contrast = found
    assert isinstance(toy_vae, VAE)
    assert isinstance(digits_vae, VAE)
    for learner in (toy_vae, toy_avb):
        assert (learner.iterations, learner.batch, learner.lr) == (100_000, 512, 2e-5)
        assert learner.beta1 == 0.9
    assert (toy_avb.steps, toy_avb.discriminator_lr, toy_avb.contrast) == (2, 1e-4, False)
    for learner in (digits_avb, contrast):
        assert (learner.iterations, learner.batch, learner.steps) == (2_500_000, 128, 1)
        assert (learner.lr, learner.discriminator_lr, learner.beta1) == (5e-5, 1e-4, 0.5)
    assert not digits_avb.contrast
    assert (contrast.contrast, contrast.parts, contrast.noise_dim) == (True, 32, 64)
    for learner in found:  # nothing that our implementation adds
        assert (learner.final_lr, learner.average) == (1.0, 0.0)
        assert learner.clip >= 1e6
    assert "960 million gradients" in read(str(presets()["paper-mnist"])).description
    assert 3 * contrast.batch * contrast.iterations == 960_000_000
