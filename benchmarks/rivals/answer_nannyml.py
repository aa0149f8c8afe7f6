"""NannyML's univariate drift (method `drift`) or estimated performance (`cbpe`), by its defaults, on chunks of a window.

Score: the largest distance of a value from the middle of its two thresholds, in half of their distance; its own verdict is
an alert for a column, or for the estimated AUC.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nannyml
import numpy as np
import pandas as pd

OTHERS = ("label", "score", "answer")


def main() -> None:
    """Answer."""
    folder, method = Path(sys.argv[1]), sys.argv[2]
    before, now = np.load(folder / "reference.npz"), np.load(folder / "windows.npz")
    names = [str(name) for name in before["names"]]
    reference, rows = (pd.DataFrame(found["rows"], columns=names) for found in (before, now))
    size = int((now["window"] == 0).sum())
    if method == "cbpe":
        made = nannyml.CBPE(
            y_pred_proba="score", y_pred="answer", y_true="label", metrics=["roc_auc"],
            problem_type="classification_binary", chunk_size=size,
        )  # fmt: skip
        found = made.fit(reference).estimate(rows)
        parts: list[tuple[str, ...]] = [("roc_auc",)]
    else:
        features = [name for name in names if name not in OTHERS]
        made = nannyml.UnivariateDriftCalculator(column_names=features, chunk_size=size)
        found = made.fit(reference).calculate(rows)
        parts = [(name, "jensen_shannon") for name in features]
    table = found.filter(period="analysis").to_df()
    answers = [answer(table.iloc[chunk], parts) for chunk in range(len(table))]
    (folder / "answers.json").write_text(json.dumps(answers))


def answer(chunk: pd.Series, parts: list[tuple[str, ...]]) -> tuple[float, bool]:
    """The score and the verdict of a chunk."""
    scores, alerts = [], []
    for part in parts:
        low, high = (chunk.get((*part, f"{end}_threshold")) for end in ("lower", "upper"))
        low = 0.0 if low is None or pd.isna(low) else low
        scores.append(abs(chunk[(*part, "value")] - (low + high) / 2) / max((high - low) / 2, 1e-12))
        alerts.append(bool(chunk[(*part, "alert")]))
    return float(max(scores)), any(alerts)


main()
