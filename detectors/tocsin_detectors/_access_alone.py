"""A window without any baseline: rules and bundled priors, compared with the other principals of the window.

Points are thresholds, as with a baseline. What needs a history is left out: first accesses, habits, hours, usual volumes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from tocsin.contract.aspects import not_judged
from tocsin.contract.findings import Json, Score, Subject
from tocsin.contract.windows import Window
from tocsin.words import count, listed, sentence, short
from tocsin_detectors._access_crowd import JUDGED
from tocsin_detectors._access_points import POINTS, Hit
from tocsin_detectors._access_prior import Known, Prior
from tocsin_detectors._access_rules import hits
from tocsin_detectors._access_story import points_of, sums_of
from tocsin_detectors._spelling import changed as changed_names

#: Deleted resources that the principal did not create in the window, from which they are many.
DELETED = 10
#: Downloaded artifacts from which they are many, if they are this multiple of 95 % of the other principals.
DOWNLOADED, TIMES = 100, 10
#: Points of many deletions and of many downloads.
MANY = 1.5
#: Rules over rows that need no history.
RULES = frozenset({"audit_disabled", "failures_then_success", "delete_then_recreate", "flood"})
_MOST = 4.0
_NAMED = 2
_LISTED = 10


def alone(rows: pl.DataFrame, prior: Prior, window: Window, detector: str, floor: float) -> Iterator[Score]:
    """The scores of a window without a baseline; a score of `floor` is a finding.

    At most `JUDGED` principals are judged one by one: first those with dangerous actions or broken rules, then the others.
    """
    broken = hits(rows.with_columns(window=pl.lit(window.start), fresh=pl.lit(value=False)))
    broken = broken.filter(pl.col("rule").is_in(list(RULES)))
    names = rows["principal"].unique().sort()
    if window.changed is not None:
        names = names.filter(changed_names(names, window) | names.str.starts_with("unknown@"))
    many = _many(rows)
    first = {*prior.principals, *broken["principal"].to_list(), *many}
    judged = sorted(names.to_list(), key=lambda name: (name not in first, name))
    sums = sums_of(rows.filter(pl.col("principal").is_in(judged[:JUDGED])), {})
    by_name = {str(name): part for (name,), part in broken.partition_by("principal", as_dict=True).items()}
    for name in sorted(judged[:JUDGED]):
        found = [*prior.hits(name, Known()), *many.get(name, ())]
        part = by_name.get(name, broken.clear())
        found += [
            Hit(rule, POINTS[rule], detail, at.isoformat())
            for rule, at, detail in part.select("rule", "at", "detail").iter_rows()
        ]
        yield _score(name, found, sums[name], floor)
    if window.changed is None and (left := len(first.intersection(judged[JUDGED:]))):
        words = f"{left:,} principals with dangerous actions or broken rules"
        yield not_judged(Subject("detector", detector), "more principals", words, left)


def _many(rows: pl.DataFrame) -> Mapping[str, list[Hit]]:
    """Many deletions, and far more downloads than the other principals of the window."""
    found: dict[str, list[Hit]] = {}
    done = rows.filter(~pl.col("failed"), ~pl.col("aws"))
    gone = done.filter(pl.col("serious") == "delete", ~pl.col("mine"))
    gone = gone.group_by("principal").agg(number=pl.struct("resource", "version").n_unique())
    for name, number in gone.filter(pl.col("number") >= DELETED).iter_rows():
        found.setdefault(name, []).append(Hit("mass_delete", MANY, f"deleted {number} resources"))
    taken = (
        done.filter("download").group_by("principal").agg(number=pl.struct("resource", "version").n_unique())
    )
    for name, number in taken.filter(pl.col("number") >= DOWNLOADED).iter_rows():
        others = taken.filter(pl.col("principal") != name)["number"].to_numpy()
        usual = float(np.quantile(others, 0.95)) if len(others) else 0.0
        if number >= TIMES * usual:
            detail = f"downloaded {number} artifacts; 95 % of the others at most {usual:.0f}"
            found.setdefault(name, []).append(Hit("mass_download", MANY, detail))
    return found


def _score(principal: str, found: list[Hit], sums: Mapping[str, Any], floor: float) -> Score:
    value = min(points_of(found), _MOST) * floor
    accesses = count(sums["accesses"], "access", "accesses")
    who = short(principal)
    reason = f"{who} made {accesses}; no rule is broken"
    if found:
        signs = listed([hit.detail for hit in sorted(found, key=lambda hit: -hit.points)], _NAMED)
        reason = sentence([f"{who}: {signs}", "judged without a baseline"])
    evidence: dict[str, Json] = {
        "accesses": sums["accesses"],
        "failures": sums["failures"],
        "downloaded": sums["artifacts"],
        "rules": [hit.to_json() for hit in found[:_LISTED]],
    }
    return Score(Subject("principal", principal), value, reason, evidence)
