"""The evidence of a finding as a person reads it: facts first, lists shortened, the whole JSON on request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tocsin.report.document import Block, Details, Facts, Heading, Paragraph, Table, Verbatim

_LONGEST = 90  # characters of a text
_LISTED = 8  # items of a list
_ROWS, _COLUMNS = 6, 7  # of a table


def readable(text: str | None) -> tuple[Block, ...]:
    """Evidence, given as the JSON text that the finding stream holds."""
    evidence = json.loads(text or "{}")
    if not evidence:
        return (Paragraph("It gave no evidence beyond its reason.", muted=True),)
    pairs = [(name, short) for name, value in evidence.items() if (short := _short(value))]
    lists = [b for n, value in evidence.items() if _is_table(value) for b in (Heading(n, 4), *_table(value))]
    whole = Details(
        "The whole evidence as JSON", [Verbatim(json.dumps(evidence, indent=2, ensure_ascii=False))]
    )
    more = [Details("Lists and tables of the evidence", lists)] if lists else []
    return (Facts(pairs), *more, whole)


def _short(value: Any) -> str:
    """A value in a few words; empty where it has none or is shown as a table."""
    if isinstance(value, Mapping):
        inner = [(k, _scalar(v)) for k, v in value.items() if not isinstance(v, Mapping | list)]
        return _shortened(f"{k} {v}" for k, v in inner) if len(inner) == len(value) else ""
    if isinstance(value, list):
        plain = [_scalar(v) for v in value if not isinstance(v, Mapping | list)]
        return _shortened(plain) if len(plain) == len(value) else ""
    return "" if value is None else _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1e5 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    text = "–" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _shortened(items: Iterator[str] | Sequence[str]) -> str:
    listed = list(items)
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [n for n in names if any(_fits(row.get(n)) for row in rows)][:_COLUMNS]
    numbers = {n for n in columns if all(isinstance(row.get(n), int | float | None) for row in rows)}
    yield Table(
        [f"#{n}" if n in numbers else n for n in columns],
        [[_scalar(row.get(n)) if _fits(row.get(n)) else "…" for n in columns] for row in rows[:_ROWS]],
    )
    left = len(rows) - _ROWS
    if left > 0:
        yield Paragraph(f"{left} more rows are in the JSON.", muted=True)


def _fits(value: Any) -> bool:
    return value is not None and not isinstance(value, Mapping | list)
