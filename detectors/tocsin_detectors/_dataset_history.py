"""The earlier snapshots with which those of a window are compared.

What an event says about itself does not choose its history: a snapshot of a source is compared with earlier ones of the
same source, whatever other sources wrote under the name of its dataset. A name that a known source never used before is
compared with the dataset of that source whose columns are most alike, until it has a history of its own.

The cost is linear in the rows of window and history. Profiles, which are large, are read only of the last snapshots of each
dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import msgspec
import polars as pl

from tocsin import Condition, Window
from tocsin.contract.streams import ID, INGESTED, TIME
from tocsin_detectors._spelling import canonical

Event = Mapping[str, Any]
NAME, DIGEST, SOURCE = "tocsin.dataset.name", "tocsin.dataset.digest", "tocsin.source.id"
OUTCOME, LABEL_COLUMN = "event.outcome", "tocsin.dataset.label"
_LIGHT = [NAME, DIGEST, SOURCE, LABEL_COLUMN, OUTCOME, "user.id", TIME, INGESTED, ID]
_HEAVY = [
    f"tocsin.dataset.{field}"
    for field in ("rows", "schema", "profile", "labels", "form", "format", "remarks")
]
_COLUMNS = [*_LIGHT, *_HEAVY]
_CHUNK = 500  # datasets whose profiles are in memory at once, or more: at most _READS reads
_READS = 20
_CANDIDATES = 200  # datasets of a source with which a new name is compared
_ALIKE = 0.5  # share of common columns (Jaccard) from which two datasets are alike


@dataclass(slots=True)
class Past:
    """The earlier snapshots of one dataset.

    `seen` has digest, source and label of all of them, `digests` and `writers` their digests and writers, and `failures`
    counts those that could not be read. `events` has the last ones of each source with their profiles, oldest first.
    `like` is the dataset that they belong to, if that is another one.
    """

    most: int
    events: dict[str | None, list[Event]] = field(default_factory=dict)
    seen: set[tuple[str, str | None, str | None]] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)
    writers: set[str | None] = field(default_factory=set)
    failures: int = 0
    like: str = ""

    def of(self, source: str | None, least: int) -> list[Event]:
        """The last snapshots of one source; those of all sources if it has fewer than `least`."""
        own = self.events.get(source, [])
        if len(own) >= least or len(self.events) == 1:
            return own or self.all
        different = {event[DIGEST]: event for event in self.all}
        return list(different.values())[-self.most :]

    @property
    def all(self) -> list[Event]:
        """The last snapshots of all sources, oldest first."""
        return sorted((e for events in self.events.values() for e in events), key=lambda e: e[TIME])

    def note(self, digest: str, source: str | None, label: str | None, writer: str | None) -> None:
        """Add what is known of an earlier snapshot without its profile."""
        self.seen.add((digest, source, label))
        self.digests.add(digest)
        self.writers.add(writer)

    def add(self, event: Event) -> None:
        """Add a later snapshot."""
        self.note(event[DIGEST], event[SOURCE], event[LABEL_COLUMN], event["user.id"])
        own = [e for e in self.events.get(event[SOURCE], []) if e[DIGEST] != event[DIGEST]]
        self.events[event[SOURCE]] = [*own, event][-self.most :]


class History:
    """The history of the datasets in a window.

    `names` are those of the window that the history knows, `others` those that it does not know.
    """

    def __init__(self, window: Window, length: timedelta | None, most: int) -> None:
        self._window, self._length, self._most = window, length or timedelta(0), most
        self._light = window.before(self._length).rows("dataset", _LIGHT).sort(TIME, INGESTED, ID)
        self.sources = set(self._light[SOURCE].drop_nulls())
        known, present = (
            set(self._light[NAME]),
            window.rows("dataset", [NAME, SOURCE]).unique().sort(NAME, SOURCE),
        )
        self.names = sorted(known.intersection(present[NAME]))
        self.others = present.filter(~pl.col(NAME).is_in(list(known)))
        self._candidates: dict[str, list[tuple[str, Past, frozenset[str]]]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is no earlier snapshot of any dataset."""
        return self._light.is_empty()

    def judged(self, names: Sequence[str]) -> Iterator[tuple[str, list[Event], Past]]:
        """Each dataset with its snapshots in the window and the earlier ones."""
        size = max(_CHUNK, -(-len(names) // _READS))
        for start in range(0, len(names), size):
            part = names[start : start + size]
            events, past = self._current(part), self._load(part)
            for name in part:
                yield name, events.get(name, []), past[name]

    def like(self, name: str, event: Event) -> Past | None:
        """The history of the dataset of the same source whose columns are most like those of an event."""
        source = event[SOURCE]
        if source is None:
            return None
        if source not in self._candidates:
            self._candidates[source] = self._load_candidates(source)
        columns = columns_of(event)
        ranked = [
            (
                _alike(columns, theirs),
                _common_start(canonical(name), canonical(other)),
                other,
                past,
            )
            for other, past, theirs in self._candidates[source]
            if other != name
        ]
        best = max(ranked, key=lambda found: found[:3], default=None)
        if best is None or best[0] < _ALIKE:
            return None
        past, events = best[3], {origin: list(events) for origin, events in best[3].events.items()}
        return replace(
            past,
            events=events,
            seen=set(past.seen),
            digests=set(past.digests),
            writers=set(past.writers),
            like=best[2],
        )

    def _load_candidates(self, source: str) -> list[tuple[str, Past, frozenset[str]]]:
        """The datasets of a source with the most snapshots: made-up names have few."""
        own = self._light.filter((pl.col(SOURCE) == source) & ~_failed())
        counted = own.group_by(NAME).agg(pl.col(DIGEST).n_unique().alias("n"))
        names = counted.sort("n", NAME, descending=[True, False])[NAME].head(_CANDIDATES).to_list()
        loaded = self._load(names)
        return [(n, loaded[n], columns_of(loaded[n].all[-1])) for n in names if loaded[n].events]

    def _current(self, names: Sequence[str]) -> dict[str, list[Event]]:
        rows = self._window.rows("dataset", _COLUMNS, [Condition(NAME, "in", list(names))])
        found: dict[str, list[Event]] = {}
        for event in rows.sort(TIME, INGESTED, ID, maintain_order=True).iter_rows(named=True):
            found.setdefault(event[NAME], []).append(event)
        return found

    def _load(self, names: Sequence[str]) -> dict[str, Past]:
        light = self._light.filter(pl.col(NAME).is_in(names))
        found = {name: Past(self._most) for name in names}
        for name, digest, source, label, outcome, writer, *_ in light.iter_rows():
            past = found[name]
            if outcome == "failure":
                past.failures += 1
            else:
                past.note(digest, source, label, writer)
        different = light.filter(~_failed()).unique([NAME, DIGEST, SOURCE], keep="last", maintain_order=True)
        last = different.group_by(NAME, SOURCE, maintain_order=True).tail(self._most)
        for event in self._profiles(last):
            found[event[NAME]].add(event)
        return found

    def _profiles(self, last: pl.DataFrame) -> list[dict[str, Any]]:
        if last.is_empty():
            return []
        where = [
            Condition(key, "in", last[key].unique(maintain_order=True).to_list()) for key in (NAME, DIGEST)
        ]
        rows = self._window.history("dataset", self._length, _COLUMNS, where)
        keys = [NAME, DIGEST, SOURCE, TIME]
        kept = rows.join(last.lazy().select(keys), on=keys, how="semi", nulls_equal=True).collect()
        kept = kept.sort(TIME, INGESTED, ID).unique(keys[:3], keep="last", maintain_order=True)
        return kept.to_dicts()


def _failed() -> pl.Expr:
    return (pl.col(OUTCOME) == "failure").fill_null(value=False)


def columns_of(event: Event) -> frozenset[str]:
    """The canonical names of the columns in an event's schema."""
    try:
        schema = msgspec.json.decode(event["tocsin.dataset.schema"] or "[]", type=list[tuple[str, str]])
    except msgspec.DecodeError:
        return frozenset()
    return frozenset(canonical(name) for name, _ in schema)


def _common_start(one: str, other: str) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(len(one | other), 1)
