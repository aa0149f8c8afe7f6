"""Records the calls of a model from inside the process that serves it.

    with tocsin_recorder.record("credit", version="8", spool="/var/spool/tocsin", principal=key) as call:
        call.features({"limit": 20000, "age": 24})
        score = model(...)
        call.output(label="1", score=score)

    model = tocsin_recorder.Recorder("credit", version="8", spool="/var/spool/tocsin").wrap(estimator)

The caller's thread only puts raw values on a bounded queue. A daemon thread converts the values to events of the
`inference` stream and appends the events to segment files, which the `ndjson` collector reads. The recorder never
blocks the model's code and never raises an exception into it. Rows that cannot be recorded are counted in `dropped`.
The count is logged at most once a minute and written into `labels` of the next event. Delivery: at most once from the
call to the spool (kill -9 loses the queued calls, about the last 0.2 s), at least once from the spool to the store.
The recorder uses only the standard library.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tocsin_recorder.calls import Call, Called, EventWriter, Fields, Principal, resolve
from tocsin_recorder.spool import Spool

log = logging.getLogger("tocsin.recorder")

_PERIOD = 0.2  # seconds between two reads of the queue
_AT_ONCE = 32  # number of events after which the writing thread pauses for the model's threads
_WARNED_EVERY = 60.0


class Recorder:
    """Records the calls of one version of one model into a spool folder.

    Args:
        model: the model's name.
        version: its version.
        spool: folder for the segment files; several processes may share it.
        principal: the caller's id, or a function that returns it on the caller's thread.
        fields: further ECS fields by dotted name (`source.ip`, `trace.id`), or a function that returns them.
        max_bytes: maximum size of the folder; further calls are dropped until the collector has removed segments.
        queue: maximum number of queued rows; further calls are dropped.
        max_rows: maximum number of recorded rows of one call; its other rows are dropped.
        clock: returns nanoseconds since 1970.
    """

    _closed: bool

    def __init__(
        self,
        model: str,
        *,
        spool: Path | str,
        version: str = "",
        principal: Principal = None,
        fields: Fields = None,
        max_bytes: int = 1024**3,
        queue: int = 20_000,
        max_rows: int = 10_000,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.model, self.version, self.max_rows, self.clock = model, version, max_rows, clock
        self._folder, self._max_bytes, self._limit = Path(spool), max_bytes, queue
        self._principal, self._fields = principal, fields
        self._begin()
        _recorders().add(self)

    @property
    def recorded(self) -> int:
        """Rows written to the spool by this process."""
        return self._recorded

    @property
    def dropped(self) -> int:
        """Rows lost in this process: the queue or the spool is full or not writable, or a row has no JSON form."""
        return self._dropped

    def call(
        self,
        *,
        principal: Principal = None,
        features: Mapping[str, object] | Sequence[object] | None = None,
        fields: Fields = None,
    ) -> Call:
        """A context manager that records one call of the model; see `Call`."""
        return Call(self, principal, features, fields)

    def wrap(self, estimator: Any, names: Sequence[str] = ()) -> Any:
        """Return a wrapper of the estimator that records `predict` and `predict_proba`, with one event for each row.

        `names` are the feature names in the estimator's order. The suffix `:category` marks a feature that holds
        codes; if one name has it, the features without it are numbers. Default: the names that the estimator was
        fitted with, or else names learned from the first hundred calls that it accepted.
        """
        from tocsin_recorder.estimator import wrapped

        return wrapped(self, estimator, names)

    def put(self, called: Called, principal: Principal = None, fields: Fields = None) -> None:
        """Queue an observed call. Never blocks, never raises."""
        try:
            called = called._replace(
                principal=resolve(principal) or resolve(self._principal),
                fields={**(resolve(self._fields) or {}), **(resolve(fields) or {})},
            )
        except Exception:  # noqa: BLE001 - the caller's function may raise anything; it must not reach the model's code
            self.lose(called.size)
            return
        with self._lock:
            if self._closed or self._waiting + called.size > self._limit:
                self._dropped += called.size
                return
            self._queue.append(called)
            self._waiting += called.size
            if self._thread is None:
                self._start()
        if self._waiting > self._limit // 2 and not self._wake.is_set():
            self._wake.set()

    def lose(self, count: int) -> None:
        """Count rows that could not be recorded."""
        with self._lock:
            self._dropped += count

    def flush(self) -> None:
        """Write the queued calls on the thread of the caller."""
        with self._writing:
            self._drain(pause=0.0)

    def close(self, timeout: float = 2.0) -> None:
        """Write the queued calls and stop. Wait at most `timeout` seconds. Later calls are dropped."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(timeout)
        self.lose(self._waiting)
        if self._dropped:
            log.warning(
                "model %s: %d rows were not recorded, %d rows were recorded",
                self.model,
                self._dropped,
                self._recorded,
            )

    def _begin(self) -> None:
        """Set the initial state: in a new recorder, and in a child process after a fork."""
        self._lock, self._writing, self._wake = threading.RLock(), threading.Lock(), threading.Event()
        self._queue: list[Called] = []
        self._waiting = self._recorded = self._dropped = self._reported = 0
        self._warned = float("-inf")
        self._closed = False
        self._thread: threading.Thread | None = None
        self._events = EventWriter(self.model, self.version)
        self._spool = Spool(self._folder, f"inference-{self.model}", max_bytes=self._max_bytes)

    def after_fork(self) -> None:
        """In a child process after a fork: drop the copy of the queue. The parent writes the queued calls."""
        self._spool.close()
        self._begin()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="tocsin-recorder", daemon=True)
        self._thread.start()
        util = sys.modules.get("multiprocessing.util")
        if util is not None:  # child processes of multiprocessing end without running atexit
            util.Finalize(None, self.close, exitpriority=100)

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(_PERIOD)
            self._wake.clear()
            with self._writing:
                self._drain(pause=0.0 if self._closed else 0.0003)
        with self._writing:
            self._drain(pause=0.0)
            self._spool.close()

    def _drain(self, pause: float) -> None:
        with self._lock:
            queue, self._queue, self._waiting = self._queue, [], 0
        lines: list[bytes] = []
        for called in queue:
            for line in self._lines(called):
                lines.append(line)
                if len(lines) == _AT_ONCE:
                    self._write(lines)
                    lines = []
                    if pause:
                        time.sleep(pause)  # the model's threads can run meanwhile
        if lines:
            self._write(lines)
        self._warn()

    def _lines(self, called: Called) -> Iterator[bytes]:
        made, unreported = 0, self._dropped - self._reported
        try:
            for line in self._events.lines(called, unreported):
                made += 1
                if line is None:
                    self.lose(1)
                    continue
                self._reported += unreported  # by the first line
                unreported = 0
                yield line
        except Exception as error:  # noqa: BLE001 - values of any kind come from the model's code
            log.debug("a call could not be converted to an event: %r", error)
            self.lose(called.size - made)

    def _write(self, lines: list[bytes]) -> None:
        try:
            written = self._spool.write(b"".join(lines))
        except OSError as error:
            log.debug("the spool cannot be written: %s", error)
            written = False
        if written:
            self._recorded += len(lines)
        else:
            self.lose(len(lines))

    def _warn(self) -> None:
        now = time.monotonic()
        if self._dropped > self._reported and now - self._warned >= _WARNED_EVERY:
            self._warned = now
            log.warning(
                "model %s: %d rows were not recorded so far; check that the spool %s is writable and collected",
                self.model,
                self._dropped,
                self._folder,
            )


def record(
    model: str,
    *,
    spool: Path | str,
    version: str = "",
    principal: Principal = None,
    features: Mapping[str, object] | Sequence[object] | None = None,
    fields: Fields = None,
) -> Call:
    """Record one call of a model. A process has one recorder for each model, version and spool."""
    return _recorder(model, version, str(spool)).call(principal=principal, features=features, fields=fields)


@functools.cache
def _recorder(model: str, version: str, spool: str) -> Recorder:
    return Recorder(model, version=version, spool=spool)


@functools.cache
def _recorders() -> weakref.WeakSet[Recorder]:
    """The recorders of this process. They are closed when the process exits, and reset in a child process after a fork."""
    recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()

    def close() -> None:
        for recorder in list(recorders):
            recorder.close()

    def after_fork() -> None:
        for recorder in list(recorders):
            recorder.after_fork()

    atexit.register(close)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=after_fork)
    return recorders
