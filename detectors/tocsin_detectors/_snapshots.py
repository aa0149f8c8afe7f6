"""Dataset snapshots of a window, and their rows in one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import polars as pl

from tocsin import SnapshotError, Window
from tocsin.contract.streams import ID, INGESTED, TIME
from tocsin.datasets.labels import canonical_labels, label_column
from tocsin.datasets.names import partitions
from tocsin.stats.encoding import label_text, plain
from tocsin_detectors._label_spelling import main_spellings

PLACE = "tocsin.snapshot"  # column of a pool: the index of the snapshot that a row comes from
LABEL = "tocsin.label"  # the label, as text
ROW = "tocsin.row"  # row number in the snapshot, from 0

_DISTINCT = (
    0.9  # if this share of each snapshot's rows is unique, equal rows in two snapshots are the same row
)
_USUAL = 5  # snapshots of a usual window; more make the calibration slow
_MOST = 1000  # datasets of a baseline
_HELD_OUT = 5  # one row in this number is used for calibration and not for fitting
_COLUMNS = [
    *("tocsin.dataset.name", "tocsin.dataset.digest", "tocsin.dataset.label", "user.id", "tocsin.source.id"),
    *("tocsin.dataset.path", "event.outcome", TIME, INGESTED, ID),
]


class Snapshot(NamedTuple):
    """One event of the stream `dataset`. `label` is empty if it names none, `keys` are the Hive folders of its path."""

    digest: str
    label: str
    writer: str | None
    source: str | None = None
    keys: tuple[str, ...] = ()
    failed: bool = False


def snapshots_of(window: Window) -> dict[str, list[Snapshot]]:
    """The snapshots by dataset, oldest first. Each digest occurs once: a later event of the same source corrects it.

    In an early evaluation, only those of datasets with new snapshots.
    """
    found: dict[str, dict[str, Snapshot]] = {}
    rows = window.rows("dataset", _COLUMNS).sort(TIME, INGESTED, ID, maintain_order=True)
    for name, digest, label, writer, source, path, outcome, *_ in rows.iter_rows():
        keys = tuple(key for key, _ in partitions(PurePosixPath(path or "")))
        snapshot = Snapshot(digest, label or "", writer, source, keys, outcome == "failure")
        known = found.setdefault(name, {}).setdefault(digest, snapshot)
        if known.source == source and (label or not known.label):
            found[name][digest] = snapshot
    names = found if window.changed is None else found.keys() & window.changed
    return {name: list(found[name].values()) for name in sorted(names)}


def labeled(window: Window) -> dict[str, list[Snapshot]]:
    """The snapshots with a label by dataset, oldest first, of the 1,000 datasets that have the most snapshots."""
    every = snapshots_of(window)
    with_label = {
        name: [s for s in snapshots if s.label and not s.failed] for name, snapshots in every.items()
    }
    most = sorted(filter(with_label.get, with_label), key=lambda name: (-len(with_label[name]), name))[:_MOST]
    return {name: with_label[name] for name in sorted(most)}


def usual_label(snapshots: Sequence[Snapshot]) -> str:
    """The label column that most snapshots name; of equally many the newest: one snapshot must not change it."""
    counts = Counter(snapshot.label for snapshot in reversed(snapshots))
    return counts.most_common(1)[0][0]


def usual_number(window: Window, name: str, length: timedelta) -> int:
    """How many snapshots of a dataset the windows of `length` with any have, by the median; at most 5."""
    rows = window.rows("dataset", ["tocsin.dataset.name", "tocsin.dataset.digest", TIME])
    rows = rows.filter(pl.col("tocsin.dataset.name") == name)
    counts = rows.group_by(pl.col(TIME).dt.truncate(length)).agg(pl.col("tocsin.dataset.digest").n_unique())
    return min(round(float(np.median(counts["tocsin.dataset.digest"].to_numpy()))), _USUAL)


def read(window: Window, snapshot: Snapshot, label: str, most: int) -> pl.DataFrame | None:
    """The rows of a snapshot that have a label, with plain features, `LABEL` and `ROW`.

    At most `most` rows, drawn with a fixed seed. None if the snapshot has no label column. Keys of Hive folders are left
    out: they are constant in a snapshot and differ between snapshots.

    Raises:
        SnapshotError: the rows cannot be read, or do not match the digest.
    """
    frame = window.snapshot(snapshot.digest).collect()
    column = label_column(label, frame.columns)
    if column is None:
        return None
    labels = canonical_labels(label_text(frame[column]))
    features = frame.drop(column, *(key for key in snapshot.keys if key in frame.columns and key != column))
    rows = plain(features).with_columns(labels.alias(LABEL)).with_row_index(ROW)
    rows = rows.filter(pl.col(LABEL).is_not_null())
    return rows.sample(most, seed=0).sort(ROW) if len(rows) > most else rows


def pool(window: Window, snapshots: Sequence[Snapshot], most: int) -> pl.DataFrame | None:
    """About `most` rows of several snapshots, with the column `PLACE`. None if no snapshot has rows.

    The label column is the usual one, and a label has its commonest spelling. Features that the newest snapshot lacks are
    dropped. If snapshots repeat rows of earlier snapshots, as those of a growing table do, each row is returned once.
    """
    label, frames = usual_label(snapshots), []
    for place, snapshot in enumerate(snapshots):
        try:
            rows = read(window, snapshot, label, -(-most // len(snapshots)))
        except SnapshotError:
            continue
        if rows is not None and len(rows):
            frames.append(rows.drop(ROW).with_columns(pl.lit(place, pl.Int32).alias(PLACE)))
    if not frames:
        return None
    words = main_spellings([frame[LABEL].unique().to_list() for frame in frames])
    frames = [frame.with_columns(pl.col(LABEL).replace(words)) for frame in frames] if words else frames
    newest = frames[-1].schema
    alike = [f.select(name for name, dtype in f.schema.items() if newest.get(name) == dtype) for f in frames]
    rows = pl.concat(alike, how="diagonal")
    if all(f.drop(PLACE).n_unique() >= _DISTINCT * len(f) for f in frames):
        rows = rows.unique(pl.exclude(PLACE), keep="first", maintain_order=True)
    return rows


def split_pool(
    window: Window, snapshots: Sequence[Snapshot], most: int
) -> tuple[dict[str, pl.LazyFrame], dict[str, pl.LazyFrame]]:
    """A pool of rows by digest: four fifths of the rows for fitting, and the rest for calibration."""
    rows = pool(window, snapshots, most)
    if rows is None:
        return {}, {}
    held = np.random.default_rng(0).permutation(len(rows)) % _HELD_OUT == 0
    fitted, calibrating = (_by_digest(rows.filter(part), snapshots) for part in (~held, held))
    return fitted, calibrating


def _by_digest(rows: pl.DataFrame, snapshots: Sequence[Snapshot]) -> dict[str, pl.LazyFrame]:
    rows = rows.rename({LABEL: usual_label(snapshots)})
    parts = rows.partition_by(PLACE, include_key=False, as_dict=True)
    return {snapshots[place].digest: part.lazy() for (place,), part in parts.items()}
