"""The figures of several seeds as one, with intervals, and what follows from scores: AUC and TPR at fixed false alarms."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.card import Row

Floats = NDArray[np.float64]

DRAWS = 1000
TAIL = 0.025  # at each end of an interval
RATES = {0.01: 100, 0.001: 1000}  # false alarms of a fixed TPR, and the quiet trials that it needs


def pooled(seeds: Sequence[Sequence[Row]]) -> list[Row]:
    """One row for each case, in their order: means weighted by trials, all scores, and 95 % intervals."""
    found: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in (row for rows in seeds for row in rows):
        found.setdefault((row.detector, row.data, row.case, row.metric), []).append(row)
    rows = [_one(parts) for parts in found.values()]
    return [
        *rows,
        *(row for row in _fixed(rows) if (row.detector, row.data, row.case, row.metric) not in found),
    ]


def _one(parts: Sequence[Row]) -> Row:
    values, trials = np.asarray([row.value for row in parts]), np.asarray([row.trials for row in parts])
    value = float(np.average(values, weights=trials)) if trials.sum() else float(values.mean())
    low, high = _interval(parts, values, trials)
    scores = tuple(score for row in parts for score in row.scores)
    return dataclasses.replace(
        parts[0], value=value, trials=int(trials.sum()), scores=scores, low=low, high=high
    )


def _interval(
    parts: Sequence[Row], values: Floats, trials: NDArray[np.int64]
) -> tuple[float | None, float | None]:
    """Bootstrap over seeds and over the trials of each."""
    rng, many = np.random.default_rng(0), len(parts)
    drawn = rng.integers(many, size=(DRAWS, many))
    if all(row.scores for row in parts):
        if values.max() == 0 or values.min() == 1:
            return _unanimous(float(values[0]), int(trials.sum()))
        hits = rng.binomial(trials[drawn], values[drawn])
        shares = hits.sum(axis=1) / trials[drawn].sum(axis=1)
    elif many > 1 and trials.min() > 0:
        shares = (values[drawn] * trials[drawn]).sum(axis=1) / trials[drawn].sum(axis=1)
    else:
        return None, None
    return _ends(shares)


def _unanimous(value: float, trials: int) -> tuple[float, float]:
    """The interval of trials that were all found (1) or all missed (0): Clopper and Pearson (1934)."""
    beyond = TAIL ** (1 / trials)
    return (beyond, 1.0) if value else (0.0, 1 - beyond)


def quiet_scores(rows: Sequence[Row]) -> dict[tuple[str, str], Floats]:
    """All scores without an attack, by detector and data."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.quiet and row.least == 1.0:
            found.setdefault((row.detector, row.data), []).extend(row.scores)
    return {key: np.sort(scores) for key, scores in found.items() if scores}


def _fixed(rows: Sequence[Row]) -> Iterator[Row]:
    """AUC of attacks against quiet trials, and the TPR at thresholds from the quiet trials alone."""
    quiet = quiet_scores(rows)
    for row in rows:
        known = quiet.get((row.detector, row.data))
        if known is None or row.quiet or not row.scores or row.least != 1.0:
            continue
        scores, rng = np.asarray(row.scores), np.random.default_rng(0)
        draws = [auc(_again(known, rng), _again(scores, rng)) for _ in range(DRAWS // 5)]
        area = auc(known, scores)
        yield _derived(row, "AUC", area, None if area in (0, 1) else _ends(draws))
        for rate, needed in RATES.items():
            if len(known) < needed:
                continue
            limit = np.quantile(known, 1 - rate, method="higher")
            hits = [
                float(np.mean(_again(scores, rng) > np.quantile(_again(known, rng), 1 - rate)))
                for _ in range(DRAWS // 5)
            ]
            name, share = f"TPR at {rate * 100:g} % FPR", float(np.mean(scores > limit))
            yield _derived(
                row, name, share, _unanimous(share, len(scores)) if share in (0, 1) else _ends(hits)
            )


def _again(values: Floats, rng: np.random.Generator) -> Floats:
    return values[rng.integers(len(values), size=len(values))]


def _derived(row: Row, metric: str, value: float, ends: tuple[float, float] | None) -> Row:
    low, high = ends or (None, None)
    return Row(row.detector, row.data, row.case, metric, value, row.trials, low=low, high=high)


def _ends(draws: Sequence[float] | Floats) -> tuple[float, float]:
    low, high = np.quantile(draws, (TAIL, 1 - TAIL))
    return float(low), float(high)


def auc(quiet: Floats, attack: Floats) -> float:
    """Area under the ROC curve: the share of pairs in which the attack's score is higher; equal ones count half."""
    known = np.sort(quiet)
    below = np.searchsorted(known, attack, "left") + np.searchsorted(known, attack, "right")
    return float(below.mean() / (2 * len(known)))


def curve(quiet: Floats, attack: Floats, points: int = 40) -> list[tuple[float, float]]:
    """Points of the ROC curve, (false alarms, found), evenly spread over the logarithm of the false alarms."""
    rates = np.geomspace(1 / len(quiet), 1, points)
    limits = np.quantile(quiet, 1 - rates, method="higher")
    return [(float(rate), float(np.mean(attack > limit))) for rate, limit in zip(rates, limits, strict=True)]
