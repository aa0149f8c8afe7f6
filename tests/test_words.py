"""One word for one thing: what the glossary calls otherwise is in no public name."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import ROOT

#: A word that is not ours, and the one that is.
OTHERS = {
    "addon": "plugin", "agent": "collector", "anomaly": "score or finding", "asset": "subject", "cutoff": "threshold",
    "entity": "subject", "extension": "plugin", "forwarder": "collector", "mute": "silence", "notifier": "receiver",
    "priority": "severity", "runbook": "playbook", "shipper": "collector", "snooze": "silence", "suppress": "inhibit",
    "ticket": "incident", "topic": "stream", "validator": "conformance check",
}  # fmt: skip
FILES = [
    p
    for part in ("tocsin", "collectors", "detectors", "alerting", "dashboards")
    for p in (ROOT / part).rglob("*.py")
]


@pytest.mark.parametrize("other", OTHERS)
def test_a_public_name_has_the_glossarys_word(other: str) -> None:
    assert len(FILES) > 100
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: say {OTHERS[other]}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if other in re.findall(r"[a-z0-9]+", re.sub(r"(?<!^)(?=[A-Z])", "_", node.name).lower())
    ]
    assert wrong == []
