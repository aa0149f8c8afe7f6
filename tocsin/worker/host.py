"""The process in which detectors' code runs: `python -m tocsin.worker.host FD`.

`tocsin.pipeline.detecting.fence` starts this process. It has its own connection to the store, and ends with its worker.
Whatever a plug-in raises is the answer to one request.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import traceback
from dataclasses import replace
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any

from tocsin.clock import SystemClock
from tocsin.config.settings import Config
from tocsin.errors import (
    BaselineError,
    ConfigError,
    PluginError,
    StoreAway,
    StoreError,
    TocsinError,
    described,
)
from tocsin.pipeline.detecting.evaluate import Evaluator, one_thread
from tocsin.pipeline.detecting.process import PING, end_descendants, packed
from tocsin.pipeline.detecting.settings import Setting
from tocsin.worker import assembly, stores

_KINDS: tuple[tuple[type[TocsinError], str], ...] = (
    (StoreAway, "away"),
    (StoreError, "store"),
    (BaselineError, "baseline"),
)
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux's prctl(2)


class _RequestClock(SystemClock):
    """Returns the worker's time, as sent with the newest request."""

    requested: datetime | None = None

    def now(self) -> datetime:
        return self.requested or super().now()


class _Answers:
    """Sends answers. A forked child has no connection, so it cannot answer in place of its parent."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._mutex, self._owner = connection, threading.Lock(), os.getpid()
        os.set_inheritable(connection.fileno(), False)  # noqa: FBT003 — programs that plug-ins start do not inherit it
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._connection.fileno())

    def send(self, number: int, kind: str, value: Any) -> None:
        if os.getpid() != self._owner:
            os._exit(0)  # a child that a plug-in forked, and that returned from the plug-in's code
        try:
            message = packed(number, kind, value)
        except ValueError as error:
            message = packed(number, "plugin", str(error))
        with self._mutex:
            self._connection.send_bytes(message)


def serve(connection: Connection) -> None:
    """Answer requests, each on a separate thread, until the worker closes the connection."""
    config, store_key = connection.recv()
    answers, clock = _Answers(connection), _RequestClock()
    settings, unknown = _settings(config)
    evaluator = Evaluator(stores.store(config, clock, prepare=False, key=store_key), clock)

    def work(number: int, method: str, detector: str, *arguments: Any) -> None:
        try:
            if detector not in settings:
                raise PluginError(detector, unknown.get(detector, _MISSING))  # noqa: TRY301
            kind, value = "done", getattr(evaluator, method)(settings[detector], *arguments)
        except PluginError as error:
            kind, value = "plugin", str(error).removeprefix(f"plug-in {detector}: ")
        except BaseException as error:  # noqa: BLE001 — the fence around plug-in calls, whatever they raise
            kind = next((kind for type_, kind in _KINDS if isinstance(error, type_)), "plugin")
            value = described(error) if kind == "plugin" else str(error)
        answers.send(number, kind, value)

    answers.send(-1, "ready", None)
    while True:
        number, *request = connection.recv()
        if number == PING:
            answers.send(PING, "pong", None)
            continue
        clock.requested, *request = request
        threading.Thread(target=work, args=(number, *request), daemon=True).start()


_MISSING = (
    "the process for plug-ins does not have this detector; if its module reads an environment variable, name the variable "
    "in worker.environment"
)


def _settings(config: Config) -> tuple[dict[str, Setting], dict[str, str]]:
    """The detectors by id, and why others cannot be built here. One that fails does not stop the others."""
    try:
        return {s.detector.id: s for s in assembly.settings(config, assembly.catalogue(config))}, {}
    except (ConfigError, PluginError):
        pass
    modules = [module for module in config.plugins if _is_usable(config, module)]
    known = assembly.catalogue(replace(config, plugins=tuple(modules)))
    found: dict[str, Setting] = {}
    unknown: dict[str, str] = {}
    for id, section in config.detectors.items():
        only = {other: replace(s, enabled=other == id) for other, s in config.detectors.items()}
        try:
            found |= {
                s.detector.id: s
                for s in assembly.settings(replace(config, detectors={**only, id: section}), known)
            }
        except (ConfigError, PluginError) as error:
            unknown[id] = str(error)
    if not found:  # the detectors that need no section of their own
        without = {id: replace(section, enabled=False) for id, section in config.detectors.items()}
        usable = {id: section for id, section in without.items() if id not in unknown}
        found = {s.detector.id: s for s in assembly.settings(replace(config, detectors=usable), known)}
    return found, unknown


def _is_usable(config: Config, module: str) -> bool:
    try:
        assembly.catalogue(replace(config, plugins=(module,)))
    except (ConfigError, PluginError):
        return False
    return True


def _adopt() -> None:
    """Become the parent of orphans among the descendants, so that the worker still finds and counts them (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _end() -> None:
    """End the process with everything that plug-ins started, even if a detector is running."""
    end_descendants()
    os._exit(0)


def main() -> None:
    """Serve on the file descriptor given as argument."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # these signals are for the worker; this process ends with it
    _adopt()
    try:
        with one_thread():
            serve(Connection(int(sys.argv[1])))
    except (EOFError, OSError):
        _end()
    except BaseException:  # noqa: BLE001 — threads of plug-ins must not keep the process
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    main()
