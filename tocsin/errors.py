"""Every error Tocsin raises on purpose. A message says what happened, where, and what to do."""

from __future__ import annotations

from pathlib import Path


class TocsinError(Exception):
    """Something that a user can act on; the command line prints it without a traceback."""


class ConfigError(TocsinError):
    """The configuration is wrong at a place that can be named."""

    def __init__(
        self, message: str, path: Path | str | None = None, line: int | None = None, key: str = ""
    ) -> None:
        place = "" if path is None else f"{path}:{line}: " if line else f"{path}: "
        super().__init__(f"{place}{message}")
        self.path, self.line, self.key = path, line, key


class InputError(TocsinError):
    """A source cannot be read at all: a missing file, a format that is not what it was said to be."""


class PluginError(TocsinError):
    """A plug-in could not be imported, is declared wrongly, or failed while it ran."""

    def __init__(self, plugin: str, message: str) -> None:
        super().__init__(f"plug-in {plugin}: {message}")
        self.plugin = plugin


class StoreError(TocsinError):
    """The store cannot be opened, read or written."""


class StoreAway(StoreError):  # noqa: N818 — a state that passes
    """The store cannot be reached now, or is too busy: the same may be tried again later."""


class BaselineError(TocsinError):
    """A baseline cannot be fitted, found or trusted."""


class BaselineChanged(BaselineError):  # noqa: N818 — what happened
    """A baseline is not what was fitted: somebody changed it."""


class SnapshotError(TocsinError):
    """The rows of a dataset snapshot are gone or are no longer what their digest says."""


class DeliveryError(TocsinError):
    """A receiver did not take a notification. `retry` says whether trying again can help."""

    def __init__(self, reason: str, *, retry: bool, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.retry, self.after = reason, retry, after
