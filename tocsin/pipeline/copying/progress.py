"""The progress of a copy, one record per stream in the target's keyed state, from which a copy is resumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tocsin.clock import EPOCH, format_time, parse_time
from tocsin.errors import StoreError
from tocsin.store.protocol import Refused, Store

KIND = "copy"
_REASONS = 20  # the most different reasons that are stored
_OTHER = "other reasons"


def identity(store: Store) -> str:
    """A name of a store that does not depend on the current folder."""
    place = store.place if "://" in store.place else str(Path(store.place).resolve())
    return f"{place} {store.namespace}"


@dataclass(slots=True)
class Progress:
    """How far a stream is copied.

    `until` and `reach` are ingest times of the source: all rows up to `until` are in the target, and no row after
    `reach` is. `stamp` is the newest ingest time that the target assigned. A mark maps an ingest time of the source to
    one of the target: the rows up to the one are the rows up to the other.
    """

    until: datetime = EPOCH
    reach: datetime = EPOCH
    stamp: datetime = EPOCH
    refused: dict[str, int] = field(default_factory=dict)
    marks: dict[datetime, datetime] = field(default_factory=dict)
    version: int | None = None

    @classmethod
    def read(cls, source: Store, target: Store, stream: str) -> Progress:
        """Read the progress of an earlier copy; without one, the progress is at the beginning."""
        entry = target.get(KIND, _key(source, stream))
        if entry is None:
            return cls()
        value: Mapping[str, Any] = entry.value
        until, reach, stamp = (parse_time(value[name]) for name in ("until", "reach", "stamp"))
        marks = {parse_time(there): parse_time(here) for there, here in value["marks"].items()}
        return cls(until, reach, stamp, dict(value["refused"]), marks, entry.version)

    def write(self, source: Store, target: Store, stream: str) -> None:
        """Store the progress.

        Raises:
            StoreError: another copy of the same stream is running.
        """
        value = {name: format_time(getattr(self, name)) for name in ("until", "reach", "stamp")}
        marks = {format_time(there): format_time(here) for there, here in sorted(self.marks.items())}
        done = target.put(
            KIND,
            _key(source, stream),
            {**value, "refused": self.refused, "marks": marks},
            self.version,
        )
        if done is None:
            raise StoreError(
                f"another copy of stream {stream} from {source.place} to {target.place} is running; wait until it has ended"
            )
        self.version = done.version

    def refuse(self, refused: Iterable[Refused]) -> None:
        """Count rows that the target rejected, by reason."""
        for row in refused:
            known = row.reason in self.refused or len(self.refused) < _REASONS
            reason = row.reason if known else _OTHER
            self.refused[reason] = self.refused.get(reason, 0) + 1

    def mark(self, there: datetime) -> bool:
        """Map an ingest time of the source to the newest one of the target.

        Returns False if the mark exists, or if later rows of the source may be in the target already.
        """
        if there in self.marks or self.reach > there:
            return False
        self.marks[there] = self.stamp
        return True

    def here(self, there: datetime) -> datetime:
        """The ingest time of the target that corresponds to `there` in the source: the latest that the marks
        prove, never a later one.
        """
        return max((here for mark, here in self.marks.items() if mark <= there), default=EPOCH)


def _key(source: Store, stream: str) -> str:
    return f"{identity(source)} {stream}"
