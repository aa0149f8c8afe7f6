"""Tests of a batch against trusted, labeled rows: improbable labels, and new combinations of values."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.stats.encoding import Encoder, different, ranks
from tocsin.stats.itemsets import LABEL, ItemScan, ItemSet, excess
from tocsin.stats.label_model import fitted, out_of_fold, probabilities
from tocsin.stats.residuals import FlipNull, flip_deviates, flip_null, flip_terms
from tocsin.stats.subgroups import OTHER, GroupNull, Groups, group_deviates, group_null
from tocsin.stats.threads import one_thread
from tocsin.words import short

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

_SCANNED = 20_000  # maximum number of trusted rows in which combinations are counted
_BATCHES, _BATCH = 30, 500  # quiet batches that calibrate the deviate of combinations
_DISTINCT = 0.9  # if this share of trusted rows is unique, an equal row counts as the same row
_UNLIKELY = 5.2  # minimum of this z: one in ten million, because many thousands are compared
_MOVED = 0.2  # a column is not scanned if a larger share of the batch is outside its trusted range
_UNSEEN = 5.0  # z of a label that no trusted row has
_GRAVE = (
    2.2  # least value of a finding whose consequence is grave: a trigger gives its author the model's answers
)
_WIDTH = 24  # characters of a column or a label in a sentence
_ALPHA, _GROUPED = (
    0.007,
    0.003,
)  # share of quiet batches in which a test on all rows, or in a group, reaches 1


class Nulls(NamedTuple):
    """Null distributions of the tests on trusted rows: plain numbers that are stored with the rows."""

    flips: FlipNull
    groups: GroupNull
    #: Of each kind of combination: z of the oddest in a quiet batch, and a z that quiet batches hardly reach.
    usual: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        flips = self.flips
        return {
            "bias": flips.bias.tolist(),
            "inflation": flips.inflation.tolist(),
            "between": flips.between.tolist(),
            "rows": flips.rows,
            "priors": flips.priors.tolist(),
            "correlation": flips.correlation.tolist(),
            "groups": self.groups.to_dict(),
            "usual": [list(pair) for pair in self.usual],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the result of `to_dict`."""
        arrays = ("bias", "inflation", "between", "priors", "correlation")
        flips = FlipNull(**{key: np.asarray(values[key]) for key in arrays}, rows=values["rows"])
        groups = GroupNull.from_dict(values["groups"])
        return cls(flips, groups, tuple((mean, least) for mean, least in values["usual"]))


class Sign(NamedTuple):
    """One test of a batch. `value` is in units that quiet batches rarely reach.

    `rows` are the suspicious rows, the least probable labels first.
    """

    value: float
    words: str
    rows: Codes
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Reference:
    """A model of the label, and the trusted rows themselves."""

    encoder: Encoder
    classes: pl.Enum
    rows: Floats
    labels: Codes
    nulls: Nulls
    model: Any
    scan: ItemScan
    groups: Groups

    @classmethod
    @one_thread
    def of(
        cls,
        trusted: pl.DataFrame,
        labels: pl.Series,
        snapshot: Codes,
        share: float,
        nulls: Nulls | None = None,
        without: Sequence[str] = (),
    ) -> Self:
        """Fit on trusted rows, deterministically. Without `nulls`, cross-fitting estimates them.

        Args:
            trusted: the feature columns, plain (`tocsin.stats.encoding`).
            labels: their labels as text, none of them null, at least two different ones.
            snapshot: which snapshot each row comes from.
            share: share of flipped rows that the flip tests assume.
            nulls: an earlier estimate for the same rows and columns.
            without: columns not to use.
        """
        encoder = Encoder.of(trusted, without)
        rows, classes = encoder.encode(trusted), different(labels)
        codes = ranks(labels, classes).astype(np.intp)
        groups = Groups.of(rows, codes)
        if nulls is None:
            p = out_of_fold(rows, codes, len(classes.categories))
            flips = flip_null(p, codes, snapshot, share)
            terms = flip_terms(p, codes, flips.priors, share)
            nulls = Nulls(flips, group_null(terms, groups, groups.hot(rows), flips), _usual(rows, codes))
        scan = ItemScan(*_first(rows, codes, _SCANNED))
        return cls(encoder, classes, rows, codes, nulls, fitted(rows, codes), scan, groups)

    def codes(self, labels: pl.Series) -> Codes:
        """Codes of labels; -1 for a label that the trusted rows do not contain."""
        return ranks(labels, self.classes).astype(np.intp)

    @functools.cached_property
    def _unit(self) -> float:
        return self.nulls.flips.largest(_ALPHA)

    @functools.cached_property
    def _grouped(self) -> float:
        return self.nulls.groups.largest(_GROUPED)

    @functools.cached_property
    def _trusted(self) -> frozenset[bytes]:
        keys = frozenset(_keys(self.rows, self.labels))
        return keys if len(keys) >= _DISTINCT * len(self.rows) else frozenset()

    def known(self, rows: Floats, codes: Codes) -> NDArray[np.bool_]:
        """Which rows equal a trusted row, label included. None do if equal rows are common."""
        return np.array([key in self._trusted for key in _keys(rows, codes)], dtype=np.bool_)

    def words(self, found: ItemSet) -> dict[str, str | float | list[float | None]]:
        """A combination as column → value, or column → [low, high) with null for no bound."""
        names = list(self.encoder.texts)
        words: dict[str, str | float | list[float | None]] = {}
        for column, low, high in found.items:
            if column == LABEL:
                words["label"] = self.classes.categories[int(low)]
                continue
            texts = self.encoder.texts[names[column]]
            if low != high:
                words[names[column]] = [float(x) if np.isfinite(x) else None for x in (low, high)]
            else:
                words[names[column]] = low if texts is None or low < 0 else texts.categories[int(low)]
        return words

    @one_thread
    def signs(self, rows: Floats, codes: Codes, share: float) -> tuple[list[Sign], Floats]:
        """Test a batch of encoded rows for flips into each class and among all classes, in all rows and in groups of
        rows, unusual combinations of values, and unseen labels. Also returns the probability of each row's own label.
        """
        p = probabilities(self.model, rows, len(self.classes.categories))
        own = np.where(codes >= 0, p[np.arange(len(p)), codes], 0.0)
        seen = np.flatnonzero(codes >= 0)
        signs = [*self._unseen(codes)]
        if len(seen):
            signs += self._flips(p[seen], codes[seen], seen, own, share)
            signs += self._in_groups(p[seen], rows[seen], codes[seen], (seen, own), share)
            signs += self._combinations(rows[seen], codes[seen], seen, own)
        return signs, own

    def _flips(self, p: Floats, codes: Codes, places: Codes, own: Floats, share: float) -> Iterator[Sign]:
        deviates = flip_deviates(p, codes, self.nulls.flips, share)
        classes = self.classes.categories.to_list()
        surplus = np.bincount(codes, minlength=len(classes)) - p.sum(axis=0)
        for into, z in enumerate(deviates.tolist()):
            facts: dict[str, Any] = {"test": "flips", "deviate": round(z, 2)}
            words, rows = "the labels fit their rows worse than trusted labels do", places
            if into < len(classes):
                rows = places[codes == into]
                facts |= {"into": classes[into], "surplus": round(float(surplus[into]), 1)}
                words = f"about {max(surplus[into], 0):.0f} of {len(codes):,} labels seem to be changed"
                words += f" from {short(classes[1 - into], _WIDTH)!r}" if len(classes) == 2 else ""
                words += f" to {short(classes[into], _WIDTH)!r}"
            yield Sign(z / self._unit, words, _ordered(rows, own), facts)

    def _in_groups(
        self, p: Floats, rows: Floats, codes: Codes, of: tuple[Codes, Floats], share: float
    ) -> Iterator[Sign]:
        if not len(self.groups.values):
            return
        hot = self.groups.hot(rows)
        terms = flip_terms(p, codes, self.nulls.flips.priors, share)
        deviates = group_deviates(terms, self.groups, hot, self.nulls.flips, self.nulls.groups)
        place, into = np.unravel_index(int(deviates.argmax()), deviates.shape)
        members = hot[place] > 0
        column, value = list(self.encoder.texts)[self.groups.columns[place]], self._value(int(place))
        within = np.flatnonzero(members)
        facts: dict[str, Any] = {"test": "flips in a group", "deviate": round(float(deviates.max()), 2)}
        facts |= {"column": column, "value": value, "rows_in_group": len(within)}
        name = (
            f"{short(column, _WIDTH)} {'not among the usual' if value is None else short(str(value), _WIDTH)}"
        )
        words = f"the labels of {len(within):,} rows with {name} fit worse than trusted ones"
        if into < len(self.classes.categories):
            surplus = float((codes[members] == into).sum() - p[members, into].sum())
            facts |= {"into": self.classes.categories[int(into)], "surplus": round(surplus, 1)}
            words = f"about {max(surplus, 0):.0f} of {len(within):,} labels of rows with {name} seem to be changed"
            words += f" to {short(self.classes.categories[int(into)], _WIDTH)!r}"
            within = within[codes[within] == into]
        places, own = of
        yield Sign(float(deviates.max()) / self._grouped, words, _ordered(places[within], own), facts)

    def _value(self, group: int) -> str | float | None:
        """The value of a group in words; None for the group of all other values."""
        value = self.groups.values[group]
        texts = list(self.encoder.texts.values())[self.groups.columns[group]]
        if value == OTHER:
            return None
        return value if texts is None or value < 0 else texts.categories[int(value)]

    def _combinations(self, rows: Floats, codes: Codes, places: Codes, own: Floats) -> Iterator[Sign]:
        found = self.scan.scan(rows, codes, self._moved(rows))
        for combination, (mean, least) in zip(found, self.nulls.usual, strict=True):
            if combination is None:
                continue
            named = self.words(combination)
            facts = {
                "test": "combination",
                "combination": named,
                "rows_sharing": len(combination.rows),
                "trusted_rows": combination.trusted,
                "trusted_of": combination.of,
                "deviate": round(combination.z, 2),
            }
            words = (
                f"{len(combination.rows)} of {len(rows):,} new rows have the same {_named(named)}; "
                f"so do {combination.trusted} of {combination.of:,} trusted rows"
            )
            # Below 1 the value is z / least. Above 1, five standard deviations of quiet batches are one unit.
            value = max(combination.z / least, (combination.z - mean) / (least - mean))
            value = max(value, _GRAVE) if combination.planted and value >= 1 else value
            yield Sign(value, words, _ordered(places[combination.rows], own), facts)

    def _unseen(self, codes: Codes) -> Iterator[Sign]:
        rows = np.flatnonzero(codes < 0)
        if not len(rows):
            return
        one, none = np.full(1, float(len(rows))), np.zeros(1)
        z = float(excess(one, none, len(codes), len(self.labels), none)[0])
        words = f"{len(rows)} of {len(codes):,} new rows have a label that no trusted row has"
        yield Sign(z / _UNSEEN, words, rows, {"test": "unseen labels", "rows_unheard": len(rows)})

    def _moved(self, rows: Floats) -> set[int]:
        low, high = np.fmin.reduce(self.rows, axis=0), np.fmax.reduce(self.rows, axis=0)
        outside = (rows < low) | (rows > high)
        return set(np.flatnonzero(outside.mean(axis=0) > _MOVED).tolist())


def _named(columns: Iterable[str]) -> str:
    return ", ".join(short(column, _WIDTH) for column in columns)


def _ordered(rows: Codes, own: Floats) -> Codes:
    return rows[np.argsort(own[rows], kind="stable")]


def _keys(rows: Floats, codes: Codes) -> list[bytes]:
    table = np.column_stack([rows, codes]) + 0.0  # no negative zeros
    return [row.tobytes() for row in table]


def _first(rows: Floats, codes: Codes, most: int) -> tuple[Floats, Codes]:
    order = np.random.default_rng(0).permutation(len(rows))[:most]
    return rows[order], codes[order]


def _usual(rows: Floats, codes: Codes) -> tuple[tuple[float, float], ...]:
    """For each kind of combination: mean z of the most unusual in quiet batches, and mean + 5 standard deviations.

    The largest of many deviates has a Gumbel tail: it exceeds five standard deviations once in a thousand, and
    ten once in a million.
    """
    rows, codes = _first(rows, codes, _SCANNED)
    cut = len(rows) // 4
    scan = ItemScan(rows[cut:], codes[cut:])
    random = np.random.default_rng(0)
    size = min(_BATCH, max(cut // 2, 1))
    found = []
    for _ in range(_BATCHES):
        batch = random.choice(cut, size, replace=False)
        found.append([s.z if s else 0.0 for s in scan.scan(rows[batch], codes[batch])])
    z = np.asarray(found)
    mean, least = z.mean(axis=0), np.maximum(z.mean(axis=0) + 5 * z.std(axis=0), _UNLIKELY)
    return tuple(zip(mean.tolist(), least.tolist(), strict=True))
