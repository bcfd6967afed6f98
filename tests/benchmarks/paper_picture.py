"""The picture of ``docs/paper.md``: KL against the sampler's iterations, by our bounds and by the
neighbours that the paper counted with.

``python -m tests.benchmarks.paper_picture results/paper docs/paper.png``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from bench.store import Store

BATCH = {256: 512, None: 256}  # draws of an iteration, by the width of the discriminator
LEAST = 3e-3  # nats, the bottom of the picture
NAMES = {256: "AVB, the authors' notebook", None: "AVB, defaults"}
COLOURS = {256: "C3", None: "C0"}


def rows(folder: Path) -> pd.DataFrame:
    """The tidy rows of a run, with the names of their cells."""
    store = Store(folder, create=False)
    cells = pd.DataFrame(list(store.cells()))[["key", "problem", "method", "settings"]]
    return pd.DataFrame(list(store.rows())).merge(cells, on="key")


def draw(folder: Path, to: Path) -> None:
    """One panel a problem; AVB as curves, the best Gaussians as lines."""
    table = rows(folder)
    problems = [p for p in dict.fromkeys(table["problem"]) if (table["problem"] == p).any()]
    figure, panels = plt.subplots(
        1, len(problems), figsize=(max(5 * len(problems), 7), 4), sharey=True
    )
    for panel, problem in zip([panels] if len(problems) == 1 else panels, problems, strict=True):
        here = table[table["problem"] == problem]
        for width, name in NAMES.items():
            mine = here[
                (here["method"] == "avb")
                & (here["settings"].map(lambda s, w=width: s.get("width")) == width)
                if width
                else (here["method"] == "avb") & ~here["settings"].map(lambda s: "width" in s)
            ]
            _curves(panel, mine, name, COLOURS[width], BATCH[width])
        for style, covariance in (("--", "diagonal"), (":", "full")):
            said = here["settings"].map(lambda s: s.get("covariance", "diagonal"))
            best = here[
                (here["method"] == "gaussian-vb") & (said == covariance) & here["final"]
            ].query("metric == 'kl_qp'")["value"]
            if len(best):
                panel.axhline(
                    best.iloc[0], color="0.4", ls=style, lw=1, label=f"best Gaussian, {covariance}"
                )
        panel.set(title=problem, xlabel="iterations", xlim=(20, 12_000), ylim=(LEAST, 40))
        panel.set(xscale="log", yscale="log")
    figure.axes[0].set_ylabel("KL(q‖p), nats")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, fontsize=8, ncols=3 if len(problems) > 1 else 2, loc="lower center"
    )
    figure.tight_layout(rect=(0, 0.1 if len(problems) > 1 else 0.16, 1, 1))
    figure.savefig(to, dpi=150)


def _curves(panel: plt.Axes, mine: pd.DataFrame, name: str, colour: str, batch: int) -> None:
    for metric, style, what in (
        ("kl_qp", "-", ""),
        ("kl_upper", "-", None),
        ("kl_knn", "--", ", by neighbours"),
    ):
        found = mine[mine["metric"] == metric].sort_values("gradients").dropna(subset=["value"])
        panel.plot(
            found["gradients"] / batch,
            found["value"].clip(lower=LEAST),
            style,
            color=colour,
            lw=1.5,
            alpha=0.5 if metric == "kl_knn" else 1,
            marker=".",
            label=None if what is None else name + what,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("results", type=Path, help="a folder that `postbench run paper` made")
    parser.add_argument("picture", type=Path, help="where it goes")
    given = parser.parse_args()
    draw(given.results, given.picture)
