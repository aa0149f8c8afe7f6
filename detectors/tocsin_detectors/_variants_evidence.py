"""What a score of `evasion` says: its sentence, and the evidence for a person."""

from __future__ import annotations

import numpy as np
import polars as pl

from tocsin.clock import format_time
from tocsin.contract.findings import Json
from tocsin.contract.streams import TIME
from tocsin.words import count, short
from tocsin_detectors._alignment import Shape
from tocsin_detectors._honest_queries import LABEL, SCORE, matrix
from tocsin_detectors._input_variants import OfPrincipal

_EXAMPLES = 3  # variants in the evidence
_FEATURES = 20  # varied features in the evidence


def words_of(user: str, model: str, number: int) -> str:
    """How many variants of one input a principal sent."""
    return f"{short(user)} sent {count(number, 'variant')} of one input to {short(model)}"


def reason_of(user: str, model: str, variants: pl.DataFrame) -> str:
    """How many variants of one input a principal sent, and when the answer changed."""
    sent = words_of(user, model, len(variants))
    place = _change(variants)
    if place is None:
        return sent
    before, after = variants[LABEL][place - 1], variants[LABEL][place]
    return f"{sent}; the answer changed from {short(before)} to {short(after)} after {place:,}"


def evidence_of(model: str, one: OfPrincipal, variants: pl.DataFrame, shape: Shape) -> dict[str, Json]:
    """The variants: how many, in which features, their answers, and the first and last of them."""
    rows = matrix(variants)
    names = (shape.names or "").split(",")
    if len(names) != rows.shape[1]:
        names = [f"feature_{place}" for place in range(rows.shape[1])]
    different = {name: len(np.unique(column)) for name, column in zip(names, rows.T, strict=True)}
    varied = sorted((name for name in names if different[name] > 1), key=lambda name: -different[name])
    scores, answers = variants[SCORE].drop_nulls(), variants[LABEL].drop_nulls().value_counts(sort=True)
    examples = range(min(_EXAMPLES - 1, len(rows) - 1)), (len(rows) - 1,)
    return {
        "model": model,
        "distinct queries": len(one.calls),
        "variants": len(variants),
        "typical number of variants": round(one.family.typical, 2),
        "expected by chance": round(one.family.expected, 2),
        "from": format_time(variants[TIME][0]),
        "to": format_time(variants[TIME][-1]),
        "values of varied features": {name: different[name] for name in varied[:_FEATURES]},
        "answers": dict(answers.head(_FEATURES).iter_rows()),
        "lowest score": None if scores.is_empty() else round(float(np.asarray(scores.min())), 4),
        "highest score": None if scores.is_empty() else round(float(np.asarray(scores.max())), 4),
        "sample": [
            {name: float(v) if np.isfinite(v) else None for name, v in zip(names, rows[i], strict=True)}
            for part in examples
            for i in part
        ],
    }


def _change(variants: pl.DataFrame) -> int | None:
    """The place of the first variant whose answer differs from the one before it."""
    if LABEL not in variants.columns:
        return None
    changed = (variants[LABEL] != variants[LABEL].shift()).fill_null(value=False)
    place = changed.arg_true()
    return int(place[0]) if len(place) else None
