"""Do labels fit what a reference model expects of them? Tests against flips, for any number of classes.

The reference gives each row the probabilities p of its labels. A flip hypothesis turns them into q; the
most powerful test between the two (Neyman and Pearson 1933) sums log q/p over the labels seen. Less its
expectation under p, row by row, the sum has mean 0 however the features are distributed, so that a
shift of the features alone is not taken for flipped labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

_LEAST = 0.01  # probabilities are held above this, since no reference knows rarer labels well


@dataclass(frozen=True, slots=True)
class FlipNull:
    """What the tests give on trusted rows that the reference has not seen; one place a hypothesis.

    `bias` is the mean of a row's statistic, `inflation` its variance over the variance that the
    model expects, `between` the variance of a snapshot's mean beyond its sampling error (0 where
    Cochran's test finds none), `rows` how many rows stand behind them, `priors` the labels' shares.
    """

    bias: Floats
    inflation: Floats
    between: Floats
    rows: int
    priors: Floats


def flip_terms(p: Floats, labels: Codes, priors: Floats, share: float) -> tuple[Floats, Floats]:
    """Each row's statistic, less its expectation, and the variance that the model expects of it.

    Args:
        p: probabilities, rows × classes.
        labels: codes of the labels seen.
        priors: share of each class among trusted rows.
        share: share of all rows that a hypothesis takes as flipped.

    Returns:
        Two arrays, rows × hypotheses: flips into each class in turn, then flips to any other class.
    """
    p = np.clip(p, _LEAST, 1.0)
    p = p / p.sum(axis=1, keepdims=True)
    classes = p.shape[1]
    statistic, variance = np.empty((len(p), classes + 1)), np.empty((len(p), classes + 1))
    for h in range(classes + 1):
        if h < classes:
            rate = min(share / max(1 - priors[h], share), 0.5)
            q = (1 - rate) * p
            q[:, h] += rate
        else:
            q = (1 - share) * p + share * (1 - p) / (classes - 1)
        gain = np.log(q / p)
        expected = (p * gain).sum(axis=1)
        statistic[:, h] = gain[np.arange(len(p)), labels] - expected
        variance[:, h] = (p * gain**2).sum(axis=1) - expected**2
    return statistic, variance


def flip_null(p: Floats, labels: Codes, snapshot: Codes, share: float) -> FlipNull:
    """The null of the flip tests, from out-of-fold probabilities of trusted rows.

    `snapshot` says which snapshot each row comes from; other arguments as in `flip_terms`.
    """
    from scipy.stats import chi2

    priors = np.bincount(labels, minlength=p.shape[1]) / len(labels)
    statistic, variance = flip_terms(p, labels, priors, share)
    bias, spread = statistic.mean(axis=0), statistic.var(axis=0)
    sizes = np.bincount(snapshot).astype(np.float64)
    kept = sizes > 0
    sums = np.stack([np.bincount(snapshot, weights=column) for column in statistic.T], axis=1)[kept]
    sizes = sizes[kept][:, None]
    degrees = len(sizes) - 1
    between = np.zeros_like(bias)
    if degrees >= 3:
        cochran = (sizes * (sums / sizes - bias) ** 2).sum(axis=0) / spread
        effective = sizes.sum() - (sizes**2).sum() / sizes.sum()
        real = cochran > chi2.ppf(0.99, degrees)
        between = np.where(real, (cochran - degrees) * spread / effective, 0.0)
    return FlipNull(bias, spread / variance.mean(axis=0), between, len(labels), priors)


def flip_deviates(p: Floats, labels: Codes, null: FlipNull, share: float) -> Floats:
    """The flip tests on a batch, as normal deviates whatever its size; one for each hypothesis."""
    n = len(labels)
    statistic, variance = flip_terms(p, labels, null.priors, share)
    sampling = null.inflation * variance.sum(axis=0) * (1 + n / null.rows)
    deviates = (statistic.sum(axis=0) - n * null.bias) / np.sqrt(sampling + n**2 * null.between)
    return np.asarray(deviates)
