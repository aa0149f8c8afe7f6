"""The early declarations of the built-in detectors: which scores only grow, and that only changed values are judged."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.generators import data_integrity
from tocsin.contract.evaluation import fit
from tocsin.contract.plugin import Detector
from tocsin.contract.streams import ID, TIME
from tocsin.contract.windows import FrameSource, Window
from tocsin.testing.early_checks import grows, judges_changed
from tocsin.testing.reruns import CheckError
from tocsin_detectors.dataset_profile import DatasetProfile
from tocsin_detectors.dataset_profile import Params as ProfileParams
from tocsin_detectors.label_poisoning import LabelPoisoning
from tocsin_detectors.label_poisoning import Params as LabelParams
from tocsin_detectors.query_budget import Params as BudgetParams
from tocsin_detectors.query_budget import QueryBudget

START, DAY, MINUTE = data_integrity.START + timedelta(days=28), timedelta(days=1), timedelta(minutes=1)
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(detector: Detector[Any], window: Window) -> None:
    assert detector.early is not None
    grows(detector, window)
    judges_changed(detector, detector.early, window)


# query_budget: a principal's different queries, and calls without a vector
queries = st.lists(
    st.tuples(
        st.sampled_from(["ana", "bea", None]), st.sampled_from(["credit", "limits"]), st.integers(-1, 8)
    ),
    min_size=1,
    max_size=40,
)


@given(queries, queries)
@few
def test_query_budget_only_grows(before: list[Any], inside: list[Any]) -> None:
    rows = [
        {
            TIME: start + number * MINUTE,
            ID: f"{start}{number}",
            "user.id": user,
            "tocsin.model.name": model,
            "tocsin.features.values": [float(value)] if value >= 0 else [],
        }
        for start, calls in ((START - 2 * DAY, before), (START, inside))
        for number, (user, model, value) in enumerate(calls)
    ]
    schema: dict[str, Any] = {"tocsin.features.values": pl.List(pl.Float64), "user.id": pl.String}
    source = FrameSource.of({"inference": pl.DataFrame(rows, schema_overrides=schema)})
    check(QueryBudget(BudgetParams(budget_rows=6)), Window(START, START + DAY, source))


def called(start: datetime, user: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            TIME: start + number * timedelta(seconds=1),
            ID: f"{user}{number}",
            "user.id": user,
            "tocsin.model.name": "credit",
            "tocsin.features.values": [float(number)],
        }
        for number in range(count)
    ]


def test_query_budget_does_not_only_grow_if_an_old_spelling_is_used_again() -> None:
    """The past of a spelling counts once the spelling is in use: the exception to what the detector declares."""
    past = [row for number in range(10) for row in called(START - 20 * DAY, f"peer-{number}", 5)]
    past += [*called(START - 28 * DAY + MINUTE, "zoe", 5), *called(START - 20 * DAY, "Ana", 1000)]
    rows = pl.DataFrame([*past, *called(START, "ana", 700), *called(START + DAY / 2, "Ana", 1)])
    window = Window(START, START + DAY, FrameSource.of({"inference": rows}))
    with pytest.raises(CheckError, match="grows=True"):
        grows(QueryBudget(BudgetParams()), window)


# dataset_profile and label_poisoning: snapshots, of which some are tampered with
@functools.cache
def snapshots() -> list[pl.DataFrame]:
    kinds: list[dict[str, float]] = [
        {},
        {},
        {"unit": 100},
        {"nulls": 0.1},
        {"approve": 0.1},
        {"trigger": 0.02},
    ]
    large = [data_integrity.applications(400, 50 + i, **kind) for i, kind in enumerate(kinds)]  # type: ignore[arg-type]
    return [*large, *(frame.head(20) for frame in large[-2:])]


@functools.cache
def profiled(number: int, writer: str, dataset: str) -> dict[str, object]:
    return data_integrity.event(snapshots()[number], 0, writer=writer, dataset=dataset)


@functools.cache
def history() -> pl.DataFrame:
    return data_integrity.history(days=12, rows=400)


def arrivals(largest: int) -> st.SearchStrategy[list[tuple[int, str, str]]]:
    """Snapshots in the order of their arrival: number, writer and dataset."""
    one = st.tuples(
        st.integers(0, largest), st.sampled_from(["feed", "eve"]), st.sampled_from(["loans", "cards"])
    )
    return st.lists(one, min_size=1, max_size=5)


def arriving(found: list[tuple[int, str, str]]) -> pl.DataFrame:
    rows = [
        {**profiled(*one), TIME: START + number * MINUTE, ID: f"{number}"} for number, one in enumerate(found)
    ]
    return pl.DataFrame(rows)


@given(arrivals(7))
@few
def test_dataset_profile_only_grows(found: list[tuple[int, str, str]]) -> None:
    source = FrameSource.of({"dataset": pl.concat([history(), arriving(found)], how="diagonal")})
    check(DatasetProfile(ProfileParams()), Window(START, START + DAY, source))


@functools.cache
def learned() -> tuple[LabelPoisoning, Window]:
    trusted = data_integrity.snapshots(rows=1000, trusted=3)
    events = [
        {**data_integrity.event(frame, day), "tocsin.dataset.digest": name}
        for day, (name, frame) in enumerate(trusted.items())
    ]
    known = {name: frame.lazy() for name, frame in trusted.items()}
    known |= {
        str(profiled(i, "feed", "loans")["tocsin.dataset.digest"]): f.lazy()
        for i, f in enumerate(snapshots())
    }
    detector = LabelPoisoning(LabelParams(chunks=20))
    past = Window(START - 28 * DAY, START, FrameSource.of({"dataset": pl.DataFrame(events)}, known))
    return detector, Window(START, START + DAY, past.source, fit(detector, past, 0.01))


def delivered(found: list[tuple[int, str, str]]) -> tuple[LabelPoisoning, Window]:
    detector, window = learned()
    assert isinstance(window.source, FrameSource)
    return detector, window.with_rows({"dataset": arriving(found)}, window.source.snapshots)


@given(arrivals(5))
@few
def test_label_poisoning_only_grows_if_each_snapshot_is_judged_alone(
    found: list[tuple[int, str, str]],
) -> None:
    check(*delivered(found))


def test_label_poisoning_does_not_only_grow_if_small_snapshots_are_judged_together() -> None:
    """Clean rows that come later dilute the rows of the earlier ones: the exception to what the detector declares."""
    detector, window = learned()
    frames = [data_integrity.applications(25, 900 + number) for number in range(9)]
    frames[:2] = [frame.with_columns(default=pl.lit(0)) for frame in frames[:2]]
    rows = [
        {**data_integrity.event(f, 0), TIME: START + i * MINUTE, ID: f"{i}"} for i, f in enumerate(frames)
    ]
    known = {str(row["tocsin.dataset.digest"]): f.lazy() for row, f in zip(rows, frames, strict=True)}
    with pytest.raises(CheckError, match="grows=True"):
        grows(detector, window.with_rows({"dataset": pl.DataFrame(rows)}, known))
