"""Tests for flipped labels against the probabilities of a reference model, for any number of classes.

For each row, the reference model predicts the probabilities p of the labels. Under a flip hypothesis, the
probabilities are q. The most powerful test between the two (Neyman and Pearson 1933) sums log q/p over the
actual labels. The expectation under p is subtracted in each row. The sum then has mean 0 for any distribution of
the features, so that a shift of the features alone does not look like flipped labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

_DRAWS = 100_000
_LEAST = 0.002  # lower bound of probabilities, because no reference model predicts rarer labels well


@dataclass(frozen=True, slots=True)
class FlipNull:
    """The distribution of the tests on trusted rows outside the reference model's fit; one value per hypothesis.

    `bias`: the mean of a row's statistic. `inflation`: its variance, divided by the variance that the model
    expects. `between`: the variance of a snapshot's mean beyond its sampling error (0 if Cochran's test finds
    none). `rows`: the number of trusted rows. `priors`: the share of each label. `correlation`: of the hypotheses'
    statistics over rows.
    """

    bias: Floats
    inflation: Floats
    between: Floats
    rows: int
    priors: Floats
    correlation: Floats

    def largest(self, alpha: float) -> float:
        """The deviate that the largest of all tests exceeds with probability `alpha` in a quiet batch.

        It is estimated from draws of the joint normal distribution with a fixed seed: the hypotheses are
        correlated, so that Bonferroni's bound would be too high.
        """
        eigenvalues, vectors = np.linalg.eigh(self.correlation)
        root = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))
        normal = np.random.default_rng(0).standard_normal((_DRAWS, len(root)))
        return float(np.quantile((normal @ root.T).max(axis=1), 1 - alpha))


class FlipTerms(NamedTuple):
    """Each row's statistic minus its expectation, and the variance and third cumulant that the model expects.

    Three arrays of rows × hypotheses: flips into each class in turn, then flips to any other class.
    """

    statistic: Floats
    variance: Floats
    third: Floats


def flip_terms(p: Floats, labels: Codes, priors: Floats, share: float) -> FlipTerms:
    """The terms that the flip tests sum over the rows of a batch.

    Args:
        p: probabilities, rows × classes.
        labels: codes of the actual labels.
        priors: share of each class among trusted rows.
        share: share of all rows that are flipped under a hypothesis.
    """
    classes = p.shape[1]
    terms = FlipTerms(*(np.empty((len(p), classes + 1)) for _ in range(3)))
    given = p
    for h in range(classes + 1):
        p, q = flip_hypothesis(given, priors, share, h)
        gain = np.log(q / p)
        gain -= (p * gain).sum(axis=1, keepdims=True)
        terms.statistic[:, h] = gain[np.arange(len(p)), labels]
        terms.variance[:, h] = (p * gain**2).sum(axis=1)
        terms.third[:, h] = (p * gain**3).sum(axis=1)
    return terms


def flip_hypothesis(p: Floats, priors: Floats, share: float, hypothesis: int) -> tuple[Floats, Floats]:
    """The probabilities without flips, none of them too small, and those under a flip hypothesis (see `flip_terms`)."""
    p = np.clip(p, _LEAST, 1.0)
    p = p / p.sum(axis=1, keepdims=True)
    classes = p.shape[1]
    if hypothesis == classes:
        return p, (1 - share) * p + share * (1 - p) / (classes - 1)
    rate = min(share / max(1 - priors[hypothesis], share), 0.5)
    q = (1 - rate) * p
    q[:, hypothesis] += rate
    return p, q


def flip_null(p: Floats, labels: Codes, snapshot: Codes, share: float) -> FlipNull:
    """The null distribution of the flip tests, from out-of-fold probabilities of trusted rows.

    `snapshot` is the index of each row's snapshot. The other arguments are those of `flip_terms`.
    """
    from scipy.stats import chi2

    priors = np.bincount(labels, minlength=p.shape[1]) / len(labels)
    statistic, variance, _ = flip_terms(p, labels, priors, share)
    bias, spread = statistic.mean(axis=0), statistic.var(axis=0)
    sizes = np.bincount(snapshot).astype(np.float64)
    filled = sizes > 0
    sums = np.stack([np.bincount(snapshot, weights=column) for column in statistic.T], axis=1)[filled]
    sizes = sizes[filled][:, None]
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
    """The flip tests on a batch, as normal deviates for any size of the batch; one for each hypothesis."""
    n = len(labels)
    terms = flip_terms(p, labels, null.priors, share)
    expected = terms.variance.sum(axis=0)
    sampling = null.inflation * expected * (1 + n / null.rows)
    sums = (terms.statistic.sum(axis=0) - n * null.bias) / np.sqrt(sampling + n**2 * null.between)
    return unskewed(sums, terms.third.sum(axis=0) / expected**1.5)


def unskewed(sums: Floats, skewness: Floats) -> Floats:
    """Standardized sums as normal deviates, corrected for skewness.

    A sum of few skewed terms is large more often than a normal variable. Its distribution is approximated by
    Pearson's type III (1895) with the same three moments. Skewness to the left is not corrected: large sums are
    then rarer than those of a normal variable.
    """
    from scipy.special import gammaincc, ndtri

    shape = 4 / np.maximum(skewness, 1e-3) ** 2
    upper = gammaincc(shape, np.maximum(shape + sums * np.sqrt(shape), 0.0))
    # Far in the tail p underflows; the normal deviate does not need to be exact there.
    skewed = np.where(upper > 1e-300, -ndtri(np.clip(upper, 1e-300, 1 - 1e-16)), sums)
    return np.asarray(np.where(skewness > 1e-3, np.minimum(skewed, sums), sums))
