"""A real cluster that is killed and restarted, and an app whose cluster is unreachable."""

from __future__ import annotations

import functools
import logging
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.nodes.node import Node, free_port
from tests.store.conformance import accesses
from tests.store.test_elastic import Cluster
from tests.store.test_spooled import lines
from tocsin.clock import ScriptedClock, SystemClock
from tocsin.config.params import build
from tocsin.contract.streams import ID, STREAMS
from tocsin.errors import StoreAway
from tocsin.pipeline.ingesting.dead_letters import refused_dead_letters
from tocsin.pipeline.ingesting.ingest import Counts, Ingest
from tocsin.pipeline.ingesting.protect import Protector
from tocsin.store.cluster.bulk import Patience, send
from tocsin.store.cluster.documents import ids
from tocsin.store.cluster.elastic import ElasticStore
from tocsin.store.spool.spooled import SpooledStore
from tocsin.worker.app import App
from tocsin_collectors.ndjson import Ndjson

TOCSIN = Path(sys.executable).with_name("tocsin")


def spooled(node: Node, folder: Path) -> SpooledStore:
    store = ElasticStore.open(node.url, "outage", replicas=0, patience=timedelta(seconds=5))
    letters = functools.partial(refused_dead_letters, protector=Protector(), now=SystemClock().now())
    return SpooledStore(store, folder / "spool", SystemClock(), letters)


def test_a_node_is_killed_and_comes_back(node: Node, tmp_path: Path) -> None:
    known, new = tmp_path / "access.ndjson", tmp_path / "access-later.ndjson"
    collector = Ndjson(build(Ndjson.params_type(), {"paths": [str(tmp_path)]}))
    known.write_text(lines(range(1_000)))
    store = spooled(node, tmp_path)
    assert Ingest(store, SystemClock()).run(collector) == Counts(1_000, 1_000)
    node.kill()

    began = SystemClock().now()
    with known.open("a") as file:
        file.write(lines(range(1_000, 81_000)))
    new.write_text(lines(range(81_000, 101_000)))
    assert Ingest(store, SystemClock()).run(collector) == Counts(100_000, spooled=100_000)
    assert SystemClock().now() - began < timedelta(seconds=30)
    with pytest.raises(StoreAway):
        store.drain()
    assert store.events == 100_000
    assert store.oldest is not None
    store.close()  # and Tocsin is started anew, while the cluster is away still
    store = spooled(node, tmp_path)
    with known.open("a") as file:
        file.write(lines(range(101_000, 102_000)))
    assert Ingest(store, SystemClock()).run(collector) == Counts(1_000, spooled=1_000)

    node.start()
    assert store.drain() == 101_000
    assert (store.events, store.bytes, list((tmp_path / "spool").glob("*.arrow"))) == (0, 0, [])
    found = store.store.scan("access", columns=[ID]).collect()[ID]
    assert found.len() == found.n_unique() == 102_000
    assert Ingest(store, SystemClock()).run(collector) == Counts(), "every checkpoint is the last one"
    store.close()


def test_a_cluster_is_set_up_when_it_comes(node: Node, tmp_path: Path) -> None:
    node.kill()
    store = spooled(node, tmp_path)
    assert store.append("access", accesses(10)).spooled == 10
    with pytest.raises(StoreAway, match="Elasticsearch cannot read its templates"):
        store.store.put("lease", "a", {})
    node.start()
    assert store.drain() == 10
    inner = ElasticStore.open(node.url, "outage", replicas=0, prepare=False)
    assert set(inner.status().values()) == {"current"}
    assert len(inner.status()) == len(STREAMS)
    assert store.store.scan("access").collect().height == 10
    inner.close()
    store.close()


# Patience


def test_with_patience_sending_is_given_up_soon() -> None:
    clock, pauses = ScriptedClock(SystemClock().now()), list[float]()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(timedelta(seconds=seconds))

    cluster, rows = Cluster(["not sent"] * 20), accesses(2)
    keys, patience = ids("access", rows), Patience(clock, timedelta(seconds=2))
    with pytest.raises(StoreAway, match="did not accept 2 events"):
        send("access", rows, keys, cluster.post, cluster.find, pause, patience)
    assert sum(pauses) <= 2
    assert 2 <= cluster.requests <= 4
    with pytest.raises(StoreAway):  # another connection of the same send does not even begin
        send("access", rows, keys, cluster.post, cluster.find, pause, patience)
    assert cluster.requests <= 4


# The app


def app(folder: Path) -> App:
    (folder / "tocsin.yaml").write_text(
        f"store: {{type: elasticsearch, hosts: ['http://127.0.0.1:{free_port()}'], replicas: 0}}\n"
        f"collectors: [{{type: ndjson, params: {{paths: [access.ndjson]}}}}]\n"
    )
    (folder / "access.ndjson").write_text(lines(range(5)))
    return App.open(folder / "tocsin.yaml")


def test_an_app_starts_without_its_cluster(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = app(tmp_path)
    assert found.spool is not None
    with caplog.at_level(logging.WARNING):
        assert found.collect() == (Counts(), 1)
    assert "collectors of this stream wait" in caplog.records[-1].reason  # type: ignore[attr-defined]
    assert (tmp_path / "tocsin-spool" / "lock").exists()
    with pytest.raises(StoreAway, match="Elasticsearch cannot read its templates"):
        found.alerting.tick()
    found.close()


def test_known_sources_are_collected_without_the_cluster(tmp_path: Path) -> None:
    found = app(tmp_path)
    assert found.spool is not None
    (collector,) = found.collectors
    for batch in collector.collect(lambda _stream, _key: None):
        assert found.ingest.take(batch) == Counts(5, spooled=5)
    found.close()
    with (tmp_path / "access.ndjson").open("a") as file:
        file.write(lines(range(5, 8)))
    reopened = App.open(tmp_path / "tocsin.yaml")
    assert reopened.collect() == (Counts(3, spooled=3), 0)
    assert reopened.spool is not None
    assert reopened.spool.events == 8
    reopened.close()


@pytest.mark.parametrize(
    "command",
    [("findings",), ("alerts",), ("events", "access"), ("run", "--once"), ("store", "status")],
)
def test_commands_that_need_the_cluster_say_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    app(tmp_path).close()
    done = subprocess.run([TOCSIN, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Elasticsearch cannot" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_app_on_this_machine_has_no_spool(tmp_path: Path) -> None:
    (tmp_path / "tocsin.yaml").write_text("namespace: local\n")
    found = App.open(tmp_path / "tocsin.yaml")
    assert found.spool is None
    assert found.collect() == (Counts(), 0)
    found.close()
