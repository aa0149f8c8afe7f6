"""Early evaluations of one window draw calls from those that arrived since; the result is as if all were read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.contract.frames import conform
from tocsin.contract.query import Where
from tocsin.contract.streams import ID, INGESTED, TIME
from tocsin.contract.windows import FrameSource, Window
from tocsin_detectors._drawn_calls import Draws, drawn
from tocsin_detectors._model_rows import MODEL, VERSION

DAY = datetime(2026, 3, 2, tzinfo=UTC)
SCORE = "tocsin.output.score"
CHANGED = frozenset({"a", "A", "b"})


def calls(names: list[str], since: int, ingested: datetime | None = DAY) -> pl.DataFrame:
    """Calls of these models; the n-th of all has the score n and arrives n seconds after `ingested`."""
    numbers = range(since, since + len(names))
    return conform(
        pl.DataFrame(
            {
                TIME: [DAY + timedelta(seconds=n) for n in numbers],
                ID: [f"id-{n}" for n in numbers],
                MODEL: names,
                VERSION: [f"v{n % 2}" for n in numbers],
                SCORE: [float(n) for n in numbers],
                INGESTED: [ingested and ingested + timedelta(seconds=n) for n in numbers],
            },
            schema_overrides={INGESTED: pl.Datetime("us", "UTC"), MODEL: pl.String},
        ),
        "inference",
    )


@dataclass
class Reads:
    """A source over frames that counts the rows it returned."""

    rows: pl.DataFrame
    read: list[int] = field(default_factory=list)

    def scan(
        self,
        stream: str,
        start: datetime,
        end: datetime,
        columns: list[str] | None = None,
        where: Where = (),
    ) -> pl.LazyFrame:
        found = FrameSource({"inference": self.rows}).scan(stream, start, end, columns, where).collect()
        self.read.append(len(found))
        return found.lazy()

    def __getattr__(self, name: str) -> object:
        return getattr(FrameSource({"inference": self.rows}), name)


def early(rows: pl.DataFrame, changed: frozenset[str | None] = CHANGED) -> tuple[Window, Reads]:
    source = Reads(rows)
    return Window(DAY, DAY + timedelta(days=1), source, changed=changed), source  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "A", "b", "c"]), max_size=30), min_size=1, max_size=4))
def test_early_evaluations_draw_what_a_final_one_draws_if_no_model_has_more(
    batches: list[list[str]],
) -> None:
    draws, rows = Draws(), calls([], 0)
    for batch in batches:
        rows = pl.concat([rows, calls(batch, len(rows))])
        window, _ = early(rows)
        found = draws.of(window, [SCORE], 1_000)
        whole = drawn(window, [SCORE], 1_000)
        assert list(found) == list(whole)
        for name, part in whole.items():
            assert (found[name].number, found[name].versions) == (part.number, part.versions)
            assert sorted(found[name].rows[SCORE]) == sorted(part.rows[SCORE])


def test_each_early_evaluation_reads_only_the_calls_that_arrived_since() -> None:
    draws, rows = Draws(), calls(["a", "b"] * 100, 0)
    draws.of(early(rows)[0], [SCORE], 50)
    window, source = early(pl.concat([rows, calls(["a"] * 7, 200)]))
    found = draws.of(window, [SCORE], 50)
    assert source.read == [7]
    assert {name: (one.number, len(one.rows)) for name, one in found.items()} == {
        "a": (107, 50),
        "b": (100, 50),
    }


def test_calls_that_become_visible_late_are_not_missed() -> None:
    draws, rows = Draws(), calls(["a"] * 10, 0)
    draws.of(early(rows)[0], [SCORE], 1_000)
    late = calls(["a"], 10, DAY - timedelta(hours=1))
    assert draws.of(early(pl.concat([rows, late]))[0], [SCORE], 1_000)["a"].number == 11


def test_calls_without_an_ingest_time_are_read_again_each_time() -> None:
    draws = Draws()
    for number in (5, 9):
        window, source = early(calls(["a"] * number, 0, None))
        assert draws.of(window, [SCORE], 1_000)["a"].number == number
        assert source.read == [number]


def test_a_large_sample_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    draws, rows = Draws(), calls(["a"] * 10, 0)
    monkeypatch.setattr("tocsin_detectors._drawn_calls._MOST", 100)
    for _ in range(2):
        window, source = early(rows)
        assert draws.of(window, [SCORE], 1_000)["a"].number == 10
        assert source.read == [10]


@pytest.mark.parametrize("parts", [1, 20])
def test_each_call_is_drawn_equally_often_however_the_calls_arrive(parts: int) -> None:
    """Also of a model whose spellings have different numbers of calls."""
    names, seen = ["a"] * 300 + ["A"] * 100, Counter[str]()
    for place in range(60):
        order = [names[(i * 7 + place) % 400] for i in range(400)]
        draws = Draws()
        for part in range(1, parts + 1):
            stop = 400 * part // parts
            found = draws.of(early(calls(order[:stop], 0))[0], [SCORE], 100)
        drawn_rows = found["a"].rows
        assert len(drawn_rows) == 100
        seen.update(drawn_rows[MODEL].to_list())
    assert 0.2 < seen["A"] / seen.total() < 0.3


def test_the_final_evaluation_reads_anew() -> None:
    draws, rows = Draws(), calls(["a"] * 100, 0)
    window, _ = early(rows)
    draws.of(window, [SCORE], 10)
    final = replace(window, changed=None)
    assert draws.of(final, [SCORE], 10)["a"].rows.equals(drawn(final, [SCORE], 10)["a"].rows)
