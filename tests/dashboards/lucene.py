"""The syntax of Elasticsearch's `query_string`, as far as it tells which fields a query looks at."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\s+
    | (?P<open>\() | (?P<close>\)) | (?P<word_operator>AND\b|OR\b|NOT\b|&&|\|\||!)
    | (?P<sign>[+-](?=\S))
    | (?P<field>(?:[\w@.*-]|\\.)+):(?=\S)
    | (?P<phrase>"(?:[^"\\]|\\.)*")(?:~\d+)?(?:\^[\d.]+)?
    | (?P<regex>/(?:[^/\\]|\\.)*/)
    | (?P<range>[\[{]\s*[^\]}]+?\s+TO\s+[^\]}]+?\s*[\]}])
    | (?P<term>(?:>=|<=|>|<)?(?:[^\s()\[\]{}"/:+^~\\]|\\.)(?:[^\s()\[\]{}":^~\\]|\\.)*)(?:~\d*)?(?:\^[\d.]+)?
    | (?P<boost>\^[\d.]+)
    """,
    re.VERBOSE | re.DOTALL,
)


class LuceneError(Exception):
    """A query that Elasticsearch would not parse, or not as it is meant."""


@dataclass(slots=True)
class Query:
    """The fields that a query names, the terms that name none, and whether an OR stands outside of parentheses."""

    fields: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)
    loose_or: bool = False


def parse(text: str) -> Query:
    """What a query looks at.

    Raises:
        LuceneError: it is not well-formed.
    """
    reader, place = _Reader(text), 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None or token.end() == place:
            raise LuceneError(f"cannot read {text[place:]!r} of the query {text!r}")
        place = token.end()
        if token.lastgroup is not None:
            reader.take(token.lastgroup, token[token.lastgroup])
    if reader.owners or reader.named or reader.operator:
        raise LuceneError(f"the query {text!r} ends too early")
    return reader.found


class _Reader:
    """Takes the tokens of a query one after the other."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found = Query()
        self.owners: list[bool] = []  # for each open parenthesis: whether a field stands before it
        self.named = ""  # the field that waits for its value
        self.operator = ""  # the AND or OR that waits for its other side

    def take(self, kind: str, part: str) -> None:
        if self.named and kind in ("close", "word_operator", "field"):
            raise LuceneError(f"a field has no value before {part!r} in the query {self.text!r}")
        if kind == "field":
            self.named = re.sub(r"\\(.)", r"\1", part)
            self.found.fields.append(self.named)
            return
        match kind:
            case "open":
                self.owners.append(bool(self.named))
            case "close":
                self._close()
            case "word_operator":
                if self.operator and part not in ("NOT", "!"):
                    raise LuceneError(f"{part} behind {self.operator} in the query {self.text!r}")
                self.found.loose_or |= part in ("OR", "||") and not self.owners
            case "phrase" | "regex" | "range" | "term":
                self._value(part)
        self.operator = part if kind == "word_operator" else ""
        self.named = ""

    def _close(self) -> None:
        if not self.owners:
            raise LuceneError(f"a closing parenthesis too many in the query {self.text!r}")
        self.owners.pop()

    def _value(self, part: str) -> None:
        if self.named == "_exists_":
            self.found.fields[-1] = re.sub(r"\\(.)", r"\1", part.strip('"'))
        elif not self.named and not any(self.owners):
            self.found.bare.append(part)
