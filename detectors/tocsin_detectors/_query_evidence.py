"""What a score of `model_extraction` says: its sentence, and the evidence for a person."""

from __future__ import annotations

import numpy as np
import polars as pl

from tocsin.clock import format_time
from tocsin.contract.findings import Json
from tocsin.contract.streams import TIME
from tocsin.stats.extraction import STATISTICS, Verdict
from tocsin.words import count, short
from tocsin_detectors._honest_queries import SPELLING, VALUES, HonestQueries

#: How the queries differ from honest ones, by the statistic that departs most.
LIKE = {
    "unseen": "with more values that the baseline does not have than honest clients send",
    "step": "that repeat earlier queries with small changes, more often than honest clients do",
    "probe": "that put new values into earlier queries, more often than honest clients do",
    "alone": "that are further from the baseline's queries than those of honest clients",
    "scatter": "that are further apart than those of honest clients",
    "joint": "whose values occur together more rarely than in the queries of honest clients",
    "line": "that try many values of one feature, more often than honest clients do",
    "path": "that change an earlier query feature by feature, more often than honest clients do",
    "boundary": "for which the model is unsure, more often than honest clients do",
}


def reason_of(user: str, model: str, queries: int, statistic: str) -> str:
    """How many queries a principal sent, and by which statistic they differ from honest ones; empty: by none."""
    sent = f"{short(user)} sent {count(queries, 'query', 'queries')} to {short(model)}"
    return f"{sent} {LIKE[statistic]}" if statistic else f"{sent}, like those of honest clients"


def evidence_of(
    user: str, model: str, rows: pl.DataFrame, verdict: Verdict, known: HonestQueries
) -> dict[str, Json]:
    """The worst run of a principal's queries: its statistics beside the usual ones, and its three most unusual queries."""
    run = rows[verdict.run]
    statistics: dict[str, Json] = {}
    for name, norm in known.honest.norms[verdict.size].items():
        z = norm.z(verdict.marks[name], user)
        if z > 0:
            value, normal = norm.of(verdict.marks[name]), norm.start(user)
            facts: dict[str, Json] = {"value": round(value, 4), "normal": round(normal, 4), "z": round(z, 2)}
            statistics[name] = {"meaning": STATISTICS[name], **facts}
    marks = np.nan_to_num(verdict.marks[verdict.statistic], nan=-np.inf)
    names = (known.names or "").split(",")
    return {
        "model": model,
        "distinct queries": len(rows),
        "spellings": rows[SPELLING].drop_nulls().unique().sort().head(10).to_list(),
        "queries": len(run),
        "from": format_time(run[TIME][0]),
        "to": format_time(run[TIME][-1]),
        "statistics": statistics,
        "edits": round(float(verdict.marks["edit"].mean()), 4),
        "sample": [
            _named(names, run[VALUES][int(i)].to_list()) for i in np.argsort(-marks, kind="stable")[:3]
        ],
    }


def _named(names: list[str], values: list[float | None]) -> dict[str, Json]:
    if len(names) != len(values):
        names = [f"feature_{place}" for place in range(len(values))]
    return {
        name: None if value is None or not np.isfinite(value) else value
        for name, value in zip(names, values, strict=True)
    }
