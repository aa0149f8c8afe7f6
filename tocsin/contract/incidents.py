"""Incidents and playbooks. A playbook lists the steps that resolve an incident.

A playbook is a workflow in CACAO 2.0, restricted to manual actions and if-conditions. An incident contains a copy of
the playbook's steps, so that a later edit of the playbook does not change open incidents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from tocsin.clock import format_time
from tocsin.contract.alerts import Action, Alert, Transition, worst
from tocsin.contract.findings import Severity, Subject
from tocsin.errors import InputError

#: The target of `on_completion`, `on_true` or `on_false` that ends the playbook.
END = "end"


class StepType(StrEnum):
    """The CACAO step types that a playbook may use. The start and end steps are implicit."""

    ACTION = "action"
    IF_CONDITION = "if-condition"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a playbook: an action that a person performs, or a decision that a person makes.

    `commands` are CACAO `manual` commands: instructions and command lines for a person to copy. `agent` is the role that
    performs the step. `approval` is the role that must approve the step first. `csf` lists subcategories of NIST's
    Cybersecurity Framework 2.0.
    """

    id: str
    type: StepType
    name: str
    description: str = ""
    commands: tuple[str, ...] = ()
    agent: str = ""
    approval: str = ""
    activity: str = ""
    csf: tuple[str, ...] = ()
    condition: str = ""
    on_completion: str = ""
    on_true: str = ""
    on_false: str = ""


@dataclass(frozen=True, slots=True)
class Playbook:
    """The steps that resolve one type of incident. The id is the name of the playbook's file without extension."""

    id: str
    name: str
    description: str
    types: tuple[str, ...]
    created: datetime
    modified: datetime
    agents: Mapping[str, str]
    steps: tuple[Step, ...]
    labels: tuple[str, ...] = ()
    references: tuple[tuple[str, str], ...] = ()  # name, URL


class StepState(StrEnum):
    """The state of a step of an incident."""

    PENDING = "pending"
    DONE = "done"
    SKIPPED = "skipped"


_MARKS = {StepState.PENDING: " ", StepState.DONE: "x", StepState.SKIPPED: "-"}


class IncidentState(StrEnum):
    """The state of an incident."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class IncidentStep:
    """A step of an incident. `text` contains the step's instructions, with the values of the playbook's variables."""

    id: str
    name: str
    text: str
    agent: str = ""
    approval: str = ""
    state: StepState = StepState.PENDING
    by: str = ""
    at: datetime | None = None
    note: str = ""

    @property
    def who(self) -> str:
        """The role that performs the step, and the role that must approve the step first."""
        return f"{self.agent}, after approval by {self.approval}" if self.approval else self.agent


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One entry of an incident's timeline."""

    at: datetime
    action: Action
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class Incident:
    """Alerts about one subject with the same playbook, and their owner, steps and timeline.

    `unwritten` are transitions that are not in alert_history yet.
    """

    id: str
    playbook: str
    subject: Subject
    severity: Severity
    opened: datetime
    steps: tuple[IncidentStep, ...]
    state: IncidentState = IncidentState.OPEN
    owner: str = ""
    closed: datetime | None = None
    alerts: tuple[str, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    unwritten: tuple[Transition, ...] = ()

    @property
    def open(self) -> bool:
        """Whether the incident is not closed."""
        return self.state is not IncidentState.CLOSED

    def with_alert(self, alert: Alert, at: datetime) -> Incident:
        """The incident with one more alert, or with its first alert."""
        action = Action.INCIDENT_JOINED if self.alerts else Action.INCIDENT_OPENED
        transition = alert.transition(action, at, incident=self.id)
        return replace(
            self._with_transition(transition, f"{alert.detector}: {alert.reason}"),
            alerts=(*self.alerts, alert.id),
            severity=worst((self.severity, alert.severity)),
        )

    def acknowledge(self, by: str, at: datetime, reason: str) -> Incident:
        """The incident as acknowledged by a person, who becomes the owner.

        Raises:
            InputError: the incident is closed.
        """
        self._check_open()
        changed = self._with_transition(self._transition(Action.ACKNOWLEDGED, at, by, reason), reason)
        return replace(changed, state=IncidentState.ACKNOWLEDGED, owner=by)

    def complete(self, step: str, by: str, at: datetime, note: str, state: StepState) -> Incident:
        """The incident with one step done or skipped.

        Raises:
            InputError: the incident is closed, or has no such step.
        """
        self._check_open()
        if step not in {s.id for s in self.steps}:
            known = ", ".join(s.id for s in self.steps)
            raise InputError(f"incident {self.id} has no step {step!r}; its steps are {known}")
        action = Action.STEP_SKIPPED if state is StepState.SKIPPED else Action.STEP_DONE
        text = f"{step}: {note}" if note else step
        steps = tuple(
            replace(s, state=state, by=by, at=at, note=note) if s.id == step else s for s in self.steps
        )
        changed = self._with_transition(self._transition(action, at, by, text), text)
        return replace(changed, steps=steps)

    def close(self, by: str, at: datetime, reason: str) -> Incident:
        """The incident as closed. `reason` is the conclusion.

        Raises:
            InputError: the incident is already closed.
        """
        self._check_open()
        changed = self._with_transition(self._transition(Action.INCIDENT_CLOSED, at, by, reason), reason)
        return replace(changed, state=IncidentState.CLOSED, closed=at)

    def _check_open(self) -> None:
        if not self.open:
            raise InputError(
                f"incident {self.id} is closed and cannot be changed; a later alert opens a new incident"
            )

    def _transition(self, action: Action, at: datetime, by: str, reason: str) -> Transition:
        severity = self.severity.value
        return Transition(action, at, self.subject, severity=severity, incident=self.id, by=by, reason=reason)

    def _with_transition(self, transition: Transition, text: str) -> Incident:
        entry = TimelineEntry(transition.at, transition.action, transition.by, text)
        return replace(self, timeline=(*self.timeline, entry), unwritten=(*self.unwritten, transition))

    def lines(self) -> list[str]:
        """The incident as lines for a terminal: summary, steps with their state, timeline."""
        closed = f", closed {format_time(self.closed)}" if self.closed else ""
        owner = self.owner or "none"
        found = [
            f"{self.id}  {self.severity.value}  {self.state.value}  {self.subject.type} {self.subject.id}",
            f"opened {format_time(self.opened)}{closed}; owner: {owner}; playbook: {self.playbook}",
            "",
        ]
        for number, step in enumerate(self.steps, 1):
            found += [f"{number:2}. [{_MARKS[step.state]}] {step.name} ({step.id}; {step.who})"]
            found += [f"       {line}".rstrip() for line in step.text.splitlines()]
            if step.at is not None:
                found.append(f"    -> {step.state.value} by {step.by}, {format_time(step.at)}: {step.note}")
        found.append("")
        return found + [f"{format_time(m.at)}  {m.action.value}  {m.by}  {m.text}" for m in self.timeline]

    def to_dict(self) -> dict[str, Any]:
        """The incident as a mapping with the keys that `tocsin incidents --json` prints."""
        return {
            "incident": self.id,
            "state": self.state.value,
            "severity": self.severity.value,
            "playbook": self.playbook,
            "subject.type": self.subject.type,
            "subject.id": self.subject.id,
            "owner": self.owner,
            "opened": format_time(self.opened),
            "closed": None if self.closed is None else format_time(self.closed),
            "alerts": list(self.alerts),
            "steps": [
                {
                    "id": s.id,
                    "name": s.name,
                    "text": s.text,
                    "agent": s.agent,
                    "approval": s.approval,
                    "state": s.state.value,
                    "by": s.by,
                    "at": None if s.at is None else format_time(s.at),
                    "note": s.note,
                }
                for s in self.steps
            ],
            "timeline": [
                {"at": format_time(m.at), "action": m.action.value, "by": m.by, "text": m.text}
                for m in self.timeline
            ],
        }
