"""Conformance checks of detectors that judge windows before their end: they do what their `early` declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import polars as pl

from tocsin.contract.early import Early
from tocsin.contract.evaluation import judge
from tocsin.contract.findings import Subject
from tocsin.contract.plugin import Detector
from tocsin.contract.streams import ID, STREAMS, TIME
from tocsin.contract.windows import FrameSource, Window
from tocsin.testing.cases import Case
from tocsin.testing.reruns import configured, must, windows_of
from tocsin.words import listed

PREFIXES = 8  # of a window
VALUES = 5  # of a window that are judged one by one
#: Two evaluations of the same rows may sum them in another order.
TOLERANCE = 1e-9
_ABSENT = "tocsin.absent"  # a value that no event has

Scores = dict[Subject, float]  # in thresholds


def check_early_score_only_grows(plugin: type[Detector[Any]], case: Case) -> None:
    """A detector with `Early.grows`: later events only raise a score that has reached the threshold."""
    if plugin.early is not None and plugin.early.grows:
        for window in windows_of(plugin, case):
            grows(configured(plugin, case), window)


def check_early_judges_changed_values(plugin: type[Detector[Any]], case: Case) -> None:
    """A detector with `Early.by` judges only values in `Window.changed`, each with the score that all values give it.

    It may leave out values that do not reach the threshold.
    """
    if plugin.early is not None and plugin.early.by:
        for window in windows_of(plugin, case):
            judges_changed(configured(plugin, case), plugin.early, window)


#: For detectors that declare `early`.
CHECKS = (check_early_score_only_grows, check_early_judges_changed_values)


def grows(detector: Detector[Any], window: Window) -> None:
    """Raise `CheckError` if the score of a subject falls after it has reached the threshold."""
    whole = scores(detector, window)
    for count, part in prefixes(detector, window):
        for subject, ratio in scores(detector, part).items():
            final = whole.get(subject, 0.0)
            must(
                ratio < 1 or ratio <= final * (1 + TOLERANCE),
                f"early declares grows=True, but the score of {subject.id} is {ratio:.6g} times the threshold on the first "
                f"{count} events and {final:.6g} times on the whole window",
            )


def judges_changed(detector: Detector[Any], early: Early, window: Window) -> None:
    """Raise `CheckError` if other values than those in `Window.changed` are judged, or with another score."""
    whole = scores(detector, window)
    strange = scores(detector, replace(window, changed=frozenset({_ABSENT})))
    must(not strange, f"no value of {early.by} is in Window.changed, but {_names(strange)} was judged")
    alone: dict[Subject, int] = {}
    values = _values(early.by, detector, window)
    for value in values[:VALUES]:
        for subject, ratio in scores(detector, replace(window, changed=frozenset({value}))).items():
            alone[subject] = alone.get(subject, 0) + 1
            same = abs(ratio - whole.get(subject, -1.0)) <= TOLERANCE * max(ratio, 1.0)
            must(
                same,
                f"the score of {subject.id} is {ratio:.6g} times the threshold if only {value!r} is judged, and "
                f"{whole.get(subject)} if all values of {early.by} are",
            )
    every = scores(detector, replace(window, changed=frozenset(values)))
    lost = {subject: ratio for subject, ratio in whole.items() if subject not in every and ratio >= 1}
    must(not lost, f"with all values in Window.changed, {_names(lost)} is not judged")
    must(
        every.items() <= whole.items(),
        f"with all values in Window.changed, {_names(every)} is judged, not {_names(whole)}",
    )
    for subject, number in alone.items():
        must(
            number < max(len(values[:VALUES]), 2),
            f"{subject.id} is judged whichever value is in Window.changed",
        )


def scores(detector: Detector[Any], window: Window) -> Scores:
    """The score of each subject without aspects, as a multiple of the threshold."""
    judged = [j for j in judge(detector, window) if not j.score.aspect]
    return {j.score.subject: j.score.value / j.threshold for j in judged}


def prefixes(detector: Detector[Any], window: Window) -> Iterator[tuple[int, Window]]:
    """The window with its first rows only, in the order of event time: up to `PREFIXES` numbers of rows."""
    assert isinstance(window.source, FrameSource)
    frames = {stream: window.rows(stream) for stream in detector.requires.streams}
    tagged = [frame.select(TIME, ID, stream=pl.lit(stream)) for stream, frame in frames.items()]
    order = pl.concat(tagged).sort(TIME, ID, maintain_order=True)["stream"]
    for count in sorted({len(order) * k // PREFIXES for k in range(1, PREFIXES)} - {0}):
        head = order.head(count)
        first = {stream: frame.head(int((head == stream).sum())) for stream, frame in frames.items()}
        yield count, window.with_rows(first, window.source.snapshots)


def _values(by: str, detector: Detector[Any], window: Window) -> list[str | None]:
    streams = [stream for stream in detector.requires.streams if by in STREAMS[stream].by_name]
    found = pl.concat([window.rows(stream, [by])[by] for stream in streams])
    return found.unique().sort().to_list()


def _names(judged: Scores) -> str:
    return listed([subject.id for subject in judged], VALUES) or "nothing"
