"""Writes Grafana's file of alert rules about Tocsin's health, from the alert rules of Prometheus.

Only one system evaluates each rule, so that people are notified once. Prometheus evaluates its own rules. Grafana's file
contains paused copies of these rules, for installations whose Prometheus does not have the rules. Prometheus cannot
detect that it does not answer, so Grafana evaluates this one rule. Prometheus and Grafana send alerts to the same
Alertmanager. The reasons are in docs/decisions/0011-grafana.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tocsin.errors import ConfigError

#: The file with the rules of Prometheus, and the file that is written, in Tocsin's repository.
RULES = Path("deploy/prometheus/tocsin.rules.yml")
FILE = Path("deploy/grafana/alerting/tocsin.yml")
PROMETHEUS = "tocsin-prometheus"
RECEIVER = "tocsin-alertmanager"
ALERTMANAGER = "http://alertmanager:9093"
#: The dashboard that a rule links to. Grafana accepts a link to a dashboard only together with a panel.
DASHBOARD, PANEL = "tocsin-health", 1
_EVERY = "1m"
#: Title of the folder of the rules. It must not be `Tocsin`: Grafana reads the rules before the dashboards, and would create
#: the folder `Tocsin` with another uid than the dashboards need.
_FOLDER = "Tocsin alerts"
_NOTE = """\
# Written by `tocsin dashboards build` from deploy/prometheus/tocsin.rules.yml. Change that file, and build again.
# The rules of group `tocsin` are paused, because Prometheus evaluates them. Grafana evaluates the group `tocsin-watch`.
"""
#: The condition for an alert: greater than -1. Prometheus returns only the series for which the expression of a rule is
#: true. The values of these series are counts, ages and sizes, so each of them is at least 0, for example with `up == 0`.
_ANY = ("gt", -1)
_EXPRESSION = ("__expr__", "__expr__")
#: The rule that Grafana evaluates. Its query returns a number while Prometheus answers and monitors at least one worker. The
#: rule fires if the query returns nothing.
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
    """The text of Grafana's file, from a file with rules of Prometheus.

    Raises:
        ConfigError: the file cannot be read, or does not contain rules of Prometheus.
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
    """The content of Grafana's provisioning file: the rule groups of Prometheus, the contact point and the policy."""
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
        # Alertmanager groups alerts and repeats notifications. Grafana sends each alert to Alertmanager at once, and sends
        # it again every minute, before Alertmanager treats the alert as resolved.
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
    """A rule of Grafana from a rule of Prometheus.

    Args:
        rule: the rule of Prometheus.
        paused: whether the rule is paused.
        silent: the state of the rule if its query returns nothing or fails. `OK` is right for a rule of Prometheus: an
            empty result means that the rule does not fire, and if Prometheus does not answer, only TocsinUnwatched fires.
        holds: the condition on the value of the query for which the rule fires.
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
    """The text of an annotation, with Grafana's variable in place of Prometheus' `$value`."""
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
    """Two expressions: B is the last value of the query, C is whether B fulfils the condition."""
    evaluator = {"type": holds[0], "params": [holds[1]]}
    return [
        _step("B", *_EXPRESSION, {"type": "reduce", "reducer": "last", "expression": "A"}),
        _step(
            "C",
            *_EXPRESSION,
            {"type": "threshold", "expression": "B", "conditions": [{"evaluator": evaluator}]},
        ),
    ]
