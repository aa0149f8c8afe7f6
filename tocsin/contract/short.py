"""Shortened baselines: what a new installation can say before it has half of a baseline.

The scale of a threshold that is estimated from n quiet scores has a standard error in proportion to 1/sqrt(n). A shortened
baseline's threshold is therefore multiplied by the root of the ratio of half of the baseline's length to the history. A tail
beyond what so few windows show is a guess, so that a finding is at most `medium`, or `high` from twice the shortest
history on, and says why.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

from tocsin.clock import format_length
from tocsin.contract.evaluation import Judgement
from tocsin.contract.findings import Severity
from tocsin.contract.plugin import Requires
from tocsin.contract.windows import Baseline
from tocsin.words import sentence

#: How the reason of a run begins that was judged with less than a whole baseline.
JUDGED = "judged with"
#: The key of the evidence of a finding from a shortened baseline.
SHORT = "short_baseline"


def enough(requires: Requires) -> timedelta:
    """The history from which a baseline is not shortened."""
    return (requires.baseline or timedelta(0)) / 2


def is_short(requires: Requires, length: timedelta) -> bool:
    """Whether a baseline over a history of `length` is a shortened one."""
    return requires.shortest is not None and length < enough(requires)


def wider(requires: Requires, length: timedelta) -> float:
    """The factor of the threshold of a baseline over a history of `length`; 1 if it is not shortened."""
    return math.sqrt(enough(requires) / length) if is_short(requires, length) else 1.0


def most(requires: Requires, length: timedelta) -> Severity:
    """The worst severity of a finding from a shortened baseline over a history of `length`."""
    shortest = requires.shortest or enough(requires)
    return Severity.HIGH if length >= 2 * shortest else Severity.MEDIUM


def widened(baseline: Baseline, requires: Requires, length: timedelta) -> Baseline:
    """The baseline with the threshold of its length."""
    if baseline.threshold is None:
        return baseline
    return replace(baseline, threshold=baseline.threshold * wider(requires, length))


def capped(judged: Judgement, requires: Requires, length: timedelta) -> Judgement:
    """The judgement of a window by a shortened baseline: at most as severe as `most`, and the finding says so."""
    found = judged.finding
    if found is None or found.aspect:
        return judged
    why, worst = f"short baseline of {words(length)}", most(requires, length)
    found = replace(found, evidence={**found.evidence, SHORT: words(length)})
    if found.severity.rank <= worst.rank:
        return replace(judged, finding=replace(found, reason=sentence([found.reason, why])))
    return replace(judged, finding=found.at_most(worst, why))


def words(length: timedelta) -> str:
    """A length as text, in whole days if it is longer than two days, otherwise in whole hours."""
    unit = timedelta(days=1) if length >= timedelta(days=2) else timedelta(hours=1)
    return format_length(max(length // unit, 1) * unit)
