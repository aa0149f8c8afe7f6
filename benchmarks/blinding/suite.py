"""Runs the blinding suite: `python -m benchmarks.blinding.suite [detector …]`.

For each detector an attack at the highest severity that it reaches unblinded is evaluated beside each attempt. An attempt
fails if the finding stays at that severity (`stays`), or if a "not judged" finding of `medium` or more takes its place
(`not judged`). Otherwise the detector is blind. The bar: the finding stays in at least 80 %, and no attempt is blind.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from benchmarks.blinding import files
from benchmarks.blinding.attempts import USER, VALUES, Attempt, accesses, inference, principals
from benchmarks.blinding.files import FileAttempt
from tests.generators import accesses as registry
from tests.generators import drift, queries
from tocsin.contract.findings import Finding, Severity
from tocsin.testing.evaluate import Evaluation, evaluate

STAYS, NOT_JUDGED, BLIND = "stays", "not judged", "BLIND"
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Trial:
    """A detector's attack: the trusted time before it, the other events of its time, and the attack's own events.

    `history`: the detector reads the trusted events as history, and has no baseline.
    """

    detector: str
    stream: str
    trusted: pl.DataFrame
    others: pl.DataFrame
    attack: pl.DataFrame
    attempts: tuple[Attempt, ...]
    history: bool = False

    def runs(self) -> Iterator[tuple[str, str]]:
        """Each attempt with its outcome; the first is the unblinded attack."""
        control, fitted = self._judged(self.attack, None)
        found = worst(control)
        if found is None:
            raise SystemExit(f"{self.detector}: the unblinded attack is not found")
        yield "(unblinded)", found.severity.value
        for attempt in self.attempts:
            findings, _ = self._judged(attempt.change(self.attack), fitted)
            yield attempt.name, outcome_of(findings, found.severity)

    def _judged(self, attack: pl.DataFrame, fitted: Evaluation | None) -> tuple[list[Finding], Evaluation]:
        events = {self.stream: pl.concat([self.others, attack], how="diagonal_relaxed")}
        baseline = (
            {self.stream: self.trusted} if fitted is None or fitted.baseline is None else fitted.baseline
        )
        result = evaluate(self.detector, events, baseline=baseline)
        return result.findings, fitted or result


@dataclass(frozen=True)
class FileTrial:
    """A detector of datasets, and a partner who writes a poisoned file."""

    detector: str
    attempts: tuple[FileAttempt, ...]

    def runs(self) -> Iterator[tuple[str, str]]:
        """Each attempt with its outcome; the first is the unblinded attack."""
        found = worst(self._of(files.CONTROL))
        if found is None:
            raise SystemExit(f"{self.detector}: the unblinded attack is not found")
        yield files.CONTROL.name, found.severity.value
        for attempt in self.attempts:
            yield attempt.name, outcome_of(self._of(attempt), found.severity)

    def _of(self, attempt: FileAttempt) -> list[Finding]:
        return [finding for finding in files.partner().findings(attempt) if finding.detector == self.detector]


def worst(findings: Sequence[Finding]) -> Finding | None:
    """The worst finding that is no aspect."""
    return max((f for f in findings if not f.aspect), key=lambda f: f.score / f.threshold, default=None)


def outcome_of(findings: Sequence[Finding], severity: Severity) -> str:
    """Whether the finding stays at its severity, or an aspect of `medium` or more takes its place."""
    if any(not f.aspect and f.severity.rank >= severity.rank for f in findings):
        return STAYS
    aspects = [f for f in findings if f.aspect and f.severity.rank >= Severity.MEDIUM.rank]
    return NOT_JUDGED if aspects else BLIND


def trials() -> dict[str, Callable[[], Trial | FileTrial]]:
    """The trials by detector."""
    return {
        "model_extraction": lambda: _extraction("model_extraction", 200),
        "query_budget": lambda: _extraction("query_budget", 3000),
        "feature_drift": lambda: _drift("feature_drift", "units"),
        "prediction_drift": lambda: _drift("prediction_drift", "indebted"),
        "registry_access": _registry,
        "dataset_profile": lambda: FileTrial("dataset_profile", tuple(files.attempts())),
        "label_poisoning": lambda: FileTrial("label_poisoning", tuple(files.attempts())),
    }


def _extraction(detector: str, queries_sent: int) -> Trial:
    month, today = queries.calls(0, 28), queries.calls(28, 1, copied=queries_sent)
    theirs = pl.col(USER) == "thief"
    others = today.filter(~theirs)
    attempts = (*inference(others[VALUES]), *principals())
    return Trial(detector, "inference", month, others, today.filter(theirs), attempts)


def _drift(detector: str, change: str) -> Trial:
    """A thousand shifted calls beside as many usual ones."""
    month, others, attack = (
        drift.calls(3000, seed=20, days=28),
        drift.calls(1000, seed=2, day=40),
        drift.calls(1000, seed=3, day=40, change=change),
    )
    month, others, attack = (
        frame.with_columns(pl.lit(user).alias(USER))
        for frame, user in ((month, "a"), (others, "b"), (attack, "thief"))
    )
    return Trial(detector, "inference", month, others, attack, (*inference(others[VALUES]), *principals()))


def _registry() -> Trial:
    month = registry.quiet(1)
    day = registry.quiet(1, days=1, first=57)
    night = registry.session(
        "ana", "2026-03-03T01:10:00+00:00", resources=24, address="203.0.113.9", agent="curl/8.5"
    )
    return Trial("registry_access", "access", month, day, night, (*accesses(), *principals()))


def main(names: Sequence[str]) -> int:
    """Run the trials of these detectors, or all of them. Returns 1 if a bar is missed."""
    counts: Counter[str] = Counter()
    for name, make in trials().items():
        if names and name not in names:
            continue
        trial, began = make(), time.perf_counter()
        outcomes = dict(trial.runs())
        control = outcomes.pop("(unblinded)")
        for attempt, outcome in outcomes.items():
            if outcome != STAYS:
                print(f"  {name}: {attempt}: {outcome}")
        of_one = Counter(outcomes.values())
        seconds = time.perf_counter() - began
        print(
            f"{name}: unblinded {control}; {len(outcomes)} attempts, {_shares(of_one)} ({seconds:.0f} s)",
            flush=True,
        )
        counts += of_one
    print(f"all: {counts.total()} attempts, {_shares(counts)}; bar: stays 80 %, blind 0 %")
    return 0 if counts[STAYS] >= 0.8 * counts.total() and not counts[BLIND] else 1


def _shares(counts: Counter[str]) -> str:
    total = max(counts.total(), 1)
    return ", ".join(
        f"{outcome.lower()} {counts[outcome] / total:.0%}" for outcome in (STAYS, NOT_JUDGED, BLIND)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
