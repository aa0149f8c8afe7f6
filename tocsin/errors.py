"""The errors that Tocsin raises. A message says what happened, where, and what to do."""

from __future__ import annotations

from pathlib import Path

_SHOWN = 500  # characters of a plug-in's error that are shown


def described(error: BaseException) -> str:
    """`ZeroDivisionError: division by zero`, for any error of a plug-in: in bounds, and in characters that can be stored."""
    try:
        message = str(error)
    except BaseException as second:  # noqa: BLE001 — a plug-in's error class may raise anything here
        message = f"its message cannot be shown ({type(second).__name__})"
    if len(message) > _SHOWN:
        message = f"{message[:_SHOWN]}… ({len(message):,} characters)"
    return f"{type(error).__name__}: {message}".encode("utf-8", "replace").decode()


class TocsinError(Exception):
    """The base class: an error that a user can act on. The command line prints its message without a traceback."""


class ConfigError(TocsinError):
    """A configuration is wrong. `path`, `line` and `key` say where, as far as the place is known."""

    def __init__(
        self, message: str, path: Path | str | None = None, line: int | None = None, key: str = ""
    ) -> None:
        place = "" if path is None else f"{path}:{line}: " if line else f"{path}: "
        super().__init__(f"{place}{message}")
        self.path, self.line, self.key = path, line, key


class InputError(TocsinError):
    """Input cannot be used: a file is missing, is not in the expected format, or a name does not exist."""


class PluginError(TocsinError):
    """A plug-in could not be imported, is declared wrongly, or failed while it ran."""

    def __init__(self, plugin: str, message: str) -> None:
        super().__init__(f"plug-in {plugin}: {message}")
        self.plugin = plugin


class StoreError(TocsinError):
    """The store cannot be opened, read or written."""


class StoreAway(StoreError):  # noqa: N818 — a temporary state, not a fault
    """The store cannot be reached or is too busy. The caller may retry the operation later."""


class BaselineError(TocsinError):
    """A baseline cannot be fitted, does not exist, or failed verification."""


class BaselineChanged(BaselineError):  # noqa: N818 — names the event
    """A stored baseline does not match its digest: it was modified after it was fitted."""


class SnapshotError(TocsinError):
    """The rows of a dataset snapshot are missing, cannot be read, or do not match their digest."""


class DeliveryError(TocsinError):
    """A receiver could not deliver a notification.

    `retry` says whether a retry can succeed; `after` is the number of seconds to wait before it, if known.
    """

    def __init__(self, reason: str, *, retry: bool, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.retry, self.after = reason, retry, after
