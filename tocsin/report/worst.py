"""The worst alerts and incidents of a report, for its first screen: the subject, what happened, the next step."""

from __future__ import annotations

import textwrap
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tocsin.clock import EPOCH
from tocsin.contract.findings import Severity, Subject
from tocsin.contract.incidents import Incident, StepState
from tocsin.contract.query import Condition
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.report import words
from tocsin.report.document import Block, Code, Heading, Line, Link, Notice, Notices, Paragraph, minute
from tocsin.report.facts import Facts
from tocsin.report.history import RaisedAlert
from tocsin.store.protocol import Store
from tocsin.words import count

_MOST = 4  # notices on the first screen
_LONGEST = 180  # characters of a detector's sentence


@dataclass(frozen=True, slots=True)
class _Case:
    """An incident with its alerts, the worst first, or one alert without an incident."""

    alerts: Sequence[RaisedAlert]
    incident: Incident | None
    open: bool

    @property
    def severity(self) -> Severity:
        return self.incident.severity if self.incident else self.alerts[0].severity

    @property
    def subject(self) -> Subject:
        return self.incident.subject if self.incident else self.alerts[0].subject

    @property
    def finding(self) -> str:
        return self.alerts[0].finding if self.alerts else ""

    @property
    def owned(self) -> bool:
        """Whether an operator has acknowledged the case."""
        return bool(self.incident.owner) if self.incident else self.alerts[0].acknowledged is not None

    @property
    def rank(self) -> tuple[bool, int, bool, float, str]:
        """Open cases first, then by severity; of equal ones those without an owner, then the latest findings."""
        latest = max((a.ended for a in self.alerts), default=self.incident.opened if self.incident else EPOCH)
        id = self.incident.id if self.incident else self.alerts[0].fingerprint
        return not self.open, -self.severity.rank, self.owned, -latest.timestamp(), id


def incident_id(incident: Incident) -> str:
    """The link target of an incident in a report."""
    return f"incident-{incident.id}"


def alert_id(alert: RaisedAlert) -> str:
    """The link target of an alert without an incident in a report."""
    return f"alert-{alert.fingerprint}-{alert.raised:%Y%m%dT%H%M%S%f}"


def worst(store: Store, facts: Facts, targets: Container[str]) -> list[Block]:
    """The worst cases of a period; `targets` are the link targets that the document contains."""
    cases = sorted(_cases(facts), key=lambda case: case.rank)
    if not cases:
        return []
    shown = cases[:_MOST]
    texts = _reasons(store, [case.finding for case in shown])
    notices = [_notice(case, texts, targets) for case in shown]
    blocks: list[Block] = [Heading("Worst alerts"), Notices(notices)]
    left = sum(case.open for case in cases[_MOST:])
    if left:
        are = "is" if left == 1 else "are"
        more = f"{count(left, 'more alert or incident', 'more alerts or incidents')} {are} open, see below."
        blocks.append(Paragraph(more, muted=True))
    return blocks


def _cases(facts: Facts) -> Iterator[_Case]:
    unsolved = {incident.id for incident in facts.unsolved}
    known = {incident.id for incident in facts.incidents}
    for incident in facts.incidents:
        own = [a for a in facts.alerts if a.incident == incident.id]
        own.sort(key=lambda a: (-a.severity.rank, a.resolved is not None, a.raised, a.fingerprint))
        yield _Case(own, incident, incident.id in unsolved)
    for alert in facts.alerts:
        if alert.incident not in known:
            yield _Case([alert], None, alert.resolved is None)


def _reasons(store: Store, findings: Sequence[str]) -> Mapping[str, str]:
    ids = sorted({*findings} - {""})
    if not ids:
        return {}
    rows = newest_findings(store, [Condition("tocsin.finding.id", "in", ids)], withdrawn=True)
    return dict(rows.select("tocsin.finding.id", "event.reason").iter_rows())


def _notice(case: _Case, texts: Mapping[str, str], targets: Container[str]) -> Notice:
    subject = words.about(case.subject)
    target = incident_id(case.incident) if case.incident else alert_id(case.alerts[0])
    text = texts.get(case.finding) or _opening(case) or "The finding is past its retention."
    return Notice(
        case.severity,
        Link(subject, target) if target in targets else subject,
        _state(case),
        textwrap.shorten(text, _LONGEST, placeholder=" …"),
        _next_step(case),
    )


def _opening(case: _Case) -> str:
    return next((moment.text for moment in case.incident.timeline), "") if case.incident else ""


def _state(case: _Case) -> str:
    detectors = ", ".join(dict.fromkeys(a.detector for a in case.alerts))
    by = f", found by {detectors}" if detectors else ""
    if case.incident is None:
        return f"alert since {minute(case.alerts[0].raised)}{by}"
    return f"incident since {minute(case.incident.opened)}{by}"


def _next_step(case: _Case) -> Line:
    incident = case.incident
    if not case.open:
        return "none, the incident is closed." if incident else "none, the alert is resolved."
    if incident is None:
        alert = case.alerts[0]
        if alert.acknowledged is None:
            return "acknowledge the alert: ", Code(f"tocsin ack {alert.fingerprint} --by NAME")
        return f"check the evidence. {alert.by} has acknowledged the alert."
    pending = next((s.name for s in incident.steps if s.state is StepState.PENDING), "")
    if not incident.owner:
        step = f" Then step 1 of the playbook: “{pending}”." if pending else ""
        return "acknowledge the incident: ", Code(f"tocsin ack {incident.id} --by NAME"), f".{step}"
    if pending:
        place = 1 + next(n for n, s in enumerate(incident.steps) if s.state is StepState.PENDING)
        return f"step {place} of the playbook, “{pending}”. Owner: {incident.owner}."
    return "close the incident: ", Code(f"tocsin incidents {incident.id} --close --by NAME --note CONCLUSION")
