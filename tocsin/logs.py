"""Configures logging: text lines for a terminal, or JSON lines for a log collector. Only this module uses structlog.

Records that libraries and plug-ins write with `logging` are formatted in the same way.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import structlog


def configure(*, level: int = logging.WARNING, as_json: bool = False) -> None:
    """Write log lines to standard error: Tocsin's from `level` up, those of libraries from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(as_json=as_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("tocsin").setLevel(level)


def logger(name: str = "tocsin") -> structlog.stdlib.BoundLogger:
    """A structured logger, used as `logger().info("collected", source="ndjson", accepted=5)`."""
    import structlog

    found: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return found


class _Formatter(logging.Formatter):
    """Builds structlog's formatter for the first record, so that `tocsin --help` does not import structlog."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._json = as_json
        self._inner: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._inner is None:
            self._inner = self._build()
        return self._inner.format(record)

    def _build(self) -> logging.Formatter:
        import structlog

        render: Any = (
            structlog.processors.JSONRenderer(sort_keys=True)
            if self._json
            else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, pad_level=False)
        )
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.ExtraAdder(),
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
