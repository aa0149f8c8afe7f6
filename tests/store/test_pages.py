"""A page of Elasticsearch's documents becomes the rows that were stored."""

from __future__ import annotations

import json
import math
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.store.cluster.documents import WRAPPED
from tocsin.store.cluster.pages import page

VECTOR, NAMES, SCORE = "tocsin.features.values", "tocsin.features.names", "tocsin.output.score"


def rows(stream: str, columns: list[str], documents: list[dict[str, Any]]) -> pl.DataFrame:
    hits = [{"sort": [place], "_source": document} for place, document in enumerate(documents)]
    answer = json.dumps({"hits": {"hits": hits}, "_shards": {"failed": 0}}).encode()
    return page(stream, columns, answer, whole=True).rows


@settings(deadline=None)
@given(st.lists(st.none() | st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False))))
def test_vectors_keep_every_bit_and_null_in_a_vector_is_nan(vectors: list[list[float | None] | None]) -> None:
    found = rows("inference", [VECTOR, SCORE], [{VECTOR: vector, SCORE: 1} for vector in vectors])
    assert found.schema[VECTOR] == pl.List(pl.Float64)
    for stored, read in zip(vectors, found[VECTOR].to_list(), strict=True):
        assert (stored is None) == (read is None)
        for one, other in zip(stored or [], read or [], strict=True):
            assert (
                math.isnan(other)
                if one is None
                else (one, math.copysign(1, one))
                == (
                    other,
                    math.copysign(1, other),
                )
            )


@settings(deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({}, optional={NAMES: st.none() | st.text(), SCORE: st.none() | st.floats(0, 1)})
    )
)
def test_scalars_are_those_of_the_document_and_null_where_it_has_none(
    documents: list[dict[str, Any]],
) -> None:
    found = rows("inference", [NAMES, SCORE], documents)
    assert found.rows() == [(one.get(NAMES), one.get(SCORE)) for one in documents]


def test_lists_of_words_and_json_are_read_as_they_were_written() -> None:
    inputs, gates = "tocsin.pipeline.inputs", "tocsin.pipeline.gates"
    documents: list[dict[str, Any]] = [
        {inputs: ['a"b', "ü"], gates: {"auc": 0.7}},
        {inputs: [], gates: {WRAPPED: [1, 2]}},
        {inputs: None},
    ]
    found = rows("pipeline", [inputs, gates], documents)
    assert found[inputs].to_list() == [['a"b', "ü"], [], None]
    assert [text and json.loads(text) for text in found[gates]] == [{"auc": 0.7}, [1, 2], None]


def test_numbers_that_another_writer_stored_as_text_are_read() -> None:
    found = rows("inference", [VECTOR], [{VECTOR: ["1.5", 2]}, {VECTOR: [0.5]}, {}])
    assert found[VECTOR].to_list() == [[1.5, 2.0], [0.5], None]


def test_times_are_utc() -> None:
    [(time,)] = rows("inference", ["@timestamp"], [{"@timestamp": "2026-03-02T01:02:03.000004Z"}]).rows()
    assert time.isoformat() == "2026-03-02T01:02:03.000004+00:00"


def test_a_number_of_values_below_zero_does_not_stop_a_read() -> None:
    """Another writer may store any number; no other vector of the page is lost."""
    slot = "tocsin.features.slot.000"
    hits = [
        {"sort": [i], "fields": {"tocsin.features.count": [n], slot: [7.0]}} for i, n in enumerate([-1, 1])
    ]
    answer = json.dumps({"hits": {"hits": hits}, "_shards": {"failed": 0}}).encode()
    found = page("inference", [VECTOR], answer, whole=False, width=1).rows
    assert found[VECTOR].to_list() == [[], [7.0]]
