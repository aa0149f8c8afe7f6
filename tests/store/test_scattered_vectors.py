"""Vectors of documents that are selected by a value: read from doc values, the same as from the documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import elasticsearch
import polars as pl
import pytest

from tests.store.conformance import START
from tocsin.contract.frames import conform
from tocsin.contract.query import Condition
from tocsin.contract.streams import ID, TIME
from tocsin.store.cluster import pages
from tocsin.store.cluster.elastic import ElasticStore
from tocsin.store.cluster.mappings import SLOTS

VALUES, MODEL = "tocsin.features.values", "tocsin.model.name"
NAN = float("nan")
VECTORS: list[list[float] | None] = [
    [3.0, NAN, 1.0],
    [-0.0, 1e308, 5e-324, 0.1 + 0.2],
    [NAN],
    [],
    None,
    [2.0, 2.0],
    [NAN, NAN, 7.0, NAN],
]


@pytest.fixture
def store(elasticsearch_url: str, namespace: str) -> Iterator[ElasticStore]:
    found = ElasticStore.open(elasticsearch_url, namespace, replicas=0)
    yield found
    found.close()


def calls(vectors: list[list[float] | None]) -> pl.DataFrame:
    """Calls of two models in turn."""
    number = len(vectors)
    rows = {
        TIME: [START] * number,
        ID: [f"{place:05d}" for place in range(number)],
        VALUES: pl.Series(vectors, dtype=pl.List(pl.Float64)),
        MODEL: ["a" if place % 2 else "b" for place in range(number)],
    }
    return conform(pl.DataFrame(rows), "inference")


def of(store: ElasticStore, *where: Condition) -> pl.DataFrame:
    return store.scan("inference", columns=[ID, VALUES], where=where).collect().sort(ID)


@pytest.mark.parametrize("vectors", [VECTORS * 3, [[], None] * 3, [[1.0] * (SLOTS + 1), [2.0], None, []]])
def test_a_condition_does_not_change_what_is_read(
    store: ElasticStore, vectors: list[list[float] | None]
) -> None:
    rows = calls(vectors)
    store.append("inference", rows)
    for model in ("a", "b"):
        expected = rows.filter(pl.col(MODEL) == model).select(ID, VALUES)
        for condition in (Condition(MODEL, "==", model), Condition(MODEL, "in", [model])):
            assert of(store, condition).equals(expected, null_equal=True)
        some = of(store, Condition(MODEL, "==", model), Condition(VALUES, "not_null"))
        assert some.equals(expected.filter(pl.col(VALUES).is_not_null()))


def test_many_pages_are_read_to_the_end(store: ElasticStore) -> None:
    vectors: list[list[float] | None] = [[float(place), 1.0] for place in range(2 * pages.PAGE + 4000)]
    store.append("inference", calls(vectors))
    assert of(store, Condition(MODEL, "==", "a"))[VALUES].to_list() == vectors[1::2]


def test_a_vector_of_another_writer_is_read_from_its_document(
    store: ElasticStore, namespace: str, elasticsearch_url: str
) -> None:
    """It has no slots, and its numbers may be text."""
    rows = calls([[1.0, 2.0], [3.0]])
    store.append("inference", rows)
    document = {"@timestamp": START.isoformat(), MODEL: "a", "event.id": "x", VALUES: ["4.5", 5]}
    index = f"logs-tocsin.inference-{namespace}"
    with elasticsearch.Elasticsearch(elasticsearch_url) as client:
        client.index(index=index, document=document, op_type="create", refresh=True)
    assert of(store, Condition(MODEL, "==", "a"))[VALUES].to_list() == [[3.0], [4.5, 5.0]]


def test_only_scattered_documents_are_read_so(store: ElasticStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    request = pages.request

    def noted(*given: Any, width: int = 0, **named: Any) -> dict[str, Any]:
        read.append(width)
        return request(*given, width=width, **named)

    monkeypatch.setattr(pages, "request", noted)
    store.append("inference", calls(VECTORS))
    of(store)
    assert read == [0]
    of(store, Condition(MODEL, "==", "a"), Condition(VALUES, "not_null"))
    assert read == [0, 4]
