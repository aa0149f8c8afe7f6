"""Early evaluation in quiet windows: false alarms of all evaluations together, and findings that the full window withdraws.

A part of `benchmarks.early_null` for each seed. A window is the day of one subject, judged at each trigger and finally.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import early_null
from benchmarks.card import Row, shared

#: The others have too few windows a part, or no finding in this telemetry.
DETECTORS = ("feature_drift", "prediction_drift", "dataset_profile", "label_poisoning")
BAR = 0.01


def measure(seeds: Sequence[int]) -> list[Row]:
    """The share of quiet windows with a finding, by the final evaluation alone and by any, and of withdrawn findings."""
    rows = []
    for detector in DETECTORS:
        judged = [one for seed in seeds for one in early_null.measure(detector, seed)]
        margin = early_null.margin(detector)
        final = [one.final for one in judged]
        worst = [max(one.final, one.early / margin) for one in judged]
        withdrawn = [one.early / margin if one.final < 1 else 0.0 for one in judged]
        for metric, ratios, bar in (
            ("FPR, final evaluation alone", final, BAR),
            ("FPR, all evaluations", worst, BAR),
            ("withdrawn by the full window", withdrawn, None),
        ):
            rows.append(
                shared((detector, "scripted", "quiet windows, early"), metric, ratios, bar, quiet=True)
            )
    return rows
