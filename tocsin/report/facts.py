"""The facts of a report, read from a store once. The sections format them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import polars as pl

from tocsin.contract.alerts import fingerprint
from tocsin.contract.findings import DONE, WITHDRAWN, Outcome, Severity, Subject
from tocsin.contract.incidents import Incident
from tocsin.contract.query import COUNT, Condition
from tocsin.contract.streams import ASPECT
from tocsin.pipeline.detecting.coverage import Span, coverage, recorded
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.report import history
from tocsin.report.counts import Counted, Period, count
from tocsin.report.history import RaisedAlert
from tocsin.report.pictures import scores
from tocsin.store.protocol import Store
from tocsin.worker.app import App

_DETECTOR, _START, _END = "tocsin.detector.id", "tocsin.window.start", "tocsin.window.end"
#: The lowest severity that a report describes in full.
NOTABLE = Severity.MEDIUM
_EVALUATED = frozenset(outcome.value for outcome in DONE)


class Quantiles(NamedTuple):
    """The median and the 95 % quantile of some lengths of time."""

    median: timedelta
    high: timedelta


@dataclass(frozen=True, slots=True)
class Facts:
    """What a store holds about a period.

    `findings` are those whose windows overlap the period; `without_alert` are those of them, at `NOTABLE` or
    above, that raised no alert. Alerts and incidents are those raised in the period or open when it began.
    """

    period: Period
    counted: Counted
    findings: pl.DataFrame
    without_alert: pl.DataFrame
    alerts: Sequence[RaisedAlert]
    incidents: Sequence[Incident]
    spans: Sequence[Span]
    letters: pl.DataFrame
    worst: pl.DataFrame

    @property
    def raised(self) -> list[RaisedAlert]:
        """Alerts raised in the period."""
        return [a for a in self.alerts if self.period.holds(a.raised)]

    @property
    def open(self) -> list[RaisedAlert]:
        """Alerts that were firing when the period ended."""
        return [a for a in self.alerts if a.resolved is None]

    @property
    def rejected(self) -> int:
        """Events that were rejected, and are in dead_letter."""
        return int(self.letters["count"].sum())

    @property
    def evaluated(self) -> int:
        """Windows that were evaluated."""
        return sum(s.windows for s in self.spans if s.outcome in _EVALUATED)

    @property
    def skipped(self) -> int:
        """Windows that a detector skipped, mostly because it had no baseline."""
        return sum(s.windows for s in self.spans if s.outcome == Outcome.SKIPPED)

    @property
    def missed(self) -> int:
        """Windows with events that were not evaluated, or whose evaluation failed."""
        return sum(s.windows for s in self.spans if s.outcome == Outcome.GAP)

    @property
    def windows(self) -> int:
        """Windows that were evaluated or should have been."""
        return self.evaluated + self.skipped + self.missed

    @property
    def detectors(self) -> list[str]:
        """Every detector with a window or an alert in the period."""
        return sorted({s.detector for s in self.spans} | {a.detector for a in self.alerts})

    def to_detect(self) -> Quantiles | None:
        """The times from the newest event that was read to the first notification, of the alerts with both times."""
        return _quantiles(a.times.to_detect for a in self.raised)

    def to_acknowledge(self) -> Quantiles | None:
        """The times from the first notification to the acknowledgement, of the alerts that were acknowledged."""
        return _quantiles(a.times.to_acknowledge for a in self.raised)

    @property
    def unsolved(self) -> list[Incident]:
        """Incidents that were open when the period ended."""
        return [i for i in self.incidents if i.closed is None or not self.period.before_end(i.closed)]


def by_severity(alerts: Iterable[RaisedAlert]) -> list[tuple[Severity, int]]:
    """The number of alerts of each severity, the worst first."""
    counted = Counter(a.severity for a in alerts)
    return sorted(counted.items(), key=lambda item: -item[0].rank)


def gather(app: App, period: Period, progress: Callable[[str], None] = lambda _: None) -> Facts:
    """Read the facts of a period.

    Raises:
        StoreError: the store cannot be read.
    """
    progress("counting events")
    counted = count(app.store, period)
    progress("reading findings and alerts")
    until = [Condition(_START, "<", period.end)]
    known = newest_findings(app.store, until, withdrawn=True, short=True)
    found = known.filter(pl.col(_END) > period.start, pl.col("event.action").ne_missing(WITHDRAWN))
    alerts = history.alerts(app.store, period, known)
    progress("reading the coverage of each detector")
    return Facts(
        period,
        counted,
        found,
        _without_alert(app.store, period, found, alerts),
        alerts,
        _incidents(app, period),
        _spans(app, period),
        _letters(app, period),
        scores.worst(app.store, period.start, period.end),
    )


def _quantiles(lengths: Iterable[timedelta | None]) -> Quantiles | None:
    """Each quantile is the smallest of the lengths that at least that share of them does not exceed."""
    known = sorted(length for length in lengths if length is not None)
    if not known:
        return None
    median, high = (known[math.ceil(share * len(known)) - 1] for share in (0.5, 0.95))
    return Quantiles(median, high)


def _without_alert(
    store: Store, period: Period, found: pl.DataFrame, alerts: Iterable[RaisedAlert]
) -> pl.DataFrame:
    notable = found.filter(
        pl.col("tocsin.severity").is_in([s.value for s in Severity if s.rank >= NOTABLE.rank])
    )
    alerted = {a.fingerprint for a in alerts} | history.raised_later(store, period, notable)
    prints = [
        fingerprint(store.namespace, detector, Subject(type or "", id or ""), aspect or "")
        for detector, type, id, aspect in notable.select(
            _DETECTOR, "tocsin.subject.type", "tocsin.subject.id", ASPECT
        ).iter_rows()
    ]
    return notable.filter(~pl.Series("alerted", [p in alerted for p in prints], dtype=pl.Boolean))


def _incidents(app: App, period: Period) -> list[Incident]:
    """The incidents of a period, the worst first."""
    held = (
        i
        for i in app.alerting.incidents()
        if period.before_end(i.opened) and (i.closed is None or i.closed >= period.start)
    )
    return sorted(held, key=lambda i: (-i.severity.rank, i.opened, i.id))


def _spans(app: App, period: Period) -> list[Span]:
    """The coverage of every enabled detector, and the recorded runs of the others."""
    start, end = period.start, period.end
    on = {s.detector.id for s in app.settings}
    spans = [
        span
        for setting in app.settings
        for span in coverage(app.store, app.clock, app.detect.ledger, setting, start, end)
    ]
    others = set(app.store.summarize("run", start, None, [_DETECTOR], [COUNT])[_DETECTOR]) - on
    return spans + [span for detector in sorted(others) for span in recorded(app.store, detector, start, end)]


def _letters(app: App, period: Period) -> pl.DataFrame:
    by = ["tocsin.dead_letter.stream", "tocsin.source.id"]
    found = app.store.summarize("dead_letter", period.start, period.end, by, [COUNT])
    return found.sort("count", *by, descending=[True, False, False], nulls_last=True)
