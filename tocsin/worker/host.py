"""The process in which detectors' code runs: `python -m tocsin.worker.host FD`.

`tocsin.pipeline.detecting.fence` starts this process. It has its own connection to the store, and ends with its worker.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any

from tocsin.clock import SystemClock
from tocsin.config.settings import Config
from tocsin.errors import BaselineError, PluginError, StoreAway, StoreError
from tocsin.pipeline.detecting.evaluate import Evaluator, one_thread
from tocsin.worker import assembly


class _RequestClock(SystemClock):
    """Returns the worker's time, as sent with the newest request."""

    requested: datetime | None = None

    def now(self) -> datetime:
        return self.requested or super().now()


def serve(connection: Connection) -> None:
    """Answer requests, each on a separate thread, until the worker closes the connection."""
    config: Config = connection.recv()
    clock, mutex = _RequestClock(), threading.Lock()
    settings = {s.detector.id: s for s in assembly.settings(config, assembly.catalogue(config))}
    evaluator = Evaluator(assembly.store(config, clock, prepare=False), clock)

    def answer(number: int, kind: str, value: Any) -> None:
        with mutex:
            connection.send((number, kind, value))

    def work(number: int, method: str, detector: str, *arguments: Any) -> None:
        try:
            answer(number, "done", getattr(evaluator, method)(settings[detector], *arguments))
        except StoreAway as error:
            answer(number, "away", str(error))
        except StoreError as error:
            answer(number, "store", str(error))
        except BaselineError as error:
            answer(number, "baseline", str(error))
        except PluginError as error:
            answer(number, "plugin", str(error))
        except BaseException as error:  # noqa: BLE001 — the fence around plug-in calls; Polars' panics are not an Exception
            answer(number, "plugin", f"{type(error).__name__}: {error}")

    answer(-1, "ready", None)
    while True:
        number, clock.requested, *request = connection.recv()
        threading.Thread(target=work, args=(number, *request), daemon=True).start()


def main() -> None:
    """Serve on the file descriptor given as argument."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # these signals are for the worker; this process ends with it
    try:
        with one_thread():
            serve(Connection(int(sys.argv[1])))
    except (EOFError, OSError):
        os._exit(0)  # even if a detector is running


if __name__ == "__main__":
    main()
