"""AVB beside a plain eager loop of the same algorithm: `python -m tests.benchmarks.avb`.

Both play the same number of iterations in turn; the ratio of processor seconds is what the suite's
code gains. The first phase, recordings and warm-up are outside of the clock. ``--kl`` plays both to
the end of the default schedule instead, and prints KL(q||p), which must be the same.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Generator

from bench.fitting.target import WARM_UP, CountedTarget
from bench.metrics.base import Comparison
from bench.plugins import registry
from bench.processes.pages import keep_pages
from methods.avb import AVB, HEADS
from methods.parts.adversarial.affine import Metered, fitted
from methods.parts.adversarial.one_map import Game
from methods.parts.adversarial.several_maps import HeadedGame
from problems.base import Problem
from tests.benchmarks.alternate import Contender, alternate, table
from tests.benchmarks.plain_avb import Plain

SETTINGS = {
    "defaults": AVB(),
    # the preset "paper"
    "paper": AVB(
        contrast="diagonal",
        width=256,
        blocks=5,
        activation="leaky-relu",
        zero_last=True,
        batch=512,
        discriminator_batch=512,
        steps=2,
        sampler_lr=1e-4,
        discriminator_lr=2e-4,
        discriminator_beta1=0.5,
        informed=False,
        lookahead=0,
        skip=False,
        anneal=0,
        average=0,
        final_lr=1,
        clip=1e6,
    ),
}
# iterations ahead of the clock; at the defaults the density is recorded then, a call an iteration
WARM = {"defaults": WARM_UP + 5, "paper": 3}
PLAYED = {"defaults": 50, "paper": 10}  # iterations of a round


def game(sizes: str, problem: Problem, *, compiled: bool, seed: int = 0) -> Game | HeadedGame:
    """The game at its beginning, the first phase of the defaults done."""
    method, generator = SETTINGS[sizes], Generator().manual_seed(seed)
    target = CountedTarget(problem, compiled=compiled)
    if method.several(problem.dim) == 1:
        return Game(method, target, generator)
    metered = Metered(target, int(method.affine * method.iterations) * method.batch)
    *_, start = fitted(metered, HEADS, generator)
    return HeadedGame(method, target, generator, HEADS, start)


def players(sizes: str, problem: Problem, seed: int = 0) -> dict[str, Plain | Game | HeadedGame]:
    """The plain loop and the suite's."""
    plain = Plain(game(sizes, problem, compiled=False, seed=seed), SETTINGS[sizes])
    return {"avb": game(sizes, problem, compiled=True, seed=seed), "plain": plain}


def contenders(sizes: str, problem: Problem) -> list[Contender]:
    """Both, warm; one piece of work is some iterations."""
    found = []
    for name, player in players(sizes, problem).items():
        for _ in range(WARM[sizes]):
            player.play(0.5)

        def work(_: int, player: Plain | Game | HeadedGame = player) -> float:
            for _ in range(PLAYED[sizes]):
                player.play(0.5)
            return PLAYED[sizes]

        found.append(Contender(name, work))
    return found


def to_the_end(problem: Problem, seed: int) -> str:
    """KL(q||p) of both when the defaults' iterations are over, and seconds of each."""
    lines = []
    metric = registry.load(registry.find("metrics", "kl_qp"))()
    for name, player in players("defaults", problem, seed).items():
        method, begun = SETTINGS["defaults"], time.process_time()
        spent = player.target.gradients // method.batch
        for i in range(spent, method.iterations):
            player.play((i - spent) / (method.iterations - spent))
        took, q = time.process_time() - begun, player.approximation({})
        draws = q.sample(20_000, Generator().manual_seed(1))
        truth = problem.truth.sample(2, Generator().manual_seed(2))
        kl = metric.measure(Comparison(problem, q, draws, truth))
        lines.append(f"{name}: {took:.0f} s, KL {kl.value:.4f}, standard error {kl.stderr:.4f}")
    return f"{problem.name}, seed {seed}: " + "; ".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", choices=list(SETTINGS), action="append")
    parser.add_argument("--problem", default="eight-schools")
    parser.add_argument("--kl", metavar="SEED", type=int, help="play to the end from this seed")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_pages()  # as in a cell
    problem = registry.load(registry.find("problems", given.problem))()
    if given.kl is not None:
        print(to_the_end(problem, given.kl))
        return
    for sizes in given.sizes or SETTINGS:
        found = alternate(contenders(sizes, problem), rounds=given.rounds)
        print(table(f"{sizes}, seconds an iteration", found), flush=True)


if __name__ == "__main__":
    main()
