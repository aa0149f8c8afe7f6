"""The fence around detectors' code: one long-lived process that runs it, and the handling of its failures.

The process is spawned, never forked (Polars' threads do not survive a fork). It serves all detectors of a worker and is
killed when an evaluation takes too long or the process uses too much memory. If one evaluation was running, or one had
exceeded its time, the fault is attributed to its detector. Otherwise every running evaluation is retried alone, which
shows the detector at fault.
"""

from __future__ import annotations

import itertools
import pickle
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tocsin.clock import Clock, format_length
from tocsin.contract.findings import Outcome
from tocsin.errors import BaselineError, PluginError, StoreAway, StoreError
from tocsin.pipeline.detecting.baselines import Version
from tocsin.pipeline.detecting.evaluate import Partial
from tocsin.pipeline.detecting.process import Host
from tocsin.pipeline.detecting.records import Run
from tocsin.pipeline.detecting.settings import Setting
from tocsin.pipeline.detecting.suspects import Interval

TIMEOUT = timedelta(minutes=10)
#: Memory of the process and of what plug-ins start, in MiB.
MEMORY = 4096
_POLL = 0.1
_END = 5.0  # seconds that it may take to exit after it closed the connection
_ERRORS: dict[str, Callable[[str], Exception]] = {
    "away": StoreAway,
    "store": StoreError,
    "baseline": BaselineError,
}


def _nothing() -> None:
    """The heartbeat in the other process, which holds no claim."""


class Fault(Exception):  # noqa: N818 — reported as a failed run, never raised to a user
    """A detector did not finish (`hang`, `memory`, `crash`), or the process does not start (`import`)."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(slots=True)
class _Call:
    detector: str
    began: float
    done: threading.Event = field(default_factory=threading.Event)
    answer: tuple[str, Any] | None = None  # the kind, and the value or error message
    fault: Fault | None = None
    suspected: bool = False  # it was running when the process ended, together with other calls


class Fence:
    """Evaluates in a separate process. Any number of threads may call it concurrently.

    Args:
        config: the configuration that the process builds its detectors and its store from, without what it does not
            need; pickled once.
        clock: the worker's clock; its time is sent with each request and recorded with fitted baselines.
        timeout: the longest time that one evaluation or fit may take.
        memory: the most memory that the process and what plug-ins start may use, in MiB.
        store_key: the key of the store. It is neither in the configuration nor in the environment of the process.
        variables: names of environment variables that plug-ins need (see `tocsin.pipeline.detecting.process.PASSED`).
    """

    def __init__(
        self,
        config: Any,
        clock: Clock,
        timeout: timedelta = TIMEOUT,
        memory: int = MEMORY,
        *,
        store_key: str | None = None,
        variables: Sequence[str] = (),
    ) -> None:
        self._hello, self._clock = pickle.dumps((config, store_key)), clock
        self._variables = tuple(variables)
        self._timeout, self._memory = timeout, memory
        self._numbers = itertools.count()
        self._gate = threading.Condition()
        self._host: Host | None = None
        self._reader: threading.Thread | None = None
        self._alone = False  # a call runs alone, and no other may begin
        self._queue = 0  # calls that wait to run alone; no other call begins before them

    def attempt(
        self,
        setting: Setting,
        start: datetime,
        suspect: Sequence[Interval] = (),
        heartbeat: Callable[[], None] = lambda: None,
        partial: Partial | None = None,
    ) -> Run:
        """Evaluate one window. If the evaluation does not finish, returns a failed run with the kind of fault.

        Raises:
            StoreAway: the store is unavailable.
        """
        began = time.monotonic()
        try:
            message = ("attempt", start, tuple(suspect), _nothing, partial)
            run = self._call(setting.detector.id, message, heartbeat)
            if isinstance(run, Run) and (run.detector, run.start) == (setting.detector.id, start):
                return run
            reason, kind = "the process for plug-ins answered with something other than this run", "output"
        except Fault as fault:
            reason, kind = str(fault), fault.kind
        except PluginError as error:
            reason, kind = str(error), "output"
        end, seconds = start + setting.detector.requires.window, time.monotonic() - began
        return Run(setting.detector.id, start, end, Outcome.FAILED, reason, seconds=seconds, fault=kind)

    def fit(self, setting: Setting, end: datetime, start: datetime | None = None) -> Version:
        """Fit a baseline.

        Raises:
            BaselineError: the history is too short.
            PluginError: the detector failed.
        """
        try:
            version = self._call(setting.detector.id, ("fit", end, start), lambda: None)
        except Fault as fault:
            raise PluginError(setting.detector.id, str(fault)) from None
        if not isinstance(version, Version):
            raise PluginError(setting.detector.id, "the process for plug-ins answered without a baseline")
        return version

    def close(self) -> None:
        """End the process."""
        with self._gate:
            host, self._host = self._host, None
        if host is not None and self._reader is not None:
            host.kill()
            self._reader.join()

    def _call(self, detector: str, message: tuple[Any, ...], heartbeat: Callable[[], None]) -> Any:
        alone = False
        while True:
            call = self._request(detector, message, heartbeat, alone=alone)
            if call.fault is not None:
                raise call.fault
            if call.answer is None:  # the process ended, perhaps because of another call: retry
                alone = alone or call.suspected
                continue
            kind, value = call.answer
            if kind == "done":
                return value
            raise _ERRORS[kind](value) if kind in _ERRORS else PluginError(detector, value)

    def _request(
        self, detector: str, message: tuple[Any, ...], heartbeat: Callable[[], None], *, alone: bool
    ) -> _Call:
        number = next(self._numbers)
        host, call = self._enter(number, detector, heartbeat, alone=alone)
        try:
            host.send(number, (self._clock.now(), message[0], detector, *message[1:]))
            while not call.done.wait(_POLL):
                heartbeat()
                self._watch(host, call)
        finally:
            with self._gate:
                host.calls.pop(number, None)
                self._alone = self._alone and not alone
                self._gate.notify_all()
        return call

    def _enter(
        self, number: int, detector: str, heartbeat: Callable[[], None], *, alone: bool
    ) -> tuple[Host, _Call]:
        """Wait until the call may begin. A call that runs alone waits until no call is running, and blocks new ones."""
        with self._gate:
            self._queue += alone
            try:
                while self._blocked(alone=alone):
                    self._gate.wait(_POLL)
                    heartbeat()
            finally:
                self._queue -= alone
            if self._host is None or self._host.gone:
                try:
                    self._host = Host(self._hello, self._variables)
                except OSError as error:
                    raise Fault("import", f"the process for plug-ins cannot be started: {error}") from None
                self._reader = threading.Thread(target=self._read, args=(self._host,), daemon=True)
                self._reader.start()
            self._alone = alone
            call = self._host.calls[number] = _Call(detector, time.monotonic())
            return self._host, call

    def _blocked(self, *, alone: bool) -> bool:
        busy = self._host is not None and bool(self._host.calls)
        return self._alone or (busy if alone else self._queue > 0)

    def _watch(self, host: Host, call: _Call) -> None:
        if time.monotonic() - call.began > self._timeout.total_seconds() and not call.done.wait(_POLL):
            reason = f"did not finish within {format_length(self._timeout)}"
            is_culprit = len(host.calls) == 1 or host.answers()
            # if the whole process stands still, another call may be the reason: each is tried again alone
            self._end(host, Fault("hang", reason), call if is_culprit else None)
        elif (used := host.memory()) > self._memory:
            self._end(host, Fault("memory", f"used {used} MiB of memory; the limit is {self._memory} MiB"))

    def _read(self, host: Host) -> None:
        def take(number: int, kind: str, value: Any) -> None:
            call = host.calls.get(number)
            if call is not None:
                call.answer = (kind, value)
                call.done.set()

        broken = host.read(take)
        code = host.kill(0.0 if broken else _END)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if host.ready and broken:
            self._end(host, Fault("crash", f"broke the process for plug-ins: {broken}"))
        elif host.ready:
            self._end(host, Fault("crash", f"ended the process for plug-ins: {how}"))
        else:
            reason = (
                f"the process for plug-ins did not start ({how}); the worker's standard error has the reason"
            )
            self._end(host, Fault("import", reason))

    def _end(self, host: Host, fault: Fault, culprit: _Call | None = None) -> None:
        """Kill the process and wake all waiting calls: the culprit with the fault, the others to retry."""
        with self._gate:
            host.kill()
            waiting = [call for call in host.calls.values() if not call.done.is_set()]
            if culprit is None and len(waiting) == 1:
                culprit = waiting[0]
            for call in waiting:
                call.fault = fault if call is culprit or fault.kind == "import" else None
                call.suspected = culprit is None
                call.done.set()
