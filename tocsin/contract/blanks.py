"""Names without a visible character: an event that has one is an event without a principal."""

from __future__ import annotations

import unicodedata

import polars as pl

_INVISIBLE = {"Cc", "Cf", "Cn", "Co", "Cs", "Mn", "Me", "Zl", "Zp", "Zs"}
#: Letters and symbols without ink: Hangul fillers, the Braille blank, the null notehead.
BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159")
#: Columns that say who acted.
_WHO = ("user.id", "user.name", "source.ip")
_INK = r"^\s*[!-~]"  # nearly all names begin like this, so that few need the slow check


def visible(text: str) -> str:
    """The characters that are visible on their own: no spaces, controls, fillers and combining marks."""
    hidden = {c for c in set(text) if unicodedata.category(c) in _INVISIBLE or unicodedata.combining(c)}
    return "".join(c for c in text if c not in hidden and c not in BLANK)


def without_blank_names(frame: pl.DataFrame) -> pl.DataFrame:
    """The same events; a name or address of the principal without a visible character is null.

    An empty name is no principal: the calls of everybody without a name would share a subject and its history. The
    cost is linear in the rows, and in the different names that do not begin with a printable ASCII character.
    """
    for name in (n for n in _WHO if frame.schema.get(n) == pl.String):
        if frame[name].null_count() == len(frame):
            continue
        names = frame[name].unique()
        odd = names.filter(~names.str.contains(_INK))
        blank = [text for text in odd.to_list() if not visible(text)]
        if blank:
            frame = frame.with_columns(pl.col(name).replace(dict.fromkeys(blank)))
    return frame
