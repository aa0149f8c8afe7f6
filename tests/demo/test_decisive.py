"""The decisive event: the end of the shortest prefix of a window on which the final evaluation gives the finding."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.contract.early import Early
from tocsin.contract.findings import Score, Severity, Subject
from tocsin.contract.plugin import Detector, NoParams, Requires
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin.testing.decisive import decisive_event, prefixes

START, HOUR, MINUTE = datetime(2026, 3, 1, tzinfo=UTC), timedelta(hours=1), timedelta(minutes=1)
ANA = Subject("principal", "ana")


class Share(Detector[NoParams]):
    """The share of accesses that ana made: it rises and falls, with accesses of others too."""

    id = "share"
    requires = Requires("access", window="1h", history="1h")
    threshold = 0.4
    calls = 0

    def score(self, window: Window) -> Iterator[Score]:
        self.calls += 1
        users = window.rows("access", ["user.id"])["user.id"]
        if len(users) >= 4:
            yield Score(ANA, float((users == "ana").sum()) / len(users), f"{len(users)} accesses")


class Count(Share):
    """The number of accesses of a principal."""

    id = "count"
    threshold = 3.0
    early = Early(by="user.id", grows=True)

    def score(self, window: Window) -> Iterator[Score]:
        self.calls += 1
        for user, count in window.summary("access", ["user.id"]).iter_rows():
            yield Score(Subject("principal", user), float(count), f"{count} accesses")


def window(users: str) -> Window:
    """One access a minute, by ana (a) or bea (b)."""
    names = {"a": "ana", "b": "bea"}
    rows = {
        "@timestamp": [START + n * MINUTE for n in range(len(users))],
        "event.id": [str(n) for n in range(len(users))],
        "user.id": [names[user] for user in users],
    }
    return Window(START, START + HOUR, FrameSource.of({"access": pl.DataFrame(rows)}))


def test_a_score_that_falls_again_counts_where_it_first_reached_the_threshold() -> None:
    detector, users = Share(NoParams()), "bbbaabbbbbbbbbbbbbbbbb"
    assert decisive_event(detector, window(users), ANA) == START + 4 * MINUTE
    assert decisive_event(detector, window(users), ANA, Severity.HIGH) is None
    assert [
        round(p.ratio, 2) for p in prefixes(detector, window(users), ANA, lambda n: n in {3, 4, 5, 20})
    ] == [
        0.0,
        0.62,
        1.0,
        0.25,
    ]


def test_a_severity_can_be_asked_for() -> None:
    detector = Count(NoParams())
    assert decisive_event(detector, window("ab" * 10), ANA) == START + 4 * MINUTE
    assert decisive_event(detector, window("ab" * 10), ANA, Severity.HIGH) == START + 10 * MINUTE
    assert decisive_event(detector, window("ab"), ANA) is None


def test_only_ends_of_the_subject_are_tried_and_a_growing_score_needs_few() -> None:
    detector = Count(NoParams())
    assert decisive_event(detector, window("b" * 20 + "a" * 40), ANA) == START + 22 * MINUTE
    assert detector.calls <= 7
    assert len(prefixes(detector, window("b" * 20 + "a" * 40), ANA)) == 40


@settings(deadline=None, max_examples=30)
@given(st.text("ab", min_size=1, max_size=59), st.integers(0, 60), st.integers(0, 60))
def test_only_prefixes_that_end_in_a_part_of_the_window_are_tried(
    users: str, since: int, before: int
) -> None:
    begin, end = START + since * MINUTE, START + before * MINUTE
    for detector in (Share(NoParams()), Count(NoParams())):
        inside = [p for p in prefixes(detector, window(users), ANA) if begin <= p.time < end]
        first = next((p.time for p in inside if p.severity), None)
        assert decisive_event(detector, window(users), ANA, since=begin, before=end) == first


@settings(deadline=None, max_examples=30)
@given(st.text("ab", min_size=1, max_size=59))
def test_it_is_the_first_of_all_prefixes(users: str) -> None:
    for detector in (Share(NoParams()), Count(NoParams())):
        first = next((p.time for p in prefixes(detector, window(users), ANA) if p.severity), None)
        assert decisive_event(detector, window(users), ANA) == first


def test_of_several_baselines_the_worst_score_counts() -> None:
    loose, strict = Baseline(threshold=5.0), Baseline(threshold=2.0)
    detector = Count(NoParams())
    assert decisive_event(detector, window("aaaaaa"), ANA, baselines=[loose]) == START + 4 * MINUTE
    assert decisive_event(detector, window("aaaaaa"), ANA, baselines=[loose, strict]) == START + MINUTE
