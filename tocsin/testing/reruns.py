"""Evaluations of a case for the conformance checks, and the error of a check."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import polars as pl

from tocsin.config import params as settings
from tocsin.contract.plugin import Detector
from tocsin.contract.windows import Baseline, Window
from tocsin.testing import cases as case_files
from tocsin.testing.cases import Case
from tocsin.testing.evaluate import Evaluation, evaluate, windows


class CheckError(AssertionError):
    """A plug-in violates the plug-in contract. The message states how."""


def must(true: bool, words: str) -> None:
    """Raise `CheckError` with these words unless `true`."""
    if not true:
        raise CheckError(words)


@functools.lru_cache(maxsize=8)
def result(plugin: type[Detector[Any]], case: Case) -> Evaluation:
    """The evaluation of a case. The last few are kept."""
    return case_files.run(case, plugin)


def rerun(
    plugin: type[Detector[Any]],
    case: Case,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    *,
    refit: bool = False,
) -> Evaluation:
    """The evaluation of a case with changed rows; with `refit`, of the baseline too."""
    baseline: Any = _baseline(plugin, case)
    if refit and case.baseline is not None:
        baseline = {stream: change(case_files.rows(given)) for stream, given in case.baseline.items()}
    return evaluate(
        configured(plugin, case),
        {stream: change(case_files.rows(given)) for stream, given in case.events.items()},
        baseline=baseline,
        snapshots=case_files.snapshots(case),
        window=case.window,
    )


def windows_of(plugin: type[Detector[Any]], case: Case) -> list[Window]:
    """The windows of a case, with their baseline."""
    frames, baseline = (
        {s: case_files.rows(given) for s, given in case.events.items()},
        _baseline(plugin, case),
    )
    return windows(configured(plugin, case), frames, baseline, case_files.snapshots(case), case.window)[0]


def _baseline(plugin: type[Detector[Any]], case: Case) -> Baseline | dict[str, pl.DataFrame] | None:
    """The baseline of a case, fitted once; of a detector with history only, the rows."""
    fitted = result(plugin, case).baseline
    if fitted is None and case.baseline is not None:
        return {stream: case_files.rows(given) for stream, given in case.baseline.items()}
    return fitted


def configured(plugin: type[Detector[Any]], case: Case) -> Detector[Any]:
    """The detector with the settings of a case."""
    detector: Detector[Any] = plugin(settings.build(plugin.params_type(), case.params))
    return detector


def same(first: Evaluation, second: Evaluation, words: str) -> None:
    """Raise `CheckError` with these words unless both evaluations have the same scores."""
    columns = ["subject.type", "subject.id", "window.start", "score", "threshold"]
    must(first.scores.select(columns).equals(second.scores.select(columns)), words)
