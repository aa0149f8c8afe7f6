"""The rules of `approved_range`: what a rule says, whether it can be checked, and which calls break it."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tocsin.contract.findings import Severity
from tocsin.contract.plugin import param
from tocsin.datasets.labels import canonical_labels
from tocsin.errors import ConfigError
from tocsin.words import count, short
from tocsin_detectors._vectors import NAMES, VALUES, plain

USER = "user.id"
_OUTPUTS = {
    "score": "tocsin.output.score",
    "confidence": "tocsin.output.confidence",
    "label": "tocsin.output.label",
}
COLUMNS = (USER, NAMES, VALUES, *_OUTPUTS.values())
LEVELS = tuple(
    severity.value for severity in (Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)
)
_REJECTED = 1e-4  # p-value of the test of a share
_MOST_SCHEMAS = 1000  # different lists of feature names; a feature of further ones counts as missing


@dataclass(frozen=True, slots=True)
class Rule:
    """What is approved for one value of a model's calls, or for the share of a label."""

    model: str = param("", doc="name of the model; empty: every model")
    feature: str = param("", doc="name of a feature")
    output: str = param("", doc="score, confidence or label", choices=("", *_OUTPUTS))
    min: float | None = param(None, doc="least approved value")
    max: float | None = param(None, doc="largest approved value")
    labels: tuple[str, ...] = param((), doc="approved labels")
    label: str = param("", doc="the label whose share is approved")
    min_share: float | None = param(None, ge=0, le=1, doc="least approved share of `label`")
    max_share: float | None = param(None, ge=0, le=1, doc="largest approved share of `label`")
    severity: str = param("high", doc="severity of a finding", choices=LEVELS)

    @property
    def name(self) -> str:
        """What the rule is about."""
        return f"share of label {self.label}" if self.label else self.feature or self.output

    @property
    def text(self) -> str:
        """The rule as words."""
        low, high = (self.min_share, self.max_share) if self.label else (self.min, self.max)
        if self.labels:
            return f"label is one of {', '.join(self.labels)}"
        bounds = (("at least", low), ("at most", high))
        parts = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
        return f"{self.name} is {' and '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Broken:
    """A broken rule: why, the calls that break it with their `value`, and the share that they are of all."""

    rule: Rule
    words: str
    calls: pl.DataFrame
    share: float


def check(rule: Rule, number: int) -> None:
    """Check that a rule says one thing.

    Raises:
        ConfigError: it says nothing, several things, or a range that is empty.
    """
    kinds = {
        "`feature` with `min` or `max`": bool(rule.feature) and _bounded(rule.min, rule.max),
        "`output: score` or `output: confidence` with `min` or `max`": rule.output in {"score", "confidence"}
        and _bounded(rule.min, rule.max),
        "`output: label` with `labels`": rule.output == "label" and bool(rule.labels),
        "`label` with `min_share` or `max_share`": bool(rule.label)
        and _bounded(rule.min_share, rule.max_share),
    }
    if sum(kinds.values()) != 1:
        raise ConfigError(f"rule {number + 1} must have exactly one of: {'; '.join(kinds)}", key="rules")
    for low, high, name in ((rule.min, rule.max, "min"), (rule.min_share, rule.max_share, "min_share")):
        if low is not None and high is not None and low > high:
            raise ConfigError(f"rule {number + 1}: {name} is {low:g}, above {high:g}", key="rules")


def _bounded(low: float | None, high: float | None) -> bool:
    return low is not None or high is not None


def broken(rule: Rule, calls: pl.DataFrame, least: int) -> Broken | None:
    """Whether the calls of a model break a rule; None if they do not.

    Args:
        rule: a checked rule.
        calls: calls with `COLUMNS`, the event time and the event id.
        least: a share is not judged with fewer calls.
    """
    if rule.label:
        return _share(rule, calls, least)
    value = _feature(rule.feature, calls) if rule.feature else calls[_OUTPUTS[rule.output]]
    if rule.labels:
        approved = canonical_labels(pl.Series(rule.labels, dtype=pl.String))
        outside = ~canonical_labels(value).is_in(approved.implode()).fill_null(value=False)
    else:
        number = value.fill_nan(None)
        inside = pl.repeat(value=True, n=len(calls), dtype=pl.Boolean, eager=True)
        inside = inside & (number >= rule.min) if rule.min is not None else inside
        inside = inside & (number <= rule.max) if rule.max is not None else inside
        outside = ~inside.fill_null(value=False)
    found = calls.with_columns(value.cast(pl.String).alias("value")).filter(outside)
    if found.is_empty():
        return None
    missing = found["value"].null_count()
    told = count(len(found), "call")
    words = (
        f"{told} of {len(calls):,} with {short(rule.name)} outside its approved range ({short(rule.text)})"
    )
    words += f", {missing:,} without a value" if missing else ""
    return Broken(rule, words, found, len(found) / len(calls))


def _share(rule: Rule, calls: pl.DataFrame, least: int) -> Broken | None:
    """Exact binomial test (Clopper & Pearson 1934) of the nearest approved share, one-sided."""
    from scipy.stats import binom

    labels = canonical_labels(calls[_OUTPUTS["label"]])
    wanted = canonical_labels(pl.Series([rule.label], dtype=pl.String))[0]
    known = labels.drop_nulls()
    having = int((known == wanted).sum())
    if len(known) < max(least, 1):
        return None
    low = rule.min_share is not None and binom.cdf(having, len(known), rule.min_share) < _REJECTED
    high = rule.max_share is not None and binom.sf(having - 1, len(known), rule.max_share) < _REJECTED
    if not low and not high:
        return None
    found = calls.with_columns(calls[_OUTPUTS["label"]].alias("value")).filter(
        (labels == wanted).fill_null(value=False)
    )
    words = f"{having / len(known):.1%} of {len(known):,} answers are {short(rule.label)}; approved: {short(rule.text)}"
    return Broken(rule, words, found, having / len(known))


def _feature(name: str, calls: pl.DataFrame) -> pl.Series:
    """The value of a feature in each call; null where the call does not have it."""
    place = {
        names: found.index(name)
        for names in calls[NAMES].drop_nulls().unique(maintain_order=True).head(_MOST_SCHEMAS)
        if name in (found := [plain(part) for part in names.split(",")])
    }
    at = pl.col(NAMES).replace_strict(place, default=None, return_dtype=pl.Int64)
    return calls.select(pl.col(VALUES).list.get(at, null_on_oob=True).cast(pl.Float64).alias("value"))[
        "value"
    ]
