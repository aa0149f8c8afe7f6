"""Grafana's file of alert rules about Tocsin's own health, made from the rules that Prometheus has.

Each thing is judged in one place, so that nobody is paged twice: what Prometheus can see, Prometheus judges, and its rules
lie in Grafana paused, for sites whose Prometheus judges nothing. What it cannot see is that it does not answer itself:
that one rule Grafana evaluates. Both go to the same Alertmanager. Why: docs/decisions/0011-grafana.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tocsin.errors import ConfigError

#: Where the rules are read and the file is written, in Tocsin's repository.
RULES = Path("deploy/prometheus/tocsin.rules.yml")
FILE = Path("deploy/grafana/alerting/tocsin.yml")
PROMETHEUS = "tocsin-prometheus"
RECEIVER = "tocsin-alertmanager"
ALERTMANAGER = "http://alertmanager:9093"
#: What a rule links to. Grafana takes a dashboard only together with a panel.
DASHBOARD, PANEL = "tocsin-health", 1
_EVERY = "1m"
#: Grafana reads rules before dashboards and finds a folder by its title: in `Tocsin` it would give that another uid.
_FOLDER = "Tocsin alerts"
_NOTE = """\
# Written by `tocsin dashboards build` from deploy/prometheus/tocsin.rules.yml: change that, and build again.
# The rules of group `tocsin` are paused because Prometheus evaluates them; `tocsin-watch` is what Prometheus cannot see.
"""
#: Of Prometheus' answer: it gives only the series for which a rule holds, and their values are counts, ages and sizes, so
#: that whatever comes back is an alert, a 0 (`up == 0`) as well.
_ANY = ("gt", -1)
_EXPRESSION = ("__expr__", "__expr__")
#: The one rule that is Grafana's own: its query has an answer while all is well, and none is what it is there for.
UNWATCHED: Mapping[str, Any] = {
    "alert": "TocsinUnwatched",
    "expr": 'count(up{job="tocsin"})',
    "for": "5m",
    "labels": {"severity": "critical"},
    "annotations": {
        "summary": "Prometheus does not respond or monitors no worker: Tocsin's alert rules are not evaluated"
    },
}


def file(rules: Path) -> str:
    """The text of Grafana's file for a file of Prometheus' rules.

    Raises:
        ConfigError: it cannot be read or is no such file.
    """
    try:
        given = yaml.safe_load(rules.read_text(encoding="utf-8"))
        made = document(given["groups"])
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", rules) from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise ConfigError("is no file of Prometheus' alert rules (`groups: […]`)", rules) from None
    return _NOTE + yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=120)


def document(groups: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Rule groups of Prometheus as a provisioning file of Grafana's, with contact point and policy."""
    made = [
        _group(group["name"], [_rule(r, paused=True) for r in group["rules"] if "alert" in r])
        for group in groups
    ]
    return {
        "apiVersion": 1,
        "groups": [
            *made,
            _group("tocsin-watch", [_rule(UNWATCHED, paused=False, silent="Alerting", holds=("lt", 1))]),
        ],
        "contactPoints": [
            {
                "orgId": 1,
                "name": RECEIVER,
                "receivers": [
                    {"uid": RECEIVER, "type": "prometheus-alertmanager", "settings": {"url": ALERTMANAGER}}
                ],
            }
        ],
        # Alertmanager groups and repeats; here each alert goes on at once, and again before Alertmanager forgets it.
        "policies": [
            {
                "orgId": 1,
                "receiver": RECEIVER,
                "group_by": ["..."],
                "group_wait": "1s",
                "group_interval": "1m",
                "repeat_interval": "1m",
            }
        ],
    }


def _group(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"orgId": 1, "name": name, "folder": _FOLDER, "interval": _EVERY, "rules": rules}


def _rule(
    rule: Mapping[str, Any], *, paused: bool, silent: str = "OK", holds: tuple[str, int] = _ANY
) -> dict[str, Any]:
    """One rule. `silent` is its state without a result.

    In Prometheus, an empty result means that the rule does not fire. If Prometheus does not answer, only
    TocsinUnwatched fires, and not every rule.
    """
    return {
        "uid": _uid(rule["alert"]),
        "title": rule["alert"],
        "condition": "C",
        "data": [_query(rule["expr"]), *_expressions(holds)],
        "noDataState": silent,
        "execErrState": silent,
        "for": rule.get("for", "0s"),
        "labels": {**rule["labels"], "service": "tocsin"},
        "annotations": {key: _annotation_text(value) for key, value in rule["annotations"].items()},
        "dashboardUid": DASHBOARD,
        "panelId": PANEL,
        "isPaused": paused,
    }


def _uid(alert: str) -> str:
    """`tocsin-spool-filling` of `TocsinSpoolFilling`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", alert).lower()
    return words if words.startswith("tocsin-") else f"tocsin-{words}"


def _annotation_text(text: str) -> str:
    """A text for people. Grafana's name of Prometheus' `$value` is the value of one expression."""
    return re.sub(r"\$value\b", "$values.B.Value", text)


def _query(expr: str) -> dict[str, Any]:
    return _step("A", PROMETHEUS, "prometheus", {"expr": expr, "instant": True, "range": False}, seconds=600)


def _step(ref: str, uid: str, kind: str, model: Mapping[str, Any], seconds: int = 0) -> dict[str, Any]:
    return {
        "refId": ref,
        "relativeTimeRange": {"from": seconds, "to": 0},
        "datasourceUid": uid,
        "model": {"refId": ref, "datasource": {"type": kind, "uid": uid}, **model},
    }


def _expressions(holds: tuple[str, int]) -> list[dict[str, Any]]:
    """The query's last value as B, and in C whether it is worth an alert."""
    evaluator = {"type": holds[0], "params": [holds[1]]}
    return [
        _step("B", *_EXPRESSION, {"type": "reduce", "reducer": "last", "expression": "A"}),
        _step(
            "C",
            *_EXPRESSION,
            {"type": "threshold", "expression": "B", "conditions": [{"evaluator": evaluator}]},
        ),
    ]
