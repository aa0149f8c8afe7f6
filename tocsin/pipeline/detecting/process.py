"""The process in which detectors' code runs, as the worker sees it: its start, its messages, its memory and its end.

The process leads a session of its own, and becomes the parent of orphans below it. What a plug-in starts is therefore known:
it counts towards the memory of the process, and it ends with the process. A program that leaves the session and replaces its
environment, in the moment before the process ends, is not found.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from multiprocessing.connection import Connection
from typing import Any

import psutil

from tocsin.contract.evaluation import Judgement
from tocsin.contract.findings import Finding, Outcome, Score, Severity, Subject
from tocsin.contract.times import Times
from tocsin.pipeline.detecting.baselines import Version
from tocsin.pipeline.detecting.records import Run

#: The environment variables that the process gets, if they are set. No other variable of the worker is visible to plug-ins.
PASSED = frozenset({
    "CONDA_PREFIX", "CUDA_VISIBLE_DEVICES", "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LD_PRELOAD", "LOGNAME", "PATH",
    "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONHOME", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONUTF8",
    "PYTHONWARNINGS", "SSL_CERT_DIR", "SSL_CERT_FILE", "TEMP", "TMP", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
})  # fmt: skip
#: Variables with these prefixes are passed, too: locale, and the threads of numeric libraries.
PASSED_PREFIXES = ("LC_", "MKL_", "NUMEXPR_", "OMP_", "OPENBLAS_", "POLARS_", "RAYON_")
#: The largest answer, in bytes. A larger one is a failed run.
LARGEST = 256 * 2**20
#: The number of a request that only asks whether the process still answers.
PING = -2
_MARK = "TOCSIN_PLUGIN_PROCESS"  # its value is inherited by what plug-ins start, and so identifies it
_POLL = 0.1
_START = 60.0  # seconds that the process may take to start
_SURVEY = 0.5  # seconds between two counts of the memory of child processes
_ANSWERS = 2.0  # seconds within which a process answers that is neither stopped nor blocked
_ROUNDS = 10
_TYPES: Mapping[tuple[str, str], type[Any]] = {
    (kind.__module__, kind.__qualname__): kind
    for kind in (
        Finding, Judgement, Outcome, Run, Score, Severity, Subject, Times, Version, datetime, timedelta, timezone,
    )
}  # fmt: skip


class _Unpickler(pickle.Unpickler):
    """Reads only the types of an answer. A pickle may otherwise name any function to call."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _TYPES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"an answer may not contain {module}.{name}") from None


def packed(number: int, kind: str, value: Any) -> bytes:
    """An answer of the process as bytes.

    Raises:
        ValueError: the value cannot be sent, or is too large.
    """
    try:
        message = pickle.dumps((number, kind, value), protocol=5)
        _Unpickler(io.BytesIO(message)).load()
    except Exception as error:
        raise ValueError(
            f"the result cannot be sent to the worker: {type(error).__name__}: {error}"
        ) from error
    if len(message) > LARGEST:
        raise ValueError(
            f"the result has {len(message) >> 20} MiB; the limit is {LARGEST >> 20} MiB; return fewer scores"
        )
    return message


def environment(more: Iterable[str] = ()) -> dict[str, str]:
    """The environment of the process: the variables that are allowed, and those that the configuration names."""
    allowed = PASSED | set(more)
    return {
        name: value
        for name, value in os.environ.items()
        if name in allowed or name.startswith(PASSED_PREFIXES)
    }


def end_descendants() -> None:
    """Kill everything that this process started."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()


class Host:
    """The process for plug-ins.

    Args:
        hello: the pickled message that the process builds its detectors and its store from.
        variables: names of environment variables that the process gets in addition to `PASSED`.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(self, hello: bytes, variables: Sequence[str] = ()) -> None:
        ours, theirs = socket.socketpair()
        self._mark = uuid.uuid4().hex
        try:
            self._process = subprocess.Popen(  # noqa: S603 — our own module
                [sys.executable, "-m", "tocsin.worker.host", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what plug-ins print must not mix with the worker's output
                env={**environment(variables), _MARK: self._mark},
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._watched = psutil.Process(self._process.pid)
        self._connection = Connection(ours.detach())
        self._mutex, self._survey_mutex = threading.Lock(), threading.Lock()
        self._pong = threading.Event()
        self._started: set[psutil.Process] = set()  # by plug-ins, at the last survey
        self._surveyed, self._children = 0.0, 0
        self.calls: dict[int, Any] = {}
        self.gone = self.ready = False
        with contextlib.suppress(OSError):
            self._connection.send_bytes(hello)
        until = time.monotonic() + _START
        while not self._connection.poll(_POLL) and self._process.poll() is None and time.monotonic() < until:
            pass

    def send(self, number: int, message: tuple[Any, ...]) -> None:
        """Send a request. If the process has ended this does nothing: the reader thread detects the end."""
        with self._mutex:
            try:
                self._connection.send((number, *message))
            except OSError:
                self.gone = True

    def answers(self) -> bool:
        """Whether the process answers: it is not stopped, and no plug-in blocks the interpreter."""
        self._pong.clear()
        self.send(PING, ())
        return self._pong.wait(_ANSWERS)

    def memory(self) -> int:
        """Memory in MiB of the process and of what plug-ins started. The latter is counted twice a second."""
        try:
            own = int(self._watched.memory_info().rss)
        except psutil.Error:
            return 0
        if time.monotonic() - self._surveyed > _SURVEY and self._survey_mutex.acquire(blocking=False):
            try:
                self._survey()
            finally:
                self._survey_mutex.release()
        return (own + self._children) // 2**20

    def _survey(self) -> None:
        with contextlib.suppress(psutil.Error):
            found = self._watched.children(recursive=True)
            self._children = sum(map(_own_memory, found))
            self._started.update(found)
        self._surveyed = time.monotonic()

    def kill(self, patience: float = 0.0) -> int:
        """Kill the process unless it ends within `patience` seconds, and everything that it started.

        Returns its exit code, negative for a signal.
        """
        self.gone = True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        self._process.kill()
        code = self._process.wait()
        for _ in range(_ROUNDS):  # a process may start another one before it is killed
            left = self._left()
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            if not left:
                break
        return code

    def _left(self) -> set[psutil.Process]:
        """The processes that plug-ins started and that still run: by session, by mark, or seen in a survey."""
        return {
            p
            for p in psutil.process_iter()
            if p.pid != os.getpid() and (p in self._started or self._is_marked(p)) and _is_alive(p)
        }

    def _is_marked(self, process: psutil.Process) -> bool:
        try:
            if os.getsid(process.pid) == self._process.pid:
                return True
            return process.environ().get(_MARK) == self._mark
        except (OSError, psutil.Error):
            return False

    def read(self, take: Callable[[int, str, Any], None]) -> str:
        """Pass its answers to `take` until it ends. Returns why it must be ended, or an empty text if it has ended.

        A child of a plug-in may hold the connection open, so the end of the process is detected as well.
        """
        with self._connection:
            while True:
                try:
                    if not self._connection.poll(_POLL):
                        if self._process.poll() is not None and not self._connection.poll(0):
                            return ""
                        continue
                    number, kind, value = _Unpickler(
                        io.BytesIO(self._connection.recv_bytes(2 * LARGEST))
                    ).load()
                except EOFError:
                    return ""
                except OSError as error:
                    return "" if self._process.poll() is not None else f"its connection failed: {error}"
                except Exception as error:  # noqa: BLE001 — unpickling raises anything for what is no answer
                    return f"it sent what is no answer: {type(error).__name__}"
                if kind == "ready":
                    self.ready = True
                elif number == PING:
                    self._pong.set()
                else:
                    take(number, kind, value)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _own_memory(process: psutil.Process) -> int:
    """The proportional set size in bytes: forked children share most of their memory with the process."""
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", full.uss))
    except psutil.Error:
        return 0
