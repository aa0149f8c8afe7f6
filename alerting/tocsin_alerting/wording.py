"""Formats a notification and its alerts as text.

Subjects and reasons may contain text that an attacker chose. It is reduced to one line of printable characters: no
terminal escapes, no line breaks, no characters that change the writing direction.
"""

from __future__ import annotations

from tocsin.clock import format_time
from tocsin.contract.alerts import Alert, Notification

_LONGEST = 500


def plain(text: str, longest: int = _LONGEST) -> str:
    """One line of printable text. Each other character is replaced by U+FFFD."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def title(notification: Notification) -> str:
    """`[FIRING:2] HIGH label_poisoning: dataset applications (+1)`, for a subject line."""
    alerts = notification.firing or notification.resolved
    state = alerts[0].state
    count = len(alerts) + sum(item.count for item in notification.more if item.state is state)
    first, others = alerts[0], f" (+{count - 1})" if count > 1 else ""
    what = f"{first.detector}: {first.subject.type} {plain(first.subject.id, 100)}"
    return plain(f"[{state.value.upper()}:{count}] {notification.severity.value.upper()} {what}{others}")


def more(notification: Notification) -> list[str]:
    """The alerts that a notification counts and does not describe, one line for each kind."""
    total = sum(item.count for item in notification.more)
    kinds = [plain(str(item)) for item in notification.more]
    return [f"… and {total:,} more alerts: tocsin alerts", *kinds] if total else []


def facts(alert: Alert) -> list[tuple[str, str]]:
    """The facts about an alert in a notification: names and values, most urgent first."""
    ratio = f", {alert.score / alert.threshold:.1f} × threshold" if alert.threshold > 0 else ""
    window = f"{format_time(alert.window_start)} to {format_time(alert.window_end)}"
    found = [
        ("what", plain(alert.reason)),
        ("who", f"{alert.subject.type} {plain(alert.subject.id, 200)}"),
        ("when", f"{window} (firing since {format_time(alert.started)}, windows: {alert.findings})"),
        ("score", f"{alert.score:.4g}{ratio}"),
        ("technique", ", ".join(alert.techniques)),
        ("playbook", alert.playbook),
        ("incident", alert.incident),
    ]
    if alert.early and alert.firing:
        found.append(("evaluation", "early: the window has not ended"))
    if alert.withdrawn:
        found.append(("resolved", "withdrawn by the full window"))
    elif alert.resolved is not None:
        found.append(("resolved", f"no finding in the window that ended {format_time(alert.resolved)}"))
    elif alert.acknowledged is not None:
        ack = alert.acknowledged
        found.append(
            ("acknowledged", f"by {plain(ack.by, 100)} at {format_time(ack.at)}: {plain(ack.reason)}")
        )
    else:
        found.append(
            ("acknowledge", f"tocsin ack {alert.incident or alert.fingerprint} --by NAME --reason WHY")
        )
    return [(name, value) for name, value in found if value]


def heading(alert: Alert) -> str:
    """`FIRING high label_poisoning 9c1f0a2b3c4d5e6f`."""
    return f"{alert.state.value.upper()} {alert.severity.value} {alert.detector} {alert.fingerprint}"
