"""Spellings of one name: `mallory`, ` Mallory`, `mаllory` with a Cyrillic а, `mallory` with a zero-width space.

Volumes are pooled by the canonical form of a name, so that a flood is not spread over spellings. Novelty and history
belong to the name as it is written: a name that folds onto a trusted one must not inherit its history.
"""

from __future__ import annotations

import functools
import unicodedata

import polars as pl

from tocsin.contract.blanks import BLANK, visible
from tocsin.contract.windows import Window

#: Events without a principal are pooled under this name.
NOBODY = "(no principal)"
#: Categories of characters that make a name a disguise: marks and spaces occur in honest names.
_HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Me", "Zl", "Zp"}


def canonical(name: str) -> str:
    """The form that all spellings of a name share.

    NFKD, without characters that are not visible on their own (spaces, controls, zero-width characters, fillers,
    combining marks), case-folded, and with each character that is not ASCII replaced by its prototype (Unicode
    Technical Standard 39, confusables). Two ASCII characters that look alike (l and 1) stay different: names such as p1
    and pl are common.
    """
    if name.isascii() and name.isalnum():
        return name.lower()
    if name.isascii():  # normalization and prototypes leave these characters as they are
        return visible(name).lower()
    # without marks, because normalization sorts a run of them in quadratic time
    text = visible(unicodedata.normalize("NFKD", visible(name)))
    for _ in range(2):  # a capital may have a prototype that its small letter lacks
        text = "".join(_prototype(c) for c in text).casefold()
    return visible(unicodedata.normalize("NFKD", visible(text)))


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

    A name that looks like `NOBODY` is pooled with these events, so that no two pools have one name. The cost grows with
    the number of different names, not with the number of rows.
    """
    different = names.drop_nulls().unique()
    nobody = {"", canonical(NOBODY)}
    found = map(canonical, different.to_list())
    forms = pl.Series([NOBODY if form in nobody else form for form in found], dtype=pl.String)
    return names.replace_strict(different, forms, default=NOBODY, return_dtype=pl.String)


def is_disguised(name: str) -> bool:
    """Whether a name looks like another one: by characters of other alphabets, full-width forms or invisible ones."""
    return any(
        unicodedata.category(c) in _HIDDEN or c in BLANK or _prototype(c) != c or _is_variant(c)
        for c in name
        if not c.isascii() or not c.isprintable()
    )


def _is_variant(character: str) -> bool:
    return unicodedata.normalize("NFKC", character) != character


def changed(names: pl.Series, window: Window) -> pl.Series:
    """Which of these names to judge, as booleans: in an early evaluation, those that pool with a changed name."""
    if window.changed is None:
        return pl.repeat(value=True, n=len(names), dtype=pl.Boolean, eager=True)
    forms = pooled(pl.Series("changed", sorted(window.changed, key=str), dtype=pl.String)).unique()
    return pooled(names).is_in(forms.implode())
