"""Views of alerts and incidents for dashboards: search fields in the record, and an alias that selects one kind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import elasticsearch
import msgspec
import pytest

from tocsin.clock import parse_time
from tocsin.contract.alerts import Acknowledgement, Alert, AlertState
from tocsin.contract.findings import Severity, Subject
from tocsin.contract.incidents import Incident, IncidentState, IncidentStep, StepState
from tocsin.contract.streams import TIME
from tocsin.contract.times import Times
from tocsin.contract.views import VERSION, VIEWS, facts
from tocsin.store.cluster import state as elastic_state
from tocsin.store.cluster.elastic import ElasticStore

AT = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def alert(**given: Any) -> dict[str, Any]:
    found = Alert(
        id="a-1", fingerprint="a", namespace="n", detector="query_budget", subject=Subject("principal", "ana"),
        state=AlertState.FIRING, severity=Severity.HIGH, started=AT, window_start=AT, window_end=AT + DAY, finding="f",
        score=3.0, threshold=2.0, reason="much", evidence={"secret": 1}, techniques=("AML.T0020",), playbook="p",
        changed=AT + DAY, family="usage", raised=AT + DAY,
        times=Times(AT + DAY - timedelta(minutes=2), notified=AT + DAY), **given,
    )  # fmt: skip
    return dict(msgspec.json.decode(msgspec.json.encode(found)))


def incident(**given: Any) -> dict[str, Any]:
    steps = (IncidentStep("1", "Look", "", state=StepState.DONE), IncidentStep("2", "Ask", ""))
    found = Incident(
        "inc-1", "p", Subject("model", "credit"), Severity.LOW, AT, steps, alerts=("a-1",), **given
    )
    return dict(msgspec.json.decode(msgspec.json.encode(found)))


def test_an_open_alert() -> None:
    shown = facts("alert", alert())
    assert (shown["tocsin.alert.status"], shown["event.severity"], shown["tocsin.alert.ratio"]) == (
        "open",
        3,
        1.5,
    )
    assert shown["tocsin.alert.time_to_detect"] == 120
    assert shown["tocsin.alert.newest_event"] == "2026-03-02T23:58:00Z"
    assert shown["tocsin.alert.evaluation"] == "final"
    assert shown["tocsin.alert.atlas"] == ["06 Persistence › AML.T0020 Training Data Poisoning"]
    assert shown["tocsin.alert.active"] == {
        "gte": "2026-03-02T00:00:00Z",
        "lte": "2027-04-07T00:00:00Z",
    }
    assert "tocsin.alert.time_to_acknowledge" not in shown
    assert "secret" not in str(shown)


def test_an_alert_that_was_taken_on_and_is_over() -> None:
    taken = Acknowledgement("maria", AT + DAY + timedelta(hours=1))
    shown = facts("alert", alert(acknowledged=taken))
    assert (shown["tocsin.alert.status"], shown["user.name"]) == ("acknowledged", "maria")
    assert shown["tocsin.alert.time_to_acknowledge"] == 3600
    over = facts("alert", {**alert(), "state": "resolved", "resolved": "2026-03-05T00:00:00Z"})
    assert over["tocsin.alert.status"] == "resolved"
    assert over["tocsin.alert.active"]["lte"] == "2026-03-05T00:00:00Z"


def test_an_incident_and_its_next_step() -> None:
    shown = facts("incident", incident())
    assert (shown["tocsin.incident.steps"], shown["tocsin.incident.steps_left"]) == (2, 1)
    assert shown["tocsin.incident.next_step"] == "Ask"
    closed = facts("incident", incident(state=IncidentState.CLOSED, closed=AT + DAY))
    assert closed["tocsin.incident.time_to_close"] == DAY.total_seconds()
    assert "tocsin.incident.next_step" not in closed


def test_every_fact_is_a_column_and_every_column_a_fact() -> None:
    taken = Acknowledgement("maria", AT + DAY)
    over = {"state": "resolved", "resolved": "2026-03-05T00:00:00Z", "incident": "inc-1"}
    alerts = facts("alert", alert(acknowledged=taken) | over)
    incidents = facts("incident", incident(owner="ana")) | facts(
        "incident", incident(state=IncidentState.CLOSED, closed=AT + DAY)
    )
    namespaces = facts("installation", {"views": VERSION})
    for view, shown in zip(VIEWS.values(), (alerts, incidents, namespaces), strict=True):
        assert shown.keys() == {column.name for column in view.columns} | {view.active}
    assert facts("lease", {"any": "thing"}) == {}


@pytest.fixture
def opened(
    elasticsearch_url: str, namespace: str
) -> Iterator[tuple[ElasticStore, elasticsearch.Elasticsearch]]:
    store = ElasticStore.open(elasticsearch_url, namespace, replicas=0)
    client = elasticsearch.Elasticsearch(elasticsearch_url)
    yield store, client
    client.close()
    store.close()


def _found(client: elasticsearch.Elasticsearch, view: str, namespace: str, start: str, end: str) -> int:
    index = VIEWS[view].alias(namespace)
    client.indices.refresh(index=index)
    active = {"range": {VIEWS[view].active: {"gte": start, "lte": end}}}
    return int(client.count(index=index, query=active)["count"])


def test_an_alias_shows_its_kind_while_it_is_active(opened: Any, namespace: str) -> None:
    store, client = opened
    for kind, value in (("alert", alert()), ("incident", incident()), ("lease", {"worker": "w"})):
        assert store.put(kind, "k", value)
    for view in ("alerts", "incidents"):
        assert _found(client, view, namespace, "2026-02-01", "2026-12-31") == 1
        assert _found(client, view, namespace, "2026-06-01", "2026-06-02") == 1  # it is still open
        assert _found(client, view, namespace, "2026-01-01", "2026-02-01") == 0
    entry = store.get("alert", "k")
    assert entry is not None and entry.value == alert()


def test_records_from_before_the_views_are_shown_after_setup(opened: Any, namespace: str) -> None:
    store, client = opened
    index = f"tocsin-state-{namespace}"
    client.indices.put_mapping(index=index, meta={"versions_above": 5})
    document = {"kind": "alert", "key": "old", "value": alert(), "write": "w"}
    client.index(index=index, id="alert/old", document=document, refresh=True)
    assert _found(client, "alerts", namespace, "2026-01-01", "2026-12-31") == 0
    store.setup()
    assert _found(client, "alerts", namespace, "2026-01-01", "2026-12-31") == 1
    (mapping,) = client.indices.get_mapping(index=index).values()
    assert mapping["mappings"]["_meta"] == {"versions_above": 5}
    shown = store.get("installation", "this")
    assert shown is not None and shown.value == {"views": VERSION}
    hit = client.search(index=VIEWS["alerts"].alias(namespace))["hits"]["hits"][0]["_source"]
    assert hit[TIME] == "2026-03-02T00:00:00Z"


def test_a_namespace_is_found_at_any_time(opened: Any, namespace: str) -> None:
    store, client = opened
    assert store.kinds() == []
    for start, end in (("2026-01-01", "2026-01-02"), ("2031-01-01", "2031-01-02")):
        assert _found(client, "namespaces", namespace, start, end) == 1


def test_a_range_never_ends_before_it_begins() -> None:
    for end in ("2026-03-02T00:00:00Z", "2026-03-02T00:00:00.25Z", "2026-03-01T00:00:00Z"):
        shown = facts(
            "alert", {**alert(), "started": "2026-03-02T00:00:00.5Z", "state": "resolved", "resolved": end}
        )
        active = shown["tocsin.alert.active"]
        assert parse_time(active["gte"]) == parse_time(active["lte"])
    assert (
        facts("alert", {**alert(), "changed": "9999-12-31T00:00:00Z"})["tocsin.alert.active"]["lte"] > "9000"
    )


def test_an_alert_of_an_older_version_is_shown_without_what_it_does_not_know() -> None:
    old = {key: value for key, value in alert().items() if key not in {"raised", "family", "times", "early"}}
    shown = facts("alert", {**old, "acknowledged": {"by": "ana", "at": "2026-03-02T12:00:00Z", "reason": ""}})
    assert shown["tocsin.detector.family"] == "other"
    assert not {"tocsin.alert.time_to_detect", "tocsin.alert.time_to_acknowledge"} & shown.keys()


@pytest.mark.parametrize(
    "broken",
    [
        {"score": None},
        {"started": "yesterday"},
        {"severity": "dire"},
        {"techniques": None},
        {"times": {"notified": "soon"}},
    ],
)
def test_a_record_that_cannot_be_shown_is_written_all_the_same(broken: dict[str, Any]) -> None:
    assert facts("alert", alert() | broken) == {}
    assert "tocsin.alert.ratio" not in facts("alert", alert() | {"threshold": 5e-324})


def test_setup_shows_what_an_older_worker_wrote_after_it(opened: Any, namespace: str) -> None:
    store, client = opened
    document = {"kind": "alert", "key": "old", "value": alert(), "write": "w"}
    client.index(index=f"tocsin-state-{namespace}", id="alert/old", document=document, refresh=True)
    store.setup()
    assert _found(client, "alerts", namespace, "2026-01-01", "2026-12-31") == 1


def test_the_next_version_shows_everything_and_says_so(
    opened: Any, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, client = opened
    store.put("alert", "k", alert())
    monkeypatch.setattr(elastic_state, "VERSION", VERSION + 1)
    store.setup()
    shown = store.get("installation", "this")
    assert shown is not None and shown.value == {"views": VERSION + 1}
    client.indices.refresh(index=f"tocsin-state-{namespace}")
    found = client.search(index=f"tocsin-state-{namespace}", query={"range": {"shown": {"lte": VERSION}}})
    assert found["hits"]["hits"] == []
    monkeypatch.setattr(type(client.indices), "put_mapping", lambda *_, **__: pytest.fail("it is set up"))
    store._state._set_up_views()
