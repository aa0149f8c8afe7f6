"""The honest queries to a model with values of 32 bits, for queries that are held so."""

from __future__ import annotations

import numpy as np

from tocsin.stats.geometry import Domain, Reference
from tocsin.stats.screening import Signs
from tocsin_detectors._honest_queries import USER, HonestQueries, matrix


def rounded(known: HonestQueries) -> Reference:
    """The reference of a model, rounded. Its distances have 32 bits, too."""
    domains = [
        Domain(_round(d.low), _round(d.high), d.whole, d.closed and tuple(map(_round, d.closed)))
        for d in known.domains
    ]
    rows = matrix(known.rows).astype(np.float32).astype(np.float64)
    return Reference(rows, known.rows[USER].to_list(), domains, known.dependence.rounded(), 32)


def signs(known: HonestQueries) -> Signs:
    """What the cheap signs of queries compare with."""
    rows = matrix(known.rows)
    rows = np.where(np.isfinite(rows), rows, np.nan)
    rows[:, np.isnan(rows).all(axis=0)] = 0.0
    spread = np.nanstd(rows, axis=0)
    return Signs(
        [Domain(_round(d.low), _round(d.high), d.whole, None) for d in known.domains],
        known.dependence.rounded(),
        np.nanmean(rows, axis=0).astype(np.float32),
        np.where(spread > 0, spread, 1.0).astype(np.float32),
        known.honest.doubt,
    )


def _round(value: float) -> float:
    return float(np.float32(value))
