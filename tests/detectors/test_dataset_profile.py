"""`dataset_profile`: how far is far, what it compares, and what it leaves alone."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generators.data_integrity import LABEL, applications, event, history, next_day
from tocsin.stats.departure import Figure, critical, departure, share
from tocsin.testing.evaluate import Evaluation, evaluate
from tocsin_detectors._profiles import profile_of, schema_change
from tocsin_detectors.dataset_profile import DatasetProfile, Params

DETECTOR = DatasetProfile(Params())
numbers = st.floats(-1e6, 1e6)


def judged(events: pl.DataFrame, past: pl.DataFrame) -> Evaluation:
    return evaluate(DETECTOR, {"dataset": events}, baseline={"dataset": past})


def figures(values: list[float], error: float = 0.0) -> list[Figure]:
    return [Figure(value, error, value) for value in values]


# How far is far


@given(st.lists(numbers, min_size=8, max_size=30), st.floats(0.001, 10), st.floats(0, 1e5), st.floats(0, 1e5))
def test_a_departure_is_symmetric_and_grows_with_the_distance(values, error, near, more):
    past = figures(values, error)
    median = float(np.median(values))

    def z(value: float) -> float:
        return departure(Figure(value, error, value), past).z

    assert z(median) == 0
    assert z(median - near) == pytest.approx(z(median + near), rel=1e-6, abs=1e-6)
    assert z(median + near) <= z(median + near + more) + 1e-9


def test_without_any_scatter_only_a_change_counts():
    past = figures([5.0] * 9)
    assert departure(Figure(5.0, 0, 5), past).z == 0
    assert departure(Figure(5.1, 0, 5.1), past).z == math.inf


def test_scatter_that_sampling_explains_counts_as_well_known_and_other_scatter_does_not():
    rng = np.random.default_rng(0)
    explained = departure(Figure(0, 1, 0), figures(list(rng.normal(0, 0.8, 10)), 1.0))
    unexplained = departure(Figure(0, 0.01, 0), figures(list(rng.normal(0, 0.8, 10)), 0.01))
    assert explained.freedom == math.inf
    assert unexplained.freedom == pytest.approx(8, abs=0.1)  # ten figures, one of them trimmed
    assert critical(unexplained.freedom, 1e-4) > 1.5 * critical(explained.freedom, 1e-4)
    assert critical(math.inf, 0.05) == pytest.approx(1.96, abs=0.001)


@pytest.mark.parametrize(("days", "error"), [(8, 1.0), (8, 0.0), (30, 1.0), (30, 0.0)])
def test_quiet_figures_pass_their_critical_value_no_more_often_than_wanted(days, error):
    rng = np.random.default_rng(1)
    alarms = 0
    for values in rng.normal(size=(2000, days + 1)):
        found = departure(Figure(values[-1], error, 0), figures(values[:-1].tolist(), error))
        alarms += found.z >= critical(found.freedom, 0.01)
    assert alarms / 2000 < 0.02


def test_an_earlier_incident_does_not_blind():
    values = [10.0, 10.1, 9.9, 10.2, 9.8, 10.0, 10.1, 9.9, 10.0]
    spoiled = departure(Figure(12, 0.1, 12), figures([*values, 1000.0], 0.1))
    assert spoiled.z >= critical(spoiled.freedom, 1e-4)


@given(st.integers(1, 10**6), st.data())
def test_a_share_has_the_same_error_wherever_it_lies(total, data):
    count = data.draw(st.integers(0, total))
    assert share(count, total).error == share(0, total).error
    assert share(count, total).shown == count / total
    assert count == total or share(count, total).value < share(count + 1, total).value


# What it compares


@pytest.mark.parametrize(
    ("change", "figure"),
    [
        ({"unit": 100}, "mean of income"),
        ({"nulls": 0.05}, "share of nulls of income"),
        ({"rows": 3000}, "rows"),
        ({"approve": 0.2}, "share of label"),
    ],
)
def test_the_evidence_names_the_figures(change, figure):
    [finding] = judged(next_day(**change), history()).findings
    departures: Any = finding.evidence["departures"]
    named = [d for d in departures if d["score"] >= 1]
    assert any(d["figure"].startswith(figure) for d in named)
    assert all(d["now"] != d["usual"] for d in named)


def test_thrice_the_rows_is_about_the_rows_alone():
    [finding] = judged(next_day(rows=3000), history()).findings
    assert finding.reason.startswith("loans: it has 3,000 rows, usually 1,018")
    assert "more figure" not in finding.reason


def test_duplicated_rows_show_in_columns_that_have_none():
    frame = applications(1000, 50)
    [finding] = judged(pl.DataFrame([event(pl.concat([frame[:900], frame[:100]]), 10)]), history()).findings
    assert "distinct values" in finding.reason


def test_the_schema_is_compared_with_any_earlier_one():
    past = history()
    [finding] = judged(next_day(income_as_text=True), past).findings
    assert finding.evidence["schema"] == {"retyped": ["income"]}
    narrow = pl.DataFrame([event(applications(1000, 60).drop("age"), 10)])
    [finding] = judged(narrow, past).findings
    assert finding.evidence["schema"] == {"removed": ["age"]}
    repeat = pl.DataFrame([event(applications(1000, 61).drop("age"), 11)])
    assert not judged(repeat, pl.concat([past, narrow])).findings


def test_whole_numbers_become_numbers_and_empty_columns_fit_every_type():
    def columns(**kinds: str) -> Any:
        empty = dict.fromkeys(("name", "digest", "rows", "profile", "label", "labels"))
        row = {f"tocsin.dataset.{name}": None for name in empty} | {"user.id": None}
        return profile_of(row | {"tocsin.dataset.schema": json.dumps(list(kinds.items()))})

    past = [columns(a="integer", b="text", c="date")]
    assert schema_change(columns(a="number", b="null", c="datetime[ns]"), past) == {}
    assert schema_change(columns(a="text", b="text", d="date"), past) == {
        "added": ["d"],
        "removed": ["c"],
        "retyped": ["a"],
    }


def test_a_new_writer_makes_a_departure_worse_but_is_none():
    past = history()
    quiet = judged(next_day(writer="substitute"), past)
    assert not quiet.findings
    assert 0.5 <= quiet.scores["score"][0] < 1
    known = judged(next_day(nulls=0.05), past).findings[0]
    stranger = judged(next_day(nulls=0.05, writer="substitute"), past).findings[0]
    assert stranger.score == pytest.approx(1.25 * known.score)
    assert "written by substitute, a new writer" in stranger.reason


# What it leaves alone


def test_little_history_and_content_seen_before_are_not_judged():
    past = history()
    assert "7 earlier snapshots, 8 are needed" in judged(next_day(unit=100), past[:7]).scores["reason"][0]
    repeat = past[3:4].with_columns(past[-1:]["@timestamp"].dt.offset_by("1d"))
    assert judged(repeat, past).scores["reason"].to_list() == [
        "loans: the content is that of an earlier snapshot"
    ]
    repeated = pl.concat([past[:7]] * 4).with_columns(pl.int_range(28).cast(pl.String).alias("event.id"))
    assert "7 earlier snapshots" in judged(next_day(unit=100), repeated).scores["reason"][0]


def test_of_several_snapshots_in_a_window_the_worst_counts_and_datasets_are_apart():
    past = history()
    events = [event(applications(1000, 70), 10), event(applications(1000, 71, nulls=0.1), 10)]
    events += [event(applications(1000, 72), 10, dataset="others")]
    result = judged(
        pl.DataFrame(events).with_columns(pl.int_range(3).cast(pl.String).alias("event.id")), past
    )
    assert result.scores["subject.id"].to_list() == ["loans", "others"]
    assert [f.evidence["snapshot"] for f in result.findings] == [events[1]["tocsin.dataset.digest"]]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"income": 3}', '{"income": {"nulls": -1}}', '{"income": {"top": 1}}']
)
def test_a_profile_that_is_none_is_left_out(text):
    odd = next_day().with_columns(pl.lit(text).alias("tocsin.dataset.profile"))
    result = judged(odd, history())
    assert not result.findings
    assert result.scores["score"][0] > 0  # rows and labels are still compared


def test_an_empty_snapshot_is_a_finding():
    empty = pl.DataFrame([event(applications(1000, 80).clear(), 10)])
    assert judged(empty, history()).findings


def test_quiet_days_stay_quiet():
    scores = evaluate(DETECTOR, {"dataset": history(days=60, rows=400, seed=100)}).scores["score"][8:]
    assert (scores > 0).all()
    assert (scores >= 1).sum() <= 2
    assert float(scores.max() or 0) < 1.5  # type: ignore[arg-type]


# Spellings of labels

SPELLINGS = ("{}", " {}", "{} ", "{}.0", " {}.0", "{}.00", "{}.", "+{}", "{}e0", "\t{}", "\u00a0{}")
TRUTH = {"0": ("False", " false", "FALSE"), "1": ("True", " true", "TRUE ")}


FORMS = st.fixed_dictionaries(
    {
        label: st.lists(
            st.sampled_from([form.format(label) for form in SPELLINGS] + list(TRUTH[label])),
            min_size=1,
            max_size=4,
        )
        for label in TRUTH
    }
)


@settings(max_examples=10, deadline=None)
@given(FORMS, st.sampled_from(["snapshot", "history", "event"]))
def test_a_new_spelling_of_a_label_is_no_finding(forms, place):
    """For any spellings of the labels of any rows, in the snapshot, before it or in the event alone, the score stays."""
    frames = [applications(300, 1 + day) for day in range(11)]
    plain = [event(frame, day) for day, frame in enumerate(frames)]
    odd = {"snapshot": range(10, 11), "history": range(3), "event": range(0)}[place]
    made = [event(_spelled(f, forms), day) if day in odd else plain[day] for day, f in enumerate(frames)]
    if place == "event":  # a source that writes the counts itself
        counts = json.loads(str(plain[10]["tocsin.dataset.labels"]))
        spelled = {forms[label][-1]: count for label, count in counts.items()}
        made[10] = {**plain[10], "tocsin.dataset.labels": json.dumps(spelled)}
    expected = judged(pl.DataFrame(plain[10:]), pl.DataFrame(plain[:10]))
    found = judged(pl.DataFrame(made[10:]), pl.DataFrame(made[:10]))
    assert not found.findings
    assert found.scores["score"].to_list() == pytest.approx(expected.scores["score"].to_list())


def _spelled(frame: pl.DataFrame, forms: dict[str, list[str]]) -> pl.DataFrame:
    labels = [
        forms[str(int(label))][i % len(forms[str(int(label))])]
        for i, label in enumerate(frame[LABEL].to_list())
    ]
    return frame.with_columns(pl.Series(LABEL, labels))
