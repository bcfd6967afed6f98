"""Write the tables beside this script anew from the copies that scikit-learn bundles:
`python problems/data/make.py`.

It needs scikit-learn; the suite does not. Numbers are written as they were measured, in their
shortest form.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def write(name: str, columns: Iterable[str], inputs: Any, outcome: Iterable[float]) -> None:
    """One table: a line of names, and the outcome in the last column."""
    rows = [[*row, float(last)] for row, last in zip(inputs.tolist(), outcome, strict=True)]
    lines = [",".join(columns), *(",".join(map(shortest, row)) for row in rows)]
    (HERE / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def shortest(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return repr(value).removesuffix(".0")


def main() -> None:
    """Write both tables, ``breast_cancer.csv`` and ``diabetes.csv``, beside this file."""
    datasets: Any = importlib.import_module("sklearn.datasets")
    cancer, diabetes = datasets.load_breast_cancer(), datasets.load_diabetes(scaled=False)
    write(
        "breast_cancer.csv", [*cancer.feature_names, "malignant"], cancer.data, cancer.target == 0
    )
    write("diabetes.csv", [*diabetes.feature_names, "progression"], diabetes.data, diabetes.target)


if __name__ == "__main__":
    main()
