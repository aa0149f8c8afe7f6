"""The sentence of a finding fits 200 characters, whatever the names and the numbers in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.contract.findings import Score, Subject
from tocsin.contract.verdict import Explanation, Verdict
from tocsin.contract.windows import FrameSource, Window
from tocsin.stats.reference import _named
from tocsin.words import LONGEST
from tocsin_detectors import (
    _access_story,
    _feature_tests,
    _label_rows,
    _query_evidence,
    dataset_profile,
    prediction_drift,
    pyod,
    query_budget,
)
from tocsin_detectors._access_points import Hit
from tocsin_detectors._access_touches import Touch
from tocsin_detectors._profiles import DISTINCT, DISTINCT_SHARE, LABEL, ROWS, Name
from tocsin_detectors._shift_causes import Cause, since_settled, with_cause

START, DAY = datetime(2026, 3, 2, tzinfo=UTC), timedelta(days=1)
VERDICTS = st.sampled_from([Explanation(verdict) for verdict in Verdict])
CAUSES = st.tuples(VERDICTS, st.integers(0, 8)).map(lambda drawn: Cause(*drawn))
TEXT = st.text("abcXYZ_-/:é", max_size=12)
NAMES = st.builds(lambda text, times: text * times or "a", TEXT, st.integers(1, 40))
COUNTS = st.integers(0, 10**7)
FIGURES = st.floats(0, 1e9)
COLUMNS = st.lists(NAMES, min_size=1, max_size=6)
MEASURES = st.sampled_from(
    [ROWS, LABEL, DISTINCT, DISTINCT_SHARE, "mean", "standard deviation", "share of nulls"]
)


def fits(reason: str, name: str) -> None:
    assert len(reason) <= LONGEST, reason
    assert reason.startswith(name[:20])  # first, to whom it happened


@given(
    NAMES,
    st.lists(
        st.builds(
            dataset_profile._Departed,
            st.floats(0, 100),
            st.builds(Name, NAMES, MEASURES, NAMES),
            FIGURES,
            FIGURES,
        ),
        max_size=4,
    ),
    st.dictionaries(st.sampled_from(["added", "removed", "retyped"]), COLUMNS),
    st.none() | NAMES,
)
def test_dataset_profile(name: str, departed: Any, schema: Any, stranger: str | None) -> None:
    if departed or schema or stranger:
        fits(dataset_profile._reason(name, departed, schema, stranger), name)


def fits_with_cause(reason: str, model: str, cause: Cause) -> None:
    """A sentence about a shift fits by itself, with its cause, and since a settled change."""
    fits(reason, model)
    plain = Score(Subject("model", model), 1.0, reason)
    explained = with_cause(plain, cause)
    fits(explained.reason, model)
    settled = [Window(START, START + DAY, FrameSource({}))]
    for since in (explained, plain):
        fits(since_settled(since, since, settled).reason, model)


@given(NAMES, NAMES, st.sampled_from(["values", "counts", "relation"]), st.integers(0, 9999), CAUSES)
def test_feature_drift(model: str, feature: str, kind: str, moved: int, cause: Cause) -> None:
    test = _feature_tests.Test(0.0, feature, kind)
    reason = _feature_tests.reason_of(model, test, moved, 9999)
    fits_with_cause(reason, model, cause)


@given(NAMES, NAMES, COLUMNS, st.integers(0, 10**5), st.integers(0, 10**4))
def test_label_poisoning(name: str, writer: str, columns: list[str], rows: int, trusted: int) -> None:
    words = (
        f"{rows} of {rows:,} new rows have the same {_named(columns[:3])}; "
        f"so do {trusted} of {trusted:,} trusted rows"
    )
    reason = _label_rows.sentence_of(name, words, writer)
    fits(reason, name)
    assert "written by" in reason or len(reason) + len(writer[:40]) + 13 > LONGEST


@given(NAMES, NAMES, COUNTS, st.sampled_from(["", *_query_evidence.LIKE]))
def test_model_extraction(user: str, model: str, queries: int, statistic: str) -> None:
    fits(_query_evidence.reason_of(user, model, queries, statistic), user)


@given(
    NAMES, st.sampled_from(["labels", "score counts", "score values", "confidence values"]), COLUMNS, CAUSES
)
def test_prediction_drift(model: str, worst: str, versions: list[str], cause: Cause) -> None:
    numbers = {name: SimpleNamespace(values=np.array([0.1234])) for name in ("score", "confidence")}
    before, now = (SimpleNamespace(numbers=numbers, versions=found) for found in ([], versions))
    reason = prediction_drift._reason(model, 0.0, worst, before, now)  # type: ignore[arg-type]
    fits_with_cause(reason, model, cause)


@given(NAMES, st.integers(1, 10**6), COUNTS, st.floats(1, 1e6), COLUMNS)
def test_pyod(subject: str, worst: int, rows: int, rarity: float, columns: list[str]) -> None:
    fits(pyod._reason(subject, worst, rows, rarity, columns), subject)


@given(NAMES, NAMES, COUNTS, st.none() | COUNTS, st.floats(1, 1e7))
def test_query_budget(user: str, model: str, calls: int, rows: int | None, budget: float) -> None:
    row = {
        "user.id": user, "tocsin.model.name": model, "calls": calls, "rows": rows, "budget": budget, "ratio": 2.0,
        "rows_before": 0, "peers": None,
    }  # fmt: skip
    fits(query_budget._score(row, 29).reason, user)


@given(NAMES, NAMES, NAMES, COUNTS, COUNTS, st.integers(0, 9), st.booleans())
def test_registry_access(
    user: str, resource: str, action: str, accesses: int, artifacts: int, signs: int, quiet: bool
) -> None:
    rules = ["promote without evaluate", "failures then success", "first seen principal", *["off hours"] * 6]
    story = _access_story.Story(
        session=SimpleNamespace(principal=user),  # type: ignore[arg-type]
        top=[Touch(resource, action, 1.0, fresh=True)],
        resources=9,
        fresh=1,
        odd=[],
        hits=[Hit(rule, 1.0, "") for rule in rules[:signs]],
        serious=None,
        sums={"accesses": accesses, "artifacts": artifacts},
        spellings=[],
    )
    fits(story._reason(quiet=quiet), user)
