"""The pictures of a report, in order, with the words that go with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from matplotlib.figure import Figure

from bench.store import GENERATIVE, Store
from reports.guarded import guarded
from reports.pictures import codes
from reports.pictures.costs import costs
from reports.pictures.posteriors import (
    COORDINATES,
    Posterior,
    gather,
    marginals,
    own_units,
    pairs,
    telling_pairs,
)
from reports.pictures.style import Look, Picture, looks, styled
from reports.readings import FLOOR
from reports.results import Results

AGGREGATE = "aggregate_kl"  # of generative models, drawn against its costs, too
NOT_DRAWN = "This picture could not be drawn:"
SHARES = (
    "Grey: the truth, its darkest part holding 50% of the mass, the next 80% and the lightest 95%."
)
CLIPPED = (
    " An open marker stands where it could go no lower: on the noise floor for a figure by its own"
    " metric that reads less, at the bottom for a value that is not positive or too small for the"
    " picture."
)


def pictures(store: Store, results: Results, problem: str) -> list[Picture]:
    """What there is to see of one problem: posteriors, marginals, costs; fewer where draws or
    figures are missing.
    """
    if GENERATIVE in results.traits.get(problem, ()):
        return _learned(store, results, problem)
    name, look = _name(results, problem), looks(results.methods)
    with styled():
        posterior = guarded(lambda: gather(store, results, problem), str)
        words = f"{_seed(results, problem)} {_floor(results, problem, posterior)}"
        found: list[Picture] = []
        if isinstance(posterior, Posterior):
            own = guarded(lambda: own_units(store, problem, posterior), lambda _: None)
            found += _posteriors(posterior, name, problem, words, look)
            found += _marginals(posterior, own, name, problem, words, look)
        elif posterior:
            found.append(Picture(f"{name}-posteriors", "", NOT_DRAWN, f"{NOT_DRAWN} {posterior}."))
        return [*found, *_costs(results, name, problem, look)]


def _name(results: Results, problem: str) -> str:
    """What files of a problem's pictures begin with."""
    slug = re.sub(r"[^a-z0-9]+", "-", problem.lower()).strip("-")[:40].strip("-")
    return f"{results.problems.index(problem) + 1}-{slug or 'problem'}"


def _learned(store: Store, results: Results, problem: str) -> list[Picture]:
    """What there is to see of a generative model: codes, posteriors, x that come back from their
    codes or are drawn, costs.
    """
    name, look, seed = _name(results, problem), looks(results.methods), _seed(results, problem)
    with styled():
        learned = guarded(lambda: codes.gather(store, results, problem), str)
        found: list[Picture] = []
        if isinstance(learned, str):
            found.append(Picture(f"{name}-codes", "", NOT_DRAWN, f"{NOT_DRAWN} {learned}."))
        elif learned:
            who = ", ".join(learned)
            found += [
                _drawn(
                    f"{name}-{each.name}", f"{each.caption} {seed}", each.alt(problem, who), draw
                )
                for each, draw in codes.pictures(learned, look)
            ]
        found += _costs(results, name, problem, look)
        if results.divergence(problem) != AGGREGATE:
            found += _costs(results, name, problem, look, AGGREGATE)
        return found


def _drawn(name: str, caption: str, alt: str, draw: Callable[[], Figure]) -> Picture:
    """A picture, or in its place why it could not be drawn."""
    figure = guarded(draw, lambda why: f"{NOT_DRAWN} {why}.")
    return Picture(name, caption if isinstance(figure, Figure) else "", alt, figure)


def _floor(results: Results, problem: str, posterior: Posterior | str) -> str:
    """How far from the truth draws come by chance alone, or that nothing shows it."""
    if isinstance(posterior, Posterior) and FLOOR in posterior.draws:
        return (
            "exact (noise floor): fresh draws of the truth; what differs no more than they do is"
            " chance."
        )
    return results.no_floor(problem) or "No draws of the noise floor were kept."


def _seed(results: Results, problem: str) -> str:
    metric = results.divergence(problem)
    if metric is None:
        return "Drawn: one seed of each method."
    return f"Drawn: of each method the seed whose {results.measure(metric).short} is in the middle."


def _posteriors(
    posterior: Posterior, name: str, problem: str, seed: str, look: Mapping[str, Look]
) -> Iterator[Picture]:
    methods, varied = _methods(posterior), len(posterior.varied)
    total, left = len(posterior.coordinates), _left(posterior)
    if varied > 1:
        chosen = telling_pairs(posterior)
        which = " and ".join(
            f"{posterior.coordinates[i]} with {posterior.coordinates[j]}" for i, j in chosen
        )
        yield _drawn(
            f"{name}-posteriors",
            _caption(total, seed, left),
            f"Draws and contours of {methods} over the true posterior of {problem}, in the"
            f" coordinates {which}.",
            lambda: pairs(posterior, chosen, look),
        )


def _caption(total: int, seed: str, left: str) -> str:
    """What the picture of pairs shows of so many coordinates, of which seed, and what it leaves
    out.
    """
    some = "Of the {} coordinates, pairs in which the methods differ most from the truth. "
    return (
        f"Each method over the truth. {SHARES} "
        "Coloured lines enclose the same shares of the method's draws; points are draws. "
        + (some.format(total) if total > 2 else "")
        + f"{seed} The number under a name is that seed's, with its own 95% interval.{left}"
    )


def _marginals(
    posterior: Posterior,
    own: Posterior | None,
    name: str,
    problem: str,
    seed: str,
    look: Mapping[str, Look],
) -> Iterator[Picture]:
    """The densities of the model's own parameters, ``own``; of the coordinates where they are the
    same, or were not kept.
    """
    shown = own if own is not None and own.varied else posterior
    total = len(shown.varied)
    if not total:
        why = f"{NOT_DRAWN} Every coordinate of the truth is constant to rounding."
        yield Picture(f"{name}-marginals", "", NOT_DRAWN, why)
        return
    what = "each of the model's parameters, in its own units" if shown is own else "each coordinate"
    each = "parameters" if shown is own else "coordinates"
    yield _drawn(
        f"{name}-marginals",
        f"The density of {what}. Grey: the truth. Lines: the methods. "
        + (
            f"The {COORDINATES} of {total} {each} where a method is furthest from the truth. "
            if total > COORDINATES
            else ""
        )
        + seed
        + _left(shown),
        f"Marginal densities of {_methods(shown)} over the truth of {problem}.",
        lambda: marginals(shown, look),
    )


def _methods(posterior: Posterior) -> str:
    return ", ".join(method for method in posterior.draws if method != FLOOR) or FLOOR


def _left(posterior: Posterior) -> str:
    """What is not shown, and why."""
    total, varied = len(posterior.coordinates), posterior.varied
    left = "".join(f" {who}: {why}." for who, why in posterior.absent.items())
    still = [posterior.coordinates[i] for i in range(total) if i not in varied]
    if still:
        left += f" Constant to rounding, and so without a density: {', '.join(still)}."
    return left


def _costs(
    results: Results, name: str, problem: str, look: Mapping[str, Look], metric: str = ""
) -> Iterator[Picture]:
    found = guarded(lambda: costs(results, problem, look, metric), lambda why: why)
    if found is None:
        return
    # the page's script puts its own curves in place of what is named costs
    name = f"{name}-{metric.replace('_', '-')}" if metric else f"{name}-costs"
    quality = results.measure(metric or results.divergence(problem) or "").short
    alt = f"{quality} of each method on {problem} against fitting time and gradient evaluations."
    if isinstance(found, str):
        yield Picture(name, "", alt, f"{NOT_DRAWN} {found}.")
        return
    absent = f" Not drawn: {', '.join(found.absent)}." if found.absent else ""
    yield Picture(
        name,
        f"{quality} against what it cost, on logarithmic axes: lower and further left is better."
        " Lines: the median of the seeds; bands: from the lowest seed to the highest; the large"
        " marker is the end. ● exact, ▲ lower bound, ▼ upper bound, ◆ estimate, ■ with a bar:"
        " between bounds, from the lower to the upper. A method measured once is a point with its"
        f" 95% interval. {found.floor}{CLIPPED if found.clipped else ''}{absent}",
        alt,
        found.figure,
    )
