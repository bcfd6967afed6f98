"""Two rows of one quantity made one: a lower bound joined with the upper bound that stands in the
same cell.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from reports.intervals import BRACKET

LOWER, UPPER, WHOLE = "kl_lower", "kl_upper", "kl_qp"
# metrics that may be bounds from below, and those that bound the same quantity from above
PAIRED = {
    WHOLE: UPPER,
    "elbo_gap": UPPER,
    "posterior_kl": "posterior_kl_upper",
    "mean_elbo": "mean_elbo_upper",
    "aggregate_kl": "aggregate_kl_upper",
}

# bounds, and the metric that says all that they say where it is known
WHOLES = {
    LOWER: WHOLE,
    UPPER: WHOLE,
    "posterior_kl_upper": "posterior_kl",
    "mean_elbo_upper": "mean_elbo",
    "aggregate_kl_upper": "aggregate_kl",
}


def bracketed(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``frame.load`` with ``upper`` and ``upper_stderr``: the other end, where a row is
    a bracket.

    A row of ``PAIRED`` of kind ``lower bound`` becomes ``between bounds`` where its upper bound has
    a finite value at the same checkpoint of the same cell. Its ``value`` stays the lower end.
    """
    tops = frame[frame["metric"].isin(PAIRED.values()) & np.isfinite(frame["value"])]
    tops = tops[["key", "checkpoint", "metric", "value", "stderr"]].rename(
        columns={"metric": "top", "value": "upper", "stderr": "upper_stderr"}
    )
    topped = frame.assign(top=frame["metric"].map(PAIRED))
    joined = topped.merge(
        tops, how="left", on=["key", "checkpoint", "top"], validate="many_to_one"
    ).drop(columns="top")
    open_above = (
        joined["metric"].isin(PAIRED)
        & (joined["kind"] == "lower bound")
        & np.isfinite(joined["value"])
    )
    joined["upper"] = joined["upper"].where(open_above)
    joined["upper_stderr"] = (
        joined["upper_stderr"].where(open_above).fillna(0.0).where(joined["upper"].notna())
    )
    joined["kind"] = joined["kind"].mask(joined["upper"].notna(), BRACKET)
    return joined
