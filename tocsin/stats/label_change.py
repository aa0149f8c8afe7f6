"""How labels changed: how many, whether as by flips or as by a shift of their relation to the rows, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.stats.residuals import FlipNull, flip_hypothesis, flip_terms

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

_RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
_STEPS = 20  # of Newton's method
_EFFECTS = 2
_RIDGE = 1e-6


class Level(NamedTuple):
    """The estimated share of changed labels in a batch, and its standard error."""

    share: float
    error: float


def level(p: Floats, labels: Codes, null: FlipNull, share: float, hypothesis: int) -> Level:
    """The share of labels that a hypothesis changed, by one step from no change (Rao 1948).

    The arguments are those of `residuals.flip_deviates`; `hypothesis` is the place of one of its deviates.
    """
    n = len(labels)
    terms = flip_terms(p, labels, null.priors, share)
    p, q = flip_hypothesis(p, null.priors, share, hypothesis)
    gain = np.log(q / p)
    effect = float(((q - p) * gain).sum()) / share
    variance = float(null.inflation[hypothesis] * terms.variance[:, hypothesis].sum() * (1 + n / null.rows))
    excess = float(terms.statistic[:, hypothesis].sum() - n * null.bias[hypothesis])
    return Level(excess / effect, np.sqrt(variance) / effect)


def flips_or_shift(
    p: Floats,
    labels: Codes,
    null: FlipNull,
    hypothesis: int,
    features: Floats | None = None,
    group: NDArray[np.bool_] | None = None,
) -> float:
    """The log-likelihood of flips, whatever the row, minus that of a shift of the relation between rows and labels.

    The shift is a logistic recalibration (Cox 1958): a changed intercept and slope of the logits, and effects of up to two
    features that the trusted relation does not have. Such effects beside flips are a shift, too: of a part of the rows. Each
    parameter more than the one of the flips costs half of ln n (Schwarz 1978), and the choice of a feature costs the
    logarithm of their number. 0 for other than two classes.

    Args:
        p: probabilities of the classes in the trusted relation, rows × classes.
        labels: the codes of the labels.
        null: the flips that trusted rows seem to have.
        hypothesis: the place of one of the deviates of `residuals.flip_deviates`.
        features: ordered features, rows × features; NaN: missing.
        group: the rows of a group in which alone labels may be flipped.
    """
    if p.shape[1] != 2 or len(labels) < 2:
        return 0.0
    at = np.arange(len(labels))
    where = [np.ones(len(labels), dtype=bool), *([group] if group is not None else [])]
    found = []
    for rate in _RATES:
        before, after = flip_hypothesis(p, null.priors, rate, hypothesis)
        for part in where:
            q = np.where(part[:, None], after, before)
            found.append((float(np.log(q[at, labels]).sum()), q[:, 1]))
    flips, flipped = max(found, key=lambda one: one[0])
    given, scores = _logit(p[:, 1]), _standard(features)
    moved = _shift(np.zeros(len(p)), np.stack([np.ones(len(p)), given], axis=1), labels, scores)
    beside = _shift(_logit(flipped), np.zeros((len(p), 0)), labels, scores)
    return flips - (max(moved, beside) if beside > flips else moved)


def _logit(one: Floats) -> Floats:
    clipped = np.clip(one, 0.002, 0.998)
    found: Floats = np.log(clipped / (1 - clipped))
    return found


def _shift(offset: Floats, design: Floats, labels: Codes, features: Floats) -> float:
    """The log-likelihood of the best shift, minus what its parameters cost beyond the one of the flips."""
    half = 0.5 * float(np.log(len(labels)))
    likelihood, residuals, spread = _logistic(offset, design, labels)
    cost = half * max(design.shape[1] - 1, 0)
    best = likelihood - cost if design.shape[1] else -np.inf
    for _ in range(min(_EFFECTS, features.shape[1])):
        # the score test of each feature beside those of the design (Rao 1948)
        weighted = design * spread[:, None]
        inner = weighted.T @ design + _RIDGE * np.eye(design.shape[1])
        own = features - design @ np.linalg.solve(inner, weighted.T @ features)
        scores = (own.T @ residuals) ** 2 / np.maximum((spread[:, None] * own**2).sum(axis=0), 1e-9)
        design = np.column_stack([design, features[:, int(np.argmax(scores))]])
        likelihood, residuals, spread = _logistic(offset, design, labels)
        cost += half + float(np.log(features.shape[1]))
        best = max(best, likelihood - cost)
    return best


def _logistic(offset: Floats, design: Floats, labels: Codes) -> tuple[float, Floats, Floats]:
    """The largest log-likelihood of a logistic regression, its residuals, and the variance of each label."""
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        fitted = 1 / (1 + np.exp(-np.clip(offset + design @ weights, -30, 30)))
        curvature = (design * (fitted * (1 - fitted))[:, None]).T @ design + _RIDGE * np.eye(len(weights))
        weights = weights + np.clip(np.linalg.solve(curvature, design.T @ (labels - fitted)), -2, 2)
    fitted = np.clip(1 / (1 + np.exp(-np.clip(offset + design @ weights, -30, 30))), 1e-9, 1 - 1e-9)
    likelihood = float(np.where(labels == 1, np.log(fitted), np.log(1 - fitted)).sum())
    return likelihood, labels - fitted, fitted * (1 - fitted)


def _standard(features: Floats | None) -> Floats:
    """Normal scores of the ranks of each feature, so that no outlier decides; a missing value is in the middle."""
    from scipy.special import ndtri

    if features is None or not features.size:
        return np.zeros((0 if features is None else len(features), 0))
    found = np.zeros(features.shape)
    for place, column in enumerate(features.T):
        there = np.isfinite(column)
        found[there, place] = ndtri(pl.Series(column[there]).rank().to_numpy() / (there.sum() + 1))
    varied: Floats = found[:, found.std(axis=0) > 0]
    return varied


def step_or_ramp(levels: Sequence[Level], times: Sequence[float] = ()) -> float:
    """The log-likelihood of a sudden change minus that of a steady growth, from levels in order of time.

    Both models are 0 up to a snapshot and have one coefficient after it; the best such snapshot of each counts. Without
    `times` (rising, in any unit), the snapshots are evenly spaced.
    """
    y = np.array([one.share for one in levels])
    weight = 1 / np.maximum([one.error for one in levels], 1e-9) ** 2
    at = np.asarray(times if len(times) else np.arange(len(y)), dtype=np.float64)
    before = np.concatenate((at[:1] - np.median(np.diff(at)) if len(at) > 1 else at[:1] - 1, at[:-1]))
    best = []
    for grows in (False, True):
        fits = []
        for start in before:
            after = np.maximum(at - start, 0.0)
            x = after if grows else (after > 0).astype(np.float64)
            slope = max(float((weight * x * y).sum() / (weight * x * x).sum()), 0.0)
            fits.append(float((weight * (y - slope * x) ** 2).sum()))
        best.append(min(fits, default=0.0))
    return (best[1] - best[0]) / 2
