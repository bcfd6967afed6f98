"""What a certificate must hold before it is read, and which of it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# entries by their path, and what each must be
KEYS: dict[str, type | tuple[type, ...]] = {
    "problem.name": str,
    "problem.source": str,
    "problem.settings": dict,
    "problem.coordinates": list,
    "made.date": str,
    "sampler.route": str,
    "checks": list,
    "moments.mean": list,
    "moments.sd": list,
    "log_z.value": (int, float),
    "log_z.stderr": (int, float),
    "density.values": list,
    "density.sha256": str,
    "draws.count": int,
    "draws.dim": int,
    "draws.sha256": str,
}
OF_A_CHECK = ("name", "figure", "met")


def missing(certificate: Mapping[str, Any]) -> str:
    """The entries that a certificate lacks, or that are not what they must be; empty if it has
    all.
    """
    lacking = [path for path, kind in KEYS.items() if not isinstance(_at(certificate, path), kind)]
    checks = certificate.get("checks")
    for i, check in enumerate(checks if isinstance(checks, list) else []):
        if not isinstance(check, dict) or any(name not in check for name in OF_A_CHECK):
            lacking.append(f"checks[{i}]")
    return f"the certificate lacks {', '.join(lacking)}" if lacking else ""


def _at(table: Any, path: str) -> Any:
    for name in path.split("."):
        table = table.get(name) if isinstance(table, Mapping) else None
    return table
