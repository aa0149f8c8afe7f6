"""Export of playbooks as CACAO 2.0 JSON (OASIS Committee Specification 01, 2023-11-27)."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import datetime
from typing import Any

from tocsin.clock import EPOCH
from tocsin.contract.incidents import END, Playbook, Step, StepType
from tocsin_alerting.playbooks.checklist import VARIABLES

#: CACAO's own namespace for the UUIDv5 of a playbook (§10.10).
_NAMESPACE = uuid.UUID("aa7caf3a-d55a-4e9a-b34e-056215fba56a")


def to_cacao(playbook: Playbook) -> dict[str, Any]:
    """The playbook as a CACAO 2.0 object. The same playbook always has the same ids."""
    start = _id("start", playbook.id, "start")
    first = _step_id(playbook, playbook.steps[0].id)
    workflow = {start: {"type": "start", "on_completion": first}}
    workflow |= {_step_id(playbook, step.id): _step(playbook, step) for step in playbook.steps}
    workflow[_step_id(playbook, END)] = {"type": "end"}
    agents = {
        _agent_id(playbook, name): {"type": "group", "name": name, "description": what}
        for name, what in playbook.agents.items()
    }
    activities = sorted({step.activity for step in playbook.steps if step.activity})
    optional = {
        "labels": [*playbook.labels, *sorted({f"csf:{tag}" for step in playbook.steps for tag in step.csf})],
        "external_references": [{"name": name, "url": url} for name, url in playbook.references],
    }
    return {
        "type": "playbook",
        "spec_version": "cacao-2.0",
        "id": f"playbook--{uuid.uuid5(_NAMESPACE, _contributing(playbook))}",
        "name": playbook.name,
        "description": playbook.description,
        "playbook_types": list(playbook.types),
        "playbook_activities": activities,
        "created_by": _id("identity", "tocsin"),
        "created": _time(playbook.created),
        "modified": _time(playbook.modified),
        **{key: value for key, value in optional.items() if value},
        "playbook_variables": {
            f"__{name}__": {"type": "string", "description": what, "external": True}
            for name, what in VARIABLES.items()
        },
        "workflow_start": start,
        "workflow": workflow,
        "agent_definitions": agents,
    }


def _step(playbook: Playbook, step: Step) -> dict[str, Any]:
    fields = {"type": step.type.value, "name": step.name}
    about = [step.description, f"Requires the approval of {step.approval}." if step.approval else ""]
    if any(about):
        fields["description"] = "\n\n".join(filter(None, about))
    if step.type is StepType.IF_CONDITION:
        return fields | {
            "condition": step.condition,
            "on_true": _step_id(playbook, step.on_true),
            "on_false": _step_id(playbook, step.on_false),
        }
    activity = {"playbook_activity": step.activity} if step.activity else {}
    return fields | {
        "commands": [{"type": "manual", "command": command, **activity} for command in step.commands],
        "agent": _agent_id(playbook, step.agent),
        "on_completion": _step_id(playbook, step.on_completion),
    }


def _contributing(playbook: Playbook) -> str:
    """Name and types as canonical JSON (RFC 8785, which for text and lists of text equals this encoding)."""
    content = {"name": playbook.name, "playbook_types": list(playbook.types)}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _step_id(playbook: Playbook, step: str) -> str:
    types = {s.id: s.type.value for s in playbook.steps}
    return _id(types.get(step, "end"), playbook.id, step)


def _agent_id(playbook: Playbook, name: str) -> str:
    return _id("group", playbook.id, "agent", name)


def _id(type_: str, *parts: str) -> str:
    """A CACAO id. CACAO requires a UUIDv4, so a hash of the parts is put into that form: ids stay the same."""
    seed = hashlib.sha256("\x1f".join((type_, *parts)).encode()).digest()[:16]
    return f"{type_}--{uuid.UUID(bytes=seed, version=4)}"


def _time(time: datetime) -> str:
    milliseconds = (time - EPOCH).microseconds // 1000
    return f"{time:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
