"""The one SQLite file of a run: opened to read without a trace, or to write and made where it is
missing.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from bench.store.trouble import StoreError, explained

FILE = "results.sqlite"
VERSION = 1  # of the tables; older versions wrote 0 and the same tables
SCHEMA = """
CREATE TABLE IF NOT EXISTS info (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cells (
    key TEXT PRIMARY KEY, problem TEXT NOT NULL, problem_settings TEXT NOT NULL,
    method TEXT NOT NULL, settings TEXT NOT NULL, seed INTEGER NOT NULL, budget TEXT NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL, seconds REAL, gradients INTEGER,
    diagnostics TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rows (
    key TEXT NOT NULL REFERENCES cells(key) ON DELETE CASCADE, checkpoint INTEGER NOT NULL,
    final INTEGER NOT NULL, seconds REAL NOT NULL, gradients INTEGER NOT NULL,
    evaluations INTEGER NOT NULL, draws INTEGER NOT NULL, metric TEXT NOT NULL,
    value REAL, stderr REAL, kind TEXT, status TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (key, checkpoint, metric));
"""
COLUMNS = {
    "info": {"name", "value"},
    "cells": {
        *("key", "problem", "problem_settings", "method", "settings", "seed", "budget"),
        *("status", "reason", "seconds", "gradients", "diagnostics"),
    },
    "rows": {
        *("key", "checkpoint", "final", "seconds", "gradients", "evaluations", "draws"),
        *("metric", "value", "stderr", "kind", "status", "reason"),
    },
}
TOKEN = "token"  # a fact by which a file is told from one that took its place
PATIENCE = 60.0  # seconds that a write waits for another to end


class Database:
    """The file, opened anew for every transaction.

    Args:
        file: its path.
        write: whether it is made where it is missing, and may be written.

    Raises:
        StoreError: if it is no file of results, of a later version, harmed, or cannot be opened.
    """

    def __init__(self, file: Path, *, write: bool) -> None:
        self.file, self.write = file, write
        with explained(file), self._connect() as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            found = _columns(db)
            if write and version == 0 and not found:
                db.executescript(SCHEMA)
                found = _columns(db)
            self._check(version, found)
            if write:
                _stamp(db)
            self._token = _token(db)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to the database for reading, closed at the end."""
        with explained(self.file), self._connect() as db:
            yield db

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are kept together, or not at all.

        Raises:
            StoreError: if the file was opened to be read; if it is not the one that was opened.
        """
        if not self.write:
            raise StoreError(f"{self.file} was opened to be read; nothing is written to it.")
        lost = StoreError(
            f"{self.file} was removed or replaced while it was written to; what it held is lost,"
            " and the same command begins anew."
        )
        if not self.file.is_file():
            raise lost
        with explained(self.file), self._connect() as db:
            if _token(db) != self._token:
                raise lost
            with db:
                yield db

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        if self.write:
            db = sqlite3.connect(self.file, timeout=PATIENCE)
        else:
            db = sqlite3.connect(f"{self.file.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)
        try:
            db.execute("PRAGMA foreign_keys = ON")
            db.row_factory = sqlite3.Row
            yield db
        finally:
            db.close()

    def _check(self, version: int, found: dict[str, set[str]]) -> None:
        if version > VERSION:
            raise StoreError(
                f"{self.file} was written by a later version of postbench (tables of version"
                f" {version}; this one reads up to {VERSION}); install that, or choose another"
                " folder by --out."
            )
        lacking = [
            f"{table}.{name}"
            for table, names in COLUMNS.items()
            for name in sorted(names - found.get(table, set()))
        ]
        if lacking:
            raise StoreError(
                f"{self.file} is no file of results, or one of a version too old to read: it has no"
                f" {lacking[0]}; move it away, and the same run makes a new one."
            )


def _columns(db: sqlite3.Connection) -> dict[str, set[str]]:
    """The columns of every table of the file."""
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        table: {row[1] for row in db.execute(f"PRAGMA table_info({_quoted(table)})")}
        for table in tables
    }


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _stamp(db: sqlite3.Connection) -> None:
    """Write the version of the tables, and a token that no other file has."""
    with contextlib.suppress(sqlite3.OperationalError):  # not ours to write: then it stays as it is
        if int(db.execute("PRAGMA user_version").fetchone()[0]) == VERSION and _token(db):
            return
        db.execute(
            "INSERT OR IGNORE INTO info VALUES (?, ?)", (TOKEN, json.dumps(secrets.token_hex(16)))
        )
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.commit()


def _token(db: sqlite3.Connection) -> str | None:
    try:
        found = db.execute("SELECT value FROM info WHERE name = ?", (TOKEN,)).fetchone()
    except sqlite3.OperationalError:  # made anew by someone else, without tables
        return None
    return None if found is None else str(found[0])
