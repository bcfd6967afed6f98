"""What a figure of a learned pair promises: an estimate that knows its error, or a reason why there
is none, and hands off what it is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from bench.checks.bits import Bits, encoders
from bench.checks.estimates import declared, kind, returns, value
from bench.checks.finding import Check, InapplicableError, expect, once
from bench.checks.settings import must_be_frozen, must_be_unchanged, must_have_a_name, snapshot
from bench.checks.trial import generator
from bench.fitting import surroundings
from bench.metrics.amortised.base import Pair, PairMetric
from bench.metrics.base import Estimate, Skipped
from bench.processes.limits import children

DRAWS = 100  # of each q(z | x)
DECODERS = {"a decoder that is given": True, "one that is learned": False}


class FigureLab:
    """A figure and what it says of four pairs, made anew for each call."""

    def __init__(self, figure: PairMetric) -> None:
        self.figure = figure
        self.fields = snapshot(figure)

    def measure(self) -> Iterator[tuple[str, Pair, Estimate | Skipped]]:
        """Each pair in words, the pair, and what came of it."""
        for of_decoder, given in DECODERS.items():
            model = Bits(given)
            for of_encoder, encoder in encoders().items():
                decoder = model.decoder(generator(1)).at_rest()
                pair = Pair(model, decoder, encoder, model.test.double(), 3, DRAWS)
                # what annealing finds is not judged here
                pair = replace(
                    pair, annealing=replace(pair.annealing, chains=4, steps=20, leapfrogs=3)
                )
                with torch.no_grad():
                    found = self.figure.measure(pair)
                yield f"{of_encoder} beside {of_decoder}", pair, found

    @once
    def results(self) -> dict[str, Estimate | Skipped]:
        """By the words for the pair."""
        return {words: found for words, _, found in self.measure()}

    @once
    def second(self) -> _Second:
        """All measured once more, with what that did to the pairs and to the surroundings."""
        _ = self.results  # raises what the first time raised
        return _Second(self)

    def estimates(self) -> dict[str, Estimate]:
        """The figures by the words for the pair, those that were skipped left out."""
        found = {
            words: result for words, result in self.results.items() if isinstance(result, Estimate)
        }
        if not found:
            raise InapplicableError("the figure is skipped on every pair tried")
        return found


class _Second:
    def __init__(self, lab: FigureLab) -> None:
        self.results: dict[str, Estimate | Skipped] = {}
        self.harmed: set[str] = set()
        surroundings.scramble(1)
        before, processes = surroundings.read(), children()
        for words, pair, found in lab.measure():
            self.results[words] = found
            self.harmed.update(_harmed(pair))
        self.touched = surroundings.changed(before, surroundings.read())
        self.touched += surroundings.left_behind(processes)


def _harmed(pair: Pair) -> Iterator[str]:
    """What of a pair is not as it was."""
    if not torch.equal(pair.x, pair.model.test.double()):
        yield "x"
    with torch.no_grad():
        if not torch.equal(pair.z, pair.encoder.sample(pair.x, pair.draws, pair.generator())):
            yield "the draws z"
    own = pair.model.decoder(generator(1)).at_rest().state_dict()
    if any(not torch.equal(own[name], now) for name, now in pair.decoder.state_dict().items()):
        yield "the decoder"


def _stderr(lab: FigureLab) -> None:
    for words, found in lab.estimates().items():
        expect(
            isinstance(found.stderr, float),
            f"the stderr for {words} is a {type(found.stderr).__name__}; expected a float",
        )
        expect(
            math.isnan(found.stderr) or found.stderr >= 0,
            f"the stderr for {words} is {found.stderr}; expected 0 or more, or NaN where one run"
            " gives none",
        )


def _deterministic(lab: FigureLab) -> None:
    for words, found in lab.results.items():
        again = lab.second.results[words]
        expect(
            repr(found) == repr(again),
            f"two calls on equal pairs gave {found} and {again} for {words}; expected the same",
        )


def _inputs(lab: FigureLab) -> None:
    harmed = sorted(lab.second.harmed)
    expect(not harmed, f"changed {' and '.join(harmed)} of the pair; expected them as they were")


def _global_state(lab: FigureLab) -> None:
    touched = lab.second.touched
    expect(
        not touched,
        f"changed {' and '.join(touched)}; expected them as they were: pair.generator() is for"
        " drawing",
    )


CHECKS: tuple[Check[FigureLab], ...] = (
    Check(
        "name",
        "tables and command lines call it by this name",
        lambda lab: must_have_a_name(lab.figure),
    ),
    Check(
        "frozen",
        "results are filed under the fields, which must not change after that",
        lambda lab: must_be_frozen(lab.figure),
    ),
    Check(
        "declared",
        "tables print the unit, and mark the best by the ideal",
        lambda lab: declared(lab.figure),
    ),
    Check("returns", "a figure without its uncertainty is no figure", returns),
    Check("value", "the store keeps plain floats, and NaN says nothing", value),
    Check("stderr", "differences are judged by it", _stderr),
    Check("kind", "a bound must not be read as a value", kind),
    Check("deterministic", "a figure that cannot be had again cannot be checked", _deterministic),
    Check("inputs", "all figures look at the same pair", _inputs),
    Check(
        "global state",
        "what one figure changes for all would decide what the next one reads",
        _global_state,
    ),
    Check(
        "fields",
        "the next figure with the same settings must be the same",
        lambda lab: must_be_unchanged(lab.figure, lab.fields),
    ),
)
