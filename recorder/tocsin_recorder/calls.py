"""Calls of a model, observed in the model's process and converted to events of the `inference` stream.

Runs in the recorder's thread inside model servers. Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Optional, Protocol, Union

from tocsin_recorder.outputs import Answer, answers
from tocsin_recorder.schema import Schema
from tocsin_recorder.values import TEXT, listed, row_of, rows_of

Principal = Union[str, Callable[[], Optional[str]], None]
Fields = Union[Mapping[str, object], Callable[[], Mapping[str, object]], None]
log = logging.getLogger("tocsin.recorder")
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Called(NamedTuple):
    """One observed call with its raw values: arrays, frames or lists of rows, and the model's output."""

    time: int  # nanoseconds since 1970
    duration: int
    size: int  # rows
    rows: Any = None
    names: Any = ()  # of the rows at hand
    schema: Schema | None = None  # None: that of the recorder
    absent: str = ""  # why the rows cannot be read
    principal: object = None
    fields: Mapping[str, object] = {}  # dotted ECS names
    answers: Sequence[Answer] = ()
    output: Any = None  # of an estimator, instead of answers
    classes: Any = None
    probable: bool = False  # the output holds probabilities, not predictions
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
        self._features: object = None
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
            if isinstance(values, TEXT):
                self._features = values
            else:
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
        self._schema = Schema(prefix="feature_", marks=True)
        self._second: tuple[int, str] = (-1, "")

    def lines(self, called: Called, dropped: int) -> Iterator[bytes | None]:
        """One line for each row; None for a row that cannot be converted.

        The first line reports that `dropped` calls before this one were lost.
        """
        shared, schema = self._shared(called), called.schema or self._schema
        names = tuple(map(str, called.names))
        rows = () if called.rows is None else listed(called.rows)
        found = called.answers or _answered(called)
        if not called.error:
            self._learn(schema, rows, names)
        for index in range(called.size):
            try:
                event = self._event(shared, found[index] if index < len(found) else None)
                labels = {"features.absent": called.absent} if called.absent else {}
                if index < len(rows):
                    labels = _put_features(event["tocsin"], schema, rows[index], names)
                if dropped:
                    labels["recorder.dropped"] = str(dropped)
                if labels:
                    given = event.get("labels")
                    event["labels"] = {**given, **labels} if isinstance(given, dict) else labels
                line = f"{_encode(event)}\n".encode("utf-8", "replace")  # a lone surrogate becomes "?"
            except Exception as error:  # noqa: BLE001, PERF203 - the model's values; each row is odd alone
                log.debug("a row could not be converted to an event: %r", error)
                yield None
            else:
                dropped = 0
                yield line

    def _learn(self, schema: Schema, rows: Sequence[Any], names: Sequence[str]) -> None:
        try:
            schema.learn(rows_of(rows, names))
        except Exception as error:  # noqa: BLE001 - values of any kind come from the model's code
            log.debug("nothing was learned from a call: %r", error)

    def _event(self, shared: dict[str, Any], answer: Answer | None) -> dict[str, Any]:
        tocsin = {"model": self._model, **shared.get("tocsin", {})}
        if answer is not None:
            tocsin["output"] = _output(answer)
        number = f"{self._word}-{next(self._numbers):06d}"
        return {**shared, "event": {"id": number, **shared["event"]}, "tocsin": tocsin}

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


def _answered(called: Called) -> Sequence[Answer]:
    """An estimator's answers; none if they cannot be read."""
    try:
        return list(answers(called.output, called.classes, called.size, called.probable))
    except Exception as error:  # noqa: BLE001 - what an estimator returns may be anything
        log.debug("the answers of a call cannot be read: %r", error)
        return ()


def _put_features(tocsin: dict[str, Any], schema: Schema, row: Any, names: Sequence[str]) -> dict[str, str]:
    """Add a row's vector to an event. Returns the labels that say what the vector lacks."""
    found = row_of(row, names)
    if isinstance(found, str):
        return {"features.absent": found}
    vector = schema.vector(*found)
    tocsin["features"] = {"names": vector.names} if vector.names else {}
    tocsin["features"]["values"] = vector.values
    return {"features.odd": str(vector.odd)} if vector.odd else {}


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
