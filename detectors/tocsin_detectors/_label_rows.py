"""The rows of a window's snapshots that `label_poisoning` judges, and why it cannot judge others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin import SnapshotError, Window
from tocsin.contract.aspects import changed
from tocsin.contract.findings import Json, Score, Subject
from tocsin.datasets.labels import label_column
from tocsin.stats.encoding import Encoder
from tocsin.stats.multiplicity import normal_deviate
from tocsin.stats.reference import Sign
from tocsin.words import LONGEST, count, short
from tocsin_detectors._label_spelling import in_known_spelling
from tocsin_detectors._snapshots import LABEL, PLACE, ROW, Snapshot
from tocsin_detectors._spelling import canonical

_ALIKE = 0.5  # share of common columns (Jaccard) from which two datasets are alike
_EXAMPLES = 20  # rows listed in a finding
_FEW = 20  # rows of a label that a model needs to learn it
_RARE = 0.003  # share of quiet snapshots in which one of the tests reaches its unit
_WRITERS = 100  # writers whose small snapshots are judged apart
_NEW = 100  # new names of a source whose columns are compared in a window
#: Reasons why a snapshot of a known dataset cannot be judged, and the score of the finding that says so.
UNREADABLE, NO_LABEL, NO_COLUMNS = "unreadable", "label column", "columns"
_VALUES = {UNREADABLE: 2.0, NO_LABEL: 1.5, NO_COLUMNS: 1.5}
_WORDS = {
    UNREADABLE: "not judged: the rows of {} of {} cannot be read",
    NO_LABEL: "not judged: {} of {} has no label column",
    NO_COLUMNS: "not judged: {} of {} has none of the columns of the trusted rows",
}


class Batch(NamedTuple):
    """New rows of one snapshot, or of several small ones; the first is named."""

    snapshot: Snapshot
    rows: pl.DataFrame
    missing: tuple[str, ...]
    known: int
    snapshots: int = 1


class Tested(NamedTuple):
    """A batch, its largest sign, and the probability of each row's own label. `value` is the batch's score."""

    value: float
    batch: Batch
    worst: Sign
    own: NDArray[np.float64]

    def evidence(self, label: str) -> dict[str, Json]:
        """What lets a person verify the score."""
        batch, shown = self.batch, self.worst.rows[:_EXAMPLES]
        probability = pl.Series(self.own[shown].round(4))
        facts: dict[str, Json] = {
            "snapshot": batch.snapshot.digest,
            "writer": batch.snapshot.writer,
            "label": label,
            "rows": len(batch.rows),
            "rows_known": batch.known,
            "columns_missing": list(batch.missing),
            **self.worst.facts,
            "suspicious": batch.rows[shown].select(row=ROW, label=LABEL, probability=probability).to_dicts(),
        }
        return facts | ({"snapshots": batch.snapshots} if batch.snapshots > 1 else {})


class Unjudged(NamedTuple):
    """A snapshot that cannot be judged. `aspect` is empty if that is no finding."""

    snapshot: Snapshot
    reason: str
    aspect: str = ""


def unfit(rows: pl.DataFrame | None, least: int, most_labels: int) -> str:
    """Why trusted rows cannot be a baseline; empty if they can."""
    if rows is None or len(rows) < least:
        return f"fewer than {least} trusted rows with a label"
    counts = rows[LABEL].value_counts(sort=True)["count"]
    if len(counts) > most_labels:
        return f"its label has {len(counts)} different values; at most {most_labels} are judged"
    if len(counts) < 2 or counts[1] < _FEW:
        return f"no two of its labels have {_FEW} rows"
    return "" if Encoder.of(rows, (LABEL, PLACE)).texts else "none of its feature columns varies"


def pooled(batches: Sequence[Batch], least: int) -> Iterator[Batch]:
    """The batches with at least `least` rows; the smaller ones, which a large one may be split into, together.

    The smaller ones of each writer are a batch too: those of other writers must not dilute them.
    """
    small: dict[tuple[str, ...], list[Batch]] = {}
    for batch in batches:
        if len(batch.rows) >= least:
            yield batch
        else:
            small.setdefault(batch.missing, []).append(batch)
    for missing, parts in sorted(small.items()):
        schema = parts[0].rows.schema
        alike = [part for part in parts if part.rows.schema == schema]
        writers = dict.fromkeys(part.snapshot.writer for part in alike)
        own = [[part for part in alike if part.snapshot.writer == writer] for writer in writers]
        for together in [alike, *(own if len(own) > 1 else ())][: 1 + _WRITERS]:
            rows = pl.concat([part.rows for part in together])
            if len(rows) >= least:
                known = sum(part.known for part in together)
                yield Batch(together[0].snapshot, rows, missing, known, len(together))


def spending(beyond: int) -> float:
    """The factor on the score of a snapshot: 1, and less for those beyond the usual number of a window.

    The worst snapshot of a window counts, so that each further one adds to the false alarms. The k-th one beyond the
    usual number (`beyond` is k - 1) may add 1/8k of those of one snapshot (alpha spending; Lan and DeMets 1983), with
    k at most 4: decoys raise what the next snapshot must reach by at most a third.
    """
    if beyond < 0:
        return 1.0
    return normal_deviate(_RARE) / normal_deviate(_RARE / 8 / min(beyond + 1, 4))


def aspects(subject: Subject, unjudged: Sequence[Unjudged]) -> Iterator[Score]:
    """A finding for each reason why snapshots of a known dataset cannot be judged."""
    for aspect, value in _VALUES.items():
        found = [u for u in unjudged if u.aspect == aspect]
        if found:
            reason = _WORDS[aspect].format(count(len(found), "snapshot"), short(subject.id))
            facts: dict[str, Json] = {
                "snapshot": found[0].snapshot.digest,
                "cause": found[0].reason,
                "count": len(found),
            }
            yield changed(subject, aspect, reason, value, facts)


def aligned(rows: pl.DataFrame, wanted: Sequence[str], labels: Sequence[str]) -> pl.DataFrame:
    """Rename columns that differ from a wanted one in case or spaces alone, and new spellings of the known labels."""
    free = [name for name in rows.columns if name not in wanted]
    found = {label_column(name, free): name for name in wanted if name not in rows.columns}
    rows = rows.rename({old: new for old, new in found.items() if old is not None})
    return rows.with_columns(in_known_spelling(rows[LABEL], labels))


class Likeness:
    """Finds the dataset of the baseline that a new name of a known source resembles.

    The name of a dataset may be chosen by whoever writes the file; its source and its columns are not.
    """

    def __init__(self, window: Window, datasets: Mapping[str, Any]) -> None:
        self._window = window
        self._known = {name: facts for name, facts in datasets.items() if "frame" in facts}
        self._compared: dict[str, int] = {}
        self.unlike = 0  # new names without a resemblance

    def of(self, snapshots: Sequence[Snapshot]) -> Mapping[str, Any] | None:
        """The facts of the dataset with the most columns in common, if these are at least half of all."""
        best = None
        for snapshot in [snapshot for snapshot in snapshots if not snapshot.failed][:1]:
            facts = [f for f in self._known.values() if snapshot.source in f.get("sources", ())]
            compared = self._compared.get(snapshot.source or "", 0)
            if facts and compared < _NEW:
                self._compared[snapshot.source or ""] = compared + 1
                best = self._most_alike(snapshot, facts)
        self.unlike += best is None
        return best

    def _most_alike(self, snapshot: Snapshot, facts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        try:
            names = self._window.snapshot(snapshot.digest).collect_schema().names()
        except SnapshotError:
            return None
        columns = set(map(canonical, names))
        alike = [_jaccard(columns, self._columns(f)) for f in facts]
        best = max(range(len(facts)), key=lambda i: alike[i])
        return facts[best] if alike[best] >= _ALIKE else None

    def _columns(self, facts: Mapping[str, Any]) -> set[str]:
        assert self._window.baseline is not None
        names = self._window.baseline.frames[facts["frame"]].columns
        return {canonical(name) for name in names if name not in (LABEL, PLACE)} | {canonical(facts["label"])}


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(len(one | other), 1)


def datasets_of(window: Window) -> dict[str, Any]:
    """The facts of each dataset in the baseline."""
    datasets: Any = {} if window.baseline is None else window.baseline.values["datasets"]
    return dict(datasets)


def frames_of(of: Window | Mapping[str, pl.DataFrame]) -> Mapping[str, pl.DataFrame]:
    """The frames of a window's baseline, or the frames themselves while a baseline is fitted."""
    return of if not isinstance(of, Window) else {} if of.baseline is None else of.baseline.frames


def sentence_of(name: str, words: str, writer: str | None) -> str:
    """The sentence of a finding about a dataset; without the writer if it would be too long."""
    by = f", written by {short(writer)}" if writer else ""
    reason = f"{short(name)}{by}: {words}"
    return reason if len(reason) <= LONGEST else f"{short(name)}: {words}"
