"""The evidence of a finding for a reader: facts, shortened lists; p-values, digests and the JSON in the appendix."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tocsin.report.document import Block, Details, Facts, Heading, Line, Paragraph, Table, Verbatim

_LONGEST = 90  # characters of a text
_LISTED = 8  # items of a list
_ROWS, _COLUMNS = 6, 7  # of a table
#: Names of p-values, of the tests that they come from, and of digests.
_MEASURE = re.compile(r"(^|[ ._])(p|p[ ._-]?values?|tests|digests?|sha256|snapshot)$", re.IGNORECASE)
_DIGEST = re.compile(r"(sha256:)?[0-9a-f]{64}")


def readable(text: str | None) -> tuple[Block, ...]:
    """Evidence without p-values and digests, given as the JSON text that the finding stream holds."""
    evidence = json.loads(text or "{}")
    if not evidence:
        return (Paragraph("The finding has no evidence beyond its reason.", muted=True),)
    plain = {name: value for name, value in evidence.items() if not _is_measure(name, value)}
    pairs = [(name, short) for name, value in plain.items() if (short := _short(value))]
    lists = [b for n, value in plain.items() if _is_table(value) for b in (Heading(n, 4), *_table(value))]
    facts: list[Block] = [Facts(pairs)] if pairs else []
    more = [Details("Lists and tables of the evidence", lists)] if lists else []
    return (*facts, *more)


def measures(text: str | None) -> list[tuple[str, Line]]:
    """The p-values and digests of evidence, each with its name."""
    evidence = json.loads(text or "{}")
    named = ((name, _short(value)) for name, value in evidence.items() if _is_measure(name, value))
    return [(name, short) for name, short in named if short]


def complete(text: str | None) -> list[Block]:
    """The complete evidence as JSON."""
    evidence = json.loads(text or "{}")
    return [Verbatim(json.dumps(evidence, indent=2, ensure_ascii=False))] if evidence else []


def _is_measure(name: str, value: Any) -> bool:
    return bool(_MEASURE.search(name)) or (isinstance(value, str) and bool(_DIGEST.fullmatch(value)))


def _short(value: Any) -> str:
    """A value in a few words; empty if it is missing or shown as a table."""
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
    columns = [n for n in names if any(_fits(n, row.get(n)) for row in rows)][:_COLUMNS]
    if not columns:
        yield Paragraph("Its values are in the appendix.", muted=True)
        return
    numbers = {n for n in columns if all(isinstance(row.get(n), int | float | None) for row in rows)}
    yield Table(
        [f"#{n}" if n in numbers else n for n in columns],
        [[_scalar(row.get(n)) if _fits(n, row.get(n)) else "…" for n in columns] for row in rows[:_ROWS]],
    )
    left = len(rows) - _ROWS
    if left > 0:
        rest = "more row is" if left == 1 else "more rows are"
        yield Paragraph(f"{left} {rest} in the appendix.", muted=True)


def _fits(name: str, value: Any) -> bool:
    """Whether a cell can show the value."""
    return value is not None and not isinstance(value, Mapping | list) and not _is_measure(name, value)
