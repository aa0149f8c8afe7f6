"""Alerts, incidents and groups in the store's keyed state, as typed values with compare-and-set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from tocsin.errors import StoreError
from tocsin.store.protocol import Store

_ATTEMPTS = 20
#: From this many records on, they are written in one request.
_MANY = 50


class Conflict(StoreError):  # noqa: N818  # usually handled: the work is repeated on the newer record
    """Another process changed a record after this process read it and before this process wrote it."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"another process changed {kind} {id} at the same time; try again")


class _Record(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_Record)


class Table(Generic[R]):
    """All records of one kind, read once at construction, with methods to reload and write them.

    With `empty`, nothing is read at construction: for a thread that reloads the few records that it changes.
    """

    def __init__(self, store: Store, kind: str, type_: type[R], *, empty: bool = False) -> None:
        self._store, self._kind, self._type = store, kind, type_
        self._versions: dict[str, int] = {}
        self._records: dict[str, R] = {}
        for entry in () if empty else store.entries(kind):
            self._records[entry.key] = self._read(entry.value)
            self._versions[entry.key] = entry.version

    def all(self) -> list[R]:
        """Every record, by id."""
        return [self._records[id] for id in sorted(self._records)]

    def get(self, id: str) -> R | None:
        """The record with this id, or None."""
        return self._records.get(id)

    def reload(self, id: str) -> R | None:
        """Read the record again; None if it no longer exists."""
        entry = self._store.get(self._kind, id)
        if entry is None:
            self._records.pop(id, None)
            return None
        self._records[id], self._versions[id] = self._read(entry.value), entry.version
        return self._records[id]

    def save(self, record: R) -> None:
        """Write a record if the stored version is still the one that was read.

        Raises:
            Conflict: another process has changed the record.
        """
        value = msgspec.to_builtins(record)
        entry = self._store.put(self._kind, record.id, value, self._versions.get(record.id))
        if entry is None:
            raise Conflict(self._kind, record.id)
        self._records[record.id], self._versions[record.id] = record, entry.version

    def save_all(self, records: Sequence[R]) -> None:
        """Write records as `save` does, in their order; very many of them in one request to the store.

        Raises:
            Conflict: another process has changed a record. The others may have been written.
        """
        if len(records) < _MANY:
            for record in records:
                self.save(record)
            return
        changed = self._put(records)
        if changed:
            raise Conflict(self._kind, changed[0])

    def _put(self, records: Sequence[R]) -> list[str]:
        """Write records in one request. Returns the ids of those that another process has changed."""
        writes = [(r.id, msgspec.to_builtins(r), self._versions.get(r.id)) for r in records]
        changed = []
        for record, entry in zip(records, self._store.put_all(self._kind, writes), strict=True):
            if entry is None:
                changed.append(record.id)
            else:
                self._records[record.id], self._versions[record.id] = record, entry.version
        return changed

    def amend_all(self, ids: Collection[str], change: Callable[[R], R]) -> None:
        """Apply a change to several records as `amend` does; very many of them in one request to the store.

        Raises:
            Conflict: a record no longer exists, or all attempts conflicted with other writers.
        """
        left = sorted(ids)
        if len(left) >= _MANY:  # a record is reloaded if it is not the one that was read
            left = self._put([change(self._records[id]) for id in left])
        for id in left:
            self.amend(id, change)

    def amend(self, id: str, change: Callable[[R], R]) -> R:
        """Reload the record and apply a change to it; retry if another process changed it meanwhile.

        Raises:
            Conflict: the record no longer exists, or all attempts conflicted with other writers.
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
        """Delete a record if the stored version is still the one that was read.

        Raises:
            Conflict: another process has changed the record.
        """
        if not self._store.delete(self._kind, id, self._versions[id]):
            raise Conflict(self._kind, id)
        del self._records[id], self._versions[id]

    def _read(self, value: Any) -> R:
        return msgspec.convert(value, self._type)
