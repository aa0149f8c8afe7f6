"""The model of the label given the features, and its out-of-fold probabilities of trusted rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

_FOLDS = 6  # with fewer, the folds' models are weaker than the model that judges, and the null is wrong


def fitted(rows: Floats, codes: Codes) -> Any:
    """A gradient-boosting model (Friedman 2001) of label codes given encoded rows, fitted deterministically."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=200,
        learning_rate=0.05,
        max_leaf_nodes=16,
        max_features=0.5,
        min_samples_leaf=max(5, min(60, len(rows) // 50)),
        l2_regularization=10.0,
        early_stopping=False,
        random_state=0,
    ).fit(rows, codes)


def probabilities(model: Any, rows: Floats, classes: int) -> Floats:
    """The probability of each class, rows × classes; 0 for a class that the model did not see."""
    p = np.zeros((len(rows), classes))
    p[:, model.classes_] = model.predict_proba(rows)
    return p


def out_of_fold(rows: Floats, codes: Codes, classes: int) -> Floats:
    """The probabilities of each row's classes by a model that was fitted without the row."""
    fold = np.random.default_rng(0).permutation(len(rows)) % _FOLDS
    p = np.empty((len(rows), classes))
    for k in range(_FOLDS):
        model = fitted(rows[fold != k], codes[fold != k])
        p[fold == k] = probabilities(model, rows[fold == k], classes)
    return p
