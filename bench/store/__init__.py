"""The results of a run on disk: one SQLite file of tidy rows, one transaction a cell, and the draws
beside it.
"""

from bench.store.database import FILE
from bench.store.lock import Lock
from bench.store.records import COSTS, CellRecord, Row, Status, kept_label, label
from bench.store.store import (
    GENERATIVE,
    NOTE,
    ORIGINS,
    PUBLISHED,
    PUBLISHED_AS,
    SOURCES,
    TRAITS,
    Store,
)
from bench.store.trouble import StoreError, is_file
from bench.store.values import number, plain

__all__ = [
    "COSTS",
    "FILE",
    "GENERATIVE",
    "NOTE",
    "ORIGINS",
    "PUBLISHED",
    "PUBLISHED_AS",
    "SOURCES",
    "TRAITS",
    "CellRecord",
    "Lock",
    "Row",
    "Status",
    "Store",
    "StoreError",
    "is_file",
    "kept_label",
    "label",
    "number",
    "plain",
]
