"""A scikit-learn estimator whose predictions are recorded. Imports neither scikit-learn nor numpy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tocsin_recorder.calls import Called, Queue


class RecordedEstimator:
    """Wraps an estimator: records `predict` and `predict_proba`, delegates everything else to the estimator.

    Pickling it pickles the bare estimator. Calls that the estimator makes to its own methods are not recorded.
    """

    _recorder: Queue
    _estimator: Any
    _names: tuple[str, ...]

    def __init__(self, recorder: Queue, estimator: Any, names: Sequence[str]) -> None:
        vars(self).update(_recorder=recorder, _estimator=estimator, _names=tuple(names))

    def predict(self, X: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N803 - scikit-learn's name
        """The estimator's predictions."""
        return self._observed(self._estimator.predict, X, args, kwargs)

    def predict_proba(self, X: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N803
        """The estimator's probabilities."""
        return self._observed(self._estimator.predict_proba, X, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._estimator, name, value)

    def __repr__(self) -> str:
        return f"RecordedEstimator({self._estimator!r})"

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
        return _alone, (self._estimator,)

    def _observed(self, method: Any, rows: Any, args: Any, kwargs: Any) -> Any:
        recorder = self._recorder
        when, seen = recorder.clock(), self._seen(rows)
        started = time.perf_counter_ns()
        try:
            output = method(rows, *args, **kwargs)
        except BaseException as error:
            self._put(when, time.perf_counter_ns() - started, seen, None, type(error).__name__)
            raise
        self._put(when, time.perf_counter_ns() - started, seen, output, "")
        return output

    def _seen(self, rows: Any) -> _Seen | None:
        """A copy of the rows, made before the model can change them; None if the rows cannot be read."""
        try:
            total = rows.shape[0] if hasattr(rows, "shape") else len(rows)
            part = _copied(rows, min(total, self._recorder.max_rows))
            width = part.shape[1] if hasattr(part, "shape") else len(part[0])
            if len(self._names) != width:
                vars(self)["_names"] = self._feature_names(rows, width)
            return _Seen(total, part)
        except Exception:  # noqa: BLE001 - rows of any kind come from the model's code
            return None

    def _feature_names(self, rows: Any, width: int) -> tuple[str, ...]:
        for names in (getattr(self._estimator, "feature_names_in_", None), getattr(rows, "columns", None)):
            if names is not None and len(names) == width:
                return tuple(map(str, names))
        return tuple(f"x{place}" for place in range(width))

    def _put(self, when: int, duration: int, seen: _Seen | None, output: Any, error: str) -> None:
        recorder = self._recorder
        if seen is None:
            recorder.lose(1)
            return
        try:
            count = min(seen.total, recorder.max_rows)
            answer = None if output is None else _copied(output, count)
            classes = getattr(self._estimator, "classes_", None)
            called = Called(
                when, duration, count, seen.rows, self._names, output=answer, classes=classes, error=error
            )
        except Exception:  # noqa: BLE001 - what an estimator returns may be anything
            recorder.lose(seen.total)
            return
        recorder.put(called)
        if seen.total > count:
            recorder.lose(seen.total - count)


class _Seen(NamedTuple):
    total: int
    rows: Any


def _copied(values: Any, count: int) -> Any:
    """A copy of the first rows, which later code cannot change."""
    if isinstance(values, (list, tuple)):
        return [tuple(row) if isinstance(row, list) else row for row in values[:count]]
    if hasattr(values, "iloc"):
        return values.iloc[:count].to_numpy(copy=True)
    part = values[:count]
    return part.copy() if hasattr(part, "copy") else part


def _alone(estimator: Any) -> Any:
    return estimator
