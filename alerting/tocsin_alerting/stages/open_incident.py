"""Opens an incident for a severe alert, or adds the alert to the open incident about the same subject."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tocsin.contract.alerts import Alert, digest
from tocsin.contract.incidents import Incident
from tocsin_alerting.context import Context, Routed
from tocsin_alerting.playbooks.checklist import checklist


def open_incident(routed: list[Routed], context: Context) -> list[Routed]:
    """Give every alert of at least `min_severity` an incident: one open incident per playbook and subject."""
    known: dict[str, Alert] = {}
    open_ = {(incident.playbook, incident.subject): incident for incident in _open(context)}
    for item in routed:
        alert = item.alert
        if alert.id not in known and _needs_one(alert, context):
            about = (alert.playbook, alert.subject)
            incident = open_[about] = _joined(open_.get(about) or _new(alert, context), alert, context)
            alert = replace(alert, incident=incident.id)
            context.alerts.amend(alert.id, partial(_belongs, alert.incident))
        known.setdefault(alert.id, alert)
    return [replace(item, alert=known[item.alert.id]) for item in routed]


def _needs_one(alert: Alert, context: Context) -> bool:
    return not alert.incident and alert.severity.rank >= context.settings.min_severity.rank


def _belongs(incident: str, alert: Alert) -> Alert:
    return replace(alert, incident=incident)


def _open(context: Context) -> list[Incident]:
    """The open incidents; of several about the same, the one with the first id is the last here."""
    return [incident for incident in reversed(context.incidents.all()) if incident.open]


def _joined(incident: Incident, alert: Alert, context: Context) -> Incident:
    if alert.id not in incident.alerts:
        incident = incident.with_alert(alert, context.now)
        context.incidents.save(incident)
    return incident


def _new(alert: Alert, context: Context) -> Incident:
    id = f"inc-{digest('incident', alert.playbook, alert.id, str(alert.changed))[:12]}"
    playbook = context.playbooks.get(alert.playbook)
    return Incident(
        id=id,
        playbook=alert.playbook,
        subject=alert.subject,
        severity=alert.severity,
        opened=context.now,
        steps=checklist(playbook, alert, id) if playbook else (),
    )
