"""Calibration, severity, windows and `tocsin.testing.evaluate`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin import Baseline, Detector, NoParams, Requires, Score, Stability, Subject, Window, param
from tocsin.clock import EPOCH, floor_time, format_length, format_time, parse_length, parse_time
from tocsin.contract.findings import Severity, finding_id
from tocsin.contract.severities import RATIOS
from tocsin.contract.windows import FrameSource
from tocsin.errors import BaselineError, ConfigError, InputError, PluginError
from tocsin.stats.calibration import MIN_SCORES, calibrate
from tocsin.testing import evaluate

START = datetime(2026, 3, 2, tzinfo=UTC)
times = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
lengths = st.integers(1, 10_000_000).map(lambda s: timedelta(seconds=s))


@dataclass(frozen=True, slots=True)
class Params:
    """Settings."""

    least: int = param(1, ge=1, doc="fewest rows")


class Mean(Detector[Params]):
    """The mean number of bytes, over its baseline's."""

    id = "mean"
    requires = Requires("access", window="1h", baseline="7d")
    stability = Stability.EXPERIMENTAL

    def fit(self, window: Window) -> Baseline | None:
        rows = window.rows("access", ["http.response.bytes"])
        if rows.height < self.params.least:
            return None
        return Baseline(values={"mean": float(rows.to_series().mean() or 0)})  # type: ignore[arg-type]

    def score(self, window: Window) -> Iterator[Score]:
        assert window.baseline is not None
        rows = window.rows("access", ["user.id", "http.response.bytes"])
        for (user,), group in rows.group_by("user.id", maintain_order=True):
            value = float(group["http.response.bytes"].mean() or 0)  # type: ignore[arg-type]
            normal = window.baseline.values["mean"]
            assert isinstance(normal, float)
            yield Score(Subject("principal", str(user)), value / normal, "more bytes")


def rows(hours: int, scale: float = 1.0, start: datetime = START) -> pl.DataFrame:
    rng = np.random.default_rng(hours)
    count = hours * 20
    return pl.DataFrame(
        {
            "@timestamp": [start + timedelta(minutes=3 * i) for i in range(count)],
            "event.id": [f"{scale}-{i}" for i in range(count)],
            "user.id": "ana",
            "http.response.bytes": (rng.gamma(4, 25, count) * scale).astype(int),
        }
    )


def test_what_is_far_above_the_baseline_is_a_finding_and_the_rest_is_a_score() -> None:
    quiet = evaluate(
        Mean(Params()), {"access": rows(24, start=START + timedelta(days=30))}, baseline={"access": rows(240)}
    )
    assert quiet.scores.height == 24
    assert len(quiet.findings) <= 1
    loud = evaluate(Mean(Params()), {"access": rows(3, scale=6)}, baseline=quiet.baseline)
    assert [f.severity for f in loud.findings] == [Severity.CRITICAL] * 3
    assert loud.findings[0].window_end - loud.findings[0].window_start == timedelta(hours=1)
    assert quiet.baseline is not None
    assert loud.findings[0].baseline == quiet.baseline.digest


def test_a_baseline_is_needed_and_must_be_large_enough() -> None:
    with pytest.raises(BaselineError, match="pass baseline="):
        evaluate(Mean(Params()), {"access": rows(2)})
    with pytest.raises(BaselineError, match="longer baseline"):
        evaluate(Mean(Params()), {"access": rows(2)}, baseline={"access": rows(8)})
    with pytest.raises(BaselineError, match="too little history"):
        evaluate(Mean(Params(least=10**6)), {"access": rows(2)}, baseline={"access": rows(100)})


def test_wrong_use_is_told() -> None:
    with pytest.raises(PluginError, match="no such detector"):
        evaluate("nothing", {})
    with pytest.raises(InputError, match="unknown stream"):
        evaluate(Mean(Params()), {"acces": rows(1)}, baseline=Baseline())
    with pytest.raises(InputError, match="reads access; events holds dataset"):
        evaluate(Mean(Params()), {"dataset": pl.DataFrame()}, baseline=Baseline(threshold=1.0))
    with pytest.raises(ConfigError, match="did you mean"):
        evaluate("feature_drift", {}, params={"min_row": 3})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_score_that_is_none_is_the_plug_in_s_fault(value: float) -> None:
    class Bad(Detector[NoParams]):
        """Says nonsense."""

        id = "bad"
        requires = Requires("access", window="1h")
        threshold = 1.0

        def score(self, window: Window) -> Iterator[Score]:
            yield Score(Subject("principal", "ana"), value, "?")

    with pytest.raises(PluginError, match="must be finite"):
        evaluate(Bad(NoParams()), {"access": rows(1)})


# Calibration


@given(
    st.lists(st.floats(0, 100), min_size=MIN_SCORES, max_size=400), st.sampled_from([0.001, 0.01, 0.05, 0.2])
)
def test_few_quiet_scores_reach_the_threshold(scores: list[float], false_alarms: float) -> None:
    threshold = calibrate(scores, false_alarms)
    above = sum(s > threshold for s in scores)
    assert above <= false_alarms * len(scores)
    assert calibrate(scores, false_alarms / 2) >= threshold


@given(st.lists(st.floats(0, 100), min_size=MIN_SCORES, max_size=300), st.floats(0.1, 10))
def test_a_threshold_scales_with_its_scores(scores: list[float], factor: float) -> None:
    scaled = calibrate([s * factor for s in scores], 0.01)
    assert scaled == pytest.approx(calibrate(scores, 0.01) * factor, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("draw", ["normal", "exponential"])
@pytest.mark.parametrize("count", [30, 2_000])
def test_the_wanted_rate_of_false_alarms_is_kept(draw: str, count: int) -> None:
    rng = np.random.default_rng(1)
    sample = {
        "normal": lambda n: np.abs(rng.normal(size=n)),
        "exponential": lambda n: rng.exponential(size=n),
    }[draw]
    rates = [(sample(10_000) >= calibrate(sample(count).tolist(), 0.01)).mean() for _ in range(60)]
    assert np.median(rates) <= 0.015


def test_too_little_to_calibrate_on_is_said() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        calibrate([1.0] * 7, 0.01)
    with pytest.raises(ValueError, match="false_alarms"):
        calibrate([1.0] * 70, 0)


@given(st.floats(0, 1000), st.floats(0, 1000), st.floats(1e-6, 100))
def test_severity_rises_with_the_score(first: float, second: float, threshold: float) -> None:
    low, high = (RATIOS.of(s, threshold) for s in sorted((first, second)))
    assert (low.rank if low else -1) <= (high.rank if high else -1)
    assert (high is None) == (max(first, second) < threshold * (1 - 1e-9))


# Time


@given(times, lengths)
def test_every_time_is_in_exactly_one_tumbling_window(time: datetime, length: timedelta) -> None:
    start = floor_time(time, length)
    assert start <= time < start + length
    assert (start - EPOCH) % length == timedelta(0)


@given(times, lengths, lengths)
def test_windows_tumble_without_gap_or_overlap(start: datetime, span: timedelta, length: timedelta) -> None:
    length = max(length, span / 50)
    parts = list(Window(start, start + span, FrameSource.of({})).tumble(length))
    assert (parts[0].start, parts[-1].end) == (start, start + span)
    assert all(a.end == b.start for a, b in zip(parts, parts[1:], strict=False))
    assert all(timedelta(0) < p.length <= length for p in parts)


@given(times)
def test_a_time_is_written_with_its_zone_and_read_back(time: datetime) -> None:
    text = format_time(time)
    assert text.endswith("Z")
    assert parse_time(text) == time


@given(lengths)
def test_a_length_is_written_and_read_back(length: timedelta) -> None:
    assert parse_length(format_length(length)) == length


@pytest.mark.parametrize("text", ["", "1", "h", "1h 2m", "1y", "-1h", "1.5h"])
def test_what_is_no_length_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is not a length"):
        parse_length(text)


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_finding_ids_differ_where_their_subjects_do(a: tuple[str, str], b: tuple[str, str]) -> None:
    ids = [finding_id("d", START, START, Subject(*s)) for s in (a, b)]
    if "\x1f" not in "".join((*a, *b)):
        assert (ids[0] == ids[1]) == (a == b)


# Windows


def test_rows_come_in_event_time_order_whatever_they_came_in() -> None:
    frame = rows(2).sample(fraction=1, shuffle=True, seed=3)
    window = Window(START, START + timedelta(hours=2), FrameSource.of({"access": frame}))
    assert window.rows("access", ["event.id"]).to_series().to_list() == rows(2)["event.id"].to_list()
    assert window.history("access", "1h").collect().is_empty()
    assert window.before("1h").length == timedelta(hours=1)


def test_the_digest_of_a_baseline_follows_its_content() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0], "names": [["a"], ["b"]]})
    one = Baseline({"f": frame}, {"n": 1}, 2.0)
    assert one.digest == Baseline({"f": frame.clone()}, {"n": 1}, 2.0).digest
    others = [
        Baseline({"g": frame}, {"n": 1}, 2.0),
        Baseline({"f": frame.reverse()}, {"n": 1}, 2.0),
        Baseline({"f": frame}, {"n": 2}, 2.0),
        Baseline({"f": frame}, {"n": 1}, 2.1),
        Baseline({"f": frame.cast({"x": pl.Int64})}, {"n": 1}, 2.0),
    ]
    assert one.digest not in {b.digest for b in others}
