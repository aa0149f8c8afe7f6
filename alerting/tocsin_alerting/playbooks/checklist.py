"""The steps of an incident: a playbook's steps with the alert's facts filled in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

from tocsin.clock import format_time
from tocsin.contract.alerts import Alert
from tocsin.contract.incidents import IncidentStep, Playbook, Step, StepType
from tocsin_alerting.wording import plain

#: CACAO's syntax for a variable: `__subject_id__:value`.
VARIABLE = re.compile(r"__([a-z_]+?)__:value")
VARIABLES: Mapping[str, str] = {
    "detector": "the detector that made the finding",
    "subject_type": "what the alert is about: model, dataset, principal, artifact or pipeline",
    "subject_id": "the id of the subject",
    "severity": "the alert's severity",
    "window_start": "start of the window of the newest finding",
    "window_end": "end of the window of the newest finding",
    "started": "start of the alert's first window",
    "finding_id": "the id of the newest finding",
    "fingerprint": "the fingerprint of the alert",
    "incident_id": "the id of the incident",
}


def checklist(playbook: Playbook, alert: Alert, incident: str) -> tuple[IncidentStep, ...]:
    """A playbook's steps for one alert, all pending.

    Facts may contain text that an attacker chose, and commands are meant to be pasted into a shell. In commands every
    fact is quoted for the shell. Everywhere, a fact is reduced to one line of printable text.
    """
    facts = {
        "detector": alert.detector,
        "subject_type": alert.subject.type,
        "subject_id": alert.subject.id,
        "severity": alert.severity.value,
        "window_start": format_time(alert.window_start),
        "window_end": format_time(alert.window_end),
        "started": format_time(alert.started),
        "finding_id": alert.finding,
        "fingerprint": alert.fingerprint,
        "incident_id": incident,
    }
    names = {step.id: step.name for step in playbook.steps}
    return tuple(
        IncidentStep(step.id, step.name, _text(step, facts, names), step.agent, step.approval)
        for step in playbook.steps
    )


def _text(step: Step, facts: Mapping[str, str], names: Mapping[str, str]) -> str:
    parts = [fill(step.description, facts, str)] if step.description else []
    parts += [fill(command, facts, shlex.quote) for command in step.commands]
    if step.type is StepType.IF_CONDITION:
        parts.append(fill(step.condition, facts, str))
        parts.append(f"Yes: go to {_target(step.on_true, names)}. No: go to {_target(step.on_false, names)}.")
    return "\n\n".join(parts)


def fill(text: str, facts: Mapping[str, str], quote: Callable[[str], str]) -> str:
    """Replace variables with facts."""
    return VARIABLE.sub(lambda use: quote(plain(facts[use.group(1)])), text)


def _target(id: str, names: Mapping[str, str]) -> str:
    return f"“{names[id]}” ({id})" if id in names else "the end"
