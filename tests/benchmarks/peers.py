"""Ours beside the peers that are installed, alternating: seconds of processor, set-up in and out.

    python -m tests.benchmarks.peers                               # every part on three problems
    python -m tests.benchmarks.peers samplers -p funnel --rounds 5
    python -m tests.benchmarks.peers samplers -m batched-hmc -m stan-nuts

``samplers``: effective draws (bulk ESS of the worst coordinate) of the suite's samplers, at their
defaults, each run to its own end. A part of another file is a module of this folder with
``contenders(problem) -> list[Contender]``, ours first; what it lacks is a line of the table.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from bench.fitting.target import CountedTarget
from bench.plugins import registry, spec
from bench.plugins.built_in import BUILT_IN
from methods.base import Approximation, Budget, Draws
from methods.parts.diagnostics import ChainDiagnostics
from tests.benchmarks.alternate import Contender, alternate, table

PROBLEMS = ("eight-schools", "eight-schools-signed", "logistic-regression")
OURS = "batched-hmc"
SAMPLERS = (OURS, "stan-nuts", "nutpie-nuts", "numpyro-nuts", "blackjax-nuts", "pyro-nuts")
# they yield None when they are ready to sample; what they do until then is set-up
COMPILED = ("stan-nuts", "nutpie-nuts", "numpyro-nuts", "blackjax-nuts")
Steps = Iterator[Approximation | None]


def sampler(name: str, problem: str) -> Contender:
    """A method of the suite that draws chains, by its name with its fields, on a problem."""
    seeds = itertools.count()

    def begin() -> Steps:
        method = spec.parse("methods", name).build()
        target = CountedTarget(spec.parse("problems", problem).build())
        generator = torch.Generator().manual_seed(next(seeds))
        steps: Steps = method.run(target, Budget(), generator)
        return steps

    def ready() -> Steps:
        steps = begin()
        first = next(steps)
        return steps if first is None else itertools.chain([first], steps)

    if spec.name_of(name) in COMPILED:
        return Contender(name, lambda steps, seed: _effective(steps), ready)
    return Contender(name, lambda seed: _effective(begin()))


def _effective(steps: Steps) -> Callable[[], float]:
    """Run to the end; how many effective draws its chains are worth is worked out later."""
    (last,) = collections.deque(steps, maxlen=1)
    if not isinstance(last, Draws):
        raise TypeError(f"it ended with a {type(last).__name__}; expected Draws")
    chains = last.chains
    figures = ChainDiagnostics(chains, torch.zeros(chains.shape[:2], dtype=torch.float64), {})
    return lambda: float(figures["ess_bulk"])


def samplers(problem: str, names: Sequence[str] = ()) -> list[Contender]:
    """Those that are named, or all that the suite has, ours first."""
    known = [name for name in SAMPLERS if name in BUILT_IN["methods"]]
    return [sampler(name, problem) for name in names or known]


PARTS: dict[str, Callable[[str], list[Contender]] | str] = {
    "samplers": samplers,
    "gaussian-vb": "tests.benchmarks.gaussian_vb",
}


def contenders(part: str, problem: str, names: Sequence[str]) -> list[Contender]:
    """The contenders of a part on a problem; none where its file is not there."""
    found: Any = PARTS[part]
    if found is samplers:
        return samplers(problem, names)
    try:
        module = importlib.import_module(found)
    except ModuleNotFoundError as error:
        if error.name != found:
            raise
        return []
    return list(module.contenders(problem))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for every part and problem."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("-p", "--problem", action="append", help="default: three of them")
    parser.add_argument("-m", "--method", action="append", help="of samplers; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for part, problem in itertools.product(given.parts or PARTS, given.problem or PROBLEMS):
        registry.find("problems", spec.name_of(problem))  # a sentence, where there is none
        chosen = contenders(part, problem, given.method or ())
        if not chosen:
            print(f"{part} on {problem}: its script is not there")
            continue
        print(table(f"{part} on {problem}", alternate(chosen, given.rounds)), flush=True)
        print(flush=True)


if __name__ == "__main__":
    main()
