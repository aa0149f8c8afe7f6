"""Fits a baseline and evaluates a window. Production, tests and notebooks use the same code.

The functions are pure: they use no store and no clock. `tocsin.pipeline` calls them with windows that read from the
store, `tocsin.testing` with windows over data frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tocsin.clock import format_time
from tocsin.contract import aspects
from tocsin.contract.findings import Finding, Score, Subject, finding_id
from tocsin.contract.plugin import Detector
from tocsin.contract.results import (
    checked_baseline,
    checked_score,
    checked_scores,
    plain_evidence,
    plain_text,
)
from tocsin.contract.severities import RATIOS, Severities, supported
from tocsin.contract.windows import Baseline, Window
from tocsin.errors import BaselineError, PluginError
from tocsin.stats.calibration import MIN_SCORES, calibrate
from tocsin.words import count

#: The smallest threshold: a score of 0 is never a finding.
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Judgement:
    """A score, the threshold it was compared with, and the finding if the score reached the threshold."""

    score: Score
    threshold: float
    finding: Finding | None


def fit(detector: Detector[Any], window: Window, false_alarms: float) -> Baseline:
    """Fit a detector on a window of trusted history and calibrate its threshold.

    `Detector.split` divides the history into a part to fit on and a held-out part. Chunks of the held-out part are
    scored with the same code as production windows, and the threshold is a quantile of these scores. A detector with
    a fixed threshold is fitted on the whole history.

    Raises:
        BaselineError: the history is too small to fit or to calibrate on.
        PluginError: `fit` of the detector returned something other than a Baseline, or `score` an invalid score.
    """
    false_alarms *= detector.alarm_share
    if detector.threshold is not None:
        return replace(_fitted(detector, window), threshold=detector.threshold)
    past, held_out = detector.split(window)
    baseline = _fitted(detector, past)
    held_out = held_out.with_baseline(baseline)
    scores = [
        s.value for chunk in detector.chunks(held_out) for s in checked(detector, chunk) if not s.aspect
    ]
    threshold = _calibrated(detector, scores, false_alarms)
    if type(detector).chunks is not Detector.chunks:
        threshold = max(threshold, _worst_of_windows(detector, held_out, false_alarms))
    learned = len(scores) if threshold > detector.floor else None
    return replace(baseline, threshold=max(threshold, detector.floor, _TINY), scores=learned)


def _calibrated(detector: Detector[Any], scores: Sequence[float], false_alarms: float) -> float:
    try:
        return calibrate(scores, false_alarms)
    except ValueError as error:
        raise BaselineError(
            f"detector {detector.id}: {error}; configure a longer baseline or a fixed threshold"
        ) from None


def _worst_of_windows(detector: Detector[Any], held_out: Window, false_alarms: float) -> float:
    """The threshold according to whole windows of the held-out part.

    Rows of one window can be correlated, for example the queries of one client or of one batch job. Chunks of rows
    that are drawn at random do not show this correlation, so their scores alone give a threshold that is too low.
    """
    windows = list(held_out.tumble(detector.requires.window))
    scores = [s.value for window in windows for s in checked(detector, window) if not s.aspect]
    return calibrate(scores, false_alarms) if len(scores) >= MIN_SCORES else max(scores, default=0.0)


def _fitted(detector: Detector[Any], window: Window) -> Baseline:
    baseline = checked_baseline(detector, detector.fit(window))
    if baseline is None:
        raise BaselineError(
            f"detector {detector.id}: too little history from {format_time(window.start)} to "
            f"{format_time(window.end)} to fit a baseline; collect more events or configure a longer baseline"
        )
    return baseline


def threshold_of(detector: Detector[Any], baseline: Baseline | None) -> float:
    """The threshold of the baseline; if it has none, the fixed threshold of the detector, or the floor of its rules.

    Raises:
        BaselineError: neither has a threshold.
    """
    if baseline is not None and baseline.threshold is not None:
        return float(baseline.threshold)
    if detector.threshold is not None:
        return float(detector.threshold)
    if baseline is None and detector.rules:
        return max(float(detector.floor), _TINY)
    raise BaselineError(f"detector {detector.id} has no baseline yet, and no fixed threshold")


def judge(detector: Detector[Any], window: Window) -> Iterator[Judgement]:
    """Score a window and compare every score with the threshold.

    Aspects come last and have a threshold of their own.

    Raises:
        BaselineError: the detector requires a baseline, the window has none, and the detector declares no `rules`.
        PluginError: the detector returned an invalid score.
    """
    if detector.requires.baseline is not None and window.baseline is None and not detector.rules:
        raise BaselineError(f"detector {detector.id} has no baseline yet")
    threshold = threshold_of(detector, window.baseline)
    severities = RATIOS if window.baseline is None else detector.severities
    beside: list[Score] = []
    for score in checked(detector, window):
        if score.aspect:
            beside.append(score)
        else:
            found = _finding(detector, window, score, threshold, severities)
            yield Judgement(score, threshold, found and _supported(detector, found, window.baseline))
    for score in aspects.collapsed(detector.id, beside):
        found = _finding(detector, window, score, aspects.THRESHOLD, RATIOS)
        yield Judgement(score, aspects.THRESHOLD, found)


def checked(detector: Detector[Any], window: Window) -> Iterator[Score]:
    """Run a detector on a window and validate its scores.

    Raises:
        PluginError: the detector returned something other than a Score, a value that is not finite or below 0, or
            evidence that is not JSON, or it scored a subject twice with the same aspect.
    """
    seen = set()
    for given in checked_scores(detector, detector.score(window)):
        score = _plain(detector, given)
        if not (math.isfinite(score.value) and score.value >= 0):
            raise PluginError(
                detector.id, f"score {score.value!r} of {score.subject}: must be finite and at least 0"
            )
        if (score.subject, score.aspect) in seen:
            raise PluginError(
                detector.id, f"scored {score.subject} twice in one window; return one Score for each subject"
            )
        seen.add((score.subject, score.aspect))
        yield score


def _plain(detector: Detector[Any], given: Any) -> Score:
    """Convert a score to plain values, so that it can be sent to another process and stored."""
    score = checked_score(detector, given)
    words = (*score.subject, score.reason, score.aspect) if isinstance(score.subject, Subject) else (None,)
    if not all(isinstance(word, str) for word in words):
        raise PluginError(
            detector.id, f"score of {repr(score.subject)[:200]}: subject and reason must be text"
        )
    try:
        type_, id, reason, aspect = map(plain_text, words)
        value, evidence = float(score.value), plain_evidence(score.evidence)
    except (TypeError, ValueError, RecursionError) as error:
        raise PluginError(detector.id, f"score of {str(score.subject)[:200]}: {error}") from None
    return Score(Subject(type_, id), value, reason, evidence, aspect)


def _supported(detector: Detector[Any], found: Finding, baseline: Baseline | None) -> Finding:
    """The finding, at most as severe as a tail that was learned from the baseline's quiet scores supports."""
    if detector.tail is None or baseline is None or baseline.scores is None:
        return found
    return found.at_most(
        supported(baseline.scores), f"threshold from {count(baseline.scores, 'quiet score')}"
    )


def _finding(
    detector: Detector[Any], window: Window, score: Score, threshold: float, severities: Severities
) -> Finding | None:
    severity = severities.of(score.value, threshold)
    if severity is None:
        return None
    return Finding(
        id=finding_id(detector.id, window.start, window.end, score.subject, score.aspect),
        detector=detector.id,
        subject=score.subject,
        severity=severity,
        score=score.value,
        threshold=threshold,
        window_start=window.start,
        window_end=window.end,
        techniques=detector.atlas,
        reason=score.reason,
        evidence=score.evidence,
        playbook=detector.playbook,
        family=detector.family.value,
        baseline="" if window.baseline is None else window.baseline.digest,
        aspect=score.aspect,
    )
