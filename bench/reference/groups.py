"""Whether chains that disagree sit in two groups, which a longer run would not bring together."""

from __future__ import annotations

from torch import Tensor

# Share of the variance of the chains' means that two groups explain. Of means from one normal law
# the best cut explains 2 / pi = 0.64.
EXPLAINED = 0.85
APART = 1.5  # least distance of the groups, in standard deviations within a chain
FEWEST_CHAINS = 4  # with fewer, two groups are a matter of chance
UNMIXED = (
    "the chains have not forgotten where they began: bring the coordinates to scales near one, or"
    " write the model in others that are tied less to each other"
)
REMEDY = (
    "two modes that chains do not walk between, so that a longer run would not help: keep the model"
    " to one by an order or a sign where they mirror each other, or give the problem an exact truth"
)


def groups(chains: Tensor) -> str:
    """Two groups of chains [chains, draws, D] in words, with what to do; empty if there are no such
    groups.
    """
    count, _, dim = chains.shape
    if count < FEWEST_CHAINS:
        return ""
    means, inside = chains.mean(1), chains.var(1).mean(0).sqrt()
    best, said = EXPLAINED, ""
    for j in range(dim):
        ordered = means[:, j].sort().values
        total = ordered.var(correction=0)
        for cut in range(1, count):
            low, high = ordered[:cut], ordered[cut:]
            step = high.mean() - low.mean()
            share = float(step.square() * cut * (count - cut) / count**2 / total)
            if share > best and step > APART * inside[j]:
                best = share
                said = (
                    f"in coordinate {j + 1}, {cut} of {count} chains stay around"
                    f" {float(low.mean()):.3g} and {count - cut} around {float(high.mean()):.3g}:"
                )
    return f"{said} {REMEDY}" if said else ""
