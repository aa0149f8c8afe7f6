"""What early evaluations of one window share: values computed from the time before the window, and what hardly changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import polars as pl

from tocsin.contract.windows import Window

T = TypeVar("T")

_MOST = 100  # frames of one window
_GROWTH = 1.25


class Kept(Generic[T]):
    """Keeps the newest value, so that early evaluations do not compute it again.

    Late events of the time before the window are therefore seen only by the final evaluation, which computes anew.
    """

    def __init__(self) -> None:
        self._key: Any = None
        self._value: T | None = None

    def of(self, window: Window, key: Any, make: Callable[[], T]) -> T:
        """The value for a window and a key; `make` computes it."""
        if window.changed is None:
            return make()
        key = (window.start, window.end, key)
        if self._key != key or self._value is None:
            self._key, self._value = key, make()
        return self._value


class KeptFrames:
    """Keeps small frames of the time before the window by key, at most `_MOST`: with more, all are read again."""

    def __init__(self) -> None:
        self._kept: Kept[dict[Hashable, pl.DataFrame]] = Kept()

    def of(self, window: Window, key: Hashable, read: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """The frame for a window and a key; `read` reads it."""
        kept = self._kept.of(window, "", dict)
        if key not in kept:
            if len(kept) >= _MOST:
                kept.clear()
            kept[key] = read()
        return kept[key]


class KeptWhile(Generic[T]):
    """Keeps values by key until the rows that they were computed from have grown by a quarter."""

    def __init__(self) -> None:
        self._kept: Kept[dict[Hashable, tuple[int, T]]] = Kept()

    def of(self, window: Window, key: Hashable, rows: int, make: Callable[[], T]) -> T:
        """The value for a window, its baseline and a key; `make` computes it from so many rows of the window."""
        kept, key = self._kept.of(window, "", dict), (window.baseline and window.baseline.digest, key)
        before = kept.get(key)
        if before is None or not before[0] <= rows < _GROWTH * before[0]:
            if len(kept) >= _MOST:
                kept.clear()
            before = kept[key] = rows, make()
        return before[1]
