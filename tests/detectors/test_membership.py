"""membership: training rows among a principal's queries, what is usual, and which rows of a dataset count."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from tests.detectors.test_model_extraction import VALUES, asked
from tests.generators.queries import START, answers, applicants, calls, snapshots, trained
from tocsin.contract.findings import Finding
from tocsin.contract.windows import Baseline
from tocsin.errors import BaselineError
from tocsin.testing.evaluate import Evaluation, evaluate

TRAINED = applicants(2000, seed=91)
ROWS = {digest: rows.lazy() for digest, rows in trained().items()}


def fitted(history: pl.DataFrame, rows: dict[str, pl.LazyFrame] | None = None, day: int = 0) -> Baseline:
    found = evaluate(
        "membership",
        {"inference": calls(28, 1)},
        {},
        {"inference": history, "dataset": snapshots(day)},
        ROWS if rows is None else rows,
    )
    assert found.baseline is not None
    return found.baseline


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return fitted(calls(14, 14))


def judged(events: pl.DataFrame, baseline: Baseline) -> Evaluation:
    return evaluate("membership", {"inference": events}, {}, baseline)


def answered(rows: np.ndarray, user: str = "prober") -> pl.DataFrame:
    """A day of one principal's queries, with the model's answers."""
    return asked(rows, user).with_columns(pl.Series(name, values) for name, values in answers(rows).items())


def candidates(members: int, others: int) -> np.ndarray:
    rows = np.vstack([TRAINED[:members], applicants(others, seed=5)])
    return rows[np.random.default_rng(0).permutation(len(rows))]


def the(found: list[Finding], user: str) -> Finding:
    [finding] = [finding for finding in found if finding.subject.id == user]
    return finding


@pytest.mark.parametrize("others", [20, 500])
def test_training_rows_are_found_among_other_queries(baseline: Baseline, others: int) -> None:
    finding = the(list(judged(answered(candidates(40, others)), baseline).findings), "prober")
    assert finding.reason.startswith("prober asked credit about 40 rows of dataset applications in ")
    assert finding.evidence["dataset"] == "applications"
    assert 40 <= int(str(finding.evidence["queries about training rows"])) < 60


def test_rows_that_are_changed_a_little_are_found(baseline: Baseline) -> None:
    nudges = np.random.default_rng(1).normal(size=(40, 8))
    rows = TRAINED[:40] + 0.002 * TRAINED.std(axis=0) * nudges
    assert the(list(judged(answered(rows), baseline).findings), "prober")


def test_honest_clients_are_left_alone(baseline: Baseline) -> None:
    assert not list(judged(calls(30, 2), baseline).findings)


def test_rows_that_were_written_after_the_query_do_not_count() -> None:
    """An applicant whom a client asks about becomes a training row later."""
    days = [_day(answered(TRAINED[day * 20 :][:20], "client-0"), day) for day in range(14, 20)]
    history = pl.concat([calls(14, 14), *days])
    shares = [
        fitted(history, day=written).frames["usual"].filter(pl.col("principal") == "client-0")["share"].max()
        for written in (27, 0)
    ]
    assert shares == [0.0, pytest.approx(0.4, abs=0.1)]


def test_who_scores_customers_again_every_day_is_usual_from_the_next_baseline_on() -> None:
    nightly = [_day(answered(TRAINED[:200], "nightly"), day) for day in range(14, 28)]
    known = fitted(pl.concat([calls(14, 14), *nightly]))
    today = pl.concat([answered(TRAINED[:200], name) for name in ("nightly", "newcomer")])
    found = list(judged(today, known).findings)
    assert [finding.subject.id for finding in found] == ["newcomer"]


def test_repeated_queries_count_once(baseline: Baseline) -> None:
    assert not list(judged(answered(np.repeat(TRAINED[:1], 200, axis=0)), baseline).findings)


def test_spellings_of_a_name_are_pooled(baseline: Baseline) -> None:
    day = answered(candidates(40, 40))
    names = ["client-1" if i % 2 else "Client-1\u200b" for i in range(len(day))]
    found = judged(day.with_columns(pl.Series("user.id", names)), baseline)
    assert len(list(found.findings)) == 1


def test_odd_vectors_are_no_error(baseline: Baseline) -> None:
    day = answered(candidates(60, 0))
    odd = [[float("inf")] * 8, [None] * 8, [], [1.0], [float("nan")] * 8, [1e308] * 8]
    vectors = [odd[i % 6] if i < 12 else values for i, values in enumerate(day[VALUES].to_list())]
    day = day.with_columns(pl.Series(VALUES, vectors, dtype=pl.List(pl.Float64)))
    assert the(list(judged(day, baseline).findings), "prober")


def test_columns_on_another_scale_and_of_text_are_no_features() -> None:
    rows = trained()["trained"].with_columns(pl.col("f0") * 1e6, pl.col("f1").cast(pl.String))
    known = fitted(calls(14, 14), {"trained": rows.lazy()})
    assert known.frames["datasets"]["places"].to_list()[0] == [2, 3, 4, 5, 6, 7]
    assert the(list(judged(answered(candidates(60, 20)), known).findings), "prober")


def test_a_dataset_of_something_else_is_an_error_that_says_what_is_needed() -> None:
    rows = pl.DataFrame({"height": [1.0, 2.0], "default": ["0", "1"]})
    with pytest.raises(BaselineError, match="at least half of a model's features"):
        fitted(calls(14, 14), {"trained": rows.lazy()})


def test_rows_that_cannot_be_read_are_left_out() -> None:
    with pytest.raises(BaselineError, match="at least half of a model's features"):
        fitted(calls(14, 14), {})


def test_one_infinite_value_in_a_dataset_hides_nothing() -> None:
    """Whoever writes a dataset must not be able to put all rows into one cell, or each row into its own."""
    rows = trained()["trained"]
    odd = rows.head(3).with_columns(pl.lit(value).alias("f5") for value in [float("inf")])
    huge = rows.head(3).with_columns(pl.lit(1e300).alias("f5"))
    known = fitted(calls(14, 14), {"trained": pl.concat([rows, odd, huge]).lazy()})
    assert the(list(judged(answered(candidates(40, 200)), known).findings), "prober")


def _day(frame: pl.DataFrame, day: int) -> pl.DataFrame:
    """The same calls on another day."""
    shift = pl.lit(START + timedelta(days=day)) - pl.col("@timestamp").min().dt.truncate("1d")
    return frame.with_columns(pl.col("@timestamp") + shift, pl.col("event.id") + f"-{day}")
