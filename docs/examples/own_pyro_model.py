"""A Pyro model of your own as a problem: two rates, counted, and the reference that judges it.

Of 240 people who saw page A 36 signed up; of 250 who saw page B, 54. From the folder of the clone,

    python docs/examples/own_pyro_model.py

fits a Gaussian to the posterior of both rates and measures how far it is from the truth. The truth
is a reference: draws that two samplers agree on, with a certificate. It lies in
``docs/examples/references`` and was made by the first of these commands; the others check the model
and its reference, and compare methods on it:

    export POSTBENCH_REFERENCES=docs/examples/references
    postbench reference build docs/examples/own_pyro_model.py:make
    postbench reference verify docs/examples/own_pyro_model.py:make
    postbench check docs/examples/own_pyro_model.py:make
    postbench run -p docs/examples/own_pyro_model.py:make -m gaussian-vb -m pyro-nuts -m exact

Without the environment variable references are kept in ``references/`` below the folder in which
the command runs.
"""

from __future__ import annotations

import os
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch

from bench.fitting.fit import fit
from bench.metrics import Comparison, Estimate, Skipped
from bench.metrics.kl import KlQP
from methods import Budget
from methods.gaussian_vb import GaussianVB
from problems.models.pyro_model import PyroModel

REFERENCES = Path(__file__).parent / "references"
SHOWN = torch.tensor([240.0, 250.0])
SIGNED_UP = torch.tensor([36.0, 54.0])


def model(shown: torch.Tensor, signed_up: torch.Tensor) -> None:
    """Binomial counts of two pages, with a Beta(1, 9) prior on each rate."""
    with pyro.plate("pages", len(shown)):
        rate = pyro.sample("rate", dist.Beta(1.0, 9.0))
        pyro.sample("signed_up", dist.Binomial(shown, rate), obs=signed_up)


def make() -> PyroModel:
    """The problem: what ``-p docs/examples/own_pyro_model.py:make`` runs."""
    return PyroModel(model, (SHOWN, SIGNED_UP), name="two-rates")


def main(draws: int = 5000, gradients: int | None = None) -> Estimate | Skipped:
    """Fit a Gaussian, and measure KL(q||p) of it by the stored reference.

    Args:
        draws: of the approximation and of the reference that the metric compares.
        gradients: gradient evaluations that the fit may spend; None lets it run to its own end.
    """
    os.environ.setdefault("POSTBENCH_REFERENCES", str(REFERENCES))
    problem, generator = make(), torch.Generator().manual_seed(0)
    *_, last = fit(problem, GaussianVB(), Budget(gradients=gradients), generator)
    comparison = Comparison(
        problem,
        last.approximation,
        draws=last.approximation.sample(draws, generator),
        truth=problem.truth.sample(draws, generator),
    )
    figure = KlQP().measure(comparison)
    names = ", ".join(problem.coordinates)
    rates = problem.constrain(comparison.truth)["rate"].mean(0)
    print(f"coordinates: {names}; mean rates of the truth: {rates.numpy().round(4)}")
    print(f"KL(q||p) after {last.gradients:,} gradients: {figure}")
    return figure


if __name__ == "__main__":
    main()
