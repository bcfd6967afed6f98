"""Imported once by the fork server, so that a cell's process starts with everything warm and its
timings are its own.

Imports only: a tensor operation here could leave threads behind, and a fork of a process with
threads may hang.
"""

import importlib

from bench.plugins.built_in import BUILT_IN

# Torch and Pyro import these in the middle of the first use, a second or more that would be charged
# to a method.
LAZY = (
    "torch._dynamo",
    "torch._functorch.aot_autograd",
    "torch.fx.experimental.proxy_tensor",
    "torch.fx.experimental.symbolic_shapes",
    "torch._subclasses.fake_tensor",
    "sympy",
    "pyro.infer.mcmc",
    "pyro.infer.autoguide",
    "scipy.optimize",
    "scipy.spatial",
    "scipy.stats",
    "arviz_stats.base.array",
    "bench.running.worker",
)
OURS = sorted(
    {reference.partition(":")[0] for group in BUILT_IN.values() for reference in group.values()}
)

for name in (*LAZY, *OURS):
    importlib.import_module(name)
