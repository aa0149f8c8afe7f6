"""Labeled dataset snapshots of a window, and their rows in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from tocsin import Condition, SnapshotError, Window
from tocsin.stats.encoding import label_text, plain

PLACE = "tocsin.snapshot"  # column of a pool: the index of the snapshot that a row comes from
LABEL = "tocsin.label"  # the label, as text
ROW = "tocsin.row"  # row number in the snapshot, from 0

_DISTINCT = (
    0.9  # if this share of each snapshot's rows is unique, equal rows in two snapshots are the same row
)
_HELD_OUT = 5  # one row in this number is used for calibration and not for fitting


class Snapshot(NamedTuple):
    """One event of the stream `dataset` that names a label."""

    digest: str
    label: str
    writer: str | None


def labeled(window: Window) -> dict[str, list[Snapshot]]:
    """The snapshots with a label by dataset, oldest first. Each digest occurs once."""
    columns = ["tocsin.dataset.name", "tocsin.dataset.digest", "tocsin.dataset.label", "user.id"]
    found: dict[str, dict[str, Snapshot]] = {}
    where = [Condition(column, "not_null") for column in columns[:3]]
    for name, digest, label, writer in window.rows("dataset", columns, where).iter_rows():
        found.setdefault(name, {}).setdefault(digest, Snapshot(digest, label, writer))
    return {name: list(found[name].values()) for name in sorted(found)}


def read(window: Window, snapshot: Snapshot, label: str, most: int) -> pl.DataFrame | None:
    """The rows of a snapshot that have a label, with plain features, `LABEL` and `ROW`.

    At most `most` rows, drawn with a fixed seed. None if the snapshot has no label column.

    Raises:
        SnapshotError: the rows cannot be read, or do not match the digest.
    """
    frame = window.snapshot(snapshot.digest).collect()
    if label not in frame.columns:
        return None
    labels = label_text(frame[label])
    rows = plain(frame.drop(label)).with_columns(labels.alias(LABEL)).with_row_index(ROW)
    rows = rows.filter(pl.col(LABEL).is_not_null())
    return rows.sample(most, seed=0).sort(ROW) if len(rows) > most else rows


def pool(window: Window, snapshots: Sequence[Snapshot], most: int) -> pl.DataFrame | None:
    """About `most` rows of several snapshots, with the column `PLACE`. None if no snapshot has rows.

    The newest snapshot determines the label column. Features that the newest snapshot lacks are dropped. If
    snapshots repeat rows of earlier snapshots, as those of a growing table do, each row is returned once.
    """
    label, frames = snapshots[-1].label, []
    for place, snapshot in enumerate(snapshots):
        try:
            rows = read(window, snapshot, label, -(-most // len(snapshots)))
        except SnapshotError:
            continue
        if rows is not None and len(rows):
            frames.append(rows.drop(ROW).with_columns(pl.lit(place, pl.Int32).alias(PLACE)))
    if not frames:
        return None
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
    rows = rows.rename({LABEL: snapshots[-1].label})
    parts = rows.partition_by(PLACE, include_key=False, as_dict=True)
    return {snapshots[place].digest: part.lazy() for (place,), part in parts.items()}
