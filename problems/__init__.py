"""What is to be inferred: posteriors whose truth is known, one, or one family of them, per file.

``from problems import Problem, Exact, Reference, Modes`` has what your own problem is made of.
"""

from problems.base import Exact, GaussianPrior, Modes, Problem, Reference, Truth

__all__ = ["Exact", "GaussianPrior", "Modes", "Problem", "Reference", "Truth"]
