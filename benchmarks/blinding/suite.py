"""Runs the blinding suite: `python -m benchmarks.blinding.suite [detector …]`.

For each detector an attack at the highest severity that it reaches unblinded is evaluated beside each attempt. An attempt
fails if the finding about the same subject stays at that severity (`stays`), or if a "not judged" finding of `medium` or
more takes its place (`not judged`). Otherwise the detector is blind. The bar, for each detector: the finding stays in at
least 80 %, and no attempt is blind.

Attempts that leave out the principal's name are not tried on `principal_spelling`: then no name is spelled in another way.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from benchmarks.blinding import cohorts, files, late_labels
from benchmarks.blinding.attempts import (
    ADDRESS,
    BESIDE,
    ID,
    MODEL,
    USER,
    VALUES,
    Attempt,
    accesses,
    doubles,
    inference,
    principals,
)
from benchmarks.blinding.files import FileAttempt
from benchmarks.blinding.late_labels import LabelAttempt
from benchmarks.blinding.outcomes import BLIND, NOT_JUDGED, STAYS, named, outcome_of, worst
from tests.generators import accesses as registry
from tests.generators import drift, queries
from tocsin.contract.findings import Finding, Subject
from tocsin.testing.evaluate import Evaluation, evaluate
from tocsin_detectors._spelling import NOBODY, canonical, pooled

STAYS_SHARE = 0.8


@dataclass(frozen=True)
class Trial:
    """A detector's attack: the trusted time before it, the other events of its time, and the attack's own events.

    `params`: settings of the detector. `beside`: a detector whose "not judged" findings count, too. A rule learns nothing,
    so it cannot know that a name is new. `known`: trusted events of other streams, with `snapshots`, the rows of datasets.
    """

    detector: str
    stream: str
    trusted: pl.DataFrame
    others: pl.DataFrame
    attack: pl.DataFrame
    attempts: tuple[Attempt, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    beside: str = ""
    known: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    snapshots: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    def runs(self) -> Iterator[tuple[str, str]]:
        """Each attempt with its outcome; the first is the unblinded attack."""
        control, fitted = self._judged(self.attack, None)
        found = worst(control)
        if found is None:
            raise SystemExit(f"{self.detector}: the unblinded attack is not found")
        yield "(unblinded)", found.severity.value
        for attempt in self.attempts:
            attack = attempt.change(self.attack)
            findings, _ = self._judged(attack, fitted)
            yield attempt.name, outcome_of(findings, found, control, self._is_same(attack, found))

    def _is_same(self, attack: pl.DataFrame, found: Finding) -> Callable[[Finding], bool]:
        return named(found, _subjects(attack, found.subject))

    def _judged(self, attack: pl.DataFrame, fitted: Evaluation | None) -> tuple[list[Finding], Evaluation]:
        events = {self.stream: pl.concat([self.others, attack], how="diagonal_relaxed")}
        trusted = {self.stream: self.trusted, **self.known}
        baseline = trusted if fitted is None or fitted.baseline is None else fitted.baseline
        snapshots = {digest: rows.lazy() for digest, rows in self.snapshots.items()}
        result = evaluate(self.detector, events, self.params, baseline, snapshots)
        if not self.beside:
            return result.findings, fitted or result
        more = evaluate(self.beside, events, baseline={self.stream: self.trusted}).findings
        return [*result.findings, *(f for f in more if f.aspect)], fitted or result


@dataclass(frozen=True)
class CohortTrial(Trial):
    """A trial whose finding is about a set of principals, whatever it is that they share."""

    def _is_same(self, attack: pl.DataFrame, found: Finding) -> Callable[[Finding], bool]:
        """Most of the principals that the evidence names are the attack's own."""
        own = set(pooled(attack.filter(~pl.col(ID).str.starts_with(BESIDE))[USER]))

        def is_same(finding: Finding) -> bool:
            names = finding.evidence.get("names")
            if finding.subject.type != found.subject.type or not isinstance(names, list):
                return False
            return 2 * sum(name in own for name in names) > len(names)

        return is_same


@dataclass(frozen=True)
class FileTrial:
    """A detector of datasets, and a partner who writes a poisoned file."""

    detector: str
    attempts: tuple[FileAttempt, ...]

    def runs(self) -> Iterator[tuple[str, str]]:
        """Each attempt with its outcome; the first is the unblinded attack."""
        control = self._of(files.CONTROL)
        found = worst(control)
        if found is None:
            raise SystemExit(f"{self.detector}: the unblinded attack is not found")
        yield files.CONTROL.name, found.severity.value
        for attempt in self.attempts:
            same = named(found, {canonical(found.subject.id)})
            yield attempt.name, outcome_of(self._of(attempt), found, control, same)

    def _of(self, attempt: FileAttempt) -> list[Finding]:
        return [finding for finding in files.partner().findings(attempt) if finding.detector == self.detector]


@dataclass(frozen=True)
class LabelTrial:
    """A detector of late labels, and whoever writes the calls of a bad model and their labels."""

    detector: str
    attempts: tuple[LabelAttempt, ...]

    def runs(self) -> Iterator[tuple[str, str]]:
        """Each attempt with its outcome; the first is the unblinded attack."""
        trusted, others, attack = late_labels.trusted(), late_labels.others(), late_labels.attack()

        def judged(events: late_labels.Events) -> list[Finding]:
            return evaluate(self.detector, (others + events).frames, baseline=trusted.frames).findings

        control = judged(attack)
        found = worst(control)
        if found is None:
            raise SystemExit(f"{self.detector}: the unblinded attack is not found")
        yield "(unblinded)", found.severity.value
        for attempt in self.attempts:
            events = attempt.change(attack)
            yield (
                attempt.name,
                outcome_of(
                    judged(events), found, control, named(found, _subjects(events.calls, found.subject))
                ),
            )


def _subjects(attack: pl.DataFrame, subject: Subject) -> set[str]:
    """The canonical names of a subject and of the attack's own events, without those that were put beside them.

    `registry_access` names a principal without a name after its address.
    """
    column = {"principal": USER, "model": MODEL}[subject.type]
    own = attack.filter(~pl.col(ID).str.starts_with(BESIDE))
    addresses = own[ADDRESS].drop_nulls().unique() if ADDRESS in own.columns else ()
    names = [subject.id, NOBODY, *own[column].drop_nulls().unique(), *(f"unknown@{a}" for a in addresses)]
    return {canonical(name) for name in names}


def trials() -> dict[str, Callable[[], Trial | FileTrial | LabelTrial]]:
    """The trials by detector."""
    return {
        "model_extraction": lambda: _extraction("model_extraction", 200),
        "query_budget": lambda: _extraction("query_budget", 3000),
        "evasion": _evasion,
        "membership": _membership,
        "feature_drift": lambda: _drift("feature_drift", "units"),
        "prediction_drift": lambda: _drift("prediction_drift", "indebted"),
        "collusion": _collusion,
        "performance": lambda: LabelTrial("performance", tuple(late_labels.attempts())),
        "registry_access": _registry,
        "pyod": _outliers,
        "principal_spelling": _spelling,
        "approved_range": _approved,
        "dataset_profile": lambda: FileTrial("dataset_profile", tuple(files.attempts())),
        "label_poisoning": lambda: FileTrial("label_poisoning", tuple(files.attempts())),
    }


def _extraction(detector: str, queries_sent: int) -> Trial:
    month, today = queries.calls(0, 28), queries.calls(28, 1, copied=queries_sent)
    theirs = pl.col(USER) == "thief"
    others = today.filter(~theirs)
    attempts = (*inference(others[VALUES]), *principals())
    return Trial(detector, "inference", month, others, today.filter(theirs), attempts)


def _evasion() -> Trial:
    """Two hundred variants of one applicant, in two features. What cannot be compared, `model_extraction` reports."""
    trial, rows = _extraction("evasion", 200), queries.variants(200)
    sent = {VALUES: rows.tolist(), **queries.answers(rows)}
    attack = trial.attack.with_columns(pl.Series(*one) for one in sent.items())
    return replace(trial, attack=attack, beside="model_extraction")


def _membership() -> Trial:
    """A hundred training rows among as many others. What cannot be compared, `model_extraction` reports."""
    trial = _extraction("membership", 200)
    rows = queries.applicants(2000, seed=91)[:200]
    rows[100:] = queries.applicants(100, seed=92)
    sent = {VALUES: rows.tolist(), **queries.answers(rows)}
    attack = trial.attack.with_columns(pl.Series(*one) for one in sent.items())
    known = {"dataset": queries.snapshots()}
    return replace(trial, attack=attack, beside="model_extraction", known=known, snapshots=queries.trained())


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
    attempts = (*inference(others[VALUES]), *principals())
    return Trial(detector, "inference", month, others, attack, attempts)


def _collusion() -> Trial:
    """Fifty new accounts with forty queries each, behind one address."""
    week = cohorts.calls(cohorts.DAY - 6, 7)
    today = cohorts.calls(cohorts.DAY, 1, cohorts.ACCOUNTS, cohorts.EACH)
    attack = today.filter(pl.col(USER).str.starts_with("sybil"))
    attempts = (*inference(week[VALUES]), *principals(), *cohorts.attempts())
    return CohortTrial("collusion", "inference", cohorts.calls(0, 28), week, attack, attempts)


def _outliers() -> Trial:
    """Calls with all values in another unit. The rarity of a row is at most that of one in the baseline's rows."""
    month, others, attack = (
        drift.calls(40_000, seed=20, days=28),
        drift.calls(300, seed=2, day=40),
        drift.calls(300, seed=3, day=40).with_columns(pl.col(VALUES).list.eval(pl.element() * 1e6)),
    )
    month, others, attack = (f.with_columns(pl.lit("thief").alias(USER)) for f in (month, others, attack))
    attempts = (*inference(others[VALUES]), *principals())
    return Trial("pyod", "inference", month, others, attack, attempts, {"columns": [VALUES]})


def _approved() -> Trial:
    """A thousand calls in another unit, and the range of incomes that the usual calls beside them have."""
    trial = _drift("approved_range", "units")
    usual = trial.others[VALUES].list.get(drift.INCOME)
    rule = {"model": "credit", "feature": "income", "min": usual.min(), "max": usual.max()}
    return replace(trial, params={"rules": [{**rule, "severity": "critical"}]}, beside="feature_drift")


def _registry() -> Trial:
    month = registry.quiet(1)
    day = registry.quiet(1, days=1, first=57)
    night = registry.session(
        "ana", "2026-03-03T01:10:00+00:00", resources=24, address="203.0.113.9", agent="curl/8.5"
    )
    return Trial("registry_access", "access", month, day, night, (*accesses(), *principals()))


def _spelling() -> Trial:
    trial = _registry()
    double = trial.attack.with_columns(pl.lit("\u0430na").alias(USER))
    attempts = tuple(a for a in trial.attempts if a.name not in ("user: left out", "user: empty"))
    return replace(trial, detector="principal_spelling", attack=double, attempts=(*attempts, *doubles()))


def main(names: Sequence[str]) -> int:
    """Run the trials of these detectors, or all of them. Returns 1 if a bar is missed."""
    counts: Counter[str] = Counter()
    missed = False
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
        missed |= of_one[STAYS] < STAYS_SHARE * of_one.total() or of_one[BLIND] > 0
    print(f"all: {counts.total()} attempts, {_shares(counts)}; bar: stays {STAYS_SHARE:.0%}, blind 0 %")
    return 1 if missed else 0


def _shares(counts: Counter[str]) -> str:
    total = max(counts.total(), 1)
    return ", ".join(
        f"{outcome.lower()} {counts[outcome] / total:.0%}" for outcome in (STAYS, NOT_JUDGED, BLIND)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
