"""Feature vectors of the inference stream as matrices: one matrix for each schema in a window."""

from __future__ import annotations

from collections.abc import Sequence
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

        Args:
            rows: calls with `NAMES` and `VALUES`.
            known: the features of a baseline, in order. Another spelling of one of them is renamed to it. A vector of
                the same length without any of these names is read by place.
        """
        spellings = {canonical(plain(name)): name for name in known}
        groups = rows.select(NAMES, VALUES, width=pl.col(VALUES).list.len()).partition_by(
            NAMES, "width", as_dict=True, maintain_order=True
        )
        blocks, malformed = [], 0
        for (names, width), group in groups.items():
            labels = names.split(",") if names else [f"feature_{place}" for place in range(width or 0)]
            if known:
                labels = [spellings.get(canonical(plain(label.strip())), label) for label in labels]
                if width == len(known) and (
                    len(labels) != width or spellings.keys().isdisjoint(map(canonical, map(plain, labels)))
                ):
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


def is_nominal(name: str) -> bool:
    """Whether the schema marks a feature's values as codes of categories."""
    return name.endswith(_CATEGORY)


def plain(name: str) -> str:
    """A feature's name without the mark of categories."""
    return name.removesuffix(_CATEGORY)
