"""Alerts, incidents and groups in the store's keyed state, as typed values with compare-and-set."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from tocsin.errors import StoreError
from tocsin.store.protocol import Store

_ATTEMPTS = 20


class Conflict(StoreError):  # noqa: N818  # mostly no error: the work is done again on the newer record
    """Another process wrote a record between our reading and our writing of it."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"another process changed {kind} {id} at the same moment; do it again")


class _Record(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_Record)


class Table(Generic[R]):
    """All records of one kind, as they were when first asked for, and how to write them."""

    def __init__(self, store: Store, kind: str, type_: type[R]) -> None:
        self._store, self._kind, self._type = store, kind, type_
        self._versions: dict[str, int] = {}
        self._records: dict[str, R] = {}
        for entry in store.entries(kind):
            self._records[entry.key] = self._read(entry.value)
            self._versions[entry.key] = entry.version

    def all(self) -> list[R]:
        """Every record, by id."""
        return [self._records[id] for id in sorted(self._records)]

    def get(self, id: str) -> R | None:
        """The record with this id, or None."""
        return self._records.get(id)

    def reload(self, id: str) -> R | None:
        """The record as it is now, or None where it is gone."""
        entry = self._store.get(self._kind, id)
        if entry is None:
            self._records.pop(id, None)
            return None
        self._records[id], self._versions[id] = self._read(entry.value), entry.version
        return self._records[id]

    def save(self, record: R) -> None:
        """Write a record that was decided on as it was read.

        Raises:
            Conflict: it is no longer as it was read.
        """
        value = msgspec.to_builtins(record)
        entry = self._store.put(self._kind, record.id, value, self._versions.get(record.id))
        if entry is None:
            raise Conflict(self._kind, record.id)
        self._records[record.id], self._versions[record.id] = record, entry.version

    def amend(self, id: str, change: Callable[[R], R]) -> R:
        """Apply a change that holds for whatever the record is by now.

        Raises:
            Conflict: the record is gone, or others keep writing it.
        """
        for _ in range(_ATTEMPTS):
            before = self.reload(id)
            if before is None:
                break
            record = change(before)
            with suppress(Conflict):
                self.save(record)
                return record
        raise Conflict(self._kind, id)

    def drop(self, id: str) -> None:
        """Remove a record that was decided on as it was read.

        Raises:
            Conflict: it is no longer as it was read.
        """
        if not self._store.delete(self._kind, id, self._versions[id]):
            raise Conflict(self._kind, id)
        del self._records[id], self._versions[id]

    def _read(self, value: Any) -> R:
        return msgspec.convert(value, self._type)
