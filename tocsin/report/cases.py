"""What was found: each incident with its alerts and its playbook, then the alerts without one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from tocsin.contract.incidents import Incident
from tocsin.contract.query import Condition
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.report import history, words
from tocsin.report.accounts import UNACKNOWLEDGED, alert_table, finding_table, saw, steps, history_blocks
from tocsin.report.document import (
    Block,
    Chip,
    Code,
    Details,
    Facts,
    Heading,
    Line,
    Panel,
    Paragraph,
    Section,
    Table,
    When,
    minute,
)
from tocsin.report.evidence import readable
from tocsin.report.facts import NOTABLE
from tocsin.report.facts import Facts as Known
from tocsin.report.history import RaisedAlert
from tocsin.report.pictures import scores
from tocsin.report.pictures.canvas import Calendar
from tocsin.worker.app import App

_INCIDENTS, _ALERTS, _EACH = 8, 8, 3  # told in full: incidents, alerts without one, alerts of each incident
_LISTED = 30  # lines


class Cases:
    """The cases of one report."""

    def __init__(self, app: App, facts: Known, calendar: Calendar) -> None:
        self._app, self._facts, self._calendar = app, facts, calendar
        told = {a.incident for a in facts.alerts} - {""}
        shown = {i.id for i in facts.incidents[:_INCIDENTS]}
        self._alone = sorted(
            (a for a in facts.alerts if a.severity.rank >= NOTABLE.rank and a.incident not in told),
            key=lambda a: (-a.severity.rank, a.resolved is not None, -a.raised.timestamp(), a.fingerprint),
        )
        ids = {a.finding for a in [*self._alone[:_ALERTS], *(x for x in facts.alerts if x.incident in shown)]}
        where = [Condition("tocsin.finding.id", "in", sorted(ids - {""}))]
        rows = newest_findings(app.store, where, withdrawn=True) if ids - {""} else pl.DataFrame()
        self._rows = {row["tocsin.finding.id"]: row for row in rows.iter_rows(named=True)}
        self._drawn = 0

    def incidents(self) -> Section:
        """Every incident, the worst in sight and the others on request."""
        ranked = self._facts.incidents
        if not ranked:
            return Section("Incidents", [Paragraph("No incident was opened.")])
        first, *others = ranked[:_INCIDENTS]
        intro = "An alert of high severity opens an incident with its own copy of a playbook’s steps. "
        state = "Steps and owners are as they are now." if self._facts.period.open else (
            f"Steps and owners are as they were when this was written, {minute(self._app.clock.now())}."
        )  # fmt: skip
        left = words.more(_INCIDENTS, ranked, "incident", "")
        return Section(
            "Incidents and their playbooks",
            [
                Paragraph(intro + state),
                self._listed(ranked[:_LISTED]),
                Heading(_title(first)),
                *self._incident(first),
                *(Details(_title(i), self._incident(i)) for i in others),
                *([Paragraph((f"{left}see ", Code("tocsin incidents --all")))] if left else []),
            ],
        )

    def _listed(self, incidents: Sequence[Incident]) -> Table:
        columns = ("incident", "severity", "about", "what was seen", "opened", "with")
        return Table(
            columns,
            [
                (
                    Code(i.id),
                    Chip(i.severity),
                    words.about(i.subject),
                    next((m.text for m in i.timeline), ""),
                    When(i.opened),
                    ("closed" if i.closed else i.owner or UNACKNOWLEDGED),
                )
                for i in incidents
            ],
        )

    def _incident(self, incident: Incident) -> list[Block]:
        own = [a for a in self._facts.alerts if a.incident == incident.id]
        own.sort(key=lambda a: (-a.severity.rank, a.raised, a.fingerprint))
        taken = incident.owner or (UNACKNOWLEDGED, ": ", Code(f"tocsin ack {incident.id} --by NAME"))
        pairs: list[tuple[str, Line]] = [
            ("severity", Chip(incident.severity)),
            ("state", incident.state.value),
            ("opened", When(incident.opened)),
            ("acknowledged by", taken),
        ]
        if incident.closed is not None:
            pairs.append(("closed", When(incident.closed)))
        rows = history.of_incident(
            self._app.store, incident.id, incident.opened, [a.fingerprint for a in own]
        )
        return [
            Facts(pairs),
            *(block for alert in own[:_EACH] for block in self._seen(alert)),
            *self._others(own[_EACH:]),
            Heading("What to do"),
            steps(incident.steps) if incident.steps else Paragraph("There is no playbook for it."),
            *history_blocks(rows),
        ]

    def _others(self, alerts: Sequence[RaisedAlert]) -> Iterator[Block]:
        if alerts:
            yield Details(f"{words.count(len(alerts), 'more alert')} of this incident", [alert_table(alerts)])

    def alone(self) -> Section:
        """Alerts that opened no incident and findings that raised no alert, from `NOTABLE` on."""
        alerts, without_alert = self._alone, self._facts.without_alert
        title = f"Other alerts of {NOTABLE} or above"
        if not alerts and without_alert.is_empty():
            return Section(title, [Paragraph("There is none that does not belong to an incident.")])
        blocks: list[Block] = []
        for place, alert in enumerate(alerts[:_ALERTS]):
            inner = [*self._seen(alert), *history_blocks(history.of_alert(self._app.store, alert))]
            name = f"{alert.severity}: {words.about(alert.subject)}, by {alert.detector}"
            blocks += [Heading(name), *inner] if place == 0 else [Details(name, inner)]
        if len(alerts) > _ALERTS:
            rest = alerts[_ALERTS : _ALERTS + _LISTED]
            left = words.more(_ALERTS, alerts, "alert", "see ")
            blocks += [Paragraph((left, Code("tocsin alerts --all"))), alert_table(rest)]
        if len(without_alert):
            blocks += self._without_alert(without_alert)
        return Section(title, blocks)

    def _without_alert(self, without_alert: pl.DataFrame) -> list[Block]:
        why = (
            f"{words.count(len(without_alert), 'finding')} of {NOTABLE} or above raised no alert: they come from a "
            "backfill that pages nobody, or alerting has not run since."
        )
        where = [Condition("tocsin.finding.id", "in", without_alert["tocsin.finding.id"].head(_LISTED).to_list())]
        shown = newest_findings(self._app.store, where)
        left = words.more(len(shown), len(without_alert), "finding", "see ")
        command = Code(f"tocsin findings --severity {NOTABLE} {self._facts.period.options}")
        more = [Paragraph((left, command))] if left else []
        return [Heading("Findings without an alert"), Paragraph(why), finding_table(shown), *more]

    def _seen(self, alert: RaisedAlert) -> list[Block]:
        """What a detector saw, in words, in figures and as a picture."""
        row = self._rows.get(alert.finding)
        blind = words.part(self._app, alert.detector, "Blind spots")
        cannot = [Details("What this detector cannot see", [Paragraph(blind)])] if blind else []
        if row is None:
            gone = "Its finding is past its retention; what alert_history says of it is below."
            return [Panel([Paragraph((Chip(alert.severity), " ", gone)), Facts(_dates(alert))]), *cannot]
        self._drawn += 1
        name = f"alert-{self._drawn}"
        start = min(self._calendar.start, alert.started)
        calendar = Calendar(start, self._calendar.end, self._calendar.bands)
        drawn = scores.draw_subject(self._app.store, alert.detector, alert.subject, calendar, name)
        return [
            saw(self._app, row, _dates(alert)),
            *([drawn] if drawn else []),
            Heading("Evidence", 4),
            *readable(row["tocsin.evidence"]),
            *cannot,
        ]


def _dates(alert: RaisedAlert) -> list[tuple[str, Line]]:
    taken: Line = (When(alert.acknowledged), f" by {alert.by}") if alert.acknowledged else UNACKNOWLEDGED
    return [
        ("alert raised", When(alert.raised)),
        ("time to detect", words.delay(alert.detection)),
        ("taken on", taken),
        ("over", When(alert.resolved) if alert.resolved else "still firing"),
    ]


def _title(incident: Incident) -> str:
    return f"{incident.id}: {incident.playbook or 'no playbook'}, about {words.about(incident.subject)}"
