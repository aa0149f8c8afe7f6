"""Derives a subject's alerts from its sequence of evaluated windows, with and without findings.

Windows are ordered by event time, never by the time of their evaluation. Late data, re-evaluation and backfill change
only the results of their own windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tocsin.clock import format_time
from tocsin.contract.alerts import Action, Alert, AlertState, Transition, fingerprint, worst
from tocsin.contract.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class Verdict:
    """One evaluated window, and its finding about one subject. `finding` is None if the window has no finding."""

    start: datetime
    end: datetime
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """Findings of consecutive windows. `resolved`: the end of the first later window without a finding, or None."""

    findings: tuple[Finding, ...]
    resolved: datetime | None = None

    @property
    def start(self) -> datetime:
        """The start of the window of the first finding."""
        return self.findings[0].window_start

    @property
    def end(self) -> datetime:
        """The end of the window of the last finding."""
        return self.findings[-1].window_end

    @property
    def severity(self) -> Severity:
        """The highest severity of the findings."""
        return worst(finding.severity for finding in self.findings)


def episodes(verdicts: Iterable[Verdict]) -> list[Episode]:
    """Cut a subject's verdicts, in any order, into episodes, oldest first.

    A window without a finding ends an episode if the window begins at or after the end of the last window with a
    finding. A window that overlaps the last window with a finding does not end the episode.
    """
    found: list[tuple[list[Finding], datetime | None]] = []
    for verdict in sorted(verdicts, key=lambda v: (v.end, v.start)):
        firing = bool(found) and found[-1][1] is None
        if verdict.finding is None:
            if firing and verdict.start >= found[-1][0][-1].window_end:
                found[-1] = (found[-1][0], verdict.end)
        elif firing:
            found[-1][0].append(verdict.finding)
        else:
            found.append(([verdict.finding], None))
    return [Episode(tuple(findings), resolved) for findings, resolved in found]


def join(
    known: Sequence[Alert], found: Sequence[Episode], since: datetime, namespace: str, now: datetime
) -> list[Alert]:
    """Update the recorded alerts of one fingerprint from the episodes of its windows.

    Each alert belongs to at most one episode. From the newest episode to the oldest, each takes the newest remaining
    alert that overlaps it. An episode without such an alert becomes a new alert. If late data, or the full window,
    withdrew all findings of a firing alert, the alert is resolved.

    Args:
        known: the recorded alerts.
        found: the episodes of the windows from `since` on.
        since: the start of the first window that was read. No firing alert's last window begins before it.
        namespace: the store's namespace.
        now: the time of the change.

    Returns:
        The new and changed alerts, each with its transitions.
    """
    free = sorted(known, key=lambda alert: (alert.started, alert.id), reverse=True)
    joined: list[Alert] = []
    for episode in reversed(found):
        overlapping = (a for a in free if a.started < episode.end and episode.start < a.window_end)
        match = next(overlapping, None)
        if match is not None:
            free.remove(match)
        alert = match or _opened(known, episode, namespace, now)
        joined.append(_amended(alert, episode, now, tail=since > alert.started))
    joined += [_withdrawn(alert, now) for alert in free if alert.firing]
    return [alert for alert in reversed(joined) if alert not in known]


def _opened(known: Sequence[Alert], episode: Episode, namespace: str, now: datetime) -> Alert:
    first = episode.findings[0]
    key = fingerprint(namespace, first.detector, first.subject, first.aspect)
    id = f"{key}-{first.window_start:%Y%m%dT%H%M%S}"
    same = sum(
        alert.id.startswith(id) for alert in known
    )  # late data can split one alert into two with equal starts
    alert = Alert(
        id=f"{id}-{same}" if same else id,
        fingerprint=key,
        namespace=namespace,
        detector=first.detector,
        subject=first.subject,
        aspect=first.aspect,
        state=AlertState.FIRING,
        severity=episode.severity,
        started=first.window_start,
        raised=now,
        changed=now,
        times=first.times,
        **_newest(episode),
    )
    return replace(alert, unwritten=(alert.transition(Action.FIRING, now),))


def _newest(episode: Episode) -> dict[str, Any]:
    newest = episode.findings[-1]
    return {
        "window_start": newest.window_start,
        "window_end": newest.window_end,
        "finding": newest.id,
        "score": newest.score,
        "threshold": newest.threshold,
        "reason": newest.reason,
        "evidence": newest.evidence,
        "techniques": newest.techniques,
        "playbook": newest.playbook,
        "family": newest.family,
        "early": newest.early,
    }


def _amended(alert: Alert, episode: Episode, now: datetime, *, tail: bool) -> Alert:
    """Update an alert from its episode. `tail` means that the episode contains only the newest windows of the alert."""
    over = episode.resolved is not None
    later = sum(finding.window_start > alert.window_start for finding in episode.findings)
    severity = worst((alert.severity, episode.severity)) if tail else episode.severity
    amended = replace(
        alert,
        **_newest(episode),
        state=AlertState.RESOLVED if over else AlertState.FIRING,
        severity=severity,
        started=alert.started if tail else episode.start,
        findings=alert.findings + later if tail else len(episode.findings),
        resolved=episode.resolved,
    )
    if (
        amended.firing and not alert.firing
    ):  # acknowledgement and incident belong to the time before it was resolved
        times = episode.findings[-1].times
        amended = replace(amended, acknowledged=None, incident="", settled=False, raised=now, times=times)
    if (
        severity.rank > alert.severity.rank
    ):  # receivers are notified of a higher severity even if the alert is resolved
        amended = replace(amended, settled=False)
    if amended == alert:
        return alert
    unwritten = (*alert.unwritten, *_transitions(alert, amended, now))
    return replace(amended, changed=now, unwritten=unwritten)


def _transitions(before: Alert, after: Alert, now: datetime) -> list[Transition]:
    transitions = []
    if after.severity is not before.severity:
        reason = f"was {before.severity}: {after.reason}"
        transitions.append(after.transition(Action.SEVERITY_CHANGED, now, reason=reason))
    if after.firing and not before.firing:
        transitions.append(after.transition(Action.FIRING, now))
    if before.firing and after.resolved is not None:
        reason = f"no finding in the window that ended {format_time(after.resolved)}"
        transitions.append(after.transition(Action.RESOLVED, now, reason=reason))
    return transitions


def _withdrawn(alert: Alert, now: datetime) -> Alert:
    over = replace(alert, state=AlertState.RESOLVED, resolved=alert.window_end, changed=now)
    reason = "withdrawn by the full window" if alert.early else "late data withdrew its findings"
    transition = over.transition(Action.RESOLVED, now, reason=reason)
    return replace(over, unwritten=(*alert.unwritten, transition))
