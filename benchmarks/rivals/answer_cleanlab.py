"""cleanlab on the labels of each window, with a model of the rows before.

Score: the share of rows with a label issue, by the default filter. cleanlab names rows and has no verdict on a window.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues
from sklearn.ensemble import HistGradientBoostingClassifier


def main() -> None:
    """Answer."""
    folder = Path(sys.argv[1])
    before, now = np.load(folder / "reference.npz"), np.load(folder / "windows.npz")
    label = [str(name) for name in before["names"]].index("label")
    rows = np.delete(before["rows"], label, axis=1)
    model = HistGradientBoostingClassifier(random_state=0).fit(rows, before["rows"][:, label].astype(int))
    answers = []
    for window in range(int(now["window"].max()) + 1):
        mine = now["rows"][now["window"] == window]
        labels = mine[:, label].astype(int)
        issues = find_label_issues(labels, model.predict_proba(np.delete(mine, label, axis=1)), n_jobs=1)
        answers.append((float(np.mean(issues)), None))
    (folder / "answers.json").write_text(json.dumps(answers))


main()
