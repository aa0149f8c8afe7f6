"""The alerting of one store: `tick`, which the scheduler calls, and the actions of people on alerts and incidents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from tocsin.clock import EPOCH, Clock
from tocsin.config.secret import secrets_of
from tocsin.contract.alerts import Acknowledgement, Action, Alert
from tocsin.contract.findings import Score
from tocsin.contract.incidents import Incident, Playbook, StepState
from tocsin.contract.plugin import Receiver
from tocsin.errors import ConfigError, InputError, StoreError
from tocsin.store.protocol import Store
from tocsin_alerting import undelivered
from tocsin_alerting.configure import configure
from tocsin_alerting.context import DROPPED, KEEP, Context, Routed, Settings
from tocsin_alerting.groups import Group
from tocsin_alerting.history import write_history
from tocsin_alerting.lanes import LAST, PATIENCE, Hold, Lanes, unhindered
from tocsin_alerting.measured import Measured, complete
from tocsin_alerting.reading import Position
from tocsin_alerting.records import Conflict, Table
from tocsin_alerting.stages import run
from tocsin_alerting.tick_result import TickResult, result

_ATTEMPTS = 20
R = TypeVar("R", Alert, Incident)
N = TypeVar("N")


class Alerting:
    """Alerts, incidents and notifications of one store.

    Nothing but deliveries in progress is held in memory between ticks. Every write is a separate record. A tick that
    is interrupted and run again does the remaining work: no notification is lost, and none is sent under two keys.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: Settings,
        receivers: Mapping[str, Receiver[Any]],
        playbooks: Mapping[str, Playbook],
        hold: Hold = unhindered,
    ) -> None:
        self._store, self._clock, self._settings = store, clock, settings
        self._receivers, self._playbooks = receivers, playbooks
        self._lanes = Lanes(store, clock, receivers, hold)

    @classmethod
    def build(
        cls,
        store: Store,
        clock: Clock,
        section: Mapping[str, Any],
        receivers: Mapping[str, Receiver[Any]],
        folder: Path,
        hold: Hold = unhindered,
    ) -> Self:
        """Build the object from the `alerting` section of a configuration.

        Args:
            store: contains the findings and the records of alerting.
            clock: the source of the current time.
            section: the section, a mapping with `route`, `receivers`, `incidents` and `playbooks`.
            receivers: the receivers of the section, by name.
            folder: the base of relative paths.
            hold: acquires the right to deliver to a receiver, which one worker at a time has.

        Raises:
            ConfigError: a setting is wrong; `key` is its path below `alerting`.
        """
        settings, known, playbooks = configure(section, receivers, folder)
        return cls(store, clock, settings, known, playbooks, hold)

    def check(self) -> None:
        """Check that every secret of the receivers can be read.

        Raises:
            ConfigError: a secret cannot be read; `key` is its path below `alerting`.
        """
        for name, receiver in self._receivers.items():
            for field, secret in secrets_of(receiver.params).items():
                try:
                    secret.reveal()
                except ConfigError as error:
                    raise ConfigError(str(error), key=f"receivers.{name}.{field}") from None

    def tick(self, *, last: bool = False, guard: Callable[[], None] = lambda: None) -> TickResult:
        """Update alerts from new findings and runs, and send the notifications that are due.

        Args:
            last: no tick follows soon (`tocsin run --once`), so `group_wait` is ignored.
            guard: called before notifications are delivered; raises if another worker has taken over the lease.

        Raises:
            StoreError: the store cannot be read or written.
        """
        measured: list[Measured] = []
        for _ in range(_ATTEMPTS):
            context = self._context(last=last, guard=guard)
            try:
                routed = [Routed(alert, self._settings.route) for alert in context.alerts.all()]
                run(routed, context, partial(self._offer, context))
                retried = self._deliver(context)
                measured += complete(context)
                transitions = write_history(context)
                self._forget(context)
            except Conflict:  # a person or another tick changed a record at the same time: start again
                continue
            return result(transitions, retried, measured)
        raise StoreError(
            f"alerting: the tick failed after {_ATTEMPTS} attempts, because other processes changed the same "
            "records; the next tick does the remaining work"
        )

    def _deliver(self, context: Context) -> int:
        """Offer the outboxes to the lanes and wait a moment. Returns how many receivers had a retryable failure."""
        self._offer(context)
        touched, down = self._lanes.wait(LAST if context.last else PATIENCE)
        for id in touched:
            context.groups.reload(id)
        return len(down)

    def _offer(self, context: Context) -> None:
        context.guard()
        self._lanes.offer(context.groups.all())

    def health(self) -> list[Score]:
        """A score for every receiver: at least 1 if it refused a notification, or if one waits for long."""
        return undelivered.health(self._store, self._receivers, self._clock.now())

    def end(self) -> None:
        """Stop delivering. What was not delivered stays in the outbox."""
        self._lanes.close()

    def alerts(self) -> list[Alert]:
        """All alerts: firing first, then by severity, aspects last, then newest first."""
        found = Table(self._store, "alert", Alert).all()
        return sorted(found, key=lambda a: (not a.firing, a.urgency, -a.window_end.timestamp(), a.id))

    def incidents(self) -> list[Incident]:
        """All incidents: open ones first, then newest first."""
        found = Table(self._store, "incident", Incident).all()
        return sorted(found, key=lambda i: (not i.open, -i.opened.timestamp(), i.id))

    def incident(self, id: str) -> Incident:
        """One incident, by its id or an unambiguous prefix of it.

        Raises:
            InputError: no incident matches, or more than one.
        """
        return _named(id, {i.id: i for i in self.incidents()}, "incident")

    def acknowledge(self, id: str, by: str, reason: str = "") -> str:
        """Acknowledge a firing alert, or an incident with all its firing alerts.

        Tocsin does not repeat the notification of an acknowledged alert.

        Args:
            id: an alert's fingerprint or id, an incident's id, or an unambiguous prefix of one.
            by: the name of the person who acknowledges.
            reason: why, as free text.

        Returns:
            A sentence that states what was acknowledged.

        Raises:
            InputError: no firing alert or open incident matches, or more than one.
        """
        if not by.strip():
            raise InputError("an acknowledgement needs a name; give yours with --by")
        alerts = {alert.id: alert for alert in self.alerts() if alert.firing}
        open_ = {incident.id: incident for incident in self.incidents() if incident.open}
        known: dict[str, Alert | Incident] = {**alerts, **open_}
        found = _named(id, known, "firing alert or open incident")
        taken = Acknowledgement(by, self._clock.now(), reason)
        table = Table(self._store, "alert", Alert)
        if isinstance(found, Alert):
            self._change(table, found.id, partial(_acknowledged, taken))
            return f"alert {found.fingerprint} ({found.detector}, {found.subject.id}) is acknowledged by {by}"
        held = [alert for alert in alerts.values() if alert.incident == found.id]
        for alert in held:
            table.amend(alert.id, partial(_acknowledged, taken))
        self._incident(found.id, lambda i: i.acknowledge(by, taken.at, reason))
        return f"incident {found.id} and its firing alerts ({len(held)}) are acknowledged by {by}"

    def complete_step(
        self, incident: str, step: str, by: str, note: str = "", *, skipped: bool = False
    ) -> Incident:
        """Mark a step of an incident's playbook as done or skipped, with a name and a note.

        Raises:
            InputError: the incident is not open, or it has no such step.
        """
        state = StepState.SKIPPED if skipped else StepState.DONE
        return self._incident(incident, lambda i: i.complete(step, by, self._clock.now(), note, state))

    def close(self, incident: str, by: str, reason: str) -> Incident:
        """Close an incident with its conclusion. The state of its alerts does not change.

        Raises:
            InputError: the incident is not open, or the conclusion is missing.
        """
        if not reason.strip():
            raise InputError(
                f"incident {incident} cannot be closed without a conclusion; give one with --note"
            )
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
        """Delete alerts that were resolved long ago, but not while a tick may read their findings again."""
        before = context.now - KEEP
        if self._store.overlap:
            entry = self._store.get("checkpoint", "alerting")
            reached = msgspec.convert(entry.value, Position).findings if entry else EPOCH
            before = min(before, max(reached - self._store.overlap, EPOCH))
        old = [alert.id for alert in context.alerts.all() if alert.settled and alert.changed < before]
        for id in old[:DROPPED]:
            context.alerts.drop(id)
        undelivered.forget(self._store, context.now)


def _acknowledged(taken: Acknowledgement, alert: Alert) -> Alert:
    if not alert.firing:
        return alert
    transition = alert.transition(Action.ACKNOWLEDGED, taken.at, by=taken.by, reason=taken.reason)
    return replace(alert, acknowledged=taken, unwritten=(*alert.unwritten, transition))


def _named(id: str, known: Mapping[str, N], what: str) -> N:
    found = [known[key] for key in known if key.startswith(id)] if id else []
    if not found:
        raise InputError(
            f"no {what} has an id that begins with {id!r}; see `tocsin alerts` and `tocsin incidents`"
        )
    if len(found) > 1:
        raise InputError(
            f"{id!r} is ambiguous: {len(found)} ids begin with it; write more characters of the id"
        )
    return found[0]
