"""Data sources and alert rules in a Grafana, and the file of rules that is made from Prometheus' own."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.dashboards import openapi
from tests.dashboards.grafana_stub import Stub
from tocsin.clock import parse_length
from tocsin.errors import ConfigError
from tocsin_dashboards import alert_provisioning, alert_rules, provision, source_provisioning
from tocsin_dashboards.changes import Change
from tocsin_dashboards.grafana import Grafana, GrafanaError

SOURCES = ROOT / "deploy" / "grafana" / "datasources" / "tocsin.yml"
ALERTING: dict[str, Any] = yaml.safe_load((ROOT / alert_rules.FILE).read_text())
PROMETHEUS = yaml.safe_load((ROOT / alert_rules.RULES).read_text())["groups"]
RULES = [rule for group in ALERTING["groups"] for rule in group["rules"]]


def done(changes: list[Change]) -> dict[str, Change]:
    return {change.uid: change.apply() if change.apply else change for change in changes}


# Data sources


@pytest.fixture
def sources(tmp_path: Path) -> list[dict[str, Any]]:
    """Compose's own data sources, with secrets that are here."""
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "api-key").write_text("a2V5\n")
    text = SOURCES.read_text().replace("/ca/ca.crt", str(tmp_path / "ca.crt"))
    file = tmp_path / "sources.yml"
    file.write_text(text.replace("/secrets/api-key", str(tmp_path / "api-key")))
    return source_provisioning.read(file)


def test_data_sources_are_made_once(grafana: Grafana, stub: Stub, sources: list[dict[str, Any]]) -> None:
    for state in ("added", "unchanged"):
        found = done(list(source_provisioning.plan(grafana, sources)))
        assert {change.state for change in found.values()} == {state}
    assert len(stub.writes) == len(sources) == len(stub.posted)
    assert stub.posted[0]["secureJsonData"]["httpHeaderValue1"] == "ApiKey a2V5"
    assert stub.posted[0]["secureJsonData"]["tlsCACert"].startswith("-----BEGIN")


def test_a_data_source_that_is_there_stays_and_the_difference_is_said(
    grafana: Grafana, stub: Stub, sources: list[dict[str, Any]]
) -> None:
    done(list(source_provisioning.plan(grafana, sources)))
    stub.sources["tocsin"]["url"] = "https://elsewhere:9200"
    stub.sources["tocsin"]["jsonData"] = {
        **stub.sources["tocsin"]["jsonData"],
        "maxConcurrentShardRequests": 3,
    }
    written = list(stub.writes)
    change = done(list(source_provisioning.plan(grafana, sources)))["tocsin"]
    assert (change.state, change.reason) == ("kept", "differs in url; change it in Grafana")
    assert stub.writes == written


def test_a_name_that_another_data_source_has_is_said(
    grafana: Grafana, stub: Stub, sources: list[dict[str, Any]]
) -> None:
    stub.sources["mine"] = {"uid": "mine", "name": "Prometheus"}
    change = done(list(source_provisioning.plan(grafana, sources)))["tocsin-prometheus"]
    assert change.state == "kept" and "another data source has this name" in change.reason


def test_a_lost_answer_makes_no_second_data_source(
    grafana: Grafana, stub: Stub, sources: list[dict[str, Any]]
) -> None:
    stub.lost.add("POST /datasources")
    assert {c.state for c in done(list(source_provisioning.plan(grafana, sources))).values()} == {"added"}
    assert len(stub.sources) == len(sources)


def test_a_token_that_may_make_no_data_source_is_told(
    grafana: Grafana, stub: Stub, sources: list[dict[str, Any]]
) -> None:
    stub.denied.add("datasources:create")
    with pytest.raises(GrafanaError, match=r"lacks the permission datasources:create: .* the role Admin"):
        done(list(source_provisioning.plan(grafana, sources)))


def test_variables_and_dollars_are_read_as_grafana_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_TEST_URL", "https://es")
    given = {"url": "$__env{TOCSIN_TEST_URL}:9200", "links": [{"url": "$${__value.raw}"}], "size": 3}
    wanted = {"url": "https://es:9200", "links": [{"url": "${__value.raw}"}], "size": 3}
    assert source_provisioning._resolved(given) == wanted
    with pytest.raises(ConfigError, match="cannot read the secret in file /nowhere"):
        source_provisioning._resolved("$__file{/nowhere}")


@pytest.mark.parametrize(
    "text", ["- 1", "datasources: 3", "datasources: [{name: x}]", "a: [", "datasources: [1]"]
)
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "wrong.yml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=str(file)):
        source_provisioning.read(file)
    with pytest.raises(ConfigError, match=str(file)):
        alert_provisioning.read(file)


# The file of alert rules


def test_the_file_is_what_prometheus_rules_make() -> None:
    assert (ROOT / alert_rules.FILE).read_text() == alert_rules.file(ROOT / alert_rules.RULES)
    assert "&id" not in (ROOT / alert_rules.FILE).read_text()  # an alias of YAML's


def test_each_rule_of_prometheus_is_there_and_judged_in_one_place_only() -> None:
    theirs = {rule["alert"]: rule for group in PROMETHEUS for rule in group["rules"]}
    ours = {rule["title"]: rule for rule in RULES}
    assert ours.keys() == {*theirs, "TocsinUnwatched"}
    assert {title for title, rule in ours.items() if not rule["isPaused"]} == {"TocsinUnwatched"}
    for title, rule in theirs.items():
        assert ours[title]["data"][0]["model"]["expr"] == rule["expr"]
        assert ours[title]["for"] == rule.get("for", "0s")
        assert ours[title]["labels"] == {**rule["labels"], "service": "tocsin"}
    assert len({rule["uid"] for rule in RULES}) == len(RULES)
    assert all(re.fullmatch(r"[a-z-]{1,40}", rule["uid"]) for rule in RULES)


def test_texts_name_values_as_grafana_does() -> None:
    summaries = {rule["title"]: rule["annotations"]["summary"] for rule in RULES}
    assert summaries["TocsinSpoolFilling"] == (
        "the spool of {{ $labels.instance }} holds {{ $values.B.Value | humanize1024 }}B of 4 GiB; when it is "
        "full, collectors wait"
    )
    assert not any(re.search(r"\$value\b(?!s)", text) for text in summaries.values())
    for rule in RULES:  # Grafana takes `$NAME` for a variable of the environment in all but annotations
        rest = {key: value for key, value in rule.items() if key != "annotations"}
        assert "$" not in json.dumps(rest)


def test_a_zero_that_prometheus_gives_is_an_alert_and_no_answer_is_none() -> None:
    down = next(rule for rule in RULES if rule["title"] == "TocsinDown")
    query, reduced, threshold = (step["model"] for step in down["data"])
    assert query["instant"] and reduced["expression"] == "A" and threshold["expression"] == "B"
    assert threshold["conditions"][0]["evaluator"] == {"type": "gt", "params": [-1]}
    assert (down["noDataState"], down["execErrState"]) == ("OK", "OK")
    unwatched = RULES[-1]
    assert unwatched["data"][2]["model"]["conditions"][0]["evaluator"] == {"type": "lt", "params": [1]}
    assert (unwatched["noDataState"], unwatched["execErrState"]) == ("Alerting", "Alerting")


def test_what_a_rule_links_to_is_there() -> None:
    file = ROOT / "dashboards" / "tocsin_dashboards" / "grafana" / f"{alert_rules.DASHBOARD}.json"
    panels = json.loads(file.read_text())["panels"]
    assert alert_rules.PANEL in {p["id"] for panel in panels for p in [panel, *panel.get("panels", ())]}


def test_every_body_is_one_that_grafana_publishes() -> None:
    for group in ALERTING["groups"]:
        body = alert_provisioning.body(group, "tocsin")
        assert openapi.faults_of("AlertRuleGroup", body) == []
        for rule in body["rules"]:
            assert openapi.faults_of("ProvisionedAlertRule", rule) == []
    for point in ALERTING["contactPoints"]:
        for receiver in point["receivers"]:
            assert openapi.faults_of("EmbeddedContactPoint", {"name": point["name"], **receiver}) == []
    for policy in ALERTING["policies"]:
        assert openapi.faults_of("Route", {k: v for k, v in policy.items() if k != "orgId"}) == []


def test_the_check_would_find_a_mistake() -> None:
    rule = alert_provisioning.body(ALERTING["groups"][0], "tocsin")["rules"][0]
    assert openapi.faults_of("ProvisionedAlertRule", {**rule, "noDataState": "Fine"})
    assert openapi.faults_of("ProvisionedAlertRule", {**rule, "folderUid": "tocsin"})
    assert openapi.request_faults("POST", "/dashboards/db", {}, {"dashboard": 3})
    assert openapi.request_faults("GET", "/search", {"tags": ["x"]}, None)
    assert openapi.request_faults("GET", "/search", {"limit": ["many"]}, None)
    assert openapi.request_faults("POST", "/nowhere", {}, {})


def test_alerts_reach_alertmanager_before_it_forgets_them() -> None:
    (policy,) = ALERTING["policies"]
    (point,) = ALERTING["contactPoints"]
    assert policy["receiver"] == point["name"]
    assert parse_length(policy["repeat_interval"]).total_seconds() <= 60
    targets = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["alerting"]
    assert (
        point["receivers"][0]["settings"]["url"]
        == "http://" + (targets["alertmanagers"][0]["static_configs"][0]["targets"][0])
    )


@pytest.mark.parametrize("text", ["groups: 3", "a: [", "groups: [{name: x}]"])
def test_another_file_of_rules_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"{file}: is no file of Prometheus' alert rules"):
        alert_rules.file(file)


# Over the API


def push(grafana: Grafana, given: dict[str, Any] = ALERTING) -> dict[str, Change]:
    return done(list(alert_provisioning.plan(grafana, given, provision.Folder(grafana))))


def test_rules_and_contact_point_are_pushed_once_and_the_policy_never(grafana: Grafana, stub: Stub) -> None:
    plan = list(alert_provisioning.plan(grafana, ALERTING, provision.Folder(grafana)))
    assert [change.state for change in plan] == ["added", "added", "added", "kept"]
    done(plan)
    assert [point["uid"] for point in stub.points] == ["tocsin-alertmanager"]
    written = list(stub.writes)
    assert not any("policies" in request for request in stub.requests)
    changes = list(alert_provisioning.plan(grafana, ALERTING, provision.Folder(grafana)))
    assert [change.state for change in changes] == ["unchanged", "unchanged", "unchanged", "kept"]
    assert "not replaced over the API" in changes[-1].reason
    push(grafana)
    assert stub.writes == written
    rule = stub.groups["tocsin", "tocsin"]["rules"][0]
    assert rule["annotations"]["__dashboardUid__"] == "tocsin-health" and rule["isPaused"]


def test_ours_are_changed_and_those_of_others_kept(grafana: Grafana, stub: Stub) -> None:
    push(grafana)
    newer = copy.deepcopy(ALERTING)
    for group in newer["groups"]:
        group["rules"][0]["for"] = "7m"
    stub.groups["tocsin", "tocsin"]["rules"][3]["provenance"] = ""
    states = {uid: change.state for uid, change in push(grafana, newer).items()}
    assert (states["tocsin"], states["tocsin-watch"]) == ("kept", "changed")
    assert stub.groups["tocsin", "tocsin-watch"]["rules"][0]["for"] == "7m"


def test_a_rule_that_was_resumed_stays_so_and_a_change_is_shown(grafana: Grafana, stub: Stub) -> None:
    push(grafana)
    there = stub.groups["tocsin", "tocsin"]["rules"]
    there[0]["isPaused"] = False
    assert push(grafana)["tocsin"].state == "unchanged"
    newer = copy.deepcopy(ALERTING)
    changed = next(group for group in newer["groups"] if group["name"] == "tocsin")
    changed["rules"][1]["for"] = "7m"
    del changed["rules"][2]["isPaused"]  # which means false where there is none yet
    plan = alert_provisioning.plan(grafana, newer, provision.Folder(grafana))
    (change,) = [c for c in plan if c.state == "changed"]
    lines = [line for line in change.diff.splitlines() if line[0] in "+-" and line[:3] not in ("+++", "---")]
    assert [line[0] for line in lines] == ["-", "+"]
    assert '"for": "7m"' in lines[1]
    push(grafana, newer)
    by_uid = {rule["uid"]: rule for rule in stub.groups["tocsin", "tocsin"]["rules"]}
    assert by_uid[changed["rules"][0]["uid"]]["isPaused"] is False
    assert by_uid[changed["rules"][1]["uid"]]["for"] == "7m"


def test_a_contact_point_that_is_there_stays(grafana: Grafana, stub: Stub) -> None:
    stub.points.append(
        {
            "uid": "tocsin-alertmanager",
            "name": "Mine",
            "type": "email",
            "settings": {"addresses": "me@example.org"},
        }
    )
    changes = list(alert_provisioning.plan(grafana, ALERTING, provision.Folder(grafana)))
    assert (changes[0].kind, changes[0].state) == ("contact point", "kept")


def test_a_token_without_rights_to_alerting_is_told(grafana: Grafana, stub: Stub) -> None:
    stub.denied.add("alert.provisioning:write")
    with pytest.raises(
        GrafanaError, match=r"lacks the permission alert.provisioning:write: .* the role Admin"
    ):
        push(grafana)
