"""A store that looks like a real run, made of closed forms in half a second, for the tests of the
report to look at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.store import CellRecord, Row, Status, Store, label
from tests.helpers.figures import WORDS

Array = NDArray[np.float64]
NASTY = "<script>alert(1)</script>"
NAMES = ("mixture-2d", "eight-schools", "eight-schools-signed")
DRAWS, CHECKPOINTS, SEEDS = 2000, 6, 3
SCHOOLS = ("mu", "log tau", *(f"eta[{i + 1}]" for i in range(8)))
SIGNED = ("mu", "tau", *(f"eta[{i + 1}]" for i in range(8)))
METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gaussian-vb", {}),
    ("gaussian-vb", {"covariance": "full"}),
    ("avb", {}),
    ("pyro-nuts", {}),
    ("exact", {}),
)
INFO = {
    "title": "quick",
    "description": "Three posteriors whose truth is known, five methods, three seeds.",
    "command": "postbench run quick --out results",
    "version": "0.1.0",
    "started": "2026-01-05 10:00 UTC",
    "finished": "2026-01-05 10:04 UTC",
    "python": "3.11.9",
    "platform": "Linux x86_64",
    "processor": "Example CPU @ 2.50GHz",
    "cores": 2,
    "metrics": WORDS,
    "packages": {"torch": "2.13.0", "pyro-ppl": "1.9.2", "numpy": "2.4.6", "scipy": "1.17.1"},
}
REASONS: dict[tuple[str, str, int], tuple[Status, str]] = {
    ("eight-schools-signed", "avb", 2): (
        "timed-out",
        "The cell ran longer than its wall limit of 180 seconds and was ended.",
    ),
    ("eight-schools-signed", "pyro-nuts", 1): (
        "crashed",
        "The process was ended by signal 11 (SIGSEGV).",
    ),
    ("eight-schools", "gaussian-vb covariance=full", 1): (
        "diverged",
        f"37 of 2000 draws are not finite. {NASTY}",
    ),
}


@dataclass(frozen=True)
class Fit:
    """How one method ends on one problem: divergence, kind, cost, its draws, and ``gap`` to an
    upper bound, if there is one.
    """

    kl: float
    kind: str
    seconds: float
    gradients: int
    draw: Callable[[int, np.random.Generator], Array]
    gap: float | None = None


def mixture(n: int, rng: np.random.Generator) -> Array:
    return np.where(rng.random((n, 1)) < 0.5, -2.0, 2.0) + 0.5 * rng.standard_normal((n, 2))


def schools(n: int, rng: np.random.Generator) -> Array:
    mu, log_tau = 4.4 + 3.3 * rng.standard_normal(n), 1.2 - np.log(rng.gamma(2.0, 0.5, n) + 0.05)
    eta = rng.standard_normal((n, 8)) * 0.93 + 0.12 * np.linspace(2, -2, 8) * log_tau[:, None]
    return np.column_stack([mu, log_tau, eta])


def signed(n: int, rng: np.random.Generator) -> Array:
    sign = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    tau = sign * np.abs(1.1 + 0.35 * rng.standard_normal(n))
    eta = 0.5 * rng.standard_normal((n, 8)) + tau[:, None] * np.linspace(1.6, -0.4, 8)
    return np.column_stack([0.5 + 0.4 * rng.standard_normal(n), tau, eta])


def gaussian(
    truth: Callable[[int, np.random.Generator], Array], *, full: bool, side: int | None
) -> Callable[..., Array]:
    """The Gaussian of the truth's own moments, or of one side of it where coordinate ``side`` is
    positive.
    """

    def draw(n: int, rng: np.random.Generator) -> Array:
        known = truth(20_000, np.random.default_rng(0))
        known = known if side is None else known[known[:, side] > 0]
        covariance = np.cov(known.T) if full else np.diag(known.var(0) * 0.8)
        return rng.multivariate_normal(known.mean(0), covariance, n)

    return draw


def bridged(truth: Callable[[int, np.random.Generator], Array]) -> Callable[..., Array]:
    """Nearly the truth, some of its draws on straight lines between others: as a network that maps
    noise continuously.
    """

    def draw(n: int, rng: np.random.Generator) -> Array:
        a, b, t = truth(n, rng), truth(n, rng), rng.random((n, 1))
        return np.where(rng.random((n, 1)) < 0.12, t * a + (1 - t) * b, a)

    return draw


def one_sided(
    truth: Callable[[int, np.random.Generator], Array], side: int, share: float
) -> Callable[..., Array]:
    """Chains that found both sides, but not in the right proportion."""

    def draw(n: int, rng: np.random.Generator) -> Array:
        a = truth(6 * n, rng)
        return a[rng.permutation(6 * n)][
            np.argsort((a[:, side] > 0) != (rng.random(6 * n) < share), kind="stable")
        ][:n]

    return draw


def posteriors() -> dict[str, tuple[tuple[str, ...], Callable[..., Array], dict[str, Fit]]]:
    """Coordinates, truth, and one ``Fit`` per method label."""
    full, exact = "gaussian-vb covariance=full", "exact"
    return {
        "mixture-2d": (
            ("z[1]", "z[2]"),
            mixture,
            {
                "gaussian-vb": Fit(
                    0.6931, "exact", 1.3, 41_000, gaussian(mixture, full=False, side=0)
                ),
                full: Fit(0.6929, "exact", 1.9, 52_000, gaussian(mixture, full=True, side=0)),
                "avb": Fit(0.151, "lower bound", 21.0, 1_400_000, bridged(mixture), gap=0.02),
                "pyro-nuts": Fit(0.41, "estimate", 9.0, 14_000, one_sided(mixture, 0, 0.8)),
                exact: Fit(0.0, "estimate", 0.0, 0, mixture),
            },
        ),
        "eight-schools": (
            SCHOOLS,
            schools,
            {
                "gaussian-vb": Fit(
                    0.2862, "exact", 0.9, 33_000, gaussian(schools, full=False, side=None)
                ),
                full: Fit(0.2229, "exact", 1.4, 47_000, gaussian(schools, full=True, side=None)),
                "avb": Fit(0.031, "exact", 28.0, 1_410_000, bridged(schools)),
                "pyro-nuts": Fit(0.004, "estimate", 15.2, 23_400, schools),
                exact: Fit(0.0, "estimate", 0.0, 0, schools),
            },
        ),
        "eight-schools-signed": (
            SIGNED,
            signed,
            {
                "gaussian-vb": Fit(
                    1.5812, "exact", 1.1, 36_000, gaussian(signed, full=False, side=1)
                ),
                full: Fit(1.1769, "exact", 1.7, 51_000, gaussian(signed, full=True, side=1)),
                "avb": Fit(0.183, "lower bound", 29.0, 1_390_000, bridged(signed)),
                "pyro-nuts": Fit(0.09, "estimate", 31.0, 61_000, one_sided(signed, 1, 0.62)),
                exact: Fit(0.0, "estimate", 0.0, 0, signed),
            },
        ),
    }


def build(
    folder: Path, *, only_failures: bool = False, exact: bool = True, names: Collection[str] = NAMES
) -> Store:
    """Write the run of the problems named; ``exact``: whether with a noise floor;
    ``only_failures``: nothing was measured.
    """
    store = Store(folder)
    store.note(INFO)
    for name, (coordinates, truth, fits) in posteriors().items():
        if name not in names:
            continue
        store.save_draws(
            f"truth-{label(name, {})}", truth(DRAWS, np.random.default_rng(1)), coordinates
        )
        for method, settings in METHODS if exact else METHODS[:-1]:
            for seed in range(SEEDS):
                record, rows = cell(name, method, settings, seed, fits[label(method, settings)])
                if only_failures:
                    record, rows = (
                        replace(record, status="failed", reason=f"RuntimeError: {NASTY}"),
                        [],
                    )
                elif record.status in ("ok", "timed-out"):
                    draws = fits[label(method, settings)].draw(
                        DRAWS, np.random.default_rng(seed + 7)
                    )
                    store.save_draws(record.key, draws, coordinates)
                store.append(record, rows)
    store.append(
        CellRecord(
            "nasty",
            "mixture-2d",
            {},
            NASTY,
            {"x": "a|b"},
            0,
            {},
            "failed",
            f"ValueError: {NASTY} `a|b`\n*c*",
        ),
        [],
    )
    return store


def cell(
    problem: str, method: str, settings: dict[str, Any], seed: int, fit: Fit
) -> tuple[CellRecord, list[Row]]:
    """One cell as the harness would write it."""
    name = label(method, settings)
    status, reason = REASONS.get((problem, name, seed), ("ok", ""))
    key = hashlib.sha256(f"{problem} {name} {seed}".encode()).hexdigest()[:24]
    rng = np.random.default_rng(int(key[:8], 16))
    reached = CHECKPOINTS if status == "ok" else 3 if status == "timed-out" else 0
    steps = [CHECKPOINTS - 1] if method in ("exact", "pyro-nuts") else range(reached)
    rows = [
        row
        for i, step in enumerate(steps if reached else ())
        for row in checkpoint(method, fit, i, step, rng)
    ]
    last = max((row.checkpoint for row in rows), default=0)
    rows = [replace(row, final=row.checkpoint == last) for row in rows]
    seconds, gradients = (rows[-1].seconds, rows[-1].gradients) if rows else (None, None)
    health = (
        {"r_hat": 1.0 + 0.01 * rng.random(), "ess_bulk": 1800.0, "divergences": 3.0}
        if method == "pyro-nuts"
        else None
    )
    budget = {"seconds": 30.0, "checkpoints": CHECKPOINTS}
    return (
        CellRecord(
            key,
            problem,
            {},
            method,
            settings,
            seed,
            budget,
            status,
            reason,
            seconds,
            gradients,
            health,
        ),
        rows,
    )


def checkpoint(
    method: str, fit: Fit, index: int, step: int, rng: np.random.Generator
) -> Iterator[Row]:
    """Every metric at one of the log-spaced points of the budget."""
    share = 10.0 ** (-3 * (1 - step / (CHECKPOINTS - 1)))
    spent, gradients = fit.seconds * share * rng.uniform(0.9, 1.1), int(fit.gradients * share)
    kl = (fit.kl + (0.9 + 3 * fit.kl) * (1 - share) * np.exp(-1.1 * step)) * rng.uniform(0.96, 1.04)
    loose = 0.02 if fit.kind == "estimate" else 0.004
    figures: list[tuple[str, float | None, float, str]] = [
        ("fit_seconds", spent, 0.0, "exact"),
        ("gradients", gradients, 0.0, "exact"),
        ("evaluations", gradients * 1.1, 0.0, "exact"),
        ("sampling_seconds", 0.004 * rng.uniform(0.9, 1.1), 0.0, "exact"),
        ("peak_memory", 40.0 + 30 * rng.random(), 0.0, "exact"),
        ("kl_qp", kl + loose * rng.normal(), loose, fit.kind),
        ("kl_pq", 1.6 * kl + 0.02 * rng.normal(), 0.02, "estimate"),
        ("kl_knn", 0.8 * kl + 0.02 * rng.normal(), 0.02, "estimate"),
        ("mmd", 0.05 * kl + 4e-4 * rng.normal(), 4e-4, "exact"),
        ("mean_error", abs(0.02 + 0.4 * kl + 0.01 * rng.normal()), 0.011, "estimate"),
        ("sd_error", abs(0.02 + 0.3 * kl + 0.01 * rng.normal()), 0.012, "estimate"),
        ("mode_balance", abs(0.5 * min(kl, 0.9) + 0.01 * rng.normal()), 0.01, "estimate"),
    ]
    figures += further(method, fit, kl, loose, rng)
    note = "det J changes sign at 3% of the draws." if fit.kind == "lower bound" else ""
    for metric, value, stderr, kind in figures:
        value = None if metric == "mmd" and method == "avb" else value
        common = (index, False, spent, gradients, int(gradients * 1.1), DRAWS, metric)
        if value is None:
            yield Row(
                *common,
                None,
                None,
                None,
                "skipped",
                "The kernel's bandwidth needs more than 5,000 draws.",
            )
        else:
            yield Row(*common, value, stderr, kind, "ok", note if metric == "kl_qp" else "")


def further(
    method: str, fit: Fit, kl: float, loose: float, rng: np.random.Generator
) -> list[tuple[str, float | None, float, str]]:
    """The metrics of later versions: bounds by other routes, and what a density allows."""
    alone = method in ("exact", "pyro-nuts")
    found: list[tuple[str, float | None, float, str]] = [
        ("kl_classifier", 0.7 * kl - 0.01 + 0.01 * rng.normal(), 0.01, "lower bound"),
        (
            "kl_lower",
            (0.8 if alone else 1.0) * kl + 0.002 * rng.normal(),
            0.01,
            "lower bound" if alone else fit.kind,
        ),
        ("sliced_wasserstein", 0.1 * kl + 1e-3 * rng.normal(), 1e-3, "estimate"),
        ("c2st", 0.5 + 0.4 * min(kl, 1.0) + 0.005 * rng.normal(), 0.006, "lower bound"),
        ("ksd", 0.02 * kl + 1e-3 * rng.normal(), 1e-3, "exact"),
        ("coverage", abs(0.02 + 0.2 * min(kl, 1.0) + 0.01 * rng.normal()), 0.01, "estimate"),
        ("quantile_error", abs(0.08 + 0.3 * kl + 0.02 * rng.normal()), 0.02, "estimate"),
    ]
    if not alone:
        found += [("elbo", -31.2 - kl, loose, "exact"), ("elbo_gap", kl, loose, fit.kind)]
        found += [
            ("psis_khat", 0.3 + 0.4 * kl, 0.1, "estimate"),
            ("importance_ess", 1 / (1 + kl), 0.02, "estimate"),
        ]
        found += [
            ("log_z_error", -0.3 * kl, 0.02, "estimate"),
            ("log_z_error_reverse", 0.4 * kl, 0.03, "estimate"),
        ]
    if fit.gap is not None or fit.kind == "exact":
        upper = kl + (fit.gap or 0.0)
        found.append(("kl_upper", upper, loose, "exact" if fit.gap is None else "upper bound"))
    return found


def wide(folder: Path, *, problems: int = 35, exact: bool = True) -> Store:
    """A run of many problems and three methods, measured once; draws are kept for the first problem
    only.
    """
    store = Store(folder)
    own = {"own": {"unit": "nats", "ideal": 1.0}}
    store.note(INFO | {"title": "wide", "metrics": WORDS | own})
    fits = next(iter(posteriors().values()))[2]
    for i in range(problems):
        name = f"a-posterior-of-some-length-{i + 1}"
        for method in ("gaussian-vb", "avb", "pyro-nuts", *(["exact"] if exact else [])):
            for seed in range(2):
                fit = fits[method]
                record, rows = cell(
                    name, method, {}, seed, replace(fit, kl=fit.kl * (0.2 + 0.1 * (i % 7)))
                )
                store.append(record, [row for row in rows if row.final])
                if i == 0:
                    store.save_draws(
                        record.key, fit.draw(DRAWS, np.random.default_rng(seed)), ("z[1]", "z[2]")
                    )
        if i == 0:
            store.save_draws(
                f"truth-{name}", mixture(DRAWS, np.random.default_rng(1)), ("z[1]", "z[2]")
            )
    return store
