"""Calls of a model, observed in the model's process and converted to events of the `inference` stream.

Runs in the recorder's thread inside model servers. Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import itertools
import json
import math
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from types import TracebackType
from typing import Any, NamedTuple, Optional, Protocol, Union

Principal = Union[str, Callable[[], Optional[str]], None]
Fields = Union[Mapping[str, object], Callable[[], Mapping[str, object]], None]
_NAMES_KEPT = 1000
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Answer(NamedTuple):
    """The model's output for one row."""

    label: object = None
    score: object = None
    confidence: object = None


class Called(NamedTuple):
    """One observed call with its raw values: arrays, frames or lists of rows, and the model's output."""

    time: int  # nanoseconds since 1970
    duration: int
    size: int  # rows
    rows: Any = None
    names: Sequence[str] = ()
    principal: object = None
    fields: Mapping[str, object] = {}  # dotted ECS names
    answers: Sequence[Answer] = ()
    output: Any = None  # of an estimator, instead of answers: predictions or probabilities
    classes: Any = None
    error: str = ""


class Queue(Protocol):
    """Where observed calls are queued: a `Recorder`."""

    max_rows: int
    clock: Callable[[], int]

    def put(self, called: Called, principal: Principal = None, fields: Fields = None) -> None:
        """Queue an observed call."""
        ...

    def lose(self, count: int) -> None:
        """Count rows that could not be recorded."""
        ...


class Call:
    """A context manager around one call of a model; set features and output inside it.

    If the model raises, the call is recorded with the error's type and outcome `failure`, and the error propagates.
    """

    __slots__ = ("_answer", "_features", "_fields", "_names", "_principal", "_recorder", "_started", "_time")

    def __init__(
        self,
        recorder: Queue,
        principal: Principal,
        features: Mapping[str, object] | Sequence[object] | None,
        fields: Fields,
    ) -> None:
        self._recorder, self._principal, self._fields = recorder, principal, fields
        self._features: tuple[object, ...] | None = None
        self._names: tuple[str, ...] = ()
        self._answer: Answer | None = None
        if features is not None:
            self.features(features)

    def __enter__(self) -> Call:  # noqa: PYI034 - `Self` needs Python 3.11
        self._time, self._started = self._recorder.clock(), time.perf_counter_ns()
        return self

    def features(self, values: Mapping[str, object] | Sequence[object], names: Sequence[str] = ()) -> None:
        """The feature vector: values by name, or values and their names (`:category` marks codes)."""
        try:
            self._names = tuple(values) if isinstance(values, Mapping) else tuple(names)
            self._features = tuple(values.values() if isinstance(values, Mapping) else values)
        except Exception:  # noqa: BLE001 - values of any kind come from the model's code
            self._names, self._features = (), None

    def output(self, label: object = None, score: object = None, confidence: object = None) -> None:
        """The class that the model chose, its answer as a number, and the probability of that class."""
        self._answer = Answer(label, score, confidence)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        called = Called(
            self._time,
            time.perf_counter_ns() - self._started,
            1,
            None if self._features is None else (self._features,),
            self._names,
            answers=() if self._answer is None else (self._answer,),
            error="" if kind is None else kind.__name__,
        )
        self._recorder.put(called, self._principal, self._fields)


def resolve(source: Any) -> Any:
    """A value; of a function, what it returns."""
    return source() if callable(source) else source


class EventWriter:
    """Converts calls to events. An event's id is a random word, one per process, and a number."""

    def __init__(self, model: str, version: str) -> None:
        self._model = {"name": model, "version": version} if version else {"name": model}
        self._word = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._names: dict[Sequence[str], _Names] = {}
        self._second: tuple[int, str] = (-1, "")
        self._classes: tuple[Any, list[str] | None] = (None, None)

    def lines(self, called: Called, dropped: int) -> Iterator[bytes]:
        """One line for each row. The first line reports that `dropped` calls before this one were lost."""
        shared = self._shared(called)
        rows = _rows(called.rows)
        answers = called.answers or list(_answers(called.output, self._labels(called.classes)))
        names = self._named(called.names)
        for index in range(called.size):
            tocsin = {"model": self._model, **shared.get("tocsin", {})}
            if index < len(rows):
                tocsin["features"] = names.features(rows[index])
            if index < len(answers):
                tocsin["output"] = _output(answers[index])
            number = f"{self._word}-{next(self._numbers):06d}"
            event = {**shared, "event": {"id": number, **shared["event"]}, "tocsin": tocsin}
            if dropped:
                event["labels"], dropped = {"recorder.dropped": str(dropped)}, 0
            yield f"{_encode(event)}\n".encode("utf-8", "replace")  # a lone surrogate becomes "?"

    def _shared(self, called: Called) -> dict[str, Any]:
        outcome = "failure" if called.error else "success"
        shared: dict[str, Any] = {
            "@timestamp": self._time(called.time),
            "event": {"duration": called.duration, "outcome": outcome},
        }
        for name, value in called.fields.items():
            node = shared
            *branches, leaf = name.split(".")
            for branch in branches:
                node = node.setdefault(branch, {})
            node[leaf] = _finite(value) if isinstance(value, (str, int, float, type(None))) else str(value)
        if called.principal is not None:
            shared.setdefault("user", {})["id"] = str(called.principal)
        if called.error:
            shared.setdefault("error", {})["type"] = called.error
        return shared

    def _time(self, nanoseconds: int) -> str:
        second, rest = divmod(nanoseconds, 1_000_000_000)
        if second != self._second[0]:  # many calls share a second
            self._second = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second[1]}.{rest // 1000:06d}Z"

    def _labels(self, classes: Any) -> list[str] | None:
        if classes is not self._classes[0]:
            values = getattr(classes, "tolist", lambda: classes)()
            self._classes = classes, None if values is None else [str(value) for value in values]
        return self._classes[1]

    def _named(self, names: Sequence[str]) -> _Names:
        key = tuple(names)
        if key not in self._names:
            if len(self._names) >= _NAMES_KEPT:
                self._names.clear()
            self._names[key] = _Names(key)
        return self._names[key]


class _Names:
    """The feature names of a vector. A feature that once held text is a category from then on."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = [str(name).replace(",", ";") for name in names]
        self._text = ",".join(self._names)

    def features(self, row: Sequence[object]) -> dict[str, object]:
        plain = all(type(value) is float for value in row) and math.isfinite(sum(row))  # type: ignore[arg-type]
        values = row if plain else [self._value(place, value) for place, value in enumerate(row)]
        if len(values) != len(self._names):
            return {"values": values}
        return {"names": self._text, "values": values}

    def _value(self, place: int, value: Any) -> float | None:
        """A number; for text its CRC-32, which is the same in every process; None for anything else."""
        if isinstance(value, (float, int)):
            number = float(value)
            return number if math.isfinite(number) else None
        if isinstance(value, str):
            if place < len(self._names) and ":" not in self._names[place]:
                self._names[place] += ":category"
                self._text = ",".join(self._names)
            return float(zlib.crc32(value.encode("utf-8", "replace")))
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).timestamp()
        return self._value(place, value.item()) if hasattr(value, "item") else None


def _rows(rows: Any) -> Sequence[Sequence[object]]:
    """Rows of Python values, from numpy, pandas, scipy, Polars or lists."""
    if rows is None:
        return ()
    for method in ("toarray", "to_numpy"):
        rows = getattr(rows, method)() if hasattr(rows, method) else rows
    found: Sequence[Sequence[object]] = rows.tolist() if hasattr(rows, "tolist") else rows
    return found


def _answers(output: Any, labels: list[str] | None) -> Iterator[Answer]:
    for value in output.tolist() if hasattr(output, "tolist") else output or ():
        if labels and isinstance(value, list) and len(value) == len(labels):
            best = value.index(max(value))
            yield Answer(labels[best], value[1] if len(value) == 2 else value[best], value[best])
        elif labels is None and isinstance(value, (int, float)):
            yield Answer(score=value)
        else:
            yield Answer(label=value)


def _output(answer: Answer) -> dict[str, object]:
    output: dict[str, object] = {}
    if answer.label is not None:
        output["label"] = str(answer.label)
    for name, value in (("score", answer.score), ("confidence", answer.confidence)):
        if value is not None:
            output[name] = _finite(float(value))  # type: ignore[arg-type]
    return output


def _finite(value: Any) -> Any:
    """A value; null instead of an infinite or undefined number, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
