r"""The log joint density of a Pyro model whose finite discrete sites are summed out.

.. math:: \log p(y, x) = \log \sum_k p(y, x, k)

by Pyro's parallel enumeration and its contraction of plated factors, so that the cost grows with a
chain's length and not with the number of its paths. In a loop over dependent sites, as of a hidden
Markov model, ``pyro.markov`` keeps the number of dimensions small, as Pyro's own guide explains.

Source: F. Obermeyer et al., Tensor variable elimination for plated factor graphs, 2019,
arXiv:1902.03210.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from opt_einsum import shared_intermediates
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer import config_enumerate
from pyro.infer.mcmc import util
from pyro.ops import contract
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from problems.models.log_einsum import NOTHING, Logs
from problems.models.pyro_faults import log_prob


def enumerated(model: Callable[..., Any], nesting: int) -> Any:
    """The model with every discrete site that is not observed at all its values at once, and a
    trace of it.

    Args:
        model: with no more than ``nesting`` plates inside each other.
        nesting: dimensions that plates take up, counted from the right.
    """
    at_once: Any = config_enumerate
    listed = poutine.enum(at_once(model, "parallel"), first_available_dim=-1 - nesting)
    return poutine.trace(listed)


def log_joint(trace: Any, nesting: int) -> Tensor:
    """The log density of a trace of ``enumerated``, its discrete sites summed out: []."""
    for site in trace.nodes.values():
        # before Pyro does, which would look for NaN, and so stop a run on many rows at once
        if site["type"] == "sample" and not site_is_subsample(site):
            density = log_prob(site["fn"], torch.as_tensor(site["value"]))
            site["unscaled_log_prob"] = density
            site["log_prob"] = scale_and_mask(density, site["scale"], site["mask"])  # type: ignore[no-untyped-call]
            site["log_prob_sum"] = site["log_prob"].sum()
    pyro_util: Any = util  # without types
    pyro_contract: Any = contract
    ring: Any = Logs
    evaluator = pyro_util.TraceEinsumEvaluator(trace, True, nesting)
    factors = evaluator._get_log_factors(trace)
    with shared_intermediates() as cache:
        found = pyro_contract.contract_to_tensor(factors, evaluator._enum_dims, ring=ring(cache))
    total: Tensor = found.sum()
    return torch.where(total > NOTHING / 2, total, -math.inf)
