"""Usual values of one feature under its true name, the answered ones under a further name: how often is it `medium`?

Run `python -m benchmarks.decoys [--seeds N]`. Credit data of ../shared/data, a model of each seed, windows of 1,000 calls.
A decoy is the row's own usual value, so that no test of the inputs alone can see it. The null: a further column that the
model does not read, random or derived from a known one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.scorecards.drift import Credit, calls
from tocsin.contract.findings import Severity
from tocsin.contract.windows import Baseline
from tocsin.testing.evaluate import evaluate

Floats = NDArray[np.float64]
QUIET = 30  # windows of each seed


def windows(data: Credit, seed: int) -> Iterator[tuple[str, Floats, Floats, Floats]]:
    """For each window its kind, the values under the true names, the values that are answered, and the further column."""
    random = np.random.default_rng(seed)
    for number in range(QUIET):
        quiet = data.draw()
        derived = np.sqrt(np.abs(quiet[:, number % quiet.shape[1]]))
        yield "null", quiet, quiet, derived if number % 2 else random.normal(size=len(quiet))
    base = data.model.predict_proba(data.baseline)[:, 1]
    for column in data.columns:
        read = data.baseline.copy()
        read[:, column] = random.permutation(read[:, column])
        effect = np.abs(data.model.predict_proba(read)[:, 1] - base).mean()
        for kind in ("zeroing", "shift by 1 sd", "scale by 3"):
            quiet = data.draw()
            answered = quiet.copy()
            values = answered[:, column]
            changed = {
                "zeroing": values * 0,
                "shift by 1 sd": values + data.spread[column],
                "scale by 3": values * 3,
            }
            answered[:, column] = changed[kind]
            weight = "read by the model" if effect >= 0.01 else "hardly read"
            yield f"{kind}, feature {weight}", quiet, answered, answered[:, column]


def severity(
    data: Credit, baseline: Baseline, shown: Floats, answered: Floats, more: Floats
) -> Severity | None:
    """The worst severity of the findings of one window."""
    scores = data.model.predict_proba(answered)[:, 1]
    frame = calls([*data.names, "x0"], np.column_stack([shown, more]), scores, np.full(len(shown), 40))
    found = evaluate("feature_drift", {"inference": _named(frame)}, baseline=baseline).findings
    return max((finding.severity for finding in found), key=lambda s: s.rank, default=None)


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.int_range(len(frame)).cast(pl.String).alias("event.id"))


def main() -> None:
    """Print, for each kind, the number of windows and the shares with a finding of at least `low` and `medium`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    found: dict[str, list[int]] = {}
    for seed in range(parser.parse_args().seeds):
        data = Credit(seed)
        scores = data.model.predict_proba(data.baseline)[:, 1]
        month = calls(
            data.names, data.baseline, scores, np.arange(len(data.baseline)) * 28 // len(data.baseline)
        )
        quiet = calls(data.names, data.draw(), scores[:1000], np.full(1000, 40))
        baseline = evaluate(
            "feature_drift", {"inference": _named(quiet)}, baseline={"inference": _named(month)}
        ).baseline
        assert baseline is not None
        for kind, shown, answered, more in windows(data, seed):
            worst = severity(data, baseline, shown, answered, more)
            found.setdefault(kind, []).append(-1 if worst is None else worst.rank)
    for kind, ranks in sorted(found.items()):
        shares = [np.mean([rank >= s.rank for rank in ranks]) for s in (Severity.LOW, Severity.MEDIUM)]
        print(f"{kind:45} {len(ranks):4} windows  low {shares[0]:.2f}  medium {shares[1]:.2f}")


if __name__ == "__main__":
    main()
