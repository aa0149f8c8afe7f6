"""Reads playbooks from YAML and checks that every step can be reached and leads forward.

The format is a subset of CACAO 2.0 that can be written by hand. `workflow` holds action and if-condition steps in
order; start and end are implicit. `on_completion` and `on_false` default to the next step. `commands` are texts (CACAO's
manual commands). Agents have names instead of ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from tocsin.config.params import unknown
from tocsin.contract.incidents import END, Playbook, Step, StepType
from tocsin_alerting.playbooks.checklist import VARIABLE, VARIABLES
from tocsin_alerting.playbooks.source import Node, read

TYPES = (
    "attack", "detection", "engagement", "investigation",
    "mitigation", "notification", "prevention", "remediation",
)  # fmt: skip
ACTIVITIES = (
    "compose-content", "deliver-content", "identify-audience", "identify-channel", "scan-system",
    "match-indicator", "analyze-collected-data", "identify-indicators", "scan-vulnerabilities",
    "configure-systems", "restrict-access", "disconnect-system", "eliminate-risk", "revert-system",
    "restore-data", "restore-capabilities", "map-network", "identify-steps", "step-sequence",
    "prepare-engagement", "execute-operation", "analyze-engagement-results",
)  # fmt: skip
_TOP = (
    "name", "description", "playbook_types", "created", "modified",
    "labels", "external_references", "agents", "workflow",
)  # fmt: skip
_COMMON = ("type", "name", "description", "agent", "approval", "csf")
_KEYS = {
    StepType.ACTION: (*_COMMON, "commands", "activity", "on_completion"),
    StepType.IF_CONDITION: (*_COMMON, "condition", "on_true", "on_false"),
}
_NEEDED = {
    StepType.ACTION: ("name", "agent", "commands"),
    StepType.IF_CONDITION: ("name", "agent", "condition", "on_true"),
}
_ID = re.compile(r"[a-z][a-z0-9-]*")
_CSF = re.compile(r"(GV|ID|PR|DE|RS|RC)\.[A-Z]{2}(-\d{2})?")


def load_playbooks(folders: Iterable[Path] = ()) -> dict[str, Playbook]:
    """Load the built-in playbooks and those of other folders. A later playbook replaces one with the same id.

    Raises:
        ConfigError: a playbook is wrong; the error names file and line.
    """
    found = {}
    for folder in (Path(__file__).parent, *folders):
        for path in sorted(folder.glob("*.yaml")):
            found[path.stem] = load_playbook(path)
    return found


def load_playbook(path: Path) -> Playbook:
    """Load one playbook.

    Raises:
        ConfigError: the playbook is wrong; the error names file and line.
    """
    top = read(path)
    top.only(_TOP, required=("name", "description", "playbook_types", "created", "agents", "workflow"))
    if not _ID.fullmatch(path.stem):
        raise top.error(f"{path.name} is not a valid file name for a playbook; name it like model-drift.yaml")
    for type_ in top.texts("playbook_types"):
        if type_ not in TYPES:
            raise top.error(unknown(type_, TYPES).replace("key", "playbook type", 1), "playbook_types")
    agents = _agents(top)
    nodes = top.nodes("workflow")
    steps = tuple(
        _step(id, node, after, agents) for (id, node), (after, _) in pairwise((*nodes.items(), (END, top)))
    )
    _check_targets(steps, nodes)
    _check_reached(steps, nodes)
    return Playbook(
        id=path.stem,
        name=top.text("name"),
        description=top.text("description"),
        types=top.texts("playbook_types"),
        created=top.time("created"),
        modified=top.time("modified" if "modified" in top.values else "created"),
        agents=agents,
        steps=steps,
        labels=top.texts("labels"),
        references=_references(top),
    )


def _agents(top: Node) -> dict[str, str]:
    node = top.values["agents"]
    if not isinstance(node, Node):
        raise top.error("agents must be a mapping of names to descriptions", "agents")
    return {name: node.text(name) for name in node.values}


def _references(top: Node) -> tuple[tuple[str, str], ...]:
    if "external_references" not in top.values:
        return ()
    node = top.values["external_references"]
    if not isinstance(node, Node):
        raise top.error("external_references must be a mapping of names to addresses", "external_references")
    return tuple((name, node.text(name)) for name in node.values)


def _step(id: str, node: Node, after: str, agents: Iterable[str]) -> Step:
    if not _ID.fullmatch(id) or id == END:
        raise node.error(f"{id!r} is not a valid id for a step; write one like check-writer")
    written = node.text("type") or StepType.ACTION.value
    if written not in list(StepType):
        raise node.error(f"type is {written!r}; it must be one of {', '.join(StepType)}", "type")
    type_ = StepType(written)
    node.only(_KEYS[type_], required=_NEEDED[type_])
    for key in ("agent", "approval"):
        if node.text(key) and node.text(key) not in agents:
            raise node.error(unknown(node.text(key), agents).replace("key", key, 1), key)
    if node.text("activity") and node.text("activity") not in ACTIVITIES:
        raise node.error(unknown(node.text("activity"), ACTIVITIES).replace("key", "activity", 1), "activity")
    for tag in node.texts("csf"):
        if not _CSF.fullmatch(tag):
            raise node.error(
                f"{tag!r} is not a category or subcategory of CSF 2.0; write one like RS.MA-02", "csf"
            )
    _check_variables(node)
    action = type_ is StepType.ACTION
    return Step(
        id=id,
        type=type_,
        name=node.text("name"),
        description=node.text("description"),
        commands=node.texts("commands"),
        agent=node.text("agent"),
        approval=node.text("approval"),
        activity=node.text("activity"),
        csf=node.texts("csf"),
        condition=node.text("condition"),
        on_completion=(node.text("on_completion") or after) if action else "",
        on_true=node.text("on_true"),
        on_false="" if action else node.text("on_false") or after,
    )


def _check_variables(node: Node) -> None:
    for key in ("description", "commands", "condition"):
        value = node.values.get(key, "")
        for text in value if isinstance(value, list) else [value]:
            for name in VARIABLE.findall(str(text)):
                if name not in VARIABLES:
                    raise node.error(unknown(name, VARIABLES).replace("key", "variable", 1), key)


def targets(step: Step) -> list[str]:
    """The steps that may follow a step."""
    return [target for target in (step.on_completion, step.on_true, step.on_false) if target]


def _check_targets(steps: Iterable[Step], nodes: dict[str, Node]) -> None:
    order = {id: place for place, id in enumerate([*nodes, END])}
    for step in steps:
        for key in ("on_completion", "on_true", "on_false"):
            target = getattr(step, key)
            if target and target not in order:
                raise nodes[step.id].error(unknown(target, order).replace("key", "step", 1), key)
            if target and order[target] <= order[step.id]:
                raise nodes[step.id].error(
                    f"{key} leads back to {target!r}; a step may only lead to a later step", key
                )


def _check_reached(steps: tuple[Step, ...], nodes: dict[str, Node]) -> None:
    reached = {steps[0].id}
    for step in steps:  # in order: a step only leads to later steps
        if step.id not in reached:
            raise nodes[step.id].error(
                f"no step leads to {step.id!r}; name it in on_completion, on_true or on_false, or remove it"
            )
        reached.update(targets(step))
