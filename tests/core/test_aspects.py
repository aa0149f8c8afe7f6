"""What cannot be judged is a finding of its own: its severity, its identity, and what it does not influence."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin import Baseline, Detector, Requires, Score, Severity, Subject, Window, not_judged
from tocsin.contract.aspects import LIMIT, THRESHOLD, unusual
from tocsin.contract.evaluation import fit, judge
from tocsin.contract.plugin import NoParams
from tocsin.contract.severities import RATIOS
from tocsin.contract.windows import FrameSource
from tocsin.errors import PluginError

DAY = timedelta(days=1)
START = datetime(2026, 11, 1, tzinfo=UTC)
MODEL = Subject("model", "credit")


def window() -> Window:
    return Window(START, START + DAY, FrameSource.of({}))


class Given(Detector[NoParams]):
    """Returns the scores that a test gives it."""

    id = "given"
    requires = Requires("inference", window="1d")
    threshold = 1.0

    def __init__(self, *scores: Score) -> None:
        super().__init__(NoParams())
        self.scores = scores

    def score(self, window: Window) -> Iterator[Score]:
        yield from self.scores


@pytest.mark.parametrize(
    ("count", "usual", "severity"),
    [
        (0, 0, None),
        (1, 0, Severity.LOW),
        (25, 0, Severity.MEDIUM),
        (1000, 0, Severity.HIGH),
        (10**9, 0, Severity.HIGH),
        (100, 90, None),
        (130, 90, Severity.LOW),
        (1500, 90, Severity.MEDIUM),
    ],
)
def test_severity_grows_with_how_unusual_the_count_is(
    count: int, usual: float, severity: Severity | None
) -> None:
    assert RATIOS.of(unusual(count, usual), THRESHOLD) is severity


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.floats(0, 1e6))
def test_more_events_are_never_less_unusual(first: int, second: int, usual: float) -> None:
    low, high = sorted((first, second))
    assert unusual(low, usual) <= unusual(high, usual)


def test_it_stands_beside_the_finding_of_the_same_subject() -> None:
    real = Score(MODEL, 3.0, "credit is attacked")
    causes = [not_judged(MODEL, cause, f"{cause} of credit", count=30) for cause in ("names", "values")]
    judged = list(judge(Given(real, *causes), window()))
    assert [j.score.aspect for j in judged] == ["", "names", "values"]
    assert [j.finding.severity for j in judged if j.finding] == ["critical", "medium", "medium"]
    assert len({j.finding.id for j in judged if j.finding}) == 3
    assert judged[1].score.reason == "not judged: names of credit"


def test_a_subject_has_one_score_for_each_cause() -> None:
    twice = [not_judged(MODEL, "names", "names are missing")] * 2
    with pytest.raises(PluginError, match="twice"):
        list(judge(Given(*twice), window()))


@given(st.integers(0, 200), st.integers(1, 50))
def test_a_flood_becomes_a_few_findings_and_a_count(subjects: int, count: int) -> None:
    flood = [not_judged(Subject("principal", f"p{i}"), "names", "no names", count) for i in range(subjects)]
    real = Score(MODEL, 3.0, "credit is attacked")
    judged = list(judge(Given(*flood, real), window()))
    assert judged[0].score == real
    assert len(judged) <= LIMIT + 2
    if subjects > LIMIT:
        assert judged[-1].score.evidence["count"] == subjects - LIMIT
        assert judged[-1].score.subject == Subject("detector", "given")


def test_louder_aspects_do_not_make_a_severe_one_mild() -> None:
    subjects = [(f"loud{i}", 100_000) for i in range(LIMIT)] + [("thief", 200)]
    flood = [not_judged(Subject("principal", who), "names", "no names", count) for who, count in subjects]
    *_, last = judge(Given(*flood), window())
    assert last.finding is not None
    assert last.finding.severity is Severity.HIGH


class Learner(Detector[NoParams]):
    """Scores each call, and cannot judge those without a number."""

    id = "learner"
    requires = Requires("inference", window="1h", baseline="2d")

    def __init__(self) -> None:
        super().__init__(NoParams())

    def fit(self, window: Window) -> Baseline | None:
        return Baseline()

    def score(self, window: Window) -> Iterator[Score]:
        rows = window.rows("inference", ("@timestamp", "tocsin.output.score"))
        missing = rows["tocsin.output.score"].null_count()
        yield Score(MODEL, float(len(rows)), "the number of calls")
        if missing:
            yield not_judged(MODEL, "score", f"{missing} calls have no score", missing * 1000)


def test_it_never_calibrates_a_threshold() -> None:
    times = [START + timedelta(minutes=30) + timedelta(hours=i) for i in range(48)]
    frames = []
    for scores in ([1.0] * 48, [1.0, None] * 24):
        frame = pl.DataFrame({"@timestamp": times, "tocsin.output.score": scores})
        frames.append(FrameSource.of({"inference": frame}))
    thresholds = [fit(Learner(), Window(START, START + 2 * DAY, f), 0.01).threshold for f in frames]
    assert thresholds[0] == thresholds[1]
