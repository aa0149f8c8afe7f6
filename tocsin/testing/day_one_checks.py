"""Conformance checks of what a detector declares for a new installation: `Detector.rules` and `Requires.shortest`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tocsin.contract.evaluation import judge
from tocsin.contract.plugin import Detector
from tocsin.testing.cases import Case
from tocsin.testing.reruns import configured, must, windows_of

__all__ = ["of"]


def of(plugin: type[Detector[Any]]) -> tuple[Callable[..., None], ...]:
    """The checks that apply to a detector."""
    requires = getattr(plugin, "requires", None)
    declared = ((check_rules, plugin.rules), (check_shortest, requires is not None and requires.shortest))
    return tuple(check for check, applies in declared if applies)


def check_rules(plugin: type[Detector[Any]], case: Case) -> None:
    """A detector that declares `rules` judges windows without a baseline, and twice in the same way."""
    must(
        plugin.requires.baseline is not None, "`rules` are declared, but the detector never needs a baseline"
    )
    must(plugin.floor > 0, "`rules` need a `floor` above 0: it is the threshold while there is no baseline")
    for window in windows_of(plugin, case):
        first, second = (
            [
                (judged.score.subject, judged.score.aspect, judged.score.value)
                for judged in judge(configured(plugin, case), window.with_baseline(None))
            ]
            for _ in range(2)
        )
        must(first == second, "two evaluations of a window without a baseline gave different scores")


def check_shortest(plugin: type[Detector[Any]], case: Case) -> None:  # noqa: ARG001 — checks have one form
    """A shortened baseline is shorter than half of the baseline, and holds several windows."""
    requires = plugin.requires
    length, shortest = requires.baseline, requires.shortest
    must(length is not None, "`shortest` is declared, but the detector uses no baseline")
    if length is not None and shortest is not None:
        must(shortest < length / 2, f"`shortest` must be less than half of the baseline, {length / 2}")
        must(shortest >= 2 * requires.window, "`shortest` must hold at least two windows")
