"""Grafana's file of data sources: those of the boards, one for all streams together, Prometheus and Alertmanager.

The API key of compose.yaml reads one namespace, so the patterns of the boards find no other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tocsin_dashboards.sources import PROMETHEUS, SOURCES

#: Where the file is written, in Tocsin's repository.
FILE = Path("deploy/grafana/datasources/tocsin.yml")
_ELASTICSEARCH = "https://elasticsearch:9200"
_ALL = "logs-tocsin.*-*,metrics-tocsin.*-*"
_NOTE = "# Written by `tocsin dashboards build` from tocsin_dashboards/sources.py: change that, and build again.\n"
_TRUST = {"tlsAuthWithCACert": True, "httpHeaderName1": "Authorization"}
_SECRETS = {"tlsCACert": "$__file{/ca/ca.crt}", "httpHeaderValue1": "ApiKey $__file{/secrets/api-key}"}


def file() -> str:
    """The file's text."""
    everything: dict[str, Any] = {
        "name": "Tocsin", "uid": "tocsin", "type": "elasticsearch", "access": "proxy", "url": _ELASTICSEARCH,
        "isDefault": True, "jsonData": {"index": _ALL, "timeField": "@timestamp"},
    }  # fmt: skip
    elastic = [everything, *(source.settings(_ELASTICSEARCH) for source in SOURCES.values())]
    for source in elastic:
        source["jsonData"] = {**source["jsonData"], **_TRUST}
        source["secureJsonData"] = dict(_SECRETS)
    others: list[dict[str, Any]] = [
        {"name": "Prometheus", "uid": PROMETHEUS, "type": "prometheus", "access": "proxy", "url": "http://prometheus:9090"},
        {
            "name": "Alertmanager", "uid": "tocsin-alertmanager", "type": "alertmanager", "access": "proxy",
            "url": "http://alertmanager:9093", "jsonData": {"implementation": "prometheus"},
        },
    ]  # fmt: skip
    found = [{**source, "editable": False} for source in (*elastic, *others)]
    return _NOTE + yaml.safe_dump(
        {"apiVersion": 1, "prune": True, "datasources": found}, sort_keys=False, width=110
    )
