"""Evidently's default data drift preset on each window. Score: the largest drift of a column, in its own thresholds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset


def main() -> None:
    """Answer."""
    folder = Path(sys.argv[1])
    before, now = np.load(folder / "reference.npz"), np.load(folder / "windows.npz")
    names = [str(name) for name in before["names"]]
    kept = [name for name in names if name != "label"]
    reference = pd.DataFrame(before["rows"], columns=names)[kept]
    answers = []
    for window in range(int(now["window"].max()) + 1):
        current = pd.DataFrame(now["rows"][now["window"] == window], columns=names)[kept]
        answers.append(answer(Report([DataDriftPreset()]).run(current, reference).dict()))
    (folder / "answers.json").write_text(json.dumps(answers))


def answer(report: dict[str, Any]) -> tuple[float, bool]:
    """The preset's verdict is that half of the columns drift."""
    worst, verdict = 0.0, False
    for metric in report["metrics"]:
        config, value = metric["config"], metric["value"]
        if "drift_share" in config:
            verdict = bool(value["share"] >= config["drift_share"])
        else:
            is_p = "p_value" in config["method"]
            drift = (
                np.log(max(value, 1e-300)) / np.log(config["threshold"])
                if is_p
                else value / config["threshold"]
            )
            worst = max(worst, float(drift))
    return worst, verdict


main()
