"""Findings over windows become alerts: what the sequence of evaluated windows says about a subject.

Windows are ordered by their own time, never by when they were evaluated: late data, re-evaluation and
backfill change what is said about their windows and nothing else.
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
    """One evaluated window and what it holds about one subject; None is a window without a finding."""

    start: datetime
    end: datetime
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """Findings with no quiet window between them, and the end of the quiet window that follows."""

    findings: tuple[Finding, ...]
    resolved: datetime | None = None

    @property
    def start(self) -> datetime:
        """Where its first window begins."""
        return self.findings[0].window_start

    @property
    def end(self) -> datetime:
        """Where its last window with a finding ends."""
        return self.findings[-1].window_end

    @property
    def severity(self) -> Severity:
        """The worst of its findings."""
        return worst(finding.severity for finding in self.findings)


def episodes(verdicts: Iterable[Verdict]) -> list[Episode]:
    """Cut a subject's verdicts, in any order, into episodes, oldest first.

    A quiet window ends an episode if it begins where the last window with a finding ended or later: one
    that overlaps it says nothing yet.
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
    """Bring the recorded alerts of one fingerprint up to what its windows say.

    An episode belongs to the newest alert that it overlaps and that no newer episode has, else it is a
    new alert; a firing alert whose findings are all withdrawn is resolved.

    Args:
        known: the recorded alerts.
        found: what the windows from `since` on say.
        since: no later than the start of the last window of every firing alert.
        namespace: the store's.
        now: the time of the change.

    Returns:
        The alerts that are new or changed, each with its transitions.
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
    key = fingerprint(namespace, first.detector, first.subject)
    id = f"{key}-{first.window_start:%Y%m%dT%H%M%S}"
    again = sum(alert.id.startswith(id) for alert in known)  # after late data cut an alert in two
    alert = Alert(
        id=f"{id}-{again}" if again else id,
        fingerprint=key,
        namespace=namespace,
        detector=first.detector,
        subject=first.subject,
        state=AlertState.FIRING,
        severity=episode.severity,
        started=first.window_start,
        raised=now,
        changed=now,
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
    }


def _amended(alert: Alert, episode: Episode, now: datetime, *, tail: bool) -> Alert:
    """The alert as the episode says it is; `tail` means that only its newest windows were read again."""
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
    if amended.firing and not alert.firing:  # the acknowledgement and the incident were the last one's
        amended = replace(amended, acknowledged=None, incident="", settled=False, raised=now)
    if severity.rank > alert.severity.rank:  # news, even of what is over
        amended = replace(amended, settled=False)
    if amended == alert:
        return alert
    unwritten = (*alert.unwritten, *_transitions(alert, amended, now))
    return replace(amended, changed=now, unwritten=unwritten)


def _transitions(before: Alert, after: Alert, now: datetime) -> list[Transition]:
    said = []
    if after.severity is not before.severity:
        reason = f"was {before.severity}: {after.reason}"
        said.append(after.transition(Action.SEVERITY_CHANGED, now, reason=reason))
    if after.firing and not before.firing:
        said.append(after.transition(Action.FIRING, now))
    if before.firing and after.resolved is not None:
        reason = f"no finding in the window that ended {format_time(after.resolved)}"
        said.append(after.transition(Action.RESOLVED, now, reason=reason))
    return said


def _withdrawn(alert: Alert, now: datetime) -> Alert:
    over = replace(alert, state=AlertState.RESOLVED, resolved=alert.window_end, changed=now)
    reason = "late data withdrew its findings"
    said = over.transition(Action.RESOLVED, now, reason=reason)
    return replace(over, unwritten=(*alert.unwritten, said))
