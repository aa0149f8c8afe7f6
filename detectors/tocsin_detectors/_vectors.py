"""Feature vectors of the inference stream as matrices: one matrix for each schema in a window."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin_detectors._spelling import canonical

NAMES = "tocsin.features.names"
VALUES = "tocsin.features.values"
_CATEGORY = ":category"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of one model's calls: a matrix for each schema, and the number of vectors of a wrong length."""

    blocks: tuple[tuple[tuple[str, ...], Floats], ...]
    malformed: int

    @classmethod
    def of(cls, rows: pl.DataFrame, known: Sequence[str] = ()) -> Vectors:
        """Read vectors; null becomes NaN. Features without names are called `feature_0`, `feature_1`, …

        The spellings of a name are one feature: the one in `known`, otherwise the commonest.

        Args:
            rows: calls with `NAMES` and `VALUES`.
            known: the features of a baseline, in order. A vector of the same length without any of these names is read
                by place.
        """
        groups = rows.select(NAMES, VALUES, width=pl.col(VALUES).list.len()).partition_by(
            NAMES, "width", as_dict=True, maintain_order=True
        )
        spellings: dict[str, str] = {}
        by_size = sorted(groups, key=lambda key: -len(groups[key]))
        for name in (*known, *(label for names, _ in by_size if names for label in names.split(","))):
            spellings.setdefault(_folded(name), name)
        blocks, malformed = [], 0
        for (names, width), group in groups.items():
            labels = names.split(",") if names else [f"feature_{place}" for place in range(width or 0)]
            labels = _respelled(labels, spellings, known)
            if known and width == len(known) and (len(labels) != width or set(known).isdisjoint(labels)):
                labels = list(known)
            if not width or len(labels) != width:
                malformed += len(group)
            else:
                values = group[VALUES].explode().to_numpy().reshape(-1, width)
                blocks.append((tuple(labels), values))
        return cls(tuple(blocks), malformed)

    @property
    def rows(self) -> int:
        """Number of vectors, with those that fit no schema."""
        return self.malformed + sum(len(matrix) for _, matrix in self.blocks)

    def commonest(self, limit: int) -> Vectors:
        """Only the `limit` schemas that most vectors have, in the same order; the others count as malformed."""
        if len(self.blocks) <= limit:
            return self
        places = sorted(range(len(self.blocks)), key=lambda place: -len(self.blocks[place][1]))[:limit]
        blocks = tuple(self.blocks[place] for place in sorted(places))
        return Vectors(blocks, self.rows - sum(len(matrix) for _, matrix in blocks))

    def lacking(self, name: str) -> int:
        """Number of vectors without a feature."""
        return self.rows - sum(len(matrix) for names, matrix in self.blocks if name in names)

    @property
    def names(self) -> list[str]:
        """All features, in order of first occurrence."""
        return list(dict.fromkeys(name for names, _ in self.blocks for name in names))

    def column(self, name: str) -> Floats:
        """A feature's values in the calls that contain the feature."""
        parts = [matrix[:, names.index(name)] for names, matrix in self.blocks if name in names]
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0)])

    def matrix(self, features: list[str]) -> Floats:
        """Rows × features, of the calls that contain all these features."""
        parts = [
            matrix[:, [names.index(name) for name in features]]
            for names, matrix in self.blocks
            if set(features) <= set(names)
        ]
        return np.concatenate(parts) if parts else np.empty((0, len(features)))


@functools.lru_cache(maxsize=4096)
def _folded(name: str) -> str:
    return canonical(name.strip()).removesuffix(_CATEGORY)


def _respelled(labels: list[str], spellings: Mapping[str, str], known: Sequence[str]) -> list[str]:
    """Labels in the spelling that counts. A schema whose names differ only in spelling keeps its names."""
    found = [label if label in known else spellings.get(_folded(label), label) for label in labels]
    return found if len(set(found)) >= len(set(labels)) else labels


def is_nominal(name: str) -> bool:
    """Whether the schema marks a feature's values as codes of categories."""
    return name.endswith(_CATEGORY)


def plain(name: str) -> str:
    """A feature's name without the mark of categories."""
    return name.removesuffix(_CATEGORY)
