"""Two rows of one quantity made one: a lower bound on KL(q||p) joined with the upper bound that
stands in the same cell.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from reports.intervals import BRACKET

LOWER, UPPER, WHOLE = "kl_lower", "kl_upper", "kl_qp"
PAIRED = (WHOLE, "elbo_gap")  # metrics that are KL(q||p), and may be bounds from below


def bracketed(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``frame.load`` with ``upper`` and ``upper_stderr``: the other end, where a row is
    a bracket.

    A row of ``PAIRED`` of kind ``lower bound`` becomes ``between bounds`` where ``kl_upper`` has a
    finite value at the same checkpoint of the same cell. Its ``value`` stays the lower end.
    """
    tops = frame[(frame["metric"] == UPPER) & np.isfinite(frame["value"])]
    tops = tops[["key", "checkpoint", "value", "stderr"]].rename(
        columns={"value": "upper", "stderr": "upper_stderr"}
    )
    joined = frame.merge(tops, how="left", on=["key", "checkpoint"], validate="many_to_one")
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
