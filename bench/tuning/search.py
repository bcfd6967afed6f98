"""The search itself: optuna's tree-structured Parzen estimator proposes settings, the defaults come
first, and every trial is told what its cells came to.

Source: J. Bergstra, R. Bardenet, Y. Bengio, B. Kegl, Algorithms for hyper-parameter optimization,
2011; T. Akiba et al., Optuna, 2019, arXiv:1907.10902.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError
from bench.plugins import registry
from bench.plugins.space import Axis
from bench.tuning.plan import Losses, Plan, score

TRIES = 20  # proposals in a row that a method may refuse
REFUSED = 3.0  # the score of settings that a method refuses: that of a cell without a figure
Evaluate = Callable[[Mapping[str, Any]], Losses]


@dataclass(frozen=True)
class Tried:
    """Settings that were tried.

    Args:
        number: 0 for the defaults.
        settings: the fields that were searched.
        losses: by problem and seed.
    """

    number: int
    settings: Mapping[str, Any]
    losses: Losses

    @property
    def score(self) -> float:
        """The mean log loss of these settings; smaller is better."""
        return score(self.losses)


def search(plan: Plan, evaluate: Evaluate, tell: Callable[[Tried], None]) -> list[Tried]:
    """Try the defaults, and then what is proposed, as many as planned; the same every time.

    Args:
        plan: of the search.
        evaluate: what settings come to; UserError where the method refuses them.
        tell: told of every trial as it ends.

    Raises:
        UserError: if optuna is not installed; if the method refuses its own defaults, or all that
            is proposed.
    """
    optuna = _optuna()
    axes, study = plan.axes(), _study(optuna, plan.seed)
    study.enqueue_trial(_places(plan, axes))
    tried: list[Tried] = []
    refused = ""
    for _ in range(TRIES * plan.trials):
        if len(tried) == plan.trials:
            return tried
        trial = study.ask()
        proposed = {name: axis.ask(trial, name) for name, axis in axes.items()}
        settings = proposed if tried else _defaults(plan, axes)
        try:
            found = Tried(len(tried), settings, evaluate(settings))
        except UserError as error:  # a combination that the method does not take
            if not tried:
                raise
            refused = str(error)
            study.tell(trial, REFUSED)
            continue
        study.tell(trial, found.score)
        tried.append(found)
        tell(found)
    if len(tried) < 2:
        raise UserError(f"{plan.name} refuses what is proposed, the last time so: {refused}")
    return tried


def _optuna() -> Any:
    try:
        return importlib.import_module("optuna")
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise UserError(
            "The search needs optuna, which is not installed: pip install 'postbench[tune]'."
        ) from None


def _study(optuna: Any, seed: int) -> Any:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))


def _defaults(plan: Plan, axes: Mapping[str, Axis]) -> dict[str, Any]:
    fields = dataclasses.fields(registry.load(plan.method.entry))
    return {field.name: field.default for field in fields if field.name in axes}


def _places(plan: Plan, axes: Mapping[str, Axis]) -> dict[str, float]:
    """Where the defaults lie, as optuna counts; a field whose default is outside is drawn."""
    places = {name: axes[name].place(value) for name, value in _defaults(plan, axes).items()}
    return {name: place for name, place in places.items() if place is not None}
