"""Rows for the cases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl


def calls(count: int, failed: int) -> pl.DataFrame:
    """Calls of one model within an hour, the first `failed` of them failures."""
    start = datetime(2026, 3, 2, 9, tzinfo=UTC)
    return pl.DataFrame(
        {
            "@timestamp": [start + timedelta(seconds=30 * i) for i in range(count)],
            "event.id": [f"call-{i}" for i in range(count)],
            "event.outcome": ["failure" if i < failed else "success" for i in range(count)],
            "tocsin.model.name": "credit",
        }
    )
