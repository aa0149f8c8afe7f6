"""How far a copy is: one record a stream in the target's keyed state, so that it goes on where it was cut off."""

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
_REASONS = 20  # different ones that are kept
_OTHER = "other reasons"


def identity(store: Store) -> str:
    """A store's name that does not depend on where a command was started."""
    place = store.place if "://" in store.place else str(Path(store.place).resolve())
    return f"{place} {store.namespace}"


@dataclass(slots=True)
class Progress:
    """How far a stream is copied.

    `until` and `reach` are ingest times of the source: up to the first all rows are in the target, beyond the second
    none is. `stamp` is the newest ingest time that the target gave. A mark says of an ingest time of the source
    which one of the target it is: the rows up to the one are the rows up to the other.
    """

    until: datetime = EPOCH
    reach: datetime = EPOCH
    stamp: datetime = EPOCH
    refused: dict[str, int] = field(default_factory=dict)
    marks: dict[datetime, datetime] = field(default_factory=dict)
    version: int | None = None

    @classmethod
    def read(cls, source: Store, target: Store, stream: str) -> Progress:
        """What an earlier copy wrote; the beginning where there was none."""
        entry = target.get(KIND, _key(source, stream))
        if entry is None:
            return cls()
        value: Mapping[str, Any] = entry.value
        until, reach, stamp = (parse_time(value[name]) for name in ("until", "reach", "stamp"))
        marks = {parse_time(there): parse_time(here) for there, here in value["marks"].items()}
        return cls(until, reach, stamp, dict(value["refused"]), marks, entry.version)

    def write(self, source: Store, target: Store, stream: str) -> None:
        """Write it down.

        Raises:
            StoreError: another copy is at the same stream.
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
                f"another copy of stream {stream} from {source.place} to {target.place} is under way; let it end"
            )
        self.version = done.version

    def refuse(self, refused: Iterable[Refused]) -> None:
        """Remember rows that the target did not take, by reason."""
        for row in refused:
            known = row.reason in self.refused or len(self.refused) < _REASONS
            reason = row.reason if known else _OTHER
            self.refused[reason] = self.refused.get(reason, 0) + 1

    def mark(self, there: datetime) -> bool:
        """Remember which ingest time of the target is one of the source; False where that is known or cannot be
        said, because rows beyond it may be in the target already.
        """
        if there in self.marks or self.reach > there:
            return False
        self.marks[there] = self.stamp
        return True

    def here(self, there: datetime) -> datetime:
        """The ingest time of the target up to which all rows were ingested up to `there` in the source: as late as
        the marks can tell, never later.
        """
        return max((here for mark, here in self.marks.items() if mark <= there), default=EPOCH)


def _key(source: Store, stream: str) -> str:
    return f"{identity(source)} {stream}"
