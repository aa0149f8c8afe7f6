"""A scikit-learn estimator whose predictions are recorded. Imports neither scikit-learn nor numpy."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from tocsin_recorder.calls import Called, Queue
from tocsin_recorder.outputs import copied_output, size_of
from tocsin_recorder.schema import Schema
from tocsin_recorder.values import Seen, seen

#: Methods that Python looks up on the class: the wrapper has those that the estimator's class has.
_PROTOCOLS = ("__len__", "__getitem__", "__iter__", "__contains__", "__bool__", "__call__", "__dir__")
_RECORDED = frozenset({"predict", "predict_proba"})
_CHAINED = frozenset({"fit", "partial_fit", "set_params", "set_output"})  # return the estimator itself
_DEEPEST = 10


class RecordedEstimator:
    """Wraps an estimator: records `predict` and `predict_proba`, delegates everything else to the estimator.

    Pickling it pickles the bare estimator. Calls that the estimator makes to its own methods are not recorded.
    """

    _recorder: Queue
    _estimator: Any
    _names: tuple[str, ...]
    _fitted: Any
    _schema: Schema

    def __init__(self, recorder: Queue, estimator: Any, names: Sequence[str]) -> None:
        given = tuple(map(str, names))
        vars(self).update(
            _recorder=recorder, _estimator=estimator, _names=given, _fitted=None, _schema=Schema(given)
        )

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._estimator, name)
        if name in _RECORDED and callable(value):
            return functools.partial(self._observed, value, name == "predict_proba")
        if name in _CHAINED and callable(value):
            return functools.partial(self._chained, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._estimator, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._estimator, name)

    def __repr__(self) -> str:
        return f"RecordedEstimator({self._estimator!r})"

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
        return _alone, (self._estimator,)

    def _chained(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        return self if result is self._estimator else result

    def _observed(self, method: Any, probable: bool, /, *args: Any, **kwargs: Any) -> Any:
        recorder = self._recorder
        when, found = recorder.clock(), self._seen(args, kwargs)
        started = time.perf_counter_ns()
        try:
            output = method(*args, **kwargs)
        except BaseException as error:
            self._put(when, time.perf_counter_ns() - started, found, error=type(error).__name__)
            raise
        self._put(when, time.perf_counter_ns() - started, found, output=output, probable=probable)
        return output

    def _seen(self, args: Any, kwargs: Any) -> Seen:
        """A copy of the rows, made before the model can change them."""
        rows = args[0] if args else kwargs.get("X", next(iter(kwargs.values()), None))
        try:
            return seen(rows, self._recorder.max_rows)
        except Exception:  # noqa: BLE001 - rows of any kind come from the model's code
            return Seen(None, None, absent=type(rows).__name__)

    def _fitted_schema(self) -> Schema:
        """The schema of the names that were given or fitted; a new one after a fit with other names."""
        fitted, separator = _fitted(self._estimator)
        if fitted is not self._fitted:  # some estimators make a new array at each access
            if fitted is not None and (self._fitted is None or tuple(fitted) != tuple(self._fitted)):
                vars(self)["_schema"] = _schema_of(self._names, tuple(map(str, fitted)), separator)
            vars(self)["_fitted"] = fitted
        return self._schema

    def _put(self, when: int, duration: int, found: Seen, *, error: str = "", **answer: Any) -> None:
        recorder, total = self._recorder, found.total
        try:
            if total is None:
                total = size_of(answer.get("output"))
            total = total or bool(error)  # a refused call without rows is one event
            count = min(total, recorder.max_rows)
            if answer and answer["output"] is not None:
                answer["output"] = copied_output(answer["output"], count)
                answer["classes"] = getattr(self._estimator, "classes_", None)
            called = Called(
                when,
                duration,
                count,
                found.rows,
                found.names,
                self._fitted_schema(),
                found.absent,
                error=error,
                **answer,
            )
        except Exception:  # noqa: BLE001 - what an estimator returns may be anything
            recorder.lose(total or 1)
            return
        if count:
            recorder.put(called)
        if total > count:
            recorder.lose(total - count)


def wrapped(recorder: Queue, estimator: Any, names: Sequence[str]) -> Any:
    """The estimator in a wrapper with the protocols of its class: `len`, indexing, iteration, calls."""
    own = {name for kind in type(estimator).__mro__ for name in vars(kind)}
    passed = {name: _passed(name) for name in _PROTOCOLS if name in own}
    return type("RecordedEstimator", (RecordedEstimator,), passed)(recorder, estimator, names)


def _passed(name: str) -> Callable[..., Any]:
    def method(self: RecordedEstimator, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._estimator, name)(*args, **kwargs)

    return method


def _fitted(estimator: Any) -> tuple[Any, str | None]:
    """The names that an estimator was fitted with; of a `DictVectorizer`, its outputs and their separator.

    Of a pipeline or a search, those of its first step or its best estimator.
    """
    for _ in range(_DEEPEST):
        names = getattr(estimator, "feature_names_in_", None)
        if names is not None:
            return names, None
        steps = getattr(estimator, "steps", None)
        inner = steps[0][1] if steps else getattr(estimator, "best_estimator_", None)
        if inner is None:
            break
        estimator = inner
    if hasattr(estimator, "vocabulary_") and hasattr(estimator, "separator"):
        return getattr(estimator, "feature_names_", None), estimator.separator
    return None, None


def _schema_of(given: tuple[str, ...], fitted: tuple[str, ...], separator: str | None) -> Schema:
    if separator is None:
        return Schema(given if len(given) == len(fitted) else fitted, keys=fitted)
    if given:
        return Schema(given)
    kinds: dict[str, set[bool]] = {}  # a text is the output `key=value`, a number is the output `key`
    for name in fitted:
        key, equals, _ = name.partition(separator)
        kinds.setdefault(key, set()).add(bool(equals))
    return Schema(tuple(kinds), kinds={key: True in found for key, found in kinds.items() if len(found) == 1})


def _alone(estimator: Any) -> Any:
    return estimator
