"""The figures in the event of a dataset snapshot (rows, shares, means, spreads), and the snapshot's schema."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from tocsin.datasets.labels import canonical_label, label_column
from tocsin.stats.departure import Figure, share
from tocsin_detectors._label_spelling import merged, spellings

ROWS, LABEL, DISTINCT, DISTINCT_SHARE = "rows", "share of label", "distinct values", "distinct values a row"
_ROWS_ERROR = 0.1  # of log rows: volumes that vary by a tenth are normal
_ANY = {"null", LABEL}  # types that match every type
_FAMILIES = {
    "integer": "number",
    "unsigned": "number",
    "decimal": "number",
    "boolean": "number",  # 0 and 1 as true and false are another spelling of the same values
    "date": "time",
    "datetime": "time",
}


class Name(NamedTuple):
    """The name of a figure: its column ("" for the whole snapshot), its measure and, for a share, its value."""

    column: str
    measure: str
    value: str = ""

    def __str__(self) -> str:
        measure = f"{self.measure} {self.value}".strip()
        return f"{measure} of {self.column}" if self.column else measure


class Profile(NamedTuple):
    """The figures of one snapshot. `counts` has the counts of values by column, and of labels under ""."""

    figures: Mapping[Name, Figure]
    counts: Mapping[str, Mapping[str, int]]
    schema: Mapping[str, str]
    label: str = ""  # the label column

    @property
    def labels(self) -> Mapping[str, int]:
        """How often each label occurs; empty if this is not known."""
        return self.counts.get("", {})


_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Column(msgspec.Struct):
    nulls: _Count = 0
    distinct: _Count = 0
    min: Any = None
    max: Any = None
    mean: float | None = None
    std: float | None = None
    numbers: _Count | None = None
    top: list[tuple[Any, _Count]] = []


def profile_of(event: Mapping[str, Any], label: str | None = None) -> Profile:
    """Read an event of the stream `dataset`. Fields in another form than the agreed one are ignored.

    Args:
        event: its fields by name.
        label: the label column. The event may name another one, and then has the counts of other labels; those of this
            column are taken from the column's most frequent values.
    """
    rows, own = event["tocsin.dataset.rows"], event["tocsin.dataset.label"]
    columns = _decoded(event["tocsin.dataset.profile"], dict[str, _Column])
    label = own if label is None else label
    counts = {name: _merged(c.top) for name, c in columns.items() if c.top and name not in (own, label)}
    labels = _merged(_decoded(event["tocsin.dataset.labels"], dict[str, _Count]).items())
    if label != own:
        found = label_column(label or "", list(columns))
        labels = _merged(columns[found].top) if found else {}
        counts |= {own: _merged(columns[own].top)} if own in columns and columns[own].top else {}
    if labels:
        counts[""] = labels
    figures: dict[Name, Figure] = {}
    if rows is not None and rows >= 0:
        figures[Name("", ROWS)] = Figure(math.log(rows + 1), _ROWS_ERROR, rows)
        figures |= {Name(c, m): f for c, facts in columns.items() for m, f in _figures(facts, rows)}
    schema = _decoded(event["tocsin.dataset.schema"], list[tuple[str, str]])
    kinds = {name: _FAMILIES.get(kind.partition("[")[0], kind) for name, kind in schema}
    if label in kinds and labels:
        kinds[label] = LABEL
    return Profile(figures, counts, kinds, label or "")


def in_one_spelling(now: Profile, past: Sequence[Profile]) -> tuple[Profile, list[Profile]]:
    """The profiles with one name for all spellings of a label.

    If there are such spellings, `now` has no number of different labels: each spelling would count as a label of its own.
    """
    words = spellings([profile.labels for profile in past], now.labels)
    if not words:
        return now, list(past)
    own = {Name(now.label, DISTINCT), Name(now.label, DISTINCT_SHARE)}
    figures = {name: figure for name, figure in now.figures.items() if name not in own}
    now, *earlier = (
        p._replace(counts={**p.counts, "": merged(p.labels, words)}) if p.labels else p for p in (now, *past)
    )
    return now._replace(figures=figures), earlier


def _merged(counts: Iterable[tuple[Any, int]]) -> dict[str, int]:
    """Counts of values by their canonical spelling."""
    merged: dict[str, int] = {}
    for value, count in counts:
        word = canonical_label(str(value))
        merged[word] = merged.get(word, 0) + count
    return merged


def comparisons(now: Profile, past: Sequence[Profile]) -> Iterator[tuple[Name, Figure, list[Figure]]]:
    """Each figure of a snapshot, with the same figure of the earlier snapshots that have it."""
    for name, figure in now.figures.items():
        yield name, figure, [p.figures[name] for p in past if name in p.figures]
    for column, counts in now.counts.items():
        earlier = [p.counts[column] for p in past if column in p.counts]
        for value in sorted({value for c in (counts, *earlier) for value in c}):
            figure, *others = (share(c.get(value, 0), sum(c.values())) for c in (counts, *earlier))
            yield Name(column, "share of" if column else LABEL, value), figure, others


def schema_change(now: Profile, past: Sequence[Profile]) -> dict[str, list[str]]:
    """Columns added, removed and retyped since the last snapshot. Empty if an earlier snapshot has this schema.

    A column without values matches every type, and so does the label column: labels are compared by their counts.
    """
    known = [p.schema for p in past if p.schema]
    changes = [_changed(now.schema, earlier) for earlier in known] if now.schema else []
    return changes[-1] if changes and all(changes) else {}


def _changed(now: Mapping[str, str], before: Mapping[str, str]) -> dict[str, list[str]]:
    changed = {
        "added": sorted(now.keys() - before.keys()),
        "removed": sorted(before.keys() - now.keys()),
        "retyped": sorted(
            name
            for name in now.keys() & before.keys()
            if now[name] != before[name] and _ANY.isdisjoint((now[name], before[name]))
        ),
    }
    return {how: names for how, names in changed.items() if names}


def _figures(column: _Column, rows: int) -> Iterator[tuple[str, Figure]]:
    yield "share of nulls", share(column.nulls, rows)
    filled = rows - column.nulls
    if column.distinct:
        spare = min(column.distinct, max(filled - column.distinct, 0)) + 1
        error = math.sqrt(spare) / column.distinct
        yield DISTINCT, Figure(math.log(column.distinct), error, column.distinct)
        per_row = column.distinct / max(filled, 1)
        yield DISTINCT_SHARE, Figure(math.log(per_row), error, per_row)
    filled = filled if column.numbers is None else column.numbers
    if column.mean is None or column.std is None or column.top or filled < 2:
        return
    yield "mean", Figure(column.mean, column.std / math.sqrt(filled), column.mean)
    ends = [abs(end - column.mean) for end in (column.min, column.max) if isinstance(end, int | float)]
    if column.std > 0 and ends:
        # a lower bound of the kurtosis: the share of the value that is farthest from the mean
        kurtosis = max((max(ends) / column.std) ** 4 / filled, 3.0)
        error = math.sqrt((kurtosis - 1) / filled) / 2
        yield "standard deviation", Figure(math.log(column.std), error, column.std)


def _decoded(text: str | None, form: Any) -> Any:
    empty: Any = form()
    try:
        return msgspec.json.decode(text, type=form) if text else empty
    except msgspec.DecodeError:
        return empty
