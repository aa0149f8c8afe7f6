"""Elasticsearch as the store, on a real node: the conformance suite, and tests of its own features."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import elasticsearch
import msgspec
import numpy as np
import polars as pl
import pytest

from tests.nodes.node import free_port
from tests.store.conformance import START, StoreConformance, accesses
from tocsin.clock import ScriptedClock
from tocsin.contract.frames import conform
from tocsin.contract.plugin import Batch
from tocsin.contract.streams import ID, STREAMS, TIME
from tocsin.errors import StoreAway, StoreError
from tocsin.pipeline.ingesting.ingest import Counts, Ingest, Limits
from tocsin.store.cluster import mappings
from tocsin.store.cluster.append import StreamWriter
from tocsin.store.cluster.bulk import OutcomeUnknown, Sent, send
from tocsin.store.cluster.documents import ids
from tocsin.store.cluster.elastic import ElasticStore
from tocsin.store.cluster.retries import backoff
from tocsin.store.protocol import Appended


class TestElasticStore(StoreConformance):
    @pytest.fixture
    def opened(self, elasticsearch_url: str, namespace: str):
        return functools.partial(ElasticStore.open, elasticsearch_url, namespace, replicas=0)


@pytest.fixture
def client(elasticsearch_url: str) -> Iterator[elasticsearch.Elasticsearch]:
    found = elasticsearch.Elasticsearch(elasticsearch_url)
    yield found
    found.close()


@pytest.fixture
def store(elasticsearch_url: str, namespace: str) -> Iterator[ElasticStore]:
    found = ElasticStore.open(elasticsearch_url, namespace, replicas=0)
    yield found
    found.close()


# Templates


@pytest.mark.parametrize("stream", STREAMS)
def test_every_column_has_a_field(stream: str) -> None:
    tree = mappings.properties(STREAMS[stream])
    for column in STREAMS[stream].columns:
        node: Any = {"properties": tree}
        for part in column.name.split("."):
            node = node["properties"][part]
        assert "type" in node


def test_templates_are_put_once_and_mended(
    store: ElasticStore, namespace: str, client: elasticsearch.Elasticsearch
) -> None:
    assert set(store.status().values()) == {"current"}
    assert set(store.setup().values()) == {"current"}
    name = f"tocsin.access-{namespace}"
    client.indices.delete_index_template(name=name)
    assert store.status()[name] == "missing"
    template = store.templates()[name]
    client.indices.put_index_template(
        name=name, **{**template, "meta": {**template["meta"], "digest": "other"}}
    )
    assert store.setup()[name] == "changed"
    assert store.status()[name] == "current"


def test_what_a_setup_would_change_is_shown_setting_by_setting(
    store: ElasticStore, namespace: str, client: elasticsearch.Elasticsearch
) -> None:
    assert store.differences() == {}
    name = f"tocsin.access-{namespace}"
    template = store.templates()[name]
    body = template["template"]
    settings = {"index": {**body["settings"]["index"], "number_of_replicas": 3, "refresh_interval": "30s"}}
    fields = body["mappings"]["properties"]
    user = {name: field for name, field in fields["user"]["properties"].items() if name != "id"}
    changed = {
        **body,
        "settings": settings,
        "mappings": {**body["mappings"], "properties": {**fields, "user": {"properties": user}}},
        "lifecycle": {"enabled": False, "data_retention": "7d"},
    }
    client.indices.put_index_template(name=name, **{**template, "template": changed})
    assert store.status()[name] == "changed", "by a hand that left Tocsin's digest in it"
    (found,) = store.differences().values()
    lines = [line for line in found.splitlines() if not line.startswith("@@")]
    assert lines[:2] == [f"--- {name} (cluster)", f"+++ {name} (this Tocsin)"]
    assert set(lines[2:]) == {
        "+template.mappings.properties.user.properties.id.ignore_above: 8191",
        "+template.mappings.properties.user.properties.id.type: keyword",
        "-template.lifecycle.data_retention: 7d",
        "+template.lifecycle.data_retention: 400d",
        "-template.lifecycle.enabled: false",
        "-template.settings.index.number_of_replicas: 3",
        "+template.settings.index.number_of_replicas: 0",
        "-template.settings.index.refresh_interval: 30s",
    }
    client.indices.delete_index_template(name=name)
    added = store.differences()[name].splitlines()[2:]
    assert len(added) > 50
    assert all(line.startswith(("+", "@@")) for line in added)
    store.setup()
    assert store.differences() == {}


def test_a_newer_template_is_left_alone(
    store: ElasticStore, namespace: str, client: elasticsearch.Elasticsearch, elasticsearch_url: str
) -> None:
    name = f"tocsin.access-{namespace}"
    template = store.templates()[name]
    client.indices.put_index_template(name=name, **{**template, "meta": {**template["meta"], "version": 99}})
    with pytest.raises(StoreError, match="written by a newer Tocsin"):
        ElasticStore.open(elasticsearch_url, namespace, replicas=0)


def test_events_are_data_streams_in_logsdb_with_a_lifecycle(
    store: ElasticStore, namespace: str, client: elasticsearch.Elasticsearch
) -> None:
    store.append("access", accesses(3))
    (index,) = client.indices.get(index=f"logs-tocsin.access-{namespace}").values()
    assert index["data_stream"] == f"logs-tocsin.access-{namespace}"
    assert index["settings"]["index"]["mode"] == "logsdb"
    assert store.templates()[f"tocsin.access-{namespace}"]["template"]["lifecycle"] == {
        "data_retention": "400d"
    }


def test_a_cluster_that_is_away_is_named() -> None:
    with pytest.raises(StoreError, match="Elasticsearch cannot read its templates"):
        ElasticStore.open(f"http://127.0.0.1:{free_port()}")


# Appending


def test_after_a_rollover_nothing_doubles(
    store: ElasticStore, namespace: str, client: elasticsearch.Elasticsearch
) -> None:
    store.append("access", accesses(20))
    client.indices.rollover(alias=f"logs-tocsin.access-{namespace}")
    assert store.append("access", accesses(30)) == Appended(10, 20)
    assert store.scan("access").collect().height == 30


def test_what_the_cluster_will_not_take_is_a_dead_letter(store: ElasticStore) -> None:
    """`date_nanos` begins in 1970, but a configuration may allow older times."""
    clock = ScriptedClock(datetime(2026, 3, 10, tzinfo=UTC))
    rows = accesses(2).with_columns(
        pl.Series(TIME, [START, datetime(1960, 1, 1, tzinfo=UTC)]).cast(pl.Datetime("us", "UTC"))
    )
    done = store.append("access", rows)
    assert done[:2] == (1, 0)
    assert [r.id for r in done.refused] == ["e1"]
    ingest = Ingest(store, clock, limits=Limits(past=timedelta(days=36_000)))
    events = [{"@timestamp": t, "event": {"id": t}} for t in ("1960-01-01T00:00:00Z", "2026-03-02T00:00:00Z")]
    assert ingest.take(Batch("access", "test", {"k": 1}, events)) == Counts(2, 1, 0, 1)
    (letter,) = store.scan("dead_letter").collect().to_dicts()
    assert letter["error.message"].startswith("Elasticsearch refused it")


def test_long_values_and_odd_json_come_back_as_they_were(store: ElasticStore) -> None:
    rows = accesses(3).with_columns(
        pl.Series("user.id", ["x" * 10_000, "y", None], dtype=pl.String),
        pl.Series("labels", ['{"a":{"b":1.0}}', "[1,2]", None], dtype=pl.String),
        pl.Series("user.roles", [["b", "a", "b"], [], None], dtype=pl.List(pl.String)),
    )
    store.append("access", rows)
    for columns in (["user.id"], ["user.id", "labels", "user.roles"]):
        back = store.scan("access", columns=[TIME, *columns]).collect().sort(TIME)
        assert back.select(columns).equals(rows.select(columns))


def test_vectors_keep_their_order_and_have_slots(
    store: ElasticStore, namespace: str, client: elasticsearch.Elasticsearch
) -> None:
    vectors = [[3.0, float("nan"), 1.0], [2.0, 2.0], None]
    rows = conform(
        pl.DataFrame(
            {
                TIME: [START] * 3,
                ID: ["a", "b", "c"],
                "tocsin.features.values": vectors,
                "tocsin.model.name": "m",
            }
        ),
        "inference",
    )
    store.append("inference", rows)
    back = store.scan("inference", columns=[ID, "tocsin.features.values"]).collect().sort(ID)
    assert back["tocsin.features.values"].to_list()[1:] == vectors[1:]
    np.testing.assert_array_equal(back["tocsin.features.values"][0].to_numpy(), vectors[0])
    index = f"logs-tocsin.inference-{namespace}"
    mean = client.search(index=index, size=0, aggs={"m": {"avg": {"field": "tocsin.features.slot.000"}}})
    assert mean["aggregations"]["m"]["value"] == 2.5


def test_pages_are_read_to_the_end(store: ElasticStore) -> None:
    rows = accesses(25_000, step=timedelta(seconds=1))
    assert store.append("access", rows) == Appended(25_000, 0)
    assert store.scan("access", columns=[ID]).collect()[ID].n_unique() == 25_000
    head = store.scan("access", columns=[ID, "http.response.bytes"]).filter(
        pl.col("http.response.bytes") >= 24_000
    )
    assert head.head(10).collect().height == 10


# Retries


class Cluster:
    """A simulated data stream that loses responses and rejects documents as busy."""

    def __init__(self, failures: Sequence[str]) -> None:
        self.failures, self.documents = list(failures), dict[str, bytes]()
        self.requests = 0

    def post(self, body: bytes) -> bytes:
        self.requests += 1
        failure = self.failures.pop(0) if self.failures else ""
        if failure == "not sent":
            raise OutcomeUnknown("connection refused")
        lines, items = body.split(b"\n"), list[dict[str, dict[str, int]]]()
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            key = msgspec.json.decode(action)["create"]["_id"]
            status = 429 if failure == "busy" and len(items) % 2 else 409 if key in self.documents else 201
            if status == 201:
                self.documents[key] = document
            items.append({"create": {"status": status}})
        if failure == "lost":
            raise OutcomeUnknown("the connection was closed before an answer came")
        return msgspec.json.encode(
            {"errors": any(i["create"]["status"] != 201 for i in items), "items": items}
        )

    def find(self, keys: Sequence[str]) -> set[str]:
        if self.failures and self.failures[0] == "not found out":
            self.failures.pop(0)
            raise OutcomeUnknown("connection refused")
        return {key for key in keys if key in self.documents}


def test_nothing_is_sent_again_before_it_is_known_what_is_there() -> None:
    """After a rollover, the new index would accept documents that the old index already has."""
    cluster, rows = Cluster(["lost", "not found out", "not found out"]), accesses(3)
    sent = send("access", rows, ids("access", rows), cluster.post, cluster.find, lambda _: None)
    assert (sent, cluster.requests) == (Sent(3, 0), 1)


@pytest.mark.parametrize(
    "failures",
    [
        [], ["lost"], ["not sent", "lost"], ["busy", "busy"], ["busy", "lost", "not sent", "busy"],
        ["lost", "not found out"], ["not sent", "not found out", "busy"],
    ],
)  # fmt: skip
def test_whatever_happens_on_the_way_every_event_is_there_once(failures: list[str]) -> None:
    cluster, pauses = Cluster(failures), list[float]()
    rows = accesses(60)
    sent = send("access", rows, ids("access", rows), cluster.post, cluster.find, pauses.append)
    assert sent == Sent(60, 0)
    assert len(cluster.documents) == 60
    assert len(pauses) == cluster.requests - 1 + failures.count("not found out")


def test_after_eight_attempts_it_is_an_error() -> None:
    cluster = Cluster(["not sent"] * 20)
    rows = accesses(2)
    with pytest.raises(StoreError, match="did not accept 2 events of stream access: connection refused"):
        send("access", rows, ids("access", rows), cluster.post, cluster.find, lambda _: None)
    assert cluster.requests == 8


def test_waits_grow_and_are_not_all_alike() -> None:
    waits = [{backoff(attempt) for _ in range(50)} for attempt in (1, 4, 12)]
    assert all(len(found) > 40 for found in waits)
    assert max(waits[0]) < min(waits[1]) < max(waits[1]) < 10 <= min(waits[2]) < max(waits[2]) <= 20


def test_keys_do_not_follow_the_length_of_ids() -> None:
    rows = accesses(2).with_columns(pl.Series(ID, ["short", "long" * 500]))
    keys = ids("access", rows)
    assert keys[0].startswith("short@")
    assert len(keys[1]) == 64


def test_a_cluster_is_set_up_from_the_command_line(
    elasticsearch_url: str, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "tocsin.yaml").write_text(
        f"namespace: {namespace}\nstore: {{type: elasticsearch, hosts: ['{elasticsearch_url}'], replicas: 0}}\n"
    )

    def tocsin(*arguments: str) -> tuple[int, str]:
        command = [str(Path(sys.executable).with_name("tocsin")), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    code, output = tocsin("store", "status", "--json")
    assert code == 1
    assert output.count('"missing"') == len(STREAMS)
    code, output = tocsin("store", "diff", "--json")
    assert code == 1
    assert output.count('"diff": ') == len(STREAMS)
    code, output = tocsin("store", "diff")
    assert code == 1
    assert "+template.mappings.properties.@timestamp.type: date_nanos" in output
    assert tocsin("store", "setup", "--json")[0] == 0
    assert tocsin("store", "setup")[1].strip() == "every template was current"
    assert tocsin("store", "status")[0] == 0
    assert tocsin("store", "diff") == (0, "every template is current\n")
    assert tocsin("store", "diff", "--json") == (0, "")
    (tmp_path / "access.ndjson").write_text('{"@timestamp": "2026-03-02T09:00:00Z", "user": {"id": "ana"}}\n')
    assert "accepted 1" in tocsin("collect", "ndjson", "access.ndjson")[1]
    assert "accepted 0" in tocsin("collect", "ndjson", "access.ndjson")[1]
    assert '"user.id": "ana"' in tocsin("events", "access", "--json")[1]
    (tmp_path / "tocsin.yaml").write_text("store: {type: delta}\n")
    assert tocsin("store", "status")[0] == 2
    code, output = tocsin("store", "diff")
    assert code == 2
    assert "the store is a folder" in output


def test_rows_with_an_old_stamp_are_not_sent(
    elasticsearch_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker was suspended between stamp and request: readers may have read past the stamp in the meantime."""
    clock = ScriptedClock(START)
    store = ElasticStore.open(elasticsearch_url, namespace, clock, replicas=0)
    store.append("access", accesses(5))
    before = StreamWriter.before_rollover

    def paused(writer: StreamWriter, keys: Sequence[str]) -> Mapping[str, str | None]:
        monkeypatch.setattr(StreamWriter, "before_rollover", before)
        clock.advance(timedelta(seconds=100))
        return before(writer, keys)

    monkeypatch.setattr(StreamWriter, "before_rollover", paused)
    with pytest.raises(StoreAway, match="took too long"):
        store.append("access", accesses(5, "late"))
    assert store.append("access", accesses(5, "late")).accepted == 5
    stamps = store.scan("access", columns=["event.ingested"]).collect().to_series()
    assert stamps.max() == clock.now()
    store.close()
