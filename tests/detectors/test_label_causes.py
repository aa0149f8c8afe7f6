"""`label_poisoning`: flips in one partner's rows, likely causes, and several snapshots in a window."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from tests.generators.data_integrity import LABEL, applications
from tocsin.contract.evaluation import Judgement, fit, judge
from tocsin.contract.findings import Severity
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin_detectors._label_rows import spending
from tocsin_detectors.label_poisoning import LabelPoisoning, Params

START, DAY = datetime(2026, 3, 2, tzinfo=UTC), timedelta(days=1)
DETECTOR = LabelPoisoning(Params(chunks=20))
Snapshots = Sequence[tuple[int, str, pl.DataFrame]]  # day, writer, rows


def rows(number: int, seed: int, stricter: float = 0.0) -> pl.DataFrame:
    """Applications of four partners, with labels that depend on the rows closely; `stricter` moves all log-odds."""
    rng = np.random.default_rng(seed)
    frame = applications(number, seed).with_columns(
        partner=pl.Series(rng.choice(["north", "south", "east", "west"], number))
    )
    risk = 4 * np.log(frame["debt"].to_numpy() / frame["income"].to_numpy()) + 3 + stricter
    return frame.with_columns(
        pl.Series(LABEL, (rng.random(number) < 1 / (1 + np.exp(-risk))).astype(np.int64))
    )


def flipped(frame: pl.DataFrame, share: float, partner: str = "") -> pl.DataFrame:
    among = np.flatnonzero(
        np.asarray(frame["partner"] == partner) if partner else np.ones(len(frame), dtype=bool)
    )
    chosen = np.random.default_rng(0).choice(among, round(share * len(among)), replace=False)
    labels = frame[LABEL].to_numpy().copy()
    labels[chosen] = 1 - labels[chosen]
    return frame.with_columns(pl.Series(LABEL, labels))


def moved(frame: pl.DataFrame, share: float) -> pl.DataFrame:
    """In a share of the rows, the label depends on age instead."""
    rng = np.random.default_rng(1)
    other = (rng.random(len(frame)) < 1 / (1 + np.exp(-(frame["age"].to_numpy() - 60) / 8))).astype(np.int64)
    labels = np.where(rng.random(len(frame)) < share, other, frame[LABEL].to_numpy())
    return frame.with_columns(pl.Series(LABEL, labels))


def source(snapshots: Snapshots) -> FrameSource:
    events = [
        {
            "@timestamp": START + day * DAY + timedelta(minutes=place),
            "user.id": writer,
            "tocsin.dataset.name": "loans",
            "tocsin.dataset.digest": f"{day}-{place}",
            "tocsin.dataset.label": LABEL,
        }
        for place, (day, writer, _) in enumerate(snapshots)
    ]
    frames = {f"{day}-{place}": frame.lazy() for place, (day, _, frame) in enumerate(snapshots)}
    return FrameSource.of({"dataset": pl.DataFrame(events)}, frames)


@functools.cache
def baseline() -> Baseline:
    trusted = source([(day, "feed", rows(1000, day)) for day in range(4)])
    return fit(DETECTOR, Window(START, START + 4 * DAY, trusted), 0.01)


def last(snapshots: Snapshots) -> Judgement:
    """The judgement on the last day, with the days before as history."""
    day = max(day for day, *_ in snapshots)
    window = Window(START + day * DAY, START + (day + 1) * DAY, source(snapshots), baseline())
    [judgement] = judge(DETECTOR, window)
    return judgement


def quiet(days: range) -> list[tuple[int, str, pl.DataFrame]]:
    return [(day, "feed", rows(500, 100 + day)) for day in days]


def test_flips_of_one_partner_name_it_in_sentence_and_evidence() -> None:
    finding = last([*quiet(range(10, 16)), (16, "feed", flipped(rows(1000, 50), 0.2, "east"))]).finding
    assert finding is not None
    assert (finding.evidence["column"], finding.evidence["value"]) == ("partner", "east")
    assert "likely attack" in finding.reason
    assert "partner east" in finding.reason
    assert "only the rows with partner east changed" in str(finding.evidence["verdict_for"])
    assert finding.severity.rank >= Severity.HIGH.rank


def test_sudden_flips_are_likely_an_attack() -> None:
    score = last([*quiet(range(10, 16)), (16, "guest", flipped(rows(1000, 51), 0.1))]).score
    assert score.evidence["verdict"] == "attack"
    found = str(score.evidence["verdict_for"])
    assert "sudden" in found
    assert "guest wrote none of the earlier snapshots" in found


def test_a_change_that_grows_is_likely_drift() -> None:
    growing = [(day, "feed", moved(rows(500, day), 0.08 * (day - 9))) for day in range(10, 17)]
    evidence = last(growing).score.evidence
    assert evidence["verdict"] == "drift"
    assert "the change grew" in str(evidence["verdict_for"])


def test_a_change_on_every_seventh_day_is_likely_the_calendar() -> None:
    weeks = [(day, "feed", moved(rows(500, day), 0.6 * (day % 7 == 3))) for day in range(10, 32)]
    assert last(weeks).score.evidence["verdict"] == "calendar"


def test_a_moved_relation_beside_a_lost_column_is_likely_a_change_of_the_pipeline() -> None:
    changed = (16, "feed", rows(1000, 52, stricter=2.0).drop("owner"))
    assert last([*quiet(range(10, 16)), changed]).score.evidence["verdict"] == "pipeline change"


def test_a_lost_column_does_not_make_flips_a_change_of_the_pipeline() -> None:
    changed = flipped(rows(1000, 53), 0.1).drop("owner")
    score = last([*quiet(range(10, 16)), (16, "feed", changed)]).score
    assert score.evidence["verdict"] in ("attack", "unexplained")


def test_without_a_finding_there_is_no_verdict() -> None:
    judgement = last(quiet(range(10, 13)))
    assert judgement.finding is None
    assert "verdict" not in judgement.score.evidence


def test_small_snapshots_of_others_do_not_dilute_those_of_a_writer() -> None:
    parts = flipped(rows(200, 54), 0.15)
    small = [(16, "guest", parts[i * 20 : (i + 1) * 20]) for i in range(10)]
    honest = rows(2000, 55)
    small += [(16, "feed", honest[i * 20 : (i + 1) * 20]) for i in range(100)]
    finding = last(small).finding
    assert finding is not None
    assert finding.evidence["writer"] == "guest"


def test_snapshots_beyond_the_usual_number_need_a_little_more() -> None:
    factors = [spending(place) for place in range(-2, 30)]
    assert factors[:2] == [1.0, 1.0]
    assert factors[2] < 1
    assert factors == sorted(factors, reverse=True)
    assert min(factors) > 0.7
