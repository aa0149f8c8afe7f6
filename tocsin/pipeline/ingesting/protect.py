"""Protects sensitive fields before anything is written: pseudonymizes, masks or drops them by field rules.

A pseudonym is an HMAC-SHA256 (RFC 2104) under a key that is not in the configuration file, truncated to 128 bits and
written as `hmac:` and 32 hexadecimal digits. The same person always has the same pseudonym. Without the key, a pseudonym
cannot be resolved, and guessed names cannot be tested.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import polars as pl

from tocsin.contract.streams import STREAMS, Type

Action = Literal["pseudonymize", "mask", "drop"]
MASK = "***"
_REMEMBERED = 100_000  # pseudonyms in the cache
_SHORTEST_TEXT = 4  # shorter texts occur elsewhere by chance


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do with a field and everything below it. No `streams` means all of them."""

    field: str
    action: Action
    streams: tuple[str, ...] = ()

    def covers(self, stream: str, name: str) -> bool:
        """Whether the rule applies to this field of this stream."""
        return (not self.streams or stream in self.streams) and (
            name == self.field or name.startswith(f"{self.field}.")
        )

    def reaches_into(self, stream: str, name: str) -> bool:
        """Whether the rule applies to a field below this one."""
        return (not self.streams or stream in self.streams) and self.field.startswith(f"{name}.")


class Protector:
    """Applies the rules. Without rules, it changes nothing and needs no key."""

    def __init__(self, rules: Sequence[Rule] = (), key: bytes = b"") -> None:
        self._rules, self._key = tuple(rules), key
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

    def protect_copies(self, stream: str, given: Mapping[str, Any], value: Any) -> Any:
        """Protect copies of protected values in unknown fields, in the same way as the values themselves.

        Args:
            stream: the stream.
            given: the event's known fields before protection.
            value: the event's unknown fields.
        """
        replacements = {
            text: str(self._act(rule.action)(text) or MASK)
            for name, text in given.items()
            if isinstance(text, str) and len(text) >= _SHORTEST_TEXT and (rule := self._rule(stream, name))
        }
        longest_first = sorted(replacements, key=len, reverse=True)
        return (
            _replaced(value, {text: replacements[text] for text in longest_first}) if replacements else value
        )

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

    def frame(self, stream: str, frame: pl.DataFrame) -> pl.DataFrame:
        """Protect every column of a frame that a rule applies to."""
        for column in STREAMS[stream].columns:
            if column.name not in frame.columns:
                continue
            series = frame[column.name]
            rule = self._rule(stream, column.name)
            if rule is not None and series.null_count() < len(series):
                protected = self._series(series, rule.action)
                if column.type is Type.JSON:  # the value must stay valid JSON
                    protected = '"' + protected + '"'
                frame = frame.with_columns(protected.alias(column.name))
            elif column.type is Type.JSON and any(r.reaches_into(stream, column.name) for r in self._rules):
                frame = frame.with_columns(self._texts(stream, column.name, series).alias(column.name))
        return frame

    def tree(self, stream: str, name: str, value: Any) -> Any:
        """Protect a JSON value and the values below it, by dotted name; a dropped value is None."""
        rule = self._rule(stream, name)
        if rule is not None:
            return _each(value, self._act(rule.action))
        if isinstance(value, Mapping):
            kept = {
                key: self.tree(stream, f"{name}.{key}" if name else key, item) for key, item in value.items()
            }
            return {key: item for key, item in kept.items() if item is not None or value[key] is None}
        if isinstance(value, list):
            return [self.tree(stream, name, item) for item in value]
        return value

    def _rule(self, stream: str, name: str) -> Rule | None:
        return next((r for r in self._rules if r.covers(stream, name)), None)

    def _act(self, action: Action) -> Callable[[Any], Any]:
        match action:
            case "pseudonymize":
                return lambda value: self.pseudonym(value if isinstance(value, str) else str(value))
            case "mask":
                return lambda _: MASK
            case "drop":
                return lambda _: None

    def _series(self, series: pl.Series, action: Action) -> pl.Series:
        if action == "drop" or series.dtype not in (pl.String, pl.List(pl.String)):
            return pl.Series(series.name, [None], dtype=series.dtype).extend_constant(None, len(series) - 1)
        if series.dtype == pl.List(pl.String):
            act = self._act(action)
            return pl.Series([_each(v, act) for v in series.to_list()], dtype=series.dtype)
        if action == "mask":
            return pl.select(pl.when(series.is_not_null()).then(pl.lit(MASK))).to_series()
        unique = series.drop_nulls().unique()
        return series.replace_strict(
            unique, pl.Series([self.pseudonym(v) for v in unique], dtype=pl.String), default=None
        )

    def _texts(self, stream: str, name: str, series: pl.Series) -> pl.Series:
        return pl.Series(
            [
                None if text is None else msgspec.json.encode(self.tree(stream, name, _value(text))).decode()
                for text in series.to_list()
            ],
            dtype=pl.String,
        )


def _value(text: str) -> Any:
    """Decode JSON. If the value is a text that contains JSON, that JSON is decoded as well."""
    value = msgspec.json.decode(text)
    if isinstance(value, str):
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(value)
    return value


def _replaced(value: Any, replacements: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(item, replacements) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, replacements) for item in value]
    if isinstance(value, str):
        for text, replacement in replacements.items():
            value = value.replace(text, replacement)
    return value


def _each(value: Any, act: Callable[[Any], Any]) -> Any:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {key: _each(item, act) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each(item, act) for item in value]
    return act(value)
