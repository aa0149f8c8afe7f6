"""Files that only their owner may read: streams, keyed state, baselines, the spool and reports contain telemetry."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_mutex = threading.Lock()
_inside = 0  # threads inside `private_files`
_outside = 0  # the umask outside


@contextmanager
def private_files() -> Iterator[None]:
    """Create files with mode 0600 and folders with mode 0700, whatever the umask of the process is.

    The umask is the only way for files that libraries create. It belongs to the whole process: a file that another thread
    creates meanwhile is private, too. Files that exist keep their modes.
    """
    global _inside, _outside  # noqa: PLW0603 — the umask is global
    with _mutex:
        if not _inside:
            _outside = os.umask(0o077)
        _inside += 1
    try:
        yield
    finally:
        with _mutex:
            _inside -= 1
            if not _inside:
                os.umask(_outside)
