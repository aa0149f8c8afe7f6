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
from tocsin.stats.label_change import Level, level
from tocsin.stats.label_model import fitted, out_of_fold, probabilities
from tocsin.stats.label_nulls import Nulls, scanned, usual_combinations
from tocsin.stats.residuals import flip_deviates, flip_null, flip_terms
from tocsin.stats.subgroups import OTHER, Groups, group_deviates, group_null
from tocsin.stats.threads import one_thread
from tocsin.words import short

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

_DISTINCT = 0.9  # if this share of trusted rows is unique, an equal row counts as the same row
_MOVED = 0.2  # a column is not scanned if a larger share of the batch is outside its trusted range
_UNSEEN = 5.0  # z of a label that no trusted row has
_GRAVE = (
    2.2  # least value of a finding whose consequence is grave: a trigger gives its author the model's answers
)
_SURE, _MANY = 1.25, 0.1  # with this value and share of changed labels, a finding about a group is grave
_SHARE = 0.02  # share that `level` starts from
_WIDTH = 24  # characters of a column or a label in a sentence
_ALPHA, _GROUPED = (
    0.007,
    0.003,
)  # share of quiet batches in which a test on all rows, or in a group, reaches 1


class Sign(NamedTuple):
    """One test of a batch. `value` is in units that quiet batches rarely reach.

    `rows` are the suspicious rows, the least probable labels first. `hypothesis` and `group` (-1: all rows) are the
    places of a flip test. `planted`: the rows have exact values together that no trusted row has.
    """

    value: float
    words: str
    rows: Codes
    facts: Mapping[str, Any]
    hypothesis: int = 0
    group: int = -1
    planted: bool = False


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
            nulls = Nulls(
                flips, group_null(terms, groups, groups.hot(rows), flips), usual_combinations(rows, codes)
            )
        scan = ItemScan(*scanned(rows, codes))
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
    def probabilities(self, rows: Floats) -> Floats:
        """The probabilities of the classes, rows × classes."""
        return probabilities(self.model, rows, len(self.classes.categories))

    def level(self, rows: Floats, codes: Codes, sign: Sign, *, inside: bool = True) -> Level:
        """The share of labels that a flip test says are changed, in the rows of its group or outside."""
        chosen = codes >= 0
        if sign.group >= 0:
            chosen &= (self.groups.hot(rows)[sign.group] > 0) == inside
        if not chosen.any():
            return Level(0.0, 1.0)
        p = self.probabilities(rows[chosen])
        return level(p, codes[chosen], self.nulls.flips, _SHARE, sign.hypothesis)

    @one_thread
    def signs(self, rows: Floats, codes: Codes, share: float) -> tuple[list[Sign], Floats]:
        """Test a batch of encoded rows for flips into each class and among all classes, in all rows and in groups of
        rows, unusual combinations of values, and unseen labels. Also returns the probability of each row's own label.
        """
        p = self.probabilities(rows)
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
            yield Sign(z / self._unit, words, _ordered(rows, own), facts, into)

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
        column, name = list(self.encoder.texts)[self.groups.columns[place]], self._value(int(place))
        within = np.flatnonzero(members)
        facts: dict[str, Any] = {"test": "flips in a group", "deviate": round(float(deviates.max()), 2)}
        facts |= {"column": column, "value": name, "rows_in_group": len(within)}
        who = f"{short(column, _WIDTH)} {'not among the usual' if name is None else short(str(name), _WIDTH)}"
        words = f"the labels of {len(within):,} rows with {who} fit worse than trusted ones"
        if into < len(self.classes.categories):
            surplus = float((codes[members] == into).sum() - p[members, into].sum())
            facts |= {"into": self.classes.categories[int(into)], "surplus": round(surplus, 1)}
            words = (
                f"about {max(surplus, 0):.0f} of {len(within):,} labels of rows with {who} seem to be changed"
            )
            words += f" to {short(self.classes.categories[int(into)], _WIDTH)!r}"
            within = within[codes[within] == into]
        places, own = of
        value = float(deviates.max()) / self._grouped
        if (
            value >= _SURE
            and level(p[members], codes[members], self.nulls.flips, share, int(into)).share >= _MANY
        ):
            value = max(value, _GRAVE)
        yield Sign(value, words, _ordered(places[within], own), facts, int(into), int(place))

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
            rows_ = _ordered(places[combination.rows], own)
            yield Sign(value, words, rows_, facts, planted=combination.planted)

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
