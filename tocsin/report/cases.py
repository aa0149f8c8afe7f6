"""The incidents of a report with their alerts and playbooks, then the alerts without an incident."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from tocsin.contract.incidents import Incident
from tocsin.contract.query import Condition
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.pipeline.detecting.settings import severities_of
from tocsin.report import history, words
from tocsin.report.accounts import (
    UNACKNOWLEDGED,
    alert_table,
    finding_panel,
    finding_table,
    history_blocks,
    steps,
)
from tocsin.report.appendix import Appendix
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
from tocsin.report.worst import alert_id, incident_id
from tocsin.words import count
from tocsin.worker.app import App

#: Shown in full: incidents, alerts without an incident, alerts of each incident.
_INCIDENTS, _ALERTS, _EACH = 8, 8, 3
_LISTED = 30  # rows of a table


class Cases:
    """The report's sections about incidents and other notable alerts. `targets` are the link targets in them."""

    def __init__(self, app: App, facts: Known, calendar: Calendar, appendix: Appendix) -> None:
        self._app, self._facts, self._calendar, self._appendix = app, facts, calendar, appendix
        known = {a.incident for a in facts.alerts} - {""}
        shown = {i.id for i in facts.incidents[:_INCIDENTS]}
        self._alone = sorted(
            (a for a in facts.alerts if a.severity.rank >= NOTABLE.rank and a.incident not in known),
            key=lambda a: (-a.severity.rank, a.resolved is not None, -a.raised.timestamp(), a.fingerprint),
        )
        ids = {a.finding for a in [*self._alone[:_ALERTS], *(x for x in facts.alerts if x.incident in shown)]}
        where = [Condition("tocsin.finding.id", "in", sorted(ids - {""}))]
        rows = newest_findings(app.store, where, withdrawn=True) if ids - {""} else pl.DataFrame()
        self._rows = {row["tocsin.finding.id"]: row for row in rows.iter_rows(named=True)}
        self._drawn = 0
        self.targets = {
            *(incident_id(i) for i in facts.incidents[:_INCIDENTS]),
            *(alert_id(a) for a in self._alone[:_ALERTS]),
        }

    def incidents(self) -> Section:
        """All incidents in a table, and the first ones in full. The worst incident is expanded, the others are collapsed."""
        ranked = self._facts.incidents
        if not ranked:
            return Section("Incidents", [Paragraph("No incident was opened.")])
        first, *others = ranked[:_INCIDENTS]
        intro = "By default, an alert of severity high or above opens an incident with its own copy of a playbook’s steps. "
        state = "The table shows the current steps and owners." if self._facts.period.open else (
            f"Steps and owners are those at the time of writing, {minute(self._app.clock.now())}."
        )  # fmt: skip
        left = words.more(_INCIDENTS, ranked, "incident", "")
        return Section(
            "Incidents and their playbooks",
            [
                Paragraph(intro + state),
                self._listed(ranked[:_LISTED]),
                Heading(_title(first), id=incident_id(first)),
                *self._incident(first),
                *(Details(_title(i), self._incident(i), incident_id(i)) for i in others),
                *([Paragraph((f"{left}see ", Code("tocsin incidents --all")))] if left else []),
            ],
        )

    def _listed(self, incidents: Sequence[Incident]) -> Table:
        columns = ("incident", "severity", "subject", "first alert", "opened", "owner")
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
        owner = incident.owner or (UNACKNOWLEDGED, ": ", Code(f"tocsin ack {incident.id} --by NAME"))
        pairs: list[tuple[str, Line]] = [
            ("severity", Chip(incident.severity)),
            ("state", incident.state.value),
            ("opened", When(incident.opened)),
            ("acknowledged by", owner),
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
            steps(incident.steps) if incident.steps else Paragraph("No playbook applies to this incident."),
            *history_blocks(rows),
        ]

    def _others(self, alerts: Sequence[RaisedAlert]) -> Iterator[Block]:
        if alerts:
            yield Details(f"{count(len(alerts), 'more alert')} of this incident", [alert_table(alerts)])

    def alone(self) -> Section:
        """Alerts that opened no incident and findings that raised no alert, of severity `NOTABLE` or above."""
        alerts, without_alert = self._alone, self._facts.without_alert
        title = f"Other alerts of {NOTABLE} or above"
        if not alerts and without_alert.is_empty():
            return Section(title, [Paragraph(f"Every alert of {NOTABLE} or above belongs to an incident.")])
        blocks: list[Block] = []
        for place, alert in enumerate(alerts[:_ALERTS]):
            inner = [*self._seen(alert), *history_blocks(history.of_alert(self._app.store, alert))]
            name, id = f"{alert.severity}: {words.about(alert.subject)}, by {alert.detector}", alert_id(alert)
            blocks += [Heading(name, id=id), *inner] if place == 0 else [Details(name, inner, id)]
        if len(alerts) > _ALERTS:
            rest = alerts[_ALERTS : _ALERTS + _LISTED]
            left = words.more(_ALERTS, alerts, "alert", "see ")
            blocks += [Paragraph((left, Code("tocsin alerts --all"))), alert_table(rest)]
        if len(without_alert):
            blocks += self._without_alert(without_alert)
        return Section(title, blocks)

    def _without_alert(self, without_alert: pl.DataFrame) -> list[Block]:
        why = (
            f"{count(len(without_alert), 'finding')} of {NOTABLE} or above raised no alert. The cause is "
            "a backfill that sends no notifications, or alerting has not run since the findings."
        )
        where = [
            Condition("tocsin.finding.id", "in", without_alert["tocsin.finding.id"].head(_LISTED).to_list())
        ]
        shown = newest_findings(self._app.store, where)
        left = words.more(len(shown), len(without_alert), "finding", "see ")
        command = Code(f"tocsin findings --severity {NOTABLE} {self._facts.period.options}")
        more = [Paragraph((left, command))] if left else []
        return [Heading("Findings without an alert"), Paragraph(why), finding_table(shown), *more]

    def _seen(self, alert: RaisedAlert) -> list[Block]:
        """The finding of an alert: reason, figures, chart and evidence."""
        row = self._rows.get(alert.finding)
        blind = words.part(self._app, alert.detector, "Blind spots")
        cannot = [Details("Blind spots of this detector", [Paragraph(blind)])] if blind else []
        if row is None:
            gone = "Retention has deleted the finding. The history of the alert is below."
            return [Panel([Paragraph((Chip(alert.severity), " ", gone)), Facts(_dates(alert))]), *cannot]
        self._drawn += 1
        name = f"alert-{self._drawn}"
        start = min(self._calendar.start, alert.started)
        calendar = Calendar(start, self._calendar.end, self._calendar.bands)
        table = severities_of(self._app.settings, alert.detector)
        drawn = scores.draw_subject(self._app.store, alert.detector, alert.subject, calendar, name, table)
        return [
            finding_panel(self._app, row, _dates(alert)),
            *([drawn] if drawn else []),
            Heading("Evidence", 4),
            *readable(row["tocsin.evidence"]),
            self._appendix.link(row),
            *cannot,
        ]


def _dates(alert: RaisedAlert) -> list[tuple[str, Line]]:
    by: Line = (When(alert.acknowledged), f" by {alert.by}") if alert.acknowledged else UNACKNOWLEDGED
    return [
        ("alert raised", When(alert.raised)),
        ("time to detect", words.delay(alert.times.to_detect)),
        ("acknowledged", by),
        ("resolved", When(alert.resolved) if alert.resolved else "still firing"),
    ]


def _title(incident: Incident) -> str:
    playbook = f"playbook {incident.playbook}" if incident.playbook else "no playbook"
    return f"{incident.id}: {words.about(incident.subject)}, {playbook}"
