"""Spellings of class labels: `1`, `1.0`, ` 1` and `True` are one label.

Pandas writes `1.0` for `1` as soon as one value of a column is missing, and `True` for a column of comparisons. Such a
change of spelling is no change of the data.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import polars as pl

_BOOLEANS = {"true": "1", "false": "0"}
_LONGEST = 32  # characters of a text that can be a number
#: A decimal number as programs write it. Numbers with leading zeros are codes (01, 007) and stay what they are.
_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?")


def canonical_label(label: str) -> str:
    """The form that all spellings of a label share: whole numbers without a fraction, 1 for true, no outer spaces."""
    text = label.strip()
    boolean = _BOOLEANS.get(text.lower())
    if boolean is not None:
        return boolean
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else text


def canonical_labels(labels: pl.Series) -> pl.Series:
    """The canonical form of each label; null stays null. The cost grows with the number of different labels."""
    texts = labels.cast(pl.String)
    different = texts.drop_nulls().unique()
    forms = pl.Series([canonical_label(label) for label in different.to_list()], dtype=pl.String)
    return texts.replace_strict(different, forms, default=None, return_dtype=pl.String)


def label_column(wanted: str, names: Sequence[str]) -> str | None:
    """The column that is meant: the one of this name, else the only one that differs in case or spaces alone."""
    if wanted in names:
        return wanted
    alike = [name for name in names if _folded(name) == _folded(wanted)]
    return alike[0] if len(alike) == 1 else None


def _folded(name: str) -> str:
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())
