"""The alert path as one object: a tick for the scheduler, and what people do to alerts and incidents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from tocsin.clock import EPOCH, Clock
from tocsin.config.secret import secrets_of
from tocsin.contract.alerts import Acknowledgement, Action, Alert
from tocsin.contract.incidents import Incident, Playbook, StepState
from tocsin.contract.plugin import Receiver
from tocsin.errors import ConfigError, InputError, StoreError
from tocsin.store.protocol import Store
from tocsin_alerting.configure import configure
from tocsin_alerting.context import Context, Routed, Settings
from tocsin_alerting.delivery import deliver
from tocsin_alerting.groups import Group
from tocsin_alerting.history import write_history
from tocsin_alerting.reading import Position
from tocsin_alerting.records import Conflict, Table
from tocsin_alerting.stages import STAGES

#: A resolved alert stays listed for so long; alert_history keeps it after that.
KEEP = timedelta(days=90)
_ATTEMPTS = 20
R = TypeVar("R", Alert, Incident)
N = TypeVar("N")


@dataclass(frozen=True, slots=True)
class TickResult:
    """What a tick did: alerts that began to fire or were resolved; notifications delivered, given up
    (`failed`), and tried in vain but to be tried again (`retried`).
    """

    firing: int = 0
    resolved: int = 0
    notified: int = 0
    failed: int = 0
    retried: int = 0
    notifications: tuple[tuple[str, str, int], ...] = ()  # receiver, outcome, how many


class Alerting:
    """Alerts, incidents and notifications of one store.

    Nothing is kept in memory from one tick to the next. Every write is a record of its own, and a tick
    that is cut off anywhere and run again does what is left to do: nothing is lost, and nobody is told
    the same under two keys.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: Settings,
        receivers: Mapping[str, Receiver[Any]],
        playbooks: Mapping[str, Playbook],
    ) -> None:
        self._store, self._clock, self._settings = store, clock, settings
        self._receivers, self._playbooks = receivers, playbooks

    @classmethod
    def build(
        cls,
        store: Store,
        clock: Clock,
        section: Mapping[str, Any],
        receivers: Mapping[str, Receiver[Any]],
        folder: Path,
    ) -> Self:
        """The alert path that a configuration's `alerting` section asks for.

        Args:
            store: where findings come from and records go.
            clock: the time.
            section: the mapping: `route`, `receivers`, `incidents`, `playbooks`.
            receivers: those of the section, built, by name.
            folder: what relative paths are relative to.

        Raises:
            ConfigError: something is wrong; `key` is its place below `alerting`.
        """
        settings, known, playbooks = configure(section, receivers, folder)
        return cls(store, clock, settings, known, playbooks)

    def check(self) -> None:
        """Look whether every secret that the receivers need is there.

        Raises:
            ConfigError: one is not; `key` is its place below `alerting`.
        """
        for name, receiver in self._receivers.items():
            for field, secret in secrets_of(receiver.params).items():
                try:
                    secret.reveal()
                except ConfigError as error:
                    raise ConfigError(str(error), key=f"receivers.{name}.{field}") from None

    def tick(self, *, last: bool = False, guard: Callable[[], None] = lambda: None) -> TickResult:
        """Take in what detection has said, and tell those who should know.

        Args:
            last: no tick follows soon (`tocsin run --once`): `group_wait` is not waited for.
            guard: is called before each notification, and raises where another worker has taken over.

        Raises:
            StoreError: the store cannot be read or written.
        """
        for _ in range(_ATTEMPTS):
            context = self._context(last=last, guard=guard)
            try:
                routed = [Routed(alert, self._settings.route) for alert in context.alerts.all()]
                for stage in STAGES:
                    routed = stage(routed, context)
                retried = deliver(context, self._receivers)
                said = write_history(context)
                self._forget(context)
            except Conflict:  # someone acknowledged an alert, or ticks at the same time: look again
                continue
            return _result(said, retried)
        raise StoreError("the alert path could not finish a tick: other processes keep changing its records")

    def alerts(self) -> list[Alert]:
        """All alerts: firing first, then by severity, newest first."""
        found = Table(self._store, "alert", Alert).all()
        return sorted(found, key=lambda a: (not a.firing, -a.severity.rank, -a.window_end.timestamp(), a.id))

    def incidents(self) -> list[Incident]:
        """All incidents: open ones first, then newest first."""
        found = Table(self._store, "incident", Incident).all()
        return sorted(found, key=lambda i: (not i.open, -i.opened.timestamp(), i.id))

    def incident(self, id: str) -> Incident:
        """One incident, by its id or as much of it as names one.

        Raises:
            InputError: none has this id, or several have.
        """
        return _named(id, {i.id: i for i in self.incidents()}, "incident")

    def acknowledge(self, id: str, by: str, reason: str = "") -> str:
        """Take on a firing alert, or an incident with all its firing alerts; stops repeats until resolved.

        Args:
            id: an alert's fingerprint or id, an incident's id, or as much of it as names one.
            by: who.
            reason: why, in their words.

        Returns:
            What was done, in a sentence.

        Raises:
            InputError: nothing that is firing or open has this id, or several have.
        """
        if not by.strip():
            raise InputError("an acknowledgement needs a name: who takes it on?")
        alerts = {alert.id: alert for alert in self.alerts() if alert.firing}
        open_ = {incident.id: incident for incident in self.incidents() if incident.open}
        known: dict[str, Alert | Incident] = {**alerts, **open_}
        found = _named(id, known, "firing alert or open incident")
        taken = Acknowledgement(by, self._clock.now(), reason)
        table = Table(self._store, "alert", Alert)
        if isinstance(found, Alert):
            self._change(table, found.id, partial(_acknowledged, taken))
            return f"alert {found.fingerprint} ({found.detector}, {found.subject.id}) is with {by}"
        held = [alert for alert in alerts.values() if alert.incident == found.id]
        for alert in held:
            table.amend(alert.id, partial(_acknowledged, taken))
        self._incident(found.id, lambda i: i.acknowledge(by, taken.at, reason))
        return f"incident {found.id} is with {by}, and so are its firing alerts ({len(held)})"

    def complete_step(
        self, incident: str, step: str, by: str, note: str = "", *, skipped: bool = False
    ) -> Incident:
        """Tick off a step of an incident's playbook, or skip it, by whom and with what result.

        Raises:
            InputError: there is no such open incident or no such step.
        """
        state = StepState.SKIPPED if skipped else StepState.DONE
        return self._incident(incident, lambda i: i.complete(step, by, self._clock.now(), note, state))

    def close(self, incident: str, by: str, reason: str) -> Incident:
        """Close an incident with its conclusion. Its alerts stay what their windows say.

        Raises:
            InputError: there is no such open incident, or no conclusion.
        """
        if not reason.strip():
            raise InputError(f"incident {incident} is not closed without its conclusion: say it with --note")
        return self._incident(incident, lambda i: i.close(by, self._clock.now(), reason))

    def _incident(self, id: str, change: Callable[[Incident], Incident]) -> Incident:
        return self._change(Table(self._store, "incident", Incident), self.incident(id).id, change)

    def _change(self, table: Table[R], id: str, change: Callable[[R], R]) -> R:
        changed = table.amend(id, change)
        write_history(self._context())
        return changed

    def _context(self, *, last: bool = False, guard: Callable[[], None] = lambda: None) -> Context:
        return Context(
            store=self._store,
            now=self._clock.now(),
            settings=self._settings,
            playbooks=self._playbooks,
            alerts=Table(self._store, "alert", Alert),
            incidents=Table(self._store, "incident", Incident),
            groups=Table(self._store, "group", Group),
            last=last,
            guard=guard,
        )

    def _forget(self, context: Context) -> None:
        """Forget alerts that are long over; not those whose findings may be read again, which would bring them back."""
        before = context.now - KEEP
        if self._store.overlap:
            entry = self._store.get("checkpoint", "alerting")
            reached = msgspec.convert(entry.value, Position).findings if entry else EPOCH
            before = min(before, max(reached - self._store.overlap, EPOCH))
        for alert in context.alerts.all():
            if alert.settled and alert.changed < before:
                context.alerts.drop(alert.id)


def _acknowledged(taken: Acknowledgement, alert: Alert) -> Alert:
    if not alert.firing:
        return alert
    said = alert.transition(Action.ACKNOWLEDGED, taken.at, by=taken.by, reason=taken.reason)
    return replace(alert, acknowledged=taken, unwritten=(*alert.unwritten, said))


def _named(id: str, known: Mapping[str, N], what: str) -> N:
    found = [known[key] for key in known if key.startswith(id)] if id else []
    if not found:
        raise InputError(f"no {what} is called {id!r}; see `tocsin alerts` and `tocsin incidents`")
    if len(found) > 1:
        raise InputError(f"{len(found)} of {what} begin with {id!r}; write more of it")
    return found[0]


def _result(said: list[Any], retried: int) -> TickResult:
    counts = Counter(transition.action for transition in said)
    sent = {(t.action, t.notification, t.receiver) for t in said if t.notification}
    outcomes = Counter(action for action, _, _ in sent)
    by_receiver = Counter((receiver, action.value) for action, _, receiver in sent)
    return TickResult(
        firing=counts[Action.FIRING],
        resolved=counts[Action.RESOLVED],
        notified=outcomes[Action.NOTIFIED],
        failed=outcomes[Action.NOTIFICATION_FAILED],
        retried=retried,
        notifications=tuple((receiver, outcome, count) for (receiver, outcome), count in sorted(by_receiver.items())),
    )
