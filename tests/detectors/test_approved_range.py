"""approved_range: what breaks a rule, what does not, and rules that say nothing or too much."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.contract.findings import Finding, Severity
from tocsin.errors import ConfigError
from tocsin.testing import evaluate

START = datetime(2026, 3, 2, tzinfo=UTC)
few = settings(max_examples=25, deadline=None)


def call(number: int = 0, **changed: Any) -> dict[str, Any]:
    """A call of the model `credit` with a usual applicant and answer."""
    usual = {
        "@timestamp": START + timedelta(seconds=number),
        "event.id": str(number),
        "user.id": f"client-{number % 7}",
        "tocsin.model.name": "credit",
        "tocsin.features.names": "age,income",
        "tocsin.features.values": [40.0, 30_000.0],
        "tocsin.output.label": "1",
        "tocsin.output.score": 0.7,
        "tocsin.output.confidence": 0.7,
    }
    return usual | {f"tocsin.{name.replace('__', '.')}": value for name, value in changed.items()}


def found(calls: list[dict[str, Any]], *rules: dict[str, Any], **settings: Any) -> list[Finding]:
    events = {"inference": pl.DataFrame(calls, infer_schema_length=None)}
    return list(evaluate("approved_range", events, {"rules": list(rules), **settings}).findings)


@pytest.mark.parametrize("value", [0.91, None, float("nan"), float("inf")])
def test_one_call_outside_the_range_is_a_finding_with_its_principal(value: float | None) -> None:
    calls = [call(n) for n in range(20)] + [call(20, output__score=value)]
    [finding] = found(calls, {"model": "credit", "output": "score", "min": 0.1, "max": 0.9})
    assert finding.severity is Severity.HIGH
    assert finding.reason.startswith(
        "credit: 1 call of 21 with score outside its approved range (score is at least 0.1 and at most 0.9)"
    )
    rules: Any = finding.evidence["rules"]
    assert [rule["principals"] for rule in rules] == [["client-6"]]
    assert rules[0]["examples"][0]["event.id"] == "20"


@pytest.mark.parametrize(
    "names", ["income,age", "age,income,further", "Age,income", "income", "age2,income", None]
)
def test_a_feature_is_found_by_its_name_and_missing_otherwise(names: str | None) -> None:
    values = {"income,age": [30_000.0, 99.0], "age,income,further": [99.0, 1.0, 2.0]}
    odd = call(9, features__names=names, features__values=values.get(names or "", [99.0, 1.0]))
    assert len(found([call(1), odd], {"feature": "age", "max": 80})) == 1
    assert found([call(1)], {"feature": "age", "max": 80}) == []


@pytest.mark.parametrize("label", ["2", None, " approve"])
def test_labels_that_are_not_approved(label: str | None) -> None:
    calls = [call(1), call(2, output__label="0"), call(3, output__label="1.0"), call(4, output__label=label)]
    [finding] = found(calls, {"output": "label", "labels": ["0", "1"], "severity": "critical"})
    assert finding.severity is Severity.CRITICAL
    assert "1 call of 4" in finding.reason
    assert found(calls[:3], {"output": "label", "labels": ["0", "1"]}) == []


@given(st.integers(50, 400), st.integers(0, 400))
@few
def test_a_share_is_a_finding_only_if_the_test_rejects_the_range(calls: int, granted: int) -> None:
    rows = [call(n, output__label="1" if n < granted else "0") for n in range(calls)]
    share = min(granted, calls) / calls
    told = found(rows, {"label": "1", "min_share": 0.3, "max_share": 0.5})
    if 0.3 <= share <= 0.5:
        assert not told
    if share < 0.05 or share > 0.8:
        assert len(told) == 1


def test_the_worst_rule_comes_first_and_other_models_are_not_judged() -> None:
    calls = [call(n, output__score=2.0) for n in range(3)]
    rules: tuple[dict[str, Any], ...] = (
        {"output": "score", "max": 1, "severity": "low"},
        {"output": "confidence", "min": 0.9, "severity": "medium"},
        {"model": "other", "output": "confidence", "min": 0.9, "severity": "critical"},
    )
    [finding] = found(calls, *rules)
    assert finding.severity is Severity.MEDIUM
    assert finding.reason.endswith("; 1 more rule broken")
    assert found(calls) == []


@pytest.mark.parametrize("name", ["CREDIT", " credit", "cr\u200bedit"])
def test_the_spelling_of_the_model_changes_nothing(name: str) -> None:
    calls = [call(1) | {"tocsin.model.name": name, "tocsin.output.score": 2.0}]
    assert len(found(calls, {"model": "credit", "output": "score", "max": 1})) == 1


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"output": "score"},
        {"output": "score", "max": 1, "feature": "age"},
        {"output": "label", "min": 1},
        {"label": "1"},
        {"feature": "age", "min": 2, "max": 1},
        {"label": "1", "min_share": 0.9, "max_share": 0.1},
        {"output": "mood", "max": 1},
        {"feature": "age", "max": 1, "severity": "bad"},
    ],
)
def test_a_rule_that_says_nothing_or_too_much_is_an_error(rule: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        found([call()], rule)
