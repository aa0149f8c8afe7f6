"""Incidents and the playbooks that say how to work them.

A playbook is a CACAO 2.0 workflow in a small subset: manual actions and if-conditions. An incident is
opened with its own copy of the steps, so that a playbook that is edited later changes no open case.
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
    """CACAO's step types that a playbook may use; start and end are understood."""

    ACTION = "action"
    IF_CONDITION = "if-condition"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a playbook: something a person does, or a decision that a person takes.

    `commands` are CACAO `manual` commands: words for a person, who may paste them. `agent` does it,
    `approval` names who must agree first. `csf` are subcategories of NIST's Cybersecurity Framework 2.0.
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
    """How to work an incident of one kind: the file's name is its id."""

    id: str
    name: str
    description: str
    types: tuple[str, ...]
    created: datetime
    modified: datetime
    agents: Mapping[str, str]
    steps: tuple[Step, ...]
    labels: tuple[str, ...] = ()
    references: tuple[tuple[str, str], ...] = ()  # name, address


class StepState(StrEnum):
    """How far a step is."""

    PENDING = "pending"
    DONE = "done"
    SKIPPED = "skipped"


_MARKS = {StepState.PENDING: " ", StepState.DONE: "x", StepState.SKIPPED: "-"}


class IncidentState(StrEnum):
    """Where an incident stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class IncidentStep:
    """A step of an incident's checklist; variables are filled in, `text` is what there is to do."""

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
        """Who does it, and who must agree first."""
        return f"{self.agent}, after approval by {self.approval}" if self.approval else self.agent


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of an incident's timeline."""

    at: datetime
    action: Action
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class Incident:
    """A case: alerts about one subject that one playbook answers, its owner, steps and timeline."""

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
    timeline: tuple[Moment, ...] = ()
    unwritten: tuple[Transition, ...] = ()

    @property
    def open(self) -> bool:
        """Whether there is still something to do."""
        return self.state is not IncidentState.CLOSED

    def joined(self, alert: Alert, at: datetime) -> Incident:
        """With one more alert, the first one included."""
        action = Action.INCIDENT_JOINED if self.alerts else Action.INCIDENT_OPENED
        transition = alert.transition(action, at, incident=self.id)
        return replace(
            self._noted(transition, f"{alert.detector}: {alert.reason}"),
            alerts=(*self.alerts, alert.id),
            severity=worst((self.severity, alert.severity)),
        )

    def acknowledge(self, by: str, at: datetime, reason: str) -> Incident:
        """Taken on by someone, who becomes its owner.

        Raises:
            InputError: it is closed.
        """
        self._check_open()
        changed = self._noted(self._transition(Action.ACKNOWLEDGED, at, by, reason), reason)
        return replace(changed, state=IncidentState.ACKNOWLEDGED, owner=by)

    def complete(self, step: str, by: str, at: datetime, note: str, state: StepState) -> Incident:
        """With one step done or skipped, by whom and why.

        Raises:
            InputError: it is closed, or has no such step.
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
        return replace(self._noted(self._transition(action, at, by, text), text), steps=steps)

    def close(self, by: str, at: datetime, reason: str) -> Incident:
        """Finished, with the conclusion.

        Raises:
            InputError: it is closed already.
        """
        self._check_open()
        changed = self._noted(self._transition(Action.INCIDENT_CLOSED, at, by, reason), reason)
        return replace(changed, state=IncidentState.CLOSED, closed=at)

    def _check_open(self) -> None:
        if not self.open:
            raise InputError(f"incident {self.id} is closed; a new finding opens a new one")

    def _transition(self, action: Action, at: datetime, by: str, reason: str) -> Transition:
        severity = self.severity.value
        return Transition(action, at, self.subject, severity=severity, incident=self.id, by=by, reason=reason)

    def _noted(self, what: Transition, text: str) -> Incident:
        moment = Moment(what.at, what.action, what.by, text)
        return replace(self, timeline=(*self.timeline, moment), unwritten=(*self.unwritten, what))

    def lines(self) -> list[str]:
        """The incident for a terminal: what it is, its steps with their state, its timeline."""
        closed = f", closed {format_time(self.closed)}" if self.closed else ""
        owner = self.owner or "nobody yet"
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
        """The incident in the words of the command line's `--json`."""
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
