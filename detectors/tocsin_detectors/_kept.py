"""What early evaluations of one window share: values computed from the time before the window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tocsin.contract.windows import Window

T = TypeVar("T")


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
