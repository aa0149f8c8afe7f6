"""What early evaluations keep: never longer than the window, and never in a final evaluation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin_detectors._kept import KeptWhile

DAY = timedelta(days=1)
FINAL = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC), FrameSource({}))
EARLY = replace(FINAL, changed=frozenset({"credit"}))


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=40))
def test_a_value_is_never_older_than_a_quarter_of_its_rows(rows: list[int]) -> None:
    kept: KeptWhile[int] = KeptWhile()
    for now in rows:
        made = kept.of(EARLY, "credit", now, lambda now=now: now)  # type: ignore[misc]
        assert made <= now < 1.25 * made


def test_a_final_evaluation_another_window_and_another_key_compute_anew() -> None:
    kept, number = KeptWhile[int](), count()

    def value(window: Window, key: str) -> int:
        return kept.of(window, key, 100, lambda: next(number))

    assert [value(EARLY, "credit"), value(EARLY, "credit"), value(EARLY, "limits")] == [0, 0, 1]
    assert [value(FINAL, "credit"), value(FINAL, "credit"), value(EARLY, "credit")] == [2, 3, 0]
    other = EARLY.with_baseline(
        Baseline(values={"most": 1})
    )  # a window may be judged by two baselines in turn
    assert [value(other, "credit"), value(EARLY, "credit"), value(other, "credit")] == [4, 0, 4]
    later = replace(EARLY, start=EARLY.start + DAY, end=EARLY.end + DAY)
    assert [value(later, "credit"), value(EARLY, "credit")] == [5, 6]
