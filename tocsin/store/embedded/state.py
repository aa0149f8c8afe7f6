"""The keyed state of the embedded store: SQLite in WAL mode, which several processes can share."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tocsin.errors import StoreError
from tocsin.store.private import private_files
from tocsin.store.protocol import Entry

#: The version of the store that this code writes. A store with another version is refused.
STORE_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS state (
    kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
"""


def check_store(folder: Path, namespace: str) -> None:
    """Check that a store can be opened or created in a folder, without writing anything.

    Raises:
        StoreError: the folder cannot be read or written, or the store has another version or namespace.
    """
    path = folder / "state.db"
    try:
        if not path.exists():
            parent = next(p for p in (folder, *folder.absolute().parents) if p.exists())
            if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
                raise StoreError(
                    f"the store {folder} cannot be created: {parent} is not a folder that Tocsin can write to; "
                    "set `store.path` to another folder"
                )
            return
        # without a log of changes, no file is created beside the database
        wal = path.with_name(f"{path.name}-wal")
        quiet = "" if wal.exists() and wal.stat().st_size else "&immutable=1"
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{quiet}", uri=True)) as connection:
            _check(dict(connection.execute("SELECT key, value FROM meta")), path, namespace)
    except (OSError, ValueError, sqlite3.Error) as error:
        raise StoreError(
            f"cannot open the keyed state {path}: {error}; check the permissions of the file and its folder"
        ) from error


def _check(meta: Mapping[str, str], path: Path, namespace: str) -> None:
    """Check the version and the namespace of a store."""
    version = int(meta.get("store_version", STORE_VERSION))
    if version != STORE_VERSION:
        raise StoreError(
            f"the store {path.parent} has version {version}, but this Tocsin supports version {STORE_VERSION}; "
            "upgrade Tocsin, or set `store.path` to another store"
        )
    if meta.get("namespace", namespace) != namespace:
        raise StoreError(
            f"the store {path.parent} belongs to namespace {meta['namespace']!r}, "
            f"not {namespace!r}; set `namespace` in tocsin.yaml to {meta['namespace']!r}, "
            "or set `store.path` to another store"
        )


class State:
    """Records by kind and key, written with compare-and-set. A record is durable when `put` returns."""

    def __init__(self, path: Path, namespace: str) -> None:
        self._mutex, self._path = threading.Lock(), path
        try:
            with private_files():  # SQLite gives its other files the mode of this one
                self._connection = sqlite3.connect(
                    path, timeout=30, isolation_level=None, check_same_thread=False
                )
                weakref.finalize(self, self._connection.close)  # closes the connection even without close()
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
                with self._write():
                    for statement in _SCHEMA.split(";\n"):
                        self._connection.execute(statement)
                    self._check_identity(path, namespace)
        except sqlite3.Error as error:
            raise StoreError(
                f"cannot open the keyed state {path}: {error}; check the permissions of the file and its folder"
            ) from error

    def _check_identity(self, path: Path, namespace: str) -> None:
        """Check the store's version and namespace, and write them to a new store."""
        _check(dict(self._connection.execute("SELECT key, value FROM meta")), path, namespace)
        for key, value in (
            ("store_version", str(STORE_VERSION)),
            ("namespace", namespace),
            ("sequence", "0"),
        ):
            self._connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, value))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the mutex, and convert errors of SQLite to `StoreError`."""
        with self._mutex:
            try:
                yield
            except sqlite3.Error as error:
                raise StoreError(
                    f"the keyed state {self._path} cannot be read or written: {error}; check the disk and its space"
                ) from error

    @contextmanager
    def _write(self) -> Iterator[None]:
        with self._locked():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def get(self, kind: str, key: str) -> Entry | None:
        with self._locked():
            row = self._connection.execute(
                "SELECT value, version FROM state WHERE kind = ? AND key = ?", (kind, key)
            ).fetchone()
        return None if row is None else Entry(kind, key, msgspec.json.decode(row[0]), row[1])

    def put(self, kind: str, key: str, value: Mapping[str, Any], expected: int | None) -> Entry | None:
        return self.put_all(kind, [(key, value, expected)])[0]

    def put_all(
        self, kind: str, writes: Sequence[tuple[str, Mapping[str, Any], int | None]]
    ) -> list[Entry | None]:
        texts = [msgspec.json.encode(value).decode() for _, value, _ in writes]
        with self._write():
            return [
                self._put(kind, key, text, expected)
                for text, (key, _, expected) in zip(texts, writes, strict=True)
            ]

    def _put(self, kind: str, key: str, text: str, expected: int | None) -> Entry | None:
        (sequence,) = self._connection.execute(
            "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'sequence' "
            "RETURNING CAST(value AS INTEGER)"
        ).fetchone()
        if expected is None:
            changed = self._connection.execute(
                "INSERT OR IGNORE INTO state VALUES (?, ?, ?, ?)", (kind, key, text, sequence)
            )
        else:
            changed = self._connection.execute(
                "UPDATE state SET value = ?, version = ? WHERE kind = ? AND key = ? AND version = ?",
                (text, sequence, kind, key, expected),
            )
        return Entry(kind, key, msgspec.json.decode(text), sequence) if changed.rowcount == 1 else None

    def delete(self, kind: str, key: str, expected: int) -> bool:
        with self._write():
            changed = self._connection.execute(
                "DELETE FROM state WHERE kind = ? AND key = ? AND version = ?", (kind, key, expected)
            )
            return changed.rowcount == 1

    def entries(self, kind: str, prefix: str) -> list[Entry]:
        with self._locked():
            rows = self._connection.execute(
                "SELECT key, value, version FROM state WHERE kind = ? AND substr(key, 1, ?) = ? ORDER BY key",
                (kind, len(prefix), prefix),
            ).fetchall()
        return [Entry(kind, key, msgspec.json.decode(value), version) for key, value, version in rows]

    def kinds(self) -> list[str]:
        with self._locked():
            rows = self._connection.execute("SELECT DISTINCT kind FROM state ORDER BY kind").fetchall()
        return [kind for (kind,) in rows]

    def raise_versions(self, above: int) -> None:
        with self._write():
            self._connection.execute(
                "UPDATE meta SET value = max(CAST(value AS INTEGER), ?) WHERE key = 'sequence'", (above,)
            )

    def close(self) -> None:
        with self._mutex:
            self._connection.close()
