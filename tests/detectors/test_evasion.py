"""evasion: variants of one input among a principal's other queries, and what honest clients do."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.detectors.test_model_extraction import VALUES, asked
from tests.generators.queries import answers, applicants, calls
from tocsin.contract.findings import Finding
from tocsin.contract.windows import Baseline
from tocsin.testing.evaluate import Evaluation, evaluate
from tocsin_detectors import _calls_by_principal


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    found = evaluate("evasion", {"inference": calls(28, 1)}, {}, {"inference": calls(14, 14)})
    assert found.baseline is not None
    return found.baseline


def judged(events: pl.DataFrame, baseline: Baseline) -> Evaluation:
    return evaluate("evasion", {"inference": events}, {}, baseline)


def answered(rows: np.ndarray, user: str = "applicant") -> pl.DataFrame:
    """A day of one principal's queries, with the model's answers."""
    return asked(rows, user).with_columns(pl.Series(name, values) for name, values in answers(rows).items())


def climbing(variants: int, among: int, seed: int = 0) -> np.ndarray:
    """An applicant whose fields 5 and 3 are changed step by step, among other applicants."""
    rows = np.repeat(applicants(1, seed=77), variants, axis=0)
    rows[:, 5] = np.linspace(-1, 3, variants)
    rows[:, 3] = np.arange(variants) % 2
    others = applicants(among, seed=seed + 5)
    places = np.sort(np.random.default_rng(seed).choice(len(rows) + among, len(rows), replace=False))
    mixed = np.empty((len(rows) + among, 8))
    mixed[places] = rows
    mixed[np.setdiff1d(np.arange(len(mixed)), places)] = others
    return mixed


def the(found: list[Finding], user: str) -> Finding:
    [finding] = [finding for finding in found if finding.subject.id == user]
    return finding


@pytest.mark.parametrize("among", [0, 300])
def test_variants_of_an_applicant_are_found_among_others(baseline: Baseline, among: int) -> None:
    found = judged(answered(climbing(40, among)), baseline)
    finding = the(list(found.findings), "applicant")
    assert finding.reason.startswith("applicant sent 4")
    assert "variants of one input to" in finding.reason
    assert "the answer changed from 1 to 0 after" in finding.reason
    varied: Any = finding.evidence["values of varied features"]
    assert set(varied) <= {"f5", "f3"}


def test_honest_clients_are_left_alone(baseline: Baseline) -> None:
    assert not list(judged(calls(30, 2), baseline).findings)


def test_of_a_flood_of_calls_a_sample_is_judged(baseline: Baseline, monkeypatch: pytest.MonkeyPatch) -> None:
    day = answered(climbing(400, 400))
    whole = the(list(judged(day, baseline).findings), "applicant")
    monkeypatch.setattr(_calls_by_principal, "MOST", 200)
    monkeypatch.setattr(_calls_by_principal, "PART", 100)
    part = the(list(judged(day, baseline).findings), "applicant")
    numbers: list[Any] = [finding.evidence["distinct queries"] for finding in (whole, part)]
    assert numbers[0] > 600
    assert 100 <= numbers[1] <= 300


def test_repeated_queries_count_once(baseline: Baseline) -> None:
    rows = np.repeat(applicants(1, seed=8), 200, axis=0)
    assert not list(judged(answered(rows), baseline).findings)


def test_spellings_of_a_name_are_pooled_and_have_no_past(baseline: Baseline) -> None:
    day = answered(climbing(40, 0))
    names = ["client-1" if i % 2 else "Client-1\u200b" for i in range(len(day))]
    found = judged(day.with_columns(pl.Series("user.id", names)), baseline)
    assert len(list(found.findings)) == 1


def test_another_order_of_features_changes_nothing(baseline: Baseline) -> None:
    day = answered(climbing(40, 100))
    names = day["tocsin.features.names"][0]
    turned = day.with_columns(
        pl.col(VALUES).list.reverse(),
        pl.lit(",".join(reversed(names.split(",")))).alias("tocsin.features.names"),
    )
    scores = [the(list(judged(one, baseline).findings), "applicant").score for one in (day, turned)]
    assert scores[0] == pytest.approx(scores[1])


def test_odd_vectors_are_no_error(baseline: Baseline) -> None:
    day = answered(climbing(40, 0))
    odd = [[float("inf")] * 8, [None] * 8, [], [1.0], [float("nan")] * 8]
    vectors = [odd[i % 5] if i < 10 else values for i, values in enumerate(day[VALUES].to_list())]
    day = day.with_columns(pl.Series(VALUES, vectors, dtype=pl.List(pl.Float64)))
    assert the(list(judged(day, baseline).findings), "applicant")


def test_a_known_number_of_variants_is_usual_for_its_principal() -> None:
    """A client that simulates every day is usual from its next baseline on; a new one with the same queries is not."""
    month = [
        answered(climbing(30, 30, seed=day), "simulator").with_columns(
            pl.col("@timestamp") - pl.duration(days=28 - day), pl.col("event.id") + f"-{day}"
        )
        for day in range(14, 28)
    ]
    history = pl.concat([calls(14, 14), *month])
    today = pl.concat([answered(climbing(30, 30, seed=40), name) for name in ("simulator", "newcomer")])
    found = evaluate("evasion", {"inference": today}, {}, {"inference": history})
    scores = dict(found.scores.select("subject.id", "score").iter_rows())
    assert scores["simulator"] < scores["newcomer"]
