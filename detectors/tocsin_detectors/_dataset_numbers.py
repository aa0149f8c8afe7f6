"""The rows of datasets as numbers, with the times of their snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from tocsin import SnapshotError, Window
from tocsin.contract.streams import TIME
from tocsin.datasets.labels import label_column
from tocsin.stats.encoding import plain

#: Datasets that are read, the oldest ones, and snapshots of each: the newest and others, evenly spaced.
_DATASETS, _SNAPSHOTS = 50, 60

_NAME, _DIGEST = "tocsin.dataset.name", "tocsin.dataset.digest"
_COLUMNS = [_NAME, _DIGEST, "tocsin.dataset.label", "event.outcome", TIME]


class Dataset(NamedTuple):
    """The rows of a dataset's snapshots as numbers, each with the time of its snapshot in microseconds."""

    name: str
    rows: pl.DataFrame
    since: NDArray[np.int64]


def datasets(window: Window, length: timedelta) -> Iterator[Dataset]:
    """The rows of the datasets that were written in a window and in `length` before it, from the store.

    Rows that cannot be read are left out.
    """
    whole = Window(window.start - length, window.end, window.past or window.source)
    events = whole.rows("dataset", _COLUMNS).filter(pl.col("event.outcome").ne_missing("failure"))
    events = events.unique([_NAME, _DIGEST], keep="first", maintain_order=True)
    oldest = events.group_by(_NAME).agg(pl.col(TIME).min()).sort(TIME, _NAME)  # made-up names are new
    for name in sorted(oldest[_NAME].head(_DATASETS).to_list()):
        snapshots = events.filter(pl.col(_NAME) == name)
        chosen = np.unique(np.linspace(0, len(snapshots) - 1, min(_SNAPSHOTS, len(snapshots))).astype(int))
        frames, since = [], []
        for _, digest, label, _, time in snapshots[chosen.tolist()].iter_rows():
            try:
                frame = whole.snapshot(digest).collect()
            except SnapshotError:
                continue
            frames.append(_rows(frame, label))
            since += [int(time.timestamp() * 1e6)] * len(frame)
        if frames:
            yield Dataset(name, pl.concat(frames, how="diagonal"), np.array(since, dtype=np.int64))


def _rows(frame: pl.DataFrame, label: str | None) -> pl.DataFrame:
    """The columns of numbers of a snapshot, without the label."""
    column = label_column(label or "", frame.columns)
    return plain(frame if column is None else frame.drop(column)).select(cs.float())
