"""`tocsin plugins new detector NAME`: a rule with a fixed threshold."""

from __future__ import annotations

_DETECTOR = '''\
"""More calls of a model failed than the threshold allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from tocsin import Detector, Requires, Score, Stability, Subject, Window, param


@dataclass(frozen=True, slots=True)
class Params:
    """Settings. They are set in tocsin.yaml under `detectors: {{{name}: {{params: …}}}}`."""

    min_calls: int = param(50, ge=1, doc="a model with fewer calls in the window gets no score")


class {cls}(Detector[Params]):
    """More calls of a model failed than the threshold allows.

    What it sees
        The share of a model's calls whose `event.outcome` is `failure`, window by window.
    Method
        A fixed threshold on that share: a rule. For a detector that learns what is normal, start from
        `tocsin plugins new detector NAME --baseline`.
    Blind spots
        Calls that the model server never logged.
    False alarms
        A deployment that was rolled back at once.
    Respond
        Read `error.code` of the failed calls, then check what was deployed in that window.
    """

    id = "{name}"
    requires = Requires("inference", window="1h")
    stability = Stability.EXPERIMENTAL
    threshold = 0.2

    def score(self, window: Window) -> Iterator[Score]:
        rows = window.rows("inference", ["tocsin.model.name", "event.outcome"])
        failed = (pl.col("event.outcome") == "failure").sum().alias("failed")
        models = rows.group_by("tocsin.model.name").agg(pl.len().alias("calls"), failed)
        for model, calls, failures in models.sort("tocsin.model.name").iter_rows():
            if model is not None and calls >= self.params.min_calls:
                share = failures / calls
                yield Score(
                    Subject("model", model),
                    share,
                    reason=f"{{share:.0%}} of {{calls}} calls failed in {{window.words}}",
                    evidence={{"calls": calls, "failed": failures}},
                )
'''

_CASES = """\
# Rows in, findings expected. Run with: tocsin plugins check .
- name: half of the calls fail
  kind: fires
  events:
    inference: {{generate: tocsin_{name}.rows.calls, count: 100, failed: 50}}
  expect: [{{subject.type: model, subject.id: credit, severity: high}}]

- name: a few calls fail
  kind: stays_quiet
  events:
    inference: {{generate: tocsin_{name}.rows.calls, count: 100, failed: 3}}

- name: just under the threshold
  kind: near_miss
  events:
    inference: {{generate: tocsin_{name}.rows.calls, count: 100, failed: 19}}
"""

_ROWS = '''\
"""Rows for the cases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl


def calls(count: int, failed: int) -> pl.DataFrame:
    """Calls of one model within an hour, the first `failed` of them failures."""
    start = datetime(2026, 3, 2, 9, tzinfo=UTC)
    return pl.DataFrame(
        {{
            "@timestamp": [start + timedelta(seconds=30 * i) for i in range(count)],
            "event.id": [f"call-{{i}}" for i in range(count)],
            "event.outcome": ["failure" if i < failed else "success" for i in range(count)],
            "tocsin.model.name": "credit",
        }}
    )
'''

FILES = {
    "tocsin_{name}/{name}.py": _DETECTOR,
    "tocsin_{name}/rows.py": _ROWS,
    "cases/{name}.yaml": _CASES,
}
