"""Do labels fit what a reference model expects of them? Tests against flips, for any number of classes.

The reference gives each row the probabilities p of its labels. A flip hypothesis turns them into q; the
most powerful test between the two (Neyman and Pearson 1933) sums log q/p over the labels seen. Less its
expectation under p, row by row, the sum has mean 0 however the features are distributed, so that a
shift of the features alone is not taken for flipped labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

_DRAWS = 100_000
_LEAST = 0.01  # probabilities are held above this, since no reference knows rarer labels well


@dataclass(frozen=True, slots=True)
class FlipNull:
    """What the tests give on trusted rows that the reference has not seen; one place a hypothesis.

    `bias` is the mean of a row's statistic, `inflation` its variance over the variance that the
    model expects, `between` the variance of a snapshot's mean beyond its sampling error (0 where
    Cochran's test finds none), `rows` how many rows stand behind them, `priors` the labels' shares,
    `correlation` of the hypotheses' statistics, row by row.
    """

    bias: Floats
    inflation: Floats
    between: Floats
    rows: int
    priors: Floats
    correlation: Floats

    def largest(self, alpha: float) -> float:
        """The deviate that the largest of all tests passes with probability `alpha` in a quiet batch.

        The hypotheses have much in common, so Bonferroni's bound would ask for too much; drawn from the joint
        normal distribution with a fixed seed.
        """
        eigenvalues, vectors = np.linalg.eigh(self.correlation)
        root = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))
        normal = np.random.default_rng(0).standard_normal((_DRAWS, len(root)))
        return float(np.quantile((normal @ root.T).max(axis=1), 1 - alpha))


class FlipTerms(NamedTuple):
    """Each row's statistic, less its expectation; the variance and the third cumulant that the model expects.

    Three arrays, rows × hypotheses: flips into each class in turn, then flips to any other class.
    """

    statistic: Floats
    variance: Floats
    third: Floats


def flip_terms(p: Floats, labels: Codes, priors: Floats, share: float) -> FlipTerms:
    """What the flip tests sum over the rows of a batch.

    Args:
        p: probabilities, rows × classes.
        labels: codes of the labels seen.
        priors: share of each class among trusted rows.
        share: share of all rows that a hypothesis takes as flipped.
    """
    p = np.clip(p, _LEAST, 1.0)
    p = p / p.sum(axis=1, keepdims=True)
    classes = p.shape[1]
    terms = FlipTerms(*(np.empty((len(p), classes + 1)) for _ in range(3)))
    for h in range(classes + 1):
        if h < classes:
            rate = min(share / max(1 - priors[h], share), 0.5)
            q = (1 - rate) * p
            q[:, h] += rate
        else:
            q = (1 - share) * p + share * (1 - p) / (classes - 1)
        gain = np.log(q / p)
        gain -= (p * gain).sum(axis=1, keepdims=True)
        terms.statistic[:, h] = gain[np.arange(len(p)), labels]
        terms.variance[:, h] = (p * gain**2).sum(axis=1)
        terms.third[:, h] = (p * gain**3).sum(axis=1)
    return terms


def flip_null(p: Floats, labels: Codes, snapshot: Codes, share: float) -> FlipNull:
    """The null of the flip tests, from out-of-fold probabilities of trusted rows.

    `snapshot` says which snapshot each row comes from; other arguments as in `flip_terms`.
    """
    from scipy.stats import chi2

    priors = np.bincount(labels, minlength=p.shape[1]) / len(labels)
    statistic, variance, _ = flip_terms(p, labels, priors, share)
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
    correlation = np.atleast_2d(np.corrcoef(statistic, rowvar=False))
    return FlipNull(bias, spread / variance.mean(axis=0), between, len(labels), priors, correlation)


def flip_deviates(p: Floats, labels: Codes, null: FlipNull, share: float) -> Floats:
    """The flip tests on a batch, as normal deviates whatever its size; one for each hypothesis."""
    n = len(labels)
    terms = flip_terms(p, labels, null.priors, share)
    expected = terms.variance.sum(axis=0)
    sampling = null.inflation * expected * (1 + n / null.rows)
    sums = (terms.statistic.sum(axis=0) - n * null.bias) / np.sqrt(sampling + n**2 * null.between)
    return unskewed(sums, terms.third.sum(axis=0) / expected**1.5)


def unskewed(sums: Floats, skewness: Floats) -> Floats:
    """Standardized sums as normal deviates: a sum of few skewed terms is far out more often than a normal one.

    Its distribution is taken as Pearson's type III (1895), which has the same three moments. Skewness to the
    left is left alone: high sums are then rarer than normal ones.
    """
    from scipy.special import gammaincc, ndtri

    shape = 4 / np.maximum(skewness, 1e-3) ** 2
    upper = gammaincc(shape, np.maximum(shape + sums * np.sqrt(shape), 0.0))
    # Deep in the tail, where p is no number any more, a normal deviate is not needed to be exact.
    skewed = np.where(upper > 1e-300, -ndtri(np.clip(upper, 1e-300, 1 - 1e-16)), sums)
    return np.asarray(np.where(skewness > 1e-3, np.minimum(skewed, sums), sums))
