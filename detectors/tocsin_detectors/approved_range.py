"""A model's decisions, scores or inputs are outside the ranges that were approved for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from tocsin.contract.early import Early
from tocsin.contract.findings import Family, Json, Score, Severity, Subject
from tocsin.contract.plugin import Detector, Requires, Stability, param
from tocsin.contract.severities import RATIOS
from tocsin.contract.windows import Window
from tocsin.words import count, short
from tocsin_detectors import _model_rows as model_rows
from tocsin_detectors._approved_rules import COLUMNS, LEVELS, USER, Broken, Rule, broken, check
from tocsin_detectors._spelling import canonical

_VALUES = dict(RATIOS.worst_first())  # the least score of each severity, in thresholds
_EXAMPLES = 5  # calls, and principals, in the evidence of a rule


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of `approved_range`."""

    rules: tuple[Rule, ...] = param(
        (),
        doc="what is approved, each a mapping: `model` (empty: every model); `feature`, or `output` (score, confidence or "
        "label); `min` and `max`, or `labels`, the allowed ones; for a rate, `label` with `min_share` and `max_share`; "
        f"`severity` ({', '.join(LEVELS)}; default high)",
    )
    min_calls: int = param(50, ge=1, doc="a share is not judged with fewer calls of a model in the window")


class ApprovedRange(Detector[Params]):
    """A model's decisions, scores or inputs are outside the ranges that were approved for it.

    What it sees
        Calls with a score, confidence, label or feature value outside the range in `rules`, or without the value; and
        a share of a label that is outside its range, such as an approval rate. Without rules, it judges nothing.
    Method
        Fixed rules, which the owner of the model writes down at its approval. A single call breaks a range. A share
        breaks its range if the exact binomial test rejects the range at p = 0.0001, because a window is tested many
        times while it grows. The severity is that of the worst broken rule, and does not depend on the number of
        calls. The detector reads every call of the window once for each evaluation. The cost grows with the number of
        calls and rules.
    Blind spots
        What no rule mentions; a change within the approved ranges; features of calls without feature names. A caller
        that writes usual values under the names of a rule, and the true values under new names: a rule learns no names,
        and `feature_drift` reports the new ones.
    False alarms
        A new product or an agreed exception that nobody added to the rules; a client that omits a value.
    Respond
        Stop the decisions in the evidence if they can still be stopped. Ask the owner of the model whether the range or
        the model is wrong. If many principals are affected, compare the model's version with the approved one.
    """

    id = "approved_range"
    requires = Requires(model_rows.STREAM, window="1d")
    atlas = ("AML.T0031", "AML.T0015")
    playbook = "model-drift"
    family = Family.MODEL_BEHAVIOR
    stability = Stability.EXPERIMENTAL
    threshold = 1.0
    early = Early(by=model_rows.MODEL, growth=1)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        for number, rule in enumerate(params.rules):
            check(rule, number)

    def score(self, window: Window) -> Iterator[Score]:
        if not self.params.rules:
            return
        for model, calls in model_rows.by_model(window, COLUMNS).items():
            rules = [r for r in self.params.rules if canonical(r.model) in {"", canonical(model)}]
            if rules:
                yield self._judge(model, calls, rules)

    def _judge(self, model: str, calls: pl.DataFrame, rules: list[Rule]) -> Score:
        found = [one for rule in rules if (one := broken(rule, calls, self.params.min_calls)) is not None]
        subject = Subject("model", model)
        if not found:
            reason = (
                f"{short(model)}: {count(len(calls), 'call')} within {count(len(rules), 'approved range')}"
            )
            return Score(subject, 0.0, reason, {"calls": len(calls)})
        worst = max(found, key=lambda one: Severity(one.rule.severity).rank)
        more = f"; {count(len(found) - 1, 'more rule')} broken" if len(found) > 1 else ""
        evidence: dict[str, Json] = {"calls": len(calls), "rules": [_facts(one) for one in found]}
        reason = f"{short(model)}: {worst.words}{more}"
        return Score(subject, _VALUES[Severity(worst.rule.severity)], reason, evidence)


def _facts(one: Broken) -> dict[str, Json]:
    principals = one.calls[USER].drop_nulls().value_counts(sort=True)[USER].head(_EXAMPLES)
    examples = one.calls.head(_EXAMPLES).select("@timestamp", "event.id", USER, "value")
    return {
        "rule": one.rule.text,
        "severity": one.rule.severity,
        "calls": len(one.calls),
        "share": one.share,
        "principals": principals.to_list(),
        "examples": examples.with_columns(pl.col("@timestamp").dt.to_string("%+")).to_dicts(),
    }
