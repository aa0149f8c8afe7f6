"""Protects the fields of one event that a rule covers, and remembers the values that it protected."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tocsin.pipeline.ingesting.copies import MASK, renamed
from tocsin.pipeline.ingesting.fields import Fields, Match, Rule

#: A key that is the name of a field. Another key below a protected field looks like data: `ana@example.org`.
_NAME = re.compile(r"[a-z]+(?:[A-Z_-][a-z]+)*")


class Hiding:
    """Protects values by dotted name. `found` holds the rule of each text that was protected.

    Args:
        fields: finds the rule for a field.
        act: what a rule does with a text; None if it drops the text.
        stream: the stream of the event.
        exact: whether names must be exact, as in JSON whose keys Tocsin defines.
    """

    def __init__(
        self, fields: Fields, act: Callable[[Rule, str], str | None], stream: str, *, exact: bool = False
    ) -> None:
        self._fields, self._act, self._stream, self._exact = fields, act, stream, exact
        self.found: dict[str, Rule] = {}

    def tree(self, path: str, value: Any) -> Any:
        """Protect a JSON value and the values below it; a dropped value is None."""
        match = self._match(path) if path else None
        if match is not None:
            return self.hide(match, path, value)
        if isinstance(value, Mapping):
            items = (
                (self._key(path, key), value[key], self.tree(self._below(path, key), value[key]))
                for key in value
            )
            return renamed((key, new) for key, old, new in items if new is not None or old is None)
        if isinstance(value, list | tuple):
            return [self.tree(path, item) for item in value]
        if value is None or self._exact:
            return value
        match = self._fields.parent(self._stream, path) if path else None
        if match is not None:
            return self.hide(match, path, value)
        if isinstance(value, str) and value[:1] in ("{", "["):
            inner = decoded_json(value)
            new = inner if isinstance(inner, str) else self.tree(path, inner)
            return value if new == inner else msgspec.json.encode(new).decode()
        return value

    def hide(self, match: Match, path: str, value: Any) -> Any:
        """Protect a value and all keys and values below it."""
        rule = match.rule
        if value is None or match.keeps_value(path, value):
            return value
        if isinstance(value, Mapping):
            hidden = renamed(
                (self._hidden_key(match, key), self.hide(match, key, item)) for key, item in value.items()
            )
            return None if rule.action == "drop" and not match.identity else hidden
        if isinstance(value, list | tuple):
            items = [self.hide(match, path, item) for item in value]
            return None if rule.action == "drop" else items
        text = value if isinstance(value, str) else str(value)
        if not isinstance(value, bool):
            self.found.setdefault(text, rule)
            self._look_inside(match, path, text)
        return self._act(rule, text)

    def _look_inside(self, match: Match, path: str, text: str) -> None:
        """Values inside of a protected JSON text are protected values, too."""
        if text[:1] in ("{", "[") and not isinstance(inner := decoded_json(text), str):
            self.hide(match, path, inner)

    def _below(self, path: str, key: str) -> str:
        """The path of a key. Only its end can match a rule that did not match the path above it: this bounds the cost."""
        if path and not self._exact:
            path = ".".join(path.split(".")[-self._fields.reach :])
        return f"{path}.{key}" if path else key

    def _match(self, path: str) -> Match | None:
        return (self._fields.known if self._exact else self._fields.anywhere)(self._stream, path)

    def _key(self, path: str, key: str) -> str:
        """A key, with its part below a protected field protected, too: `customer.ana` names a customer."""
        if "." not in key or self._match(self._below(path, key)) is None:
            return key
        parts = key.split(".")
        for n in range(1, len(parts)):
            match = self._match(self._below(path, ".".join(parts[:n])))
            if match is not None:
                return ".".join((*parts[:n], *(self._hidden_key(match, part) for part in parts[n:])))
        return key

    def _hidden_key(self, match: Match, key: str) -> str:
        if match.keeps_key(key):
            return key
        if not _NAME.fullmatch(key):
            self.found.setdefault(key, match.rule)
        return self._act(match.rule, key) or MASK


def decoded_json(text: str, *, twice: bool = False) -> Any:
    """Decode JSON, or return the text if it is none. With `twice`, a text that contains JSON is decoded as well."""
    value: Any = text
    for _ in range(1 + twice):
        if isinstance(value, str):
            with contextlib.suppress(msgspec.DecodeError):
                value = msgspec.json.decode(value)
    return value
