"""Spellings of one name: `mallory`, ` Mallory`, `mаllory` with a Cyrillic а, `mallory` with a zero-width space.

Volumes are pooled by the canonical form of a name, so that a flood is not spread over spellings. Novelty and history
belong to the name as it is written: a name that folds onto a trusted one must not inherit its history.
"""

from __future__ import annotations

import functools
import unicodedata

import polars as pl

#: Events without a principal are pooled under this name.
NOBODY = "(no principal)"
_INVISIBLE = {"Cc", "Cf", "Cn", "Co", "Cs", "Mn", "Me", "Zl", "Zp", "Zs"}


def canonical(name: str) -> str:
    """The form that all spellings of a name share.

    NFKC, without characters that are not visible on their own (spaces, controls, zero-width characters, combining
    marks), case-folded, and with each character that is not ASCII replaced by its prototype (Unicode Technical Standard
    39, confusables). Two ASCII characters that look alike (l and 1) stay different: names such as p1 and pl are common.
    """
    if name.isascii() and name.isalnum():
        return name.lower()
    text = unicodedata.normalize("NFKC", name)
    for _ in range(2):  # a capital may have a prototype that its small letter lacks
        text = "".join(_prototype(c) for c in text).casefold()
    text = unicodedata.normalize("NFKD", text)
    return "".join(c for c in text if unicodedata.category(c) not in _INVISIBLE)


@functools.lru_cache(maxsize=4096)
def _prototype(character: str) -> str:
    if character.isascii():
        return character
    known = _confusables().get(character)
    return str(known[0]["c"]) if known else character


@functools.cache
def _confusables() -> dict[str, list[dict[str, str]]]:
    from confusable_homoglyphs.confusables import (
        confusables_data,
    )  # 0.9 MB of JSON, read only when it is needed

    data: dict[str, list[dict[str, str]]] = confusables_data
    return data


def pooled(names: pl.Series) -> pl.Series:
    """The canonical form of each name; null and names without a visible character become `NOBODY`.

    The cost grows with the number of different names, not with the number of rows.
    """
    different = names.drop_nulls().unique()
    forms = pl.Series([canonical(name) or NOBODY for name in different.to_list()], dtype=pl.String)
    return names.replace_strict(different, forms, default=NOBODY, return_dtype=pl.String)


def is_disguised(name: str) -> bool:
    """Whether a name looks like another one: by characters of other alphabets, full-width forms or invisible ones."""
    return any(
        unicodedata.category(c) in _INVISIBLE - {"Mn", "Zs"} or _prototype(c) != c or _is_variant(c)
        for c in name
        if not c.isascii() or not c.isprintable()
    )


def _is_variant(character: str) -> bool:
    return unicodedata.normalize("NFKC", character) != character
