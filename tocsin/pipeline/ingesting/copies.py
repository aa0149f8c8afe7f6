r"""Copies of protected values elsewhere in an event: in messages, paths, ids, labels and unknown fields.

A copy is found in any case, inside of longer texts, and behind encodings: percent signs, `\u` escapes, character
references, compatibility forms and invisible characters.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import polars as pl

from tocsin.pipeline.ingesting.fields import Rule

MASK = "***"
#: Shorter values occur elsewhere by chance: their copies are protected only where they are the whole value.
SHORTEST = 4
_MOST = 500  # different protected values of one event; if there are more, every text of the event is masked
#: Characters of a text times protected values, from which a text with a copy is masked as a whole: that takes linear time.
_LONGEST = 20_000_000
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_LAYERS = 3  # encodings of encodings
#: Characters behind which a copy may be encoded.
ENCODERS = ("%", "\\", "&")
#: The name at the end of an ARN, or of the id of a session: `alice` in `arn:aws:iam::1:user/alice`.
NAMED = r"^(?:arn:[^:]*:[^:]*:.*|A[0-9A-Z]{15,})[:/]([^:/]+)$"
_NAMED = re.compile(NAMED, re.DOTALL)


class Copies:
    """Replaces copies of the protected values of one event.

    Args:
        found: the rule of each protected value.
        act: what a rule does with a text; None if it drops the text.
    """

    def __init__(self, found: Mapping[str, Rule], act: Callable[[Rule, str], str | None]) -> None:
        self._act, self._rules = act, dict[str, tuple[str, Rule]]()
        self._short = {text: rule for text, rule in found.items() if 0 < len(text) < SHORTEST}
        for text, rule in found.items():
            for part in _parts(text):
                if len(part) >= SHORTEST:
                    self._rules.setdefault(part.casefold(), (part, rule))
        longest_first = sorted(self._rules, key=len, reverse=True)
        self._is_flood = len(longest_first) > _MOST
        shown = [] if self._is_flood else (self._rules[folded][0] for folded in longest_first)
        self._pattern = re.compile("|".join(map(re.escape, shown)) or r"(?!)", re.IGNORECASE)

    def __bool__(self) -> bool:
        return bool(self._rules or self._short)

    def text(self, value: str) -> str:
        """The text with its copies replaced. If a copy was encoded, the whole text is returned decoded."""
        if self._is_flood or len(value) * len(self._rules) > _LONGEST:
            return MASK if self._is_flood or self._occurs_in(value) else value
        plain = self._pattern.sub(self._replacement, value)
        opened = decoded(plain)
        if opened != plain and self._pattern.search(opened):
            return self._pattern.sub(self._replacement, opened)
        return plain

    def tree(self, value: Any) -> Any:
        """A JSON value with the copies in its keys and values replaced."""
        if isinstance(value, Mapping):
            return renamed((self.text(key), self.tree(item)) for key, item in value.items())
        if isinstance(value, list | tuple):
            return [self.tree(item) for item in value]
        if isinstance(value, str):
            rule = self._short.get(value)
            return self.text(value) if rule is None else self._act(rule, value) or MASK
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = self.text(str(value))
            return value if text == str(value) else text
        return value

    def _occurs_in(self, value: str) -> bool:
        """Whether a long text contains a copy, or may contain one in a form that a quick search does not find."""
        texts = pl.Series([value, decoded(value)])
        needles = [part for part, _ in self._rules.values()]
        is_found = texts.str.contains_any(
            pl.Series(needles, dtype=pl.String).implode(), ascii_case_insensitive=True
        ).any()
        return is_found or not all(map(str.isascii, needles))

    def _replacement(self, match: re.Match[str]) -> str:
        known = self._rules.get(match[0].casefold())
        return MASK if known is None else self._act(known[1], known[0]) or MASK


def renamed(items: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping from items whose keys may now be equal: nothing is lost, the second `***` becomes `***#2`."""
    found: dict[str, Any] = {}
    for key, value in items:
        name, number = key, 1
        while name in found:
            number += 1
            name = f"{key}#{number}"
        found[name] = value
    return found


def decoded(text: str) -> str:
    """The text without encodings that hide a copy."""
    for _ in range(_LAYERS):
        before = text
        if "%" in text:
            text = unquote(text)
        if "&" in text:
            text = html.unescape(text)
        if "\\" in text:
            text = _ESCAPE.sub(lambda m: chr(int(m[1] or m[2], 16)), text)
        if not text.isascii():
            text = unicodedata.normalize("NFKC", text)
            text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cs"))
        if text == before:
            break
    return text


def _parts(text: str) -> Iterator[str]:
    yield text
    yield decoded(text)
    name = _NAMED.match(text)
    if name is not None:
        yield name[1]


def rows_with_copies(frame: pl.DataFrame, sources: list[str], targets: list[str]) -> set[int]:
    """The rows in which a text of `targets` contains, or may contain in an encoded form, a value of `sources`."""
    if not sources or not targets:
        return set()
    is_list = {name: isinstance(frame.schema[name], pl.List) for name in (*sources, *targets)}
    columns = [pl.col(name).list.join("\0") if is_list[name] else pl.col(name) for name in targets]
    text = pl.concat_str(columns, separator="\0", ignore_nulls=True)
    lower = text.str.to_lowercase()
    hidden = text.str.contains_any(list(ENCODERS)) | (text.str.len_bytes() != text.str.len_chars())
    checks = [hidden & pl.any_horizontal(pl.col(sources).is_not_null())]
    for name in sources:
        if frame.schema[name] == pl.String:
            checks.append(_occurs(lower, pl.col(name)))
            if frame.select(_may_be_named(pl.col(name)).any()).item():
                checks.append(_occurs(lower, pl.col(name).str.extract(NAMED)))
    rows = _true_rows(frame, pl.any_horizontal(checks))
    for name in sources:
        if is_list[name]:
            pairs = frame.select(
                pl.int_range(pl.len()).alias("row"), lower.alias("lower"), pl.col(name).alias("value")
            )
            pairs = pairs.drop_nulls("value").explode("value")
            rows.update(pairs.filter(_occurs(pl.col("lower"), pl.col("value")))["row"].to_list())
    return rows


def _true_rows(frame: pl.DataFrame, condition: pl.Expr) -> set[int]:
    found = frame.lazy().select(condition.fill_null(value=False).alias("is")).collect()["is"]
    return set(found.arg_true().to_list())


def _may_be_named(value: pl.Expr) -> pl.Expr:
    """Whether `NAMED` can match: a quick check, since most values are neither an ARN nor the id of a session."""
    return value.str.starts_with("arn:") | value.str.starts_with("A") & value.str.contains(":", literal=True)


def _occurs(lower: pl.Expr, value: pl.Expr) -> pl.Expr:
    needle = value.str.to_lowercase()
    return (needle.str.len_bytes() >= SHORTEST) & lower.str.contains(needle, literal=True)
