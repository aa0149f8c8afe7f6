"""Opens an incident for a severe alert, or adds the alert to the open incident about the same subject."""

from __future__ import annotations

from dataclasses import replace

from tocsin.contract.alerts import Alert, digest
from tocsin.contract.incidents import Incident
from tocsin_alerting.context import Context, Routed
from tocsin_alerting.playbooks.checklist import checklist


def open_incident(routed: list[Routed], context: Context) -> list[Routed]:
    """Give every alert of at least `min_severity` an incident: one open incident per playbook and subject."""
    known: dict[str, Alert] = {}
    open_ = {(incident.playbook, incident.subject): incident for incident in _open(context)}
    changed: dict[str, Incident] = {}
    belongs: dict[str, str] = {}  # from alert to incident
    for alert in [item.alert for item in routed]:
        if alert.id not in known and _needs_one(alert, context):
            about = (alert.playbook, alert.subject)
            incident = open_.get(about) or _new(alert, context)
            if alert.id not in incident.alerts:
                incident = changed[incident.id] = incident.with_alert(alert, context.now)
            open_[about], belongs[alert.id] = incident, incident.id
            alert = replace(alert, incident=incident.id)  # noqa: PLW2901
        known.setdefault(alert.id, alert)
    context.incidents.save_all(list(changed.values()))
    context.alerts.amend_all(belongs, lambda alert: replace(alert, incident=belongs[alert.id]))
    return [replace(item, alert=known[item.alert.id]) for item in routed]


def _needs_one(alert: Alert, context: Context) -> bool:
    return not alert.incident and alert.severity.rank >= context.settings.min_severity.rank


def _open(context: Context) -> list[Incident]:
    """The open incidents; of several about the same, the one with the first id is the last here."""
    return [incident for incident in reversed(context.incidents.all()) if incident.open]


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
