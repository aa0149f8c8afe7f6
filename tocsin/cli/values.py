"""Values as commands print them: JSON for programs, text for people, and no character that rewrites a terminal."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tocsin.clock import format_time
from tocsin.words import figure

#: Characters that JSON allows in a string and that a terminal or a viewer may act on: DEL and the C1 controls, the
#: marks that turn the direction of writing, line and paragraph separators, halves of surrogate pairs.
_ACTING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(value: Any) -> Any:
    """A value that JSON can hold; times in UTC with their zone."""
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, float) and not math.isfinite(value):  # has no JSON form
        return None
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


def as_json(value: Any, *, ascii_only: bool = False) -> str:
    """A value as one line of JSON, with escapes for control characters, bidirectional marks and line separators."""
    written = json.dumps(plain(value), ensure_ascii=ascii_only)
    return _ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def text(value: Any) -> str:
    """A value for people."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return format_time(value)
        case float():
            return figure(value)
        case list() | tuple():
            return ", ".join(map(text, value))
        case Mapping():
            return as_json(value)
    return str(value)


def clean(words: str) -> str:
    """One line of text; a character that is not printable becomes U+FFFD."""
    return "".join(c if c.isprintable() or c == " " else "\ufffd" for c in words)
