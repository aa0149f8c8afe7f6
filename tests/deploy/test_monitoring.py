"""The configuration of Prometheus, Alertmanager and Grafana."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from fnmatch import fnmatch
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, missing
from tests.deploy.compose import (
    DEPLOY,
    SERVICES,
    mounted,
    role,
)
from tocsin.config.settings import Config
from tocsin.worker.metrics import Metrics
from tocsin_dashboards import alert_rules, changes, provision


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "tocsin.rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_rules_use_metrics_that_there_are() -> None:
    known = {family.name for family in Metrics().registry.collect()}
    known |= {f"{name}{suffix}" for name in known for suffix in ("_total", "_bucket", "_sum", "_count")}
    used = {name for rule in _rules() for name in re.findall(r"\btocsin_\w+", rule["expr"])}
    assert used and used <= known
    others = {n for rule in _rules() for n in re.findall(r"\b\w+(?=\{)", rule["expr"])} - used
    assert others == {"up"}


def test_every_alert_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert [r["alert"] for r in _rules() if f"`{r['alert']}`" not in text] == []
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in _rules())


@pytest.mark.parametrize(
    "asked",
    [
        ["promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml"],
        ["promtool", "test", "rules", ROOT / "tests" / "data" / "tocsin.rules.test.yml"],
        ["amtool", "check-config", DEPLOY / "alertmanager.yml"],
    ],
    ids=["prometheus", "rules", "alertmanager"],
)
def test_their_own_programs_take_it(asked: list[Any]) -> None:
    if shutil.which(asked[0]) is None:
        missing(f"{asked[0]} is not on this machine (Debian: prometheus, prometheus-alertmanager)")
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_reads_tocsins_streams(config: Config) -> None:
    given = yaml.safe_load((DEPLOY / "grafana" / "datasources" / "tocsin.yml").read_text())["datasources"]
    assert len({d["uid"] for d in given}) == len(given)
    allowed = [pattern for part in role("grafana")["indices"] for pattern in part["names"]]
    for elastic in (d for d in given if d["type"] == "elasticsearch"):
        assert elastic["url"] in config.store.hosts
        for index in elastic["jsonData"]["index"].split(","):
            assert any(fnmatch(index.removesuffix("*") + "default", pattern) for pattern in allowed), index
    boards = [json.loads(path.read_text()) for path in (ROOT / changes.FOLDER).glob("*.json")]
    asked = {
        panel["datasource"]["uid"] for board in boards for panel in board["panels"] if panel["type"] != "row"
    }
    assert asked and asked <= {d["uid"] for d in given}
    hosts = {re.sub(r"https?://([^:]+):\d+", r"\1", d["url"]) for d in given}
    assert hosts <= SERVICES.keys()


def test_grafana_reads_dashboards_and_rules_from_files_that_are_built() -> None:
    mounts = mounted("grafana")
    (provider,) = yaml.safe_load((DEPLOY / "grafana" / "dashboards.yml").read_text())["providers"]
    assert mounts[provider["options"]["path"]] == (f"./{changes.FOLDER}", False)
    assert provider["folderUid"] == provision.FOLDER_UID and not provider["allowUiUpdates"]
    assert mounts["/etc/grafana/provisioning/dashboards/tocsin.yml"][0] == "./deploy/grafana/dashboards.yml"
    assert mounts["/etc/grafana/provisioning/alerting"] == (f"./{alert_rules.FILE.parent}", False)
    rules = yaml.safe_load((ROOT / alert_rules.FILE).read_text())
    assert provider["folder"] not in {
        group["folder"] for group in rules["groups"]
    }  # they would race for its uid
    sources = {
        d["uid"]
        for d in yaml.safe_load((DEPLOY / "grafana" / "datasources" / "tocsin.yml").read_text())[
            "datasources"
        ]
    }
    asked = {step["datasourceUid"] for g in rules["groups"] for r in g["rules"] for step in r["data"]}
    assert asked == {"__expr__", alert_rules.PROMETHEUS} and alert_rules.PROMETHEUS in sources
    text = (ROOT / "docs" / "operations.md").read_text()
    assert all(f"`{r['title']}`" in text for g in rules["groups"] for r in g["rules"])


def test_nobody_is_paged_twice() -> None:
    groups = yaml.safe_load((ROOT / alert_rules.FILE).read_text())["groups"]
    by_grafana = {r["title"] for g in groups for r in g["rules"] if not r["isPaused"]}
    assert by_grafana and not by_grafana & {rule["alert"] for rule in _rules()}
