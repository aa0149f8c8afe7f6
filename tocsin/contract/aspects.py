"""Aspects of a subject beside its score: what could not be judged, and what changed in its telemetry.

Whoever writes telemetry must not be able to silence a detector. Events that exist but cannot be compared with the
baseline are therefore a score of their own: `not_judged(…)`. Events that the detector did judge, but in a form that the
subject did not have before, are reported by `changed(…)`. Both have a fixed threshold and rank below findings of the
same severity. They neither calibrate a threshold nor exclude a window from a baseline: the writer of the events could
otherwise choose from which days a baseline learns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tocsin.contract.findings import Json, Score, Subject

#: The threshold of all aspects.
THRESHOLD = 1.0
#: Aspects of one window that are findings of their own; one more finding counts all others.
LIMIT = 20
_HIGHEST = 2.5  # times the threshold: severity `high`
_GROWTH = 0.5  # in thresholds, for each factor of ten


def not_judged(
    subject: Subject,
    aspect: str,
    reason: str,
    count: int = 1,
    usual: float = 0.0,
    evidence: Mapping[str, Json] | None = None,
) -> Score:
    """The score of events that cannot be judged.

    Args:
        subject: whose events they are.
        aspect: a constant that names why they cannot be judged. A subject has one finding for each aspect.
        reason: why, as a sentence without the words "not judged".
        count: number of events that cannot be judged.
        usual: number of such events that a window of this size has in the baseline or history of the subject.
        evidence: facts that let a person verify the score. `count` and `usual` are added.

    Returns:
        A score whose value is below the threshold if `count` is within three standard deviations of a Poisson count
        with mean `usual`. One event more is `low`, ten times as many `medium`, a hundred times as many `high`.
    """
    facts = {"count": count, "usual": round(usual, 2), **(evidence or {})}
    return Score(subject, unusual(count, usual), f"not judged: {reason}", facts, aspect)


def changed(
    subject: Subject,
    aspect: str,
    reason: str,
    value: float = THRESHOLD,
    evidence: Mapping[str, Json] | None = None,
) -> Score:
    """The score of a change in a subject's telemetry that the detector could still judge.

    Args:
        subject: whose telemetry changed.
        aspect: a constant that names the change. A subject has one finding for each aspect.
        reason: the change, as a sentence.
        value: 1 is `low`, 1.5 `medium`, 2 `high`, 3 `critical`.
        evidence: facts that let a person verify the score.
    """
    return Score(subject, value, reason, evidence or {}, aspect)


def unusual(count: float, usual: float) -> float:
    """How unusual a count is, relative to `THRESHOLD`: grows with the logarithm of the count.

    Args:
        count: number of events.
        usual: their usual number. Up to three standard deviations of a Poisson count above it are not unusual.
    """
    most = usual + 3.0 * math.sqrt(usual)
    ratio = count / (most + 1.0)
    if count <= most:
        return ratio * THRESHOLD
    return min(THRESHOLD + _GROWTH * max(math.log10(ratio), 0.0), _HIGHEST)


def collapsed(detector: str, scores: Iterable[Score]) -> list[Score]:
    """The `LIMIT` worst aspects that reach the threshold; the others become one score about the detector.

    A flood of subjects that cannot be judged must not hide the other findings of a window.
    """
    reached = (score for score in scores if score.value >= THRESHOLD)
    ranked = sorted(reached, key=lambda s: (-s.value, s.subject, s.aspect))
    if len(ranked) <= LIMIT:
        return ranked
    rest = ranked[LIMIT:]
    facts: dict[str, Json] = {
        "aspects": sorted({score.aspect for score in rest})[:LIMIT],
        "first": [list(score.subject) for score in rest[:LIMIT]],
    }
    reason = f"{len(rest):,} more subjects of {detector}"
    summary = not_judged(Subject("detector", detector), "more subjects", reason, len(rest), evidence=facts)
    # louder aspects must not turn a severe one into a mild count
    return [*ranked[:LIMIT], replace(summary, value=max(summary.value, rest[0].value))]
