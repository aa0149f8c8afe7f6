"""`tocsin plugins new detector NAME --baseline`: a detector that learns what is normal."""

from __future__ import annotations

_DETECTOR = '''\
"""More calls of a model failed than in its baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from tocsin import Baseline, Detector, Requires, Score, Stability, Subject, Window, param

_STREAM, _MODEL, _OUTCOME = "inference", "tocsin.model.name", "event.outcome"


@dataclass(frozen=True, slots=True)
class Params:
    """Settings. They are set in tocsin.yaml under `detectors: {{{name}: {{params: …}}}}`."""

    min_calls: int = param(50, ge=1, doc="a model with fewer calls in the window gets no score")
    min_baseline_calls: int = param(500, ge=1, doc="a model with fewer calls in the baseline is not learned")


class {cls}(Detector[Params]):
    """More calls of a model failed than in its baseline.

    What it sees
        The share of a model's calls whose `event.outcome` is `failure`, window by window.
    Method
        `fit` stores each model's usual share of failed calls. The score is the excess over that share in
        standard deviations of a binomial count. The threshold is calibrated on the part of the baseline
        that `fit` did not read.
    Blind spots
        A model with few calls in the baseline; a share that rises slowly over weeks; a share that falls.
    False alarms
        A deployment that was rolled back at once; a load test with invalid requests.
    Respond
        Read `error.code` of the failed calls, then check what was deployed in that window.
    """

    id = "{name}"
    requires = Requires(_STREAM, window="1h", baseline="14d")
    stability = Stability.EXPERIMENTAL
    floor = 3.0

    def fit(self, window: Window) -> Baseline | None:
        models = _counts(window).filter(pl.col("calls") >= self.params.min_baseline_calls)
        if models.is_empty():
            return None
        # One failed and one successful call are added, so that no usual share is 0 or 1.
        usual = (pl.col("failed") + 1) / (pl.col("calls") + 2)
        return Baseline(frames={{"models": models.select(_MODEL, usual.alias("usual"))}})

    def score(self, window: Window) -> Iterator[Score]:
        assert window.baseline is not None  # a detector that requires a baseline is never called without one
        models = _counts(window).join(window.baseline.frames["models"], on=_MODEL).sort(_MODEL)
        for model, calls, failed, usual in models.iter_rows():
            if calls >= self.params.min_calls:
                deviation = math.sqrt(calls * usual * (1 - usual))
                yield Score(
                    Subject("model", model),
                    max(0.0, (failed - calls * usual) / deviation),
                    reason=f"{{model}} failed {{failed}} of {{calls}} calls in {{window.words}}; {{usual:.1%}} is usual",
                    evidence={{"calls": calls, "failed": failed, "usual_share": usual}},
                )


def _counts(window: Window) -> pl.DataFrame:
    """Calls and failed calls of each model, counted in the store."""
    groups = window.summary(_STREAM, [_MODEL, _OUTCOME]).drop_nulls(_MODEL)
    failed = pl.col("count").filter(pl.col(_OUTCOME) == "failure").sum()
    return groups.group_by(_MODEL).agg(pl.col("count").sum().alias("calls"), failed.alias("failed"))
'''

_CASES = """\
# Rows in, findings expected. Run with: tocsin plugins check .
# `baseline` holds trusted events: the first half is fitted, the second half calibrates the threshold.
- name: a third of the calls fail
  kind: fires
  baseline:
    inference: {{generate: tocsin_{name}.rows.history, hours: 96, calls: 100, share: 0.03}}
  events:
    inference: {{generate: tocsin_{name}.rows.calls, count: 100, failed: 33}}
  expect: [{{subject.type: model, subject.id: credit, severity: high}}]

- name: as many calls fail as usual
  kind: stays_quiet
  baseline:
    inference: {{generate: tocsin_{name}.rows.history, hours: 96, calls: 100, share: 0.03}}
  events:
    inference: {{generate: tocsin_{name}.rows.calls, count: 100, failed: 3}}

- name: twice as many calls fail as usual, which also happens by chance
  kind: near_miss
  baseline:
    inference: {{generate: tocsin_{name}.rows.history, hours: 96, calls: 100, share: 0.03}}
  events:
    inference: {{generate: tocsin_{name}.rows.calls, count: 100, failed: 6}}
"""

_ROWS = '''\
"""Rows for the cases."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

_NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def calls(count: int, failed: int) -> pl.DataFrame:
    """Calls of one model within an hour, the first `failed` of them failures."""
    return _frame(_NOW, timedelta(hours=1) / count, [i < failed for i in range(count)])


def history(hours: int, calls: int, share: float) -> pl.DataFrame:
    """The hours before that, `calls` an hour; each call fails with the probability `share`."""
    chance = random.Random(1)  # noqa: S311 — a fixed seed: cases give the same rows every time
    failed = [chance.random() < share for _ in range(hours * calls)]
    return _frame(_NOW - timedelta(hours=hours), timedelta(hours=1) / calls, failed)


def _frame(start: datetime, step: timedelta, failed: Sequence[bool]) -> pl.DataFrame:
    return pl.DataFrame(
        {{
            "@timestamp": [start + step * i for i in range(len(failed))],
            "event.id": [f"call-{{start:%d%H}}-{{i}}" for i in range(len(failed))],
            "event.outcome": ["failure" if f else "success" for f in failed],
            "tocsin.model.name": "credit",
        }}
    )
'''

FILES = {
    "tocsin_{name}/{name}.py": _DETECTOR,
    "tocsin_{name}/rows.py": _ROWS,
    "cases/{name}.yaml": _CASES,
}
