"""Which windows a rolling baseline leaves out: those with suspect findings."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tocsin.contract.findings import Finding, Severity
from tocsin.contract.query import Condition
from tocsin.contract.short import SHORT
from tocsin.contract.streams import ASPECT
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.store.protocol import Store

#: A window with a finding of more than this severity is excluded from rolling baselines. A finding of this severity
#: excludes it, too, if a whole baseline gave it. Without one, a weekly habit or a rule that is broken every day would never
#: be learned: its window is excluded, so it is unusual again.
_SUSPECT = Severity.MEDIUM
Interval = tuple[datetime, datetime]


def suspects(store: Store, detector: str, start: datetime, end: datetime) -> tuple[Interval, ...]:
    """The windows of a detector in an interval that have suspect findings."""
    bad = [s.value for s in Severity if s.rank >= _SUSPECT.rank]
    rows = newest_findings(
        store,
        [
            Condition("tocsin.detector.id", "==", detector),
            Condition("tocsin.window.end", ">", start),
            Condition("tocsin.window.start", "<", end),
        ],
    ).filter(pl.col("tocsin.severity").is_in(bad), pl.col(ASPECT).is_null())
    whole = pl.col("tocsin.baseline.digest").fill_null("") != ""
    whole &= pl.col("tocsin.evidence").str.json_path_match(f"$.{SHORT}").is_null()
    rows = rows.filter(whole | (pl.col("tocsin.severity") != _SUSPECT.value))
    pairs = rows.select("tocsin.window.start", "tocsin.window.end").unique().sort("tocsin.window.start")
    return tuple(pairs.iter_rows())


def is_suspect(finding: Finding) -> bool:
    """Whether the finding excludes its window from rolling baselines."""
    whole = bool(finding.baseline) and SHORT not in finding.evidence
    least = _SUSPECT.rank if whole else _SUSPECT.rank + 1
    return not finding.aspect and finding.severity.rank >= least
