"""performance: what labels say, what is estimated without, and which labels are not judged."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from tests.generators.drift import START
from tests.generators.performance import answers, labels
from tocsin.contract.findings import Finding
from tocsin.contract.windows import Baseline
from tocsin.errors import BaselineError
from tocsin.testing import evaluate

DAY = 40
VALUE = "tocsin.label.value"


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    known = {"inference": answers(4000, 20, days=28), "label": labels(4000, 20, days=28)}
    fitted = evaluate("performance", known, baseline=known).baseline
    assert fitted is not None
    return fitted


def findings(
    baseline: Baseline, calls: pl.DataFrame, truth: pl.DataFrame | None = None, **params: Any
) -> list[Finding]:
    events = {"inference": calls} if truth is None else {"inference": calls, "label": truth}
    return list(evaluate("performance", events, baseline=baseline, params=params).findings)


def test_late_labels_tell_how_the_model_performs(baseline):
    calls, truth = answers(600, 1, DAY), labels(600, 1, DAY, delay=30, random=0.9)
    (finding,) = findings(baseline, calls, truth)
    assert finding.window_start == START + timedelta(days=DAY + 30)
    assert finding.reason.startswith(
        "credit: cause unexplained: performs worse by the labels that arrived: AUC 0."
    )
    assert finding.evidence["labels"] == 600
    realized: Any = finding.evidence["realized"]
    assert realized["AUC"]["now"] < realized["AUC"]["before"] - 0.2
    assert json.loads(json.dumps(finding.evidence, allow_nan=False)) == finding.evidence


def test_without_labels_it_is_an_estimate_with_its_error(baseline):
    (finding,) = findings(baseline, answers(1000, 2, DAY, hard=0.5))
    assert "is expected to perform worse, an estimate without labels: estimated " in finding.reason
    assert " ± " in finding.reason
    assert finding.evidence["realized"] == {}


def test_a_history_without_labels_is_no_baseline():
    known = {"inference": answers(4000, 20, days=28)}
    with pytest.raises(BaselineError, match=r"at least 300 labels of one model \(stream label\)"):
        evaluate("performance", known, baseline=known)


def test_spellings_of_labels_and_of_the_model_change_nothing(baseline):
    calls, truth = answers(600, 3, DAY), labels(600, 3, DAY)
    spelled = truth.with_columns(
        pl.col(VALUE).replace_strict({"1": "True", "0": " 0.0"}), pl.lit(" Credit").alias("tocsin.model.name")
    )
    assert findings(baseline, calls, spelled) == findings(baseline, calls, truth) == []


def test_the_last_label_of_a_call_counts(baseline):
    calls, wrong, right = answers(600, 4, DAY), labels(600, 4, DAY, random=0.9), labels(600, 4, DAY)
    later = right.with_columns(
        pl.col("@timestamp") + pl.duration(minutes=5), ("later-" + pl.col("event.id")).alias("event.id")
    )
    (finding,) = findings(baseline, calls, pl.concat([wrong, later]))
    assert finding.aspect == "revised labels"  # who corrects so many labels may hide what the first ones say


def test_labels_of_no_call_are_reported(baseline):
    (finding,) = findings(baseline, answers(600, 5, DAY), labels(600, 5, DAY, strays=0.5))
    assert (finding.aspect, finding.severity.value) == ("labels without calls", "high")
    assert "labels of credit are of no call in 90 days" in finding.reason


def test_a_model_with_labels_that_the_baseline_does_not_have_is_reported(baseline):
    (finding,) = findings(baseline, answers(300, 6, DAY, model="new"), labels(300, 6, DAY, model="new"))
    assert finding.aspect == "no baseline"
    assert finding.reason == "not judged: new received 300 labels; its baseline has no such model"


def test_few_labels_are_not_judged(baseline):
    calls, truth = answers(90, 7, DAY), labels(90, 7, DAY, random=1.0)
    assert findings(baseline, calls, truth) == []
    assert len(findings(baseline, calls, truth, min_labels=50)) == 1


def test_quiet_windows_are_quiet(baseline):
    quiet = [(answers(500, s, s), labels(500, s, s)) for s in range(100, 160)]
    found = findings(baseline, pl.concat([c for c, _ in quiet]), pl.concat([t for _, t in quiet]))
    assert len(found) <= 1
