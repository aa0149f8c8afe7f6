"""Protects sensitive fields before anything is written: pseudonymizes, masks or drops them by field rules.

A pseudonym is an HMAC-SHA256 (RFC 2104) under a key that is not in the configuration file, truncated to 128 bits and
written as `hmac:` and 32 hexadecimal digits. The same person always has the same pseudonym. Without the key, a pseudonym
cannot be resolved, and guessed names cannot be tested.

A protected value is protected wherever it stands in the event (`fields.py`, `hiding.py`, `copies.py`), with one exception:
the names that detectors judge by (`JUDGED`) are never changed by a copy. Otherwise whoever chooses a user name could choose
that of a model, and no detector would see the calls of that model.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from tocsin.contract.streams import ID, STREAMS, Column, Type
from tocsin.pipeline.ingesting.copies import MASK, Copies, renamed, rows_with_copies
from tocsin.pipeline.ingesting.fields import OPEN, Fields, Rule
from tocsin.pipeline.ingesting.hiding import Hiding, decoded_json

__all__ = ["MASK", "Protector", "Rule"]

#: Known fields with these names, and all fields below them, are judged by name or are needed as they are.
JUDGED = (
    "event.kind", "event.category", "event.type", "event.action", "event.outcome", "event.provider", "tocsin.source.id",
    "tocsin.principal.type", "service", "cloud.region", "http.request.method", "tocsin.pipeline.name",
    "tocsin.pipeline.step", "tocsin.pipeline.trigger", "tocsin.pipeline.definition_digest", "tocsin.pipeline.code_digest",
    "tocsin.pipeline.inputs", "tocsin.pipeline.outputs", "tocsin.model", "tocsin.dataset", "tocsin.features",
    "tocsin.output", "tocsin.resource.type", "gen_ai.operation.name",
)  # fmt: skip
_REMEMBERED = 100_000  # pseudonyms in the cache
#: The types of known fields in which copies are replaced.
_TEXTS = frozenset({Type.KEYWORD, Type.TEXT, Type.KEYWORDS, Type.IP})
_MISPLACED = re.compile(r"[^\d\sTZ:+./,eE-]")  # not in a time or a number
#: Creates an id from the content of an event, without telling the content.
Identify = Callable[[bytes], str]


class Protector:
    """Applies the rules. Without rules, it changes nothing and needs no key."""

    def __init__(self, rules: Sequence[Rule] = (), key: bytes = b"") -> None:
        self._rules, self._key = tuple(rules), key
        self._fields = Fields(self._rules)
        self._pseudonyms: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def identity(self, content: bytes, place: str) -> str:
        """An id for an event without one. If there are rules, guessed contents cannot be tested against the id.

        Without rules, the id is a digest of the content; with rules and a key, a keyed digest. With rules but no key, the
        id is derived from the place alone, because a digest would reveal masked content.
        """
        if not self._rules:
            return hashlib.sha256(content).hexdigest()[:32]
        if self._key:
            return hmac.digest(self._key, content, "sha256")[:16].hex()
        return hashlib.sha256(place.encode("utf-8", "replace")).hexdigest()[:32]

    def mark(self, key: str) -> str:
        """Pseudonymize the key of a checkpoint: it may be derived from content, such as a file's first line."""
        return hmac.digest(self._key, key.encode(), "sha256")[:16].hex() if self._key else key

    def pseudonym(self, value: str) -> str:
        """The pseudonym of a text."""
        known = self._pseudonyms.get(value)
        if known is None:
            digest = hmac.digest(self._key, value.encode("utf-8", "surrogatepass"), "sha256")
            known = f"hmac:{digest[:16].hex()}"
            if len(self._pseudonyms) >= _REMEMBERED:
                self._pseudonyms.clear()
            self._pseudonyms[value] = known
        return known

    # One event

    def row(
        self, stream: str, given: Mapping[str, Any], unmapped: Mapping[str, Any], identify: Identify
    ) -> tuple[dict[str, Any], Any]:
        """Protect what the source defines in an event, and copies of protected values in its other fields.

        Args:
            stream: the stream.
            given: the event's known fields. Those that a rule covers are protected later, by `frame`.
            unmapped: the event's unknown fields.
            identify: creates an id in place of one that contains a protected value.

        Returns:
            The known fields that change, and the unknown fields.
        """
        hiding = Hiding(self._fields, self._act, stream)
        for name, value in given.items():
            if (match := self._fields.known(stream, name)) is not None:
                hiding.hide(match, name, _plain(value))
        new = {}
        for name in OPEN:
            if given.get(name) is not None and self._fields.known(stream, name) is None:
                value = _plain(given[name])
                new[name] = (value, hiding.tree(name, value))
        unmapped = hiding.tree("", unmapped)
        copies = Copies(hiding.found, self._act)
        for column in STREAMS[stream].columns if copies else ():
            value = given.get(column.name)
            if value is not None and column.name not in new and self._may_hold_copies(stream, column):
                new[column.name] = (value, _each(value, copies.text))
        changes = {name: copies.tree(after) if name in OPEN else after for name, (_, after) in new.items()}
        changes = {name: value for name, value in changes.items() if value != new[name][0]}
        if ID in changes:
            changes[ID] = identify(given[ID].encode())
        for name in set(OPEN) & changes.keys():
            changes[name] = msgspec.Raw(msgspec.json.encode(changes[name]))
        return changes, copies.tree(unmapped)

    def whole(self, stream: str, fields: Iterable[tuple[str, Any]]) -> tuple[dict[str, Any], Copies]:
        """Protect an event by dotted names that becomes one text: also the copies in fields that detectors judge by.

        Returns:
            The event, and what replaces copies of its protected values, for the reason of its rejection.
        """
        hiding, exact = (Hiding(self._fields, self._act, stream, exact=exact) for exact in (False, True))
        exact.found = hiding.found
        items: list[tuple[str, Any]] = []
        for name, value in fields:
            is_plain = name in STREAMS[stream].by_name and not isinstance(value, Mapping | list)
            look = exact if is_plain and name not in OPEN else hiding
            items += look.tree("", {name: _in_place(STREAMS[stream].by_name.get(name), value)}).items()
        copies = Copies(hiding.found, self._act)
        return copies.tree(renamed(iter(items))), copies

    def _may_hold_copies(self, stream: str, column: Column) -> bool:
        name = column.name
        return (
            column.type in _TEXTS
            and not any(name == judged or name.startswith(f"{judged}.") for judged in JUDGED)
            and self._fields.known(stream, name) is None
        )

    def _act(self, rule: Rule, text: str) -> str | None:
        match rule.action:
            case "pseudonymize":
                return self.pseudonym(text)
            case "mask":
                return MASK
            case "drop":
                return None

    # The columns of many events

    def suspects(self, stream: str, frame: pl.DataFrame) -> set[int]:
        """The rows that `row` must look at: they contain, or may contain, a copy or a field that the source defines."""
        known = [
            c for c in STREAMS[stream].columns if c.name in frame.columns and not _is_empty(frame[c.name])
        ]
        sources = [c.name for c in known if self._fields.known(stream, c.name) is not None]
        targets = [c.name for c in known if c.name in OPEN or self._may_hold_copies(stream, c)]
        rows = rows_with_copies(frame, sources, targets)
        hints = self._fields.hints(stream)
        for column in known:
            texts = frame[column.name]
            if column.name in OPEN:
                odd = texts.str.contains("\\", literal=True) | (
                    texts.str.len_bytes() != texts.str.len_chars()
                )
                marked = (
                    texts.str.to_lowercase().str.contains_any(pl.Series(hints, dtype=pl.String).implode())
                    | odd
                )
                rows.update(marked.fill_null(value=False).arg_true().to_list())
        return rows

    def frame(self, stream: str, frame: pl.DataFrame) -> pl.DataFrame:
        """Protect every column of a frame that a rule applies to by its exact name."""
        for column in STREAMS[stream].columns:
            if column.name not in frame.columns:
                continue
            series = frame[column.name]
            match = self._fields.known(stream, column.name)
            if match is not None and series.null_count() < len(series):
                protected = self._series(series, match.rule)
                if column.type is Type.JSON:  # the value must stay valid JSON
                    protected = '"' + protected + '"'
                frame = frame.with_columns(protected.alias(column.name))
            elif (
                column.type is Type.JSON
                and column.name not in OPEN
                and self._fields.reach_into(stream, column.name)
            ):
                frame = frame.with_columns(self._texts(stream, column.name, series).alias(column.name))
        return frame

    def _series(self, series: pl.Series, rule: Rule) -> pl.Series:
        if rule.action == "drop" or series.dtype not in (pl.String, pl.List(pl.String)):
            return pl.Series(series.name, [None], dtype=series.dtype).extend_constant(None, len(series) - 1)
        if series.dtype == pl.List(pl.String):
            return pl.Series(
                [_each(v, lambda text: self._act(rule, text)) for v in series.to_list()], dtype=series.dtype
            )
        if rule.action == "mask":
            return pl.select(pl.when(series.is_not_null()).then(pl.lit(MASK))).to_series()
        unique = series.drop_nulls().unique()
        return series.replace_strict(
            unique, pl.Series([self.pseudonym(v) for v in unique], dtype=pl.String), default=None
        )

    def _texts(self, stream: str, name: str, series: pl.Series) -> pl.Series:
        hiding = Hiding(self._fields, self._act, stream, exact=True)
        new = [
            None if text is None else hiding.tree(name, decoded_json(text, twice=True))
            for text in series.to_list()
        ]
        return pl.Series(
            [None if v is None else msgspec.json.encode(v).decode() for v in new], dtype=pl.String
        )


def _in_place(column: Column | None, value: Any) -> Any:
    """The value of a rejected event; masked if it is a text in the place of a time or number: it belongs elsewhere."""
    is_text = column is None or column.type in _TEXTS or column.type is Type.JSON
    return value if is_text or not isinstance(value, str) or not _MISPLACED.search(value) else MASK


def _is_empty(series: pl.Series) -> bool:
    return series.null_count() == len(series)


def _plain(value: Any) -> Any:
    """A value of a row as JSON values: JSON columns are still encoded."""
    return decoded_json(bytes(value).decode(), twice=True) if isinstance(value, msgspec.Raw) else value


def _each(value: Any, act: Callable[[str], str | None]) -> Any:
    if isinstance(value, list | tuple):
        return [act(item) for item in value]
    return None if value is None else act(value)
