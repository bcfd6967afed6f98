r"""L-BFGS that can be paused: one yield per iteration, where the libraries' own keep the loop to
themselves.

.. math:: x_{k+1} = x_k - t_k H_k \nabla f(x_k)

H_k is the inverse Hessian that the last pairs of steps and gradient changes imply; t_k meets the
weak Wolfe conditions by bisection, which needs no more of f than that it can be compared: where it
is not finite, the step is too long.

Source: D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale optimization, 1989,
doi:10.1007/BF01589116; the line search: A. S. Lewis, M. L. Overton, Nonsmooth optimization via
quasi-Newton methods, 2013, doi:10.1007/s10107-012-0514-2.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator

from torch import Tensor

Objective = Callable[[Tensor], tuple[float, Tensor]]  # [P] -> value, gradient [P]
Metric = Callable[[Tensor], Tensor]  # [P] -> [P], linear

DECREASE, CURVATURE = 1e-4, 0.9  # of the Wolfe conditions: the usual choice for quasi-Newton steps
BISECTIONS = 30
FIRST = 3.0  # longest first step, in units of an inverse Hessian that is given
PATIENCE = 5  # iterations over which progress is judged: a single one may be small by chance


def minimise(
    objective: Objective,
    x: Tensor,
    *,
    tolerance: float,
    memory: int = 20,
    inverse: Metric | None = None,
    known: tuple[float, Tensor] | None = None,
) -> Iterator[tuple[float, Tensor]]:
    """Yield ever lower values and their points, until five iterations together gain less than the
    tolerance, or, where an inverse Hessian is given, the next one promises less.

    Args:
        objective: value and gradient; values that are not finite are taken as too high.
        x: where to start, [P]; the objective must be finite there.
        tolerance: in the objective's unit.
        memory: how many past steps H_k is made of.
        inverse: what H_k is without any, an approximate inverse Hessian, positive definite.
        known: the objective's value and gradient at x, where they have been evaluated.
    """
    value, gradient = objective(x) if known is None else known
    pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=memory)
    past = deque([value], maxlen=PATIENCE + 1)
    while True:
        direction = -_precondition(gradient, pairs, inverse)
        if inverse is not None and not -0.5 * float(gradient.dot(direction)) >= tolerance:
            return
        found = _line_search(objective, x, value, gradient, direction)
        if found is None:
            return
        x_new, value, gradient_new = found
        pairs.append((x_new - x, gradient_new - gradient))
        x, gradient = x_new, gradient_new
        yield value, x
        past.append(value)
        if len(past) > PATIENCE and past[0] - value < tolerance:
            return


def _precondition(
    gradient: Tensor, pairs: deque[tuple[Tensor, Tensor]], inverse: Metric | None
) -> Tensor:
    """H_k times the gradient by the two-loop recursion; before there is a past, a step of length
    one at most where nothing is known of the scale, FIRST where it is.
    """
    if not pairs:
        step = gradient if inverse is None else inverse(gradient)
        return step / max(1.0, float(step.norm()) / (1 if inverse is None else FIRST))
    q, weights = gradient, []
    for step, change in reversed(pairs):
        weight = step.dot(q) / step.dot(change)
        q = q - weight * change
        weights.append(weight)
    step, change = pairs[-1]
    bent = change if inverse is None else inverse(change)
    q = (q if inverse is None else inverse(q)) * (step.dot(change) / change.dot(bent))
    for (step, change), weight in zip(pairs, reversed(weights), strict=True):
        q = q + (weight - change.dot(q) / step.dot(change)) * step
    return q


def _line_search(
    objective: Objective, x: Tensor, value: float, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, float, Tensor] | None:
    """A point along the direction with enough decrease and enough change of slope; None at the
    bottom, up to rounding.
    """
    slope = float(gradient.dot(direction))
    if not slope < 0:
        return None
    low, high, t = 0.0, math.inf, 1.0
    for _ in range(BISECTIONS):
        x_new = x + t * direction
        value_new, gradient_new = objective(x_new)
        slope_new = float(gradient_new.dot(direction))
        if not (value_new <= value + DECREASE * t * slope and math.isfinite(value_new + slope_new)):
            high = t
        elif slope_new < CURVATURE * slope:
            low = t
        else:
            return x_new, value_new, gradient_new
        t = 2 * low if math.isinf(high) else (low + high) / 2
    return None
