"""The first part of a report: a summary in one sentence, the worst alerts, key figures, and a chart of the period."""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import partial

from tocsin.contract.findings import Severity
from tocsin.pipeline.detecting.settings import severities_of
from tocsin.report.document import Block, Details, Line, Paragraph, Section, Table, Tiles, When
from tocsin.report.facts import NOTABLE, Facts, Quantiles, by_severity
from tocsin.report.history import RaisedAlert
from tocsin.report.pictures import scores, timeline
from tocsin.report.pictures.canvas import Calendar
from tocsin.report.words import delay, percent
from tocsin.report.worst import worst
from tocsin.words import count
from tocsin.worker.app import App

#: A report is not good news if more than this share of the windows is a gap.
_UNSEEN = 0.01


def verdict(facts: Facts) -> tuple[str, bool]:
    """The report in one sentence, and whether the report is good news."""
    severe = [a for a in facts.open if a.severity.rank >= Severity.HIGH.rank]
    blind = not facts.evaluated
    unseen = facts.missed > _UNSEEN * facts.windows
    alone = sum(not i.owner for i in facts.unsolved)
    if severe:
        summary = f"{_listed(severe)} {_is(severe)} open{_care(severe)}"
    elif not (facts.alerts or facts.counted.total or facts.evaluated or facts.unsolved or facts.rejected):
        return "No event was ingested and no window was evaluated: there is nothing to report", False
    elif not (facts.alerts or facts.evaluated):
        summary = "No window was evaluated, so the absence of alerts proves nothing"
    elif facts.open:
        summary = f"No alert above {max(facts.open, key=lambda a: a.severity.rank).severity} is open; {_raised(facts)}"
    elif facts.raised:
        summary = f"{_raised(facts)} and {'it is' if len(facts.raised) == 1 else 'all are'} resolved"
    else:
        summary = "No alert was raised"
    if facts.rejected and not facts.counted.total:
        summary += f"; {_rejected(facts.rejected)}"
    if len(facts.without_alert):
        summary += f"; {count(len(facts.without_alert), 'finding')} of {NOTABLE} or above raised no alert"
    if facts.unsolved:
        summary += f"; {count(len(facts.unsolved), 'incident')} {_is(facts.unsolved)} open"
        summary += _without_owner(alone, len(facts.unsolved))
    return f"{summary}; {_coverage(facts)}", not (
        severe or unseen or alone or blind or len(facts.without_alert)
    )


def _listed(alerts: Sequence[RaisedAlert]) -> str:
    """`1 critical and 2 high alerts`."""
    parts = [f"{number} {severity}" for severity, number in by_severity(alerts)]
    return f"{' and '.join(parts)} alert{'s' if len(alerts) != 1 else ''}"


def _rejected(number: int) -> str:
    return f"{number:,} events were received and all were rejected" if number > 1 else (
        "1 event was received and it was rejected"
    )  # fmt: skip


def _without_owner(alone: int, incidents: int) -> str:
    if not alone:
        return ""
    return ", without an owner" if incidents == 1 else f", {alone} of them without an owner"


def _is(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"


def _care(alerts: Sequence[RaisedAlert]) -> str:
    alone = sum(a.acknowledged is None for a in alerts)
    if len(alerts) == 1:
        return " and not acknowledged" if alone else " and acknowledged"
    return f", {alone} of them not acknowledged" if alone else ", all of them acknowledged"


def _raised(facts: Facts) -> str:
    number = len(facts.raised)
    return f"{count(number, 'alert')} {'was' if number == 1 else 'were'} raised"


def _coverage(facts: Facts) -> str:
    if not facts.windows:
        return "no detector had a window to evaluate"
    share = f"{percent(facts.evaluated, facts.windows)} of the windows with events were evaluated"
    return share + (
        f" and {facts.missed:,} {'is a gap' if facts.missed == 1 else 'are gaps'}" if facts.missed else ""
    )


def head(app: App, facts: Facts, targets: Container[str]) -> list[Block]:
    """The worst alerts, and the key figures below them. `targets` are the link targets of the document."""
    unsolved = len(facts.unsolved)
    severities = ", ".join(f"{number} {severity}" for severity, number in by_severity(facts.open))
    rejected = f", {facts.rejected:,} rejected" if facts.rejected else ", none rejected"
    return [
        *worst(app.store, facts, targets),
        Tiles(
            (
                (f"{len(facts.open):,}", f"alerts open{': ' + severities if severities else ''}"),
                (f"{len(facts.raised):,}", "alerts raised in this period"),
                (_both(facts.to_detect()),
                 "time from event to notification, median / 95 % quantile"),
                (_both(facts.to_acknowledge()),
                 "time from notification to acknowledgement, median / 95 % quantile"),
                (f"{unsolved} / {len(facts.incidents) - unsolved}", "incidents open / closed"),
                (percent(facts.evaluated, facts.windows),
                 f"of {facts.windows:,} windows with events evaluated"),
                (f"{facts.counted.total:,}", f"events ingested{rejected}"),
            )
        ),
    ]  # fmt: skip


def _both(quantiles: Quantiles | None) -> str:
    return delay(None) if quantiles is None else f"{delay(quantiles.median)} / {delay(quantiles.high)}"


def at_a_glance(app: App, facts: Facts, calendar: Calendar, title: str = "At a glance") -> Section:
    """The events of each stream and the alerts of each detector: a chart and tables."""
    detectors = [
        d for d in facts.detectors if d in {s.detector.id for s in app.settings} or _alerted(facts, d)
    ]
    drawn = timeline.draw(facts.counted, facts.alerts, detectors, calendar)
    blocks: list[Block] = [drawn] if drawn else [Paragraph("No event was ingested and no alert was raised.")]
    if facts.alerts:
        blocks.append(_by_detector(facts))
    return Section(title, [*blocks, Details("Events by stream, in figures", [_by_stream(facts)])])


def _alerted(facts: Facts, detector: str) -> bool:
    return any(a.detector == detector for a in facts.alerts)


def _by_detector(facts: Facts) -> Table:
    severities = [s for s in reversed(Severity) if any(a.severity is s for a in facts.alerts)]
    rows: list[tuple[Line, ...]] = []
    for detector in sorted({a.detector for a in facts.alerts}):
        own = [a for a in facts.alerts if a.detector == detector]
        numbers = [str(sum(a.severity is s for a in own)) for s in severities]
        newest = max(own, key=lambda a: a.raised)
        rows.append((detector, *numbers, str(sum(a.resolved is None for a in own)), When(newest.raised)))
    return Table(("alerts of", *(f"#{s}" for s in severities), "#still open", "newest raised"), rows)


def _by_stream(facts: Facts) -> Table:
    rows: list[tuple[Line, ...]] = []
    for stream, numbers in facts.counted.by_stream.items():
        most = max(numbers)
        busiest = When(facts.counted.edges[numbers.index(most)]) if most else "–"
        rows.append((stream, f"{sum(numbers):,}", f"{most:,}", busiest))
    return Table(("stream", "#events", f"#most {facts.counted.unit}", "from"), rows)


def against_thresholds(app: App, facts: Facts, calendar: Calendar) -> Section:
    """A chart of each detector's worst scores relative to the threshold, and a table of findings by severity."""
    drawn = scores.draw(facts.worst, calendar, partial(severities_of, app.settings))
    blocks: list[Block] = [drawn] if drawn else [Paragraph("No detector has a score in this period.")]
    if len(facts.findings):
        blocks.append(_findings(facts))
    return Section("Scores against thresholds", blocks)


def _findings(facts: Facts) -> Table:
    detector, severity = "tocsin.detector.id", "tocsin.severity"
    counted = {(d, s): n for d, s, n in facts.findings.group_by(detector, severity).len().iter_rows()}
    severities = [s for s in reversed(Severity) if any(found == s for _, found in counted)]
    rows = [
        (name, *(f"{counted.get((name, s.value), 0):,}" for s in severities))
        for name in sorted({name for name, _ in counted})
    ]
    return Table(("findings of", *(f"#{s}" for s in severities)), rows)
