"""Groups: alerts that are sent together, the state last reported to their receiver, and their outbox."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tocsin.clock import format_time
from tocsin.contract.alerts import Alert, AlertState, Notification, Transition, counted, digest
from tocsin.contract.findings import Severity
from tocsin_alerting.routes import Route

#: A notification describes at most this many firing alerts, and as many resolved ones. It counts the others.
MOST = 50
#: A new group with an alert of at least this severity waits for `group_wait_urgent`, and so does one with an early finding:
#: what caused it may still continue.
URGENT = Severity.HIGH


@dataclass(frozen=True, slots=True)
class Reported:
    """The state and severity of an alert in the last notification to the receiver.

    `described` is false while the alert was only counted, in a notification about very many alerts.
    """

    state: AlertState
    severity: Severity
    described: bool = True


@dataclass(frozen=True, slots=True)
class Posting:
    """A notification in the outbox, when it is due, the number of attempts so far, and why the last one failed."""

    notification: Notification
    due: datetime
    attempts: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A group's state, one record of the keyed state.

    The reported states and the outbox are in the same record, so one write both decides to send a notification and
    stores it. After a crash the notification is neither lost nor created again with another key.
    """

    id: str
    key: str
    receiver: str
    labels: Mapping[str, str]
    created: datetime
    number: int = 0
    thread: str = ""
    notified: datetime | None = None
    told: Mapping[str, Reported] = field(default_factory=dict)  # by alert id; the key in stored records
    outbox: tuple[Posting, ...] = ()
    unwritten: tuple[Transition, ...] = ()

    def reason(self, alerts: Sequence[Alert], route: Route, now: datetime, *, last: bool) -> str:
        """Why a notification about these alerts is due now, in Alertmanager's terms; empty if none is due."""
        if self.notified is None:
            urgent = any(a.firing and (a.early or a.severity.rank >= URGENT.rank) for a in alerts)
            wait = route.group_wait_urgent if urgent else route.group_wait
            waited = last or now >= self.created + wait
            return "first notification" if waited else ""
        unreported = [alert for alert in alerts if self.unreported(alert)]
        if unreported:
            if now < self.notified + route.group_interval and not self._worse(unreported):
                return ""
            if any(alert.firing for alert in unreported):
                return "new alerts in group"
            resolved = not any(alert.firing for alert in alerts)
            return "all alerts resolved" if resolved else "some alerts resolved"
        waiting = any(alert.firing and alert.acknowledged is None for alert in alerts)
        return "repeat interval elapsed" if waiting and now >= self.notified + route.repeat_interval else ""

    def _worse(self, unreported: Sequence[Alert]) -> bool:
        """Whether an alert that fires is worse than all that was reported: it does not wait behind milder ones."""
        reported = max((told.severity.rank for told in self.told.values()), default=-1)
        return any(alert.firing and alert.severity.rank > reported for alert in unreported)

    def unreported(self, alert: Alert) -> bool:
        """Whether the alert, its new state or a higher severity has not been reported to the receiver yet."""
        last = self.told.get(alert.id)
        return last is None or last.state is not alert.state or alert.severity.rank > last.severity.rank

    def notify(self, alerts: Sequence[Alert], reason: str, now: datetime) -> Group:
        """Return the group with a notification about these alerts in the outbox and their reported states updated."""
        return self.post(self.shown(alerts), reason, now)

    def post(self, shown: Sequence[Alert], reason: str, now: datetime) -> Group:
        """Return the group with a notification that shows these alerts in these states."""
        said = sorted(f"{alert.id} {alert.state} {alert.severity}" for alert in shown)
        key = digest("notification", self.id, format_time(self.created), str(self.number), *said)
        described = self._described(shown)
        among = {alert.id for alert in described}
        notification = Notification(
            key=key,
            receiver=self.receiver,
            group_key=self.key,
            labels=self.labels,
            reason=reason,
            alerts=tuple(replace(alert, unwritten=()) for alert in described),
            thread=self.thread or key,
            created=now,
            sent=now,
            more=counted(alert for alert in shown if alert.id not in among),
        )
        waiting = self.outbox
        if waiting and all(notification.severity.rank > p.notification.severity.rank for p in waiting):
            waiting = tuple(
                replace(p, due=now) for p in waiting
            )  # a worse alert waits for no backoff of a milder
        posted = replace(self, thread=notification.thread, outbox=(*waiting, Posting(notification, now)))
        return posted.reported(shown, among, now)

    def shown(self, alerts: Sequence[Alert]) -> list[Alert]:
        """The alerts in the states that are reported next.

        An alert that was never reported is reported as firing first, even if it is already resolved: pagers drop the
        resolution of an alert that they have not seen firing. The next notification reports it as resolved.
        """
        return [alert if alert.id in self.told else _as_firing(alert) for alert in alerts]

    def _described(self, alerts: Sequence[Alert]) -> list[Alert]:
        """The alerts to describe: the worst, first those that were described before, so that pagers can close them."""
        ordered = sorted(alerts, key=lambda alert: (alert.urgency, not self._ever(alert.id, ())))
        firing = [alert for alert in ordered if alert.firing]
        over = sorted(
            (alert for alert in ordered if not alert.firing), key=lambda a: not self._ever(a.id, ())
        )
        chosen = {alert.id for alert in (*firing[:MOST], *over[:MOST])}
        return [alert for alert in alerts if alert.id in chosen]

    def reported(self, alerts: Sequence[Alert], described: Collection[str], now: datetime) -> Group:
        """Return the group with these states as the reported ones; `described` are ids of alerts."""
        told = {a.id: Reported(a.state, a.severity, self._ever(a.id, described)) for a in alerts}
        return replace(self, number=self.number + 1, notified=now, told=told)

    def _ever(self, id: str, described: Collection[str]) -> bool:
        return id in described or (id in self.told and self.told[id].described)

    def without(self, key: str, transitions: Sequence[Transition]) -> Group:
        """Return the group without a notification, with transitions to be written to alert_history."""
        outbox = tuple(p for p in self.outbox if p.notification.key != key)
        return replace(self, outbox=outbox, unwritten=(*self.unwritten, *transitions))

    def retried(self, key: str, due: datetime, reason: str) -> Group:
        """Return the group with one more failed attempt at a notification, its new due time and the reason."""
        outbox = tuple(
            replace(p, attempts=p.attempts + 1, due=due, reason=reason) if p.notification.key == key else p
            for p in self.outbox
        )
        return replace(self, outbox=outbox)


def _as_firing(alert: Alert) -> Alert:
    return alert if alert.firing else replace(alert, state=AlertState.FIRING, resolved=None)


def group_of(alert: Alert, route: Route) -> tuple[str, str, dict[str, str]]:
    """The id, Alertmanager's group key and the labels of an alert's group on a route."""
    labels = route.group_labels(alert.labels)
    words = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    key = f"{route.key}:{{{words}}}"
    return digest("group", route.receiver, key), key, labels
