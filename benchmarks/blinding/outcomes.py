"""What an attempt does to a finding: it stays, a "not judged" finding takes its place, or nothing does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from tocsin.contract.findings import Finding, Severity
from tocsin_detectors._spelling import canonical

STAYS, NOT_JUDGED, BLIND = "stays", "not judged", "BLIND"


def worst(findings: Sequence[Finding]) -> Finding | None:
    """The worst finding that is no aspect."""
    return max((f for f in findings if not f.aspect), key=lambda f: f.score / f.threshold, default=None)


def named(found: Finding, names: Collection[str]) -> Callable[[Finding], bool]:
    """Whether a finding is about the subject of `found`, which has these canonical names in the attempt."""
    return lambda f: f.subject.type == found.subject.type and canonical(f.subject.id) in names


def outcome_of(
    findings: Sequence[Finding],
    found: Finding,
    control: Sequence[Finding],
    is_same: Callable[[Finding], bool],
) -> str:
    """Whether a finding stays at its severity, or an aspect of `medium` or more takes its place.

    Args:
        findings: those with the attempt.
        found: the finding of the unblinded attack.
        control: all findings of the unblinded attack.
        is_same: whether a finding is about the same subject.
    """
    same = [f for f in findings if is_same(f)]
    if any(not f.aspect and f.severity.rank >= found.severity.rank for f in same):
        return STAYS
    before = {(f.subject, f.aspect, f.severity) for f in control}
    aspects = [f for f in findings if f.aspect and f.severity.rank >= Severity.MEDIUM.rank]
    return NOT_JUDGED if any((f.subject, f.aspect, f.severity) not in before for f in aspects) else BLIND
