"""The schema of a model's feature vectors: the names in order, and which of them are categories.

A client chooses the values, and often the names, of a row. It must not choose the schema by which the rows of
others are recorded. Names and kinds are therefore declared, or fitted, or learned by majority from the first calls
that the model accepted, and then fixed.

Runs in the recorder's thread inside model servers. Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import functools
import itertools
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tocsin_recorder.values import UNREADABLE, number_in, read

CATEGORY = ":category"
_CALLS = 100  # accepted calls from which a schema is learned
_ROWS = 100  # rows of one call that are counted
_RARE = 5  # accepted calls; the kind of a name in fewer calls is not learned
_WIDEST = 10_000  # names of a row, and of a schema, that are learned
_NAMES_KEPT = 200_000

Named = tuple[Sequence[str], Sequence[object]]  # names, or none, and values of one row


class Vector(NamedTuple):
    """A feature vector as it is recorded. Null stands for what is missing or odd."""

    names: str  # joined by commas; empty if the places have no names
    values: Sequence[object]
    odd: int  # values that are not of their feature's kind


class Votes:
    """In how many calls a name occurred, and in how many it mostly held numbers, or texts."""

    __slots__ = ("calls", "numbers", "texts")

    def __init__(self) -> None:
        self.calls = self.numbers = self.texts = 0


class Schema:
    """The names and kinds of a model's features.

    Args:
        names: declared or fitted names in order. If one has the suffix `:category`, the others are numbers.
        keys: the names that rows use for the same places, if they differ: the estimator's fitted names.
        kinds: further known kinds by name: whether it is a category.
        prefix: what names the places of vectors without names. Those of `feature_` are not written.
        marks: whether a row's own names may have the suffix: only where the model's code writes them.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        *,
        keys: Sequence[str] = (),
        kinds: Mapping[str, bool] | None = None,
        prefix: str = "x",
        marks: bool = False,
    ) -> None:
        self._prefix, self._marks = prefix, marks
        self._declared = self._order = tuple(_plain(name) for name in names)
        marked = any(name.endswith(CATEGORY) for name in names)
        self._kinds = {_plain(name): name.endswith(CATEGORY) for name in names} if marked else {}
        self._kinds.update(kinds or {})
        self._places = {**dict(zip(names, self._order)), **dict(zip(self._order, self._order))}
        if len(keys) == len(names):
            self._places.update(zip(keys, self._order))
        self._members: frozenset[str] = frozenset()
        self._calls = self._kept = 0
        self._votes: dict[str, Votes] = {}
        self._resolved: dict[tuple[str, ...], tuple[tuple[str, ...], frozenset[str]]] = {}
        self._settle()

    def learn(self, rows: Iterable[Named]) -> None:
        """Count a call that the model accepted; without effect after the first hundred calls."""
        if self._calls >= _CALLS:
            return
        self._calls += 1
        for name, (numbers, texts) in self._counted(itertools.islice(rows, _ROWS)).items():
            if name not in self._votes and len(self._votes) >= _WIDEST:
                continue
            votes = self._votes.setdefault(name, Votes())
            votes.calls += 1
            votes.texts += texts > numbers
            votes.numbers += numbers >= texts and numbers > 0
        if self._calls == _CALLS:
            self._votes = {name: votes for name, votes in self._votes.items() if votes.calls >= _RARE}
        self._settle()

    def _counted(self, rows: Iterable[Named]) -> dict[str, list[int]]:
        """How many numbers and texts each name had in one call."""
        counted: dict[str, list[int]] = {}
        for names, values in rows:
            if len(values) > _WIDEST:
                continue
            places, marked = self._names(names, len(values))
            for name, value in zip(places, values):
                counts = counted.setdefault(name, [0, 0])
                content = read(value)
                if isinstance(content, (float, str)):
                    counts[isinstance(content, str) or name in marked] += 1
        return counted

    def vector(self, names: Sequence[str], values: Sequence[object]) -> Vector:
        """A row in the schema's order. Names that the schema lacks follow; those that the row lacks are null."""
        order = self._order
        places, marked = self._names(names, len(values))
        if places != order:
            if not places or (names and not self._members.isdisjoint(places)):
                found = dict(zip(places, values))
                places = (*order, *sorted(set(places) - self._members))
                values = [found.get(name) for name in places]
        elif (
            self._codes <= marked <= self._learned.keys()
            and all(type(value) is float for value in values)
            and math.isfinite(sum(values))  # type: ignore[arg-type]
        ):
            return Vector(self._text, values, 0)
        return self._coded(places, values, marked)

    def _coded(self, names: tuple[str, ...], values: Sequence[object], marked: frozenset[str]) -> Vector:
        odd, coded, written = 0, [], []
        for name, value in zip(names, values):
            content = read(value)
            learned = self._learned.get(name)
            declared = self._kinds.get(name, True if name in marked and learned is None else None)
            category = declared if declared is not None else learned
            if category is None:
                category = isinstance(content, str)
            code: float | None = None
            if isinstance(content, str):
                odd += not category
                code = (
                    float(zlib.crc32(content.encode("utf-8", "replace"))) if category else number_in(content)
                )
            elif isinstance(content, float):
                code = content if math.isfinite(content) else None
                odd += math.isinf(content) or (category and declared is None and name not in marked)
            elif content is UNREADABLE:
                odd += 1
            coded.append(code)
            written.append(name + CATEGORY if category else name)
        return Vector(self._joined(tuple(written)), coded, odd)

    def _names(self, names: Sequence[str], width: int) -> tuple[tuple[str, ...], frozenset[str]]:
        """The plain names of a row's places, and those that the row itself marks as categories."""
        if names and len(names) == width:
            key = tuple(names)
            if key not in self._resolved:
                self._kept += len(key)
                if self._kept > _NAMES_KEPT:
                    self._resolved.clear()
                    self._kept = len(key)
                self._resolved[key] = self._resolve(key)
            plain, marked = self._resolved[key]
            if plain:
                return plain, marked
        return self._order if len(self._order) == width else _numbered(self._prefix, width), frozenset()

    def _resolve(self, names: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str]]:
        """Plain names; none if they say nothing about the places, which then count by position."""
        plain, marked = [], set()
        for raw in map(str, names):
            name = self._places.get(raw) or raw.replace(",", ";")
            if name.endswith(CATEGORY) and name not in self._members:
                name = _plain(name) if self._marks else name.replace(":", ";")
                marked.update([name] if self._marks else [])
            plain.append(name)
        unique = set(plain)
        foreign = len(plain) == len(self._declared) and unique.isdisjoint(self._declared)
        if len(unique) < len(plain) or foreign:
            return (), frozenset()
        return tuple(plain), frozenset(marked)

    def _settle(self) -> None:
        """What follows from the declaration and the votes."""
        self._learned = {n: v.texts > v.numbers for n, v in self._votes.items() if v.texts or v.numbers}
        if not self._declared:
            self._order = tuple(name for name, votes in self._votes.items() if self._belongs(name, votes))
        self._members = frozenset(self._order)
        categories = {name for name in self._order if self._kinds.get(name, self._learned.get(name))}
        self._codes = categories - self._kinds.keys()  # where a number is odd
        self._text = self._joined(
            tuple(name + CATEGORY if name in categories else name for name in self._order)
        )

    def _belongs(self, name: str, votes: Votes) -> bool:
        """A name of most calls enters the schema. It leaves again below a quarter of the calls."""
        if name in self._members:
            return 4 * votes.calls >= self._calls
        return 2 * votes.calls > self._calls

    def _joined(self, names: tuple[str, ...]) -> str:
        silent = self._prefix == "feature_" and names == _numbered(self._prefix, len(names))
        return "" if silent else ",".join(names)


def _plain(name: str) -> str:
    """A name without the mark; without commas, which separate names."""
    name = str(name).replace(",", ";")
    return name.removesuffix(CATEGORY)


@functools.lru_cache(maxsize=8)
def _numbered(prefix: str, width: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{place}" for place in range(width))
