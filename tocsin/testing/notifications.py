"""A made-up notification, with which a receiver is tested."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tocsin.contract.alerts import Alert, AlertState, Notification, fingerprint
from tocsin.contract.findings import Severity, Subject

_START = datetime(2026, 3, 2, tzinfo=UTC)
_DAY = timedelta(days=1)


def notification(
    *,
    subject_type: str = "model",
    subject_id: str = "credit",
    severity: str = "high",
    reason: str = "credit failed 33 of 100 calls in 1h; 3.0% is usual",
    resolved: bool = False,
) -> Notification:
    """A notification with one alert, firing or resolved. The same arguments give the same notification and key."""
    alert = _alert(Subject(subject_type, subject_id), Severity(severity), reason, resolved=resolved)
    key = f"{alert.fingerprint}-{alert.state.value}"
    sent = alert.changed
    return Notification(
        key=key,
        receiver="test",
        group_key='{}:{detector="failed_calls"}',
        labels={"detector": "failed_calls"},
        reason="first notification",
        alerts=(alert,),
        thread=key,
        created=sent,
        sent=sent,
    )


def _alert(subject: Subject, severity: Severity, reason: str, *, resolved: bool) -> Alert:
    identity = fingerprint("default", "failed_calls", subject)
    end = _START + _DAY
    return Alert(
        id=f"{identity}-20260302T000000",
        fingerprint=identity,
        namespace="default",
        detector="failed_calls",
        subject=subject,
        state=AlertState.RESOLVED if resolved else AlertState.FIRING,
        severity=severity,
        started=_START,
        window_start=_START,
        window_end=end,
        finding="f" * 32,
        score=8.1,
        threshold=3.0,
        reason=reason,
        evidence={"calls": 100, "failed": 33},
        techniques=(),
        playbook="",
        changed=end + _DAY if resolved else end,
        resolved=end + _DAY if resolved else None,
    )
