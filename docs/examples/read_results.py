"""Read the results of a run with pandas.

From the folder of the clone,

    python docs/examples/read_results.py results/quick

prints three tables of a run that is on disk; without a folder it makes a small run first. The rows
come from ``postbench export DIR --to rows.parquet`` (or ``.csv``): one row for each cell (problem,
method and seed), checkpoint and metric.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

SMALL = (
    *("-p", "mixture-2d", "-p", "eight-schools", "-m", "gaussian-vb", "-m", "exact"),
    *("--metric", "kl_qp", "--metric", "mmd", "--seeds", "2", "--draws", "500"),
)
# What the harness records beside the metrics, in the same column.
COSTS = (
    *("fit_seconds", "setup_seconds"),
    *("gradients", "evaluations", "sampling_seconds", "peak_memory"),
)


def postbench(*words: str | Path) -> None:
    """Run the command ``postbench`` with this Python; what it prints is left out."""
    command = [sys.executable, "-m", "bench", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def rows_of(folder: Path) -> pd.DataFrame:
    """The tidy rows of a run, and its cells that ended without a figure."""
    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "rows.parquet"
        postbench("export", folder, "--to", table)
        return pd.read_parquet(table)


def final(rows: pd.DataFrame) -> pd.DataFrame:
    """The figures of the last checkpoint of each cell, those that could be had."""
    cell = ["problem", "method", "settings", "seed"]
    last = rows.groupby(cell)["checkpoint"].transform("max")
    return rows[(rows["checkpoint"] == last) & (rows["status"] == "ok")]


def main(folder: Path | None = None) -> pd.DataFrame:
    """Print what a run says; return the mean of each metric over the seeds.

    Args:
        folder: of a run; None for a small one that is made here and thrown away.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as place:
            postbench("run", *SMALL, "--out", Path(place) / "small")
            return main(Path(place) / "small")
    rows = rows_of(folder)

    print("Figures by status, the reasons of those that are not ok below:")
    print(rows.groupby(["method", "status"]).size().unstack(fill_value=0).to_string(), "\n")
    for reason in rows.loc[rows["status"] != "ok", "reason"].unique():
        print(f"  {reason}\n")

    quality = final(rows)
    quality = quality[~quality["metric"].isin(COSTS)]
    table = quality.pivot_table(
        index=["problem", "metric"], columns=["method", "settings"], values=["value", "stderr"]
    )
    print("Mean over the seeds, and the mean of the standard errors:")
    print(table.to_string(float_format="{:.4g}".format), "\n")

    print("Quality against cost, KL(q||p) in nats at each checkpoint of seed 0:")
    path = rows[(rows["metric"] == "kl_qp") & (rows["seed"] == 0)]
    columns = ["problem", "method", "gradients", "seconds", "value", "stderr", "kind"]
    print(path[columns].to_string(index=False, float_format="{:.4g}".format))
    return table


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
