"""HopSkipJump of the Adversarial Robustness Toolbox against a copy of a model: FOLDER WINDOWS QUERIES SEED.

Writes `queries.npz`: the first queries of attacks from random rows, for each window.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from art.attacks.evasion import HopSkipJump
from art.estimators.classification import BlackBoxClassifier
from sklearn.ensemble import HistGradientBoostingClassifier


def main() -> None:
    """Attack."""
    folder, (windows, queries, seed) = Path(sys.argv[1]), map(int, sys.argv[2:5])
    known = np.load(folder / "model.npz")
    rows = known["rows"].astype(np.float32)
    model = HistGradientBoostingClassifier(max_iter=60, random_state=seed).fit(rows, known["answers"])
    asked: list[np.ndarray] = []

    def predict(batch: np.ndarray) -> np.ndarray:
        asked.extend(np.array(batch))
        return np.eye(2, dtype=np.float32)[model.predict(batch).astype(int)]

    ends = rows.min(axis=0), rows.max(axis=0)
    classifier = BlackBoxClassifier(predict, input_shape=rows.shape[1:], nb_classes=2, clip_values=ends)
    rng = np.random.default_rng(seed)
    np.random.seed(seed)  # noqa: NPY002  (what ART draws from)
    found = []
    for _ in range(windows):
        asked.clear()
        while len(asked) < queries:
            attack = HopSkipJump(
                classifier, max_iter=1, max_eval=50, init_eval=20, init_size=20, verbose=False
            )
            attack.generate(rows[[rng.integers(len(rows))]])
        found.append(np.asarray(asked[:queries], dtype=np.float64))
    np.savez(folder / "queries.npz", rows=np.asarray(found))


main()
