"""How labels changed: how many, whether as by flips or as by a shift of their relation to the rows, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.residuals import FlipNull, flip_hypothesis, flip_terms

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

_RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
_STEPS = 20  # of Newton's method


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


def flips_or_shift(p: Floats, labels: Codes, null: FlipNull, hypothesis: int) -> float:
    """The log-likelihood of flips, whatever the row, minus that of a shift of the relation between rows and labels.

    The shift is a logistic recalibration (Cox 1958): a changed intercept and slope of the logits. It has one more
    parameter than the flips, for which half of ln n is deducted (Schwarz 1978). 0 for other than two classes.
    """
    if p.shape[1] != 2 or len(labels) < 2:
        return 0.0
    at = np.arange(len(labels))
    flips = max(
        float(np.log(flip_hypothesis(p, null.priors, rate, hypothesis)[1][at, labels]).sum())
        for rate in _RATES
    )
    one = np.clip(p[:, 1], 0.002, 0.998)
    design = np.stack([np.ones(len(p)), np.log(one / (1 - one))], axis=1)
    weights = np.array([0.0, 1.0])
    for _ in range(_STEPS):
        fitted = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        curvature = (design * (fitted * (1 - fitted))[:, None]).T @ design + 1e-6 * np.eye(2)
        weights = weights + np.clip(np.linalg.solve(curvature, design.T @ (labels - fitted)), -2, 2)
    fitted = np.clip(1 / (1 + np.exp(-np.clip(design @ weights, -30, 30))), 1e-9, 1 - 1e-9)
    shift = float(np.where(labels == 1, np.log(fitted), np.log(1 - fitted)).sum())
    return flips - shift + 0.5 * float(np.log(len(labels)))


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
