"""`tocsin alerts ID`: one alert with its evidence, its history and the commands to run next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tocsin.cli.tables import short_time, style_of, wrap
from tocsin.cli.values import clean, text
from tocsin.clock import format_length, format_time
from tocsin.contract import atlas
from tocsin.contract.alerts import Action, Alert
from tocsin.contract.incidents import Incident, StepState
from tocsin.contract.query import Condition
from tocsin.contract.streams import ID, TIME
from tocsin.errors import InputError
from tocsin.words import count

if TYPE_CHECKING:
    from tocsin.store.protocol import Store
    from tocsin.worker.app import App

_LABEL = 14  # columns for the name of a fact
_SHOWN = 5  # alerts that the error about an ambiguous ID lists


def find(app: App, id: str) -> Page:
    """The alert whose fingerprint or id begins with `id`; of several alerts of one fingerprint the newest.

    Raises:
        InputError: no alert has this id, or alerts of several fingerprints do.
    """
    found = [alert for alert in app.alerting.alerts() if id and alert.id.startswith(id)]
    if not found:
        raise InputError(
            f"no alert has an id that begins with {id!r}; `tocsin alerts --all` lists the alerts, "
            "`tocsin incidents` the incidents"
        )
    if len({alert.fingerprint for alert in found}) > 1:
        named = {
            a.fingerprint: f"{a.fingerprint} ({a.detector}, {a.subject.type} {a.subject.id})" for a in found
        }
        listed = ", ".join([*named.values()][:_SHOWN]) + (", …" if len(named) > _SHOWN else "")
        raise InputError(f"{len(named)} alerts begin with {id!r}; write more of the id: {listed}")
    alert = max(found, key=lambda a: a.started)
    incident = next((i for i in app.alerting.incidents() if i.id == alert.incident), None)
    others = tuple(a.id for a in sorted(found, key=lambda a: a.started) if a.id != alert.id)
    return Page(alert, incident, tuple(_history(app.store, alert)), others)


def _history(store: Store, alert: Alert) -> Iterator[Mapping[str, Any]]:
    """What happened to the alert and to its notifications, oldest first."""
    where = [
        Condition("tocsin.alert.fingerprint", "==", alert.fingerprint),
        Condition("tocsin.alert.started", "==", alert.started),
    ]
    order = [action.value for action in Action]  # of one time: the alert first, its notifications last
    rows = store.scan("alert_history", where=where).collect().sort(ID).to_dicts()
    for row in sorted(rows, key=lambda r: (r[TIME], order.index(r["event.action"]))):
        yield {
            "at": row[TIME],
            "action": row["event.action"],
            "severity": row["tocsin.severity"],
            "by": row["user.name"],
            "receiver": row["tocsin.receiver"],
            "reason": row["event.reason"],
        }


@dataclass(frozen=True, slots=True)
class Page:
    """An alert with what belongs to it."""

    alert: Alert
    incident: Incident | None
    history: Sequence[Mapping[str, Any]]
    others: Sequence[str]  # earlier alerts of the same fingerprint

    def to_dict(self) -> dict[str, Any]:
        """The alert as `tocsin alerts --json` has it, with technique names and history."""
        names = {id: _technique(id) for id in self.alert.techniques}
        return {**self.alert.to_dict(), "techniques.names": names, "history": list(self.history)}

    def lines(self, width: int | None) -> Iterator[Text]:
        """The page for a terminal of a width; for None nothing is wrapped."""
        alert = self.alert
        yield Text.assemble(
            (alert.severity.value.upper(), style_of(alert.severity.value)),
            f"  {alert.state.value}  {alert.detector}  ",
            (clean(f"{alert.subject.type} {alert.subject.id}"), "bold"),
        )
        yield from (Text(line) for line in _wrapped(clean(alert.reason), width))
        yield Text()
        for name, value in self._facts():
            yield from _fact(name, value, width)
        if alert.evidence:
            yield from (Text(), Text("Evidence", style="bold"))
            for name, value in alert.evidence.items():
                yield from _evidence(clean(name), value, width)
        times = [*self._times()]
        if times:
            yield from (Text(), Text("Times (UTC)", style="bold"))
        for name, value in times:
            yield from _fact(name, value, width)
        yield from (Text(), Text("History (UTC)", style="bold"))
        for row in self.history:
            yield from _fact(*self._moment(row), width, label=len("2026-01-01 00:00:00"))
        yield from (Text(), Text("Next commands", style="bold"))
        yield from (Text(f"  {command}") for command in self._commands())

    def _facts(self) -> Iterator[tuple[str, str]]:
        alert = self.alert
        window = f"{short_time(alert.window_start)} to {short_time(alert.window_end)} UTC"
        firing = count(alert.findings, "window")
        yield "alert", alert.id
        yield "subject", f"{alert.subject.type} {alert.subject.id}"
        early = "; early: it has not ended" if alert.early and alert.firing else ""
        yield "newest window", f"{window}{early}"
        yield "since", f"{short_time(alert.started)} UTC, {firing} with a finding"
        if alert.withdrawn:
            yield "resolved", "withdrawn by the full window"
        elif alert.resolved is not None:
            yield "resolved", f"no finding in the window that ended {short_time(alert.resolved)} UTC"
        ratio = f", {alert.score / alert.threshold:.1f} times the threshold" if alert.threshold > 0 else ""
        yield "score", f"{text(alert.score)}, threshold {text(alert.threshold)}{ratio}"
        yield "severity", f"{alert.severity.value}, the highest of the alert's findings"
        for place, id in enumerate(alert.techniques):
            yield "" if place else "techniques", f"{id} {_technique(id)}"
        yield "playbook", alert.playbook
        yield "incident", self._case()
        taken = alert.acknowledged
        yield (
            "acknowledged",
            "by nobody"
            if taken is None
            else f"by {taken.by}, {short_time(taken.at)} UTC{f': {taken.reason}' if taken.reason else ''}",
        )
        if self.others:
            yield "earlier alerts", ", ".join(self.others)

    def _times(self) -> Iterator[tuple[str, str]]:
        """When the alert came about, as far as known, with the time since the newest event that was read."""
        times = self.alert.times
        first, taken = times.newest_event, self.alert.acknowledged
        named = {
            "newest event": first,
            "ingested": times.ingested,
            "evaluated": times.evaluated,
            "found": times.found,
            "notified": times.notified,
            "acknowledged": taken.at if taken else times.acknowledged,
        }
        for name, at in named.items():
            if at is not None:
                since = first if first is not None and first < at else None
                after = "" if since is None else f", {format_length(at - since)} after the newest event"
                yield name, f"{short_time(at, 'seconds')}{after}"

    def _case(self) -> str:
        if self.incident is None:
            return self.alert.incident or "none"
        steps = self.incident.steps
        left = [step for step in steps if step.state is StepState.PENDING]
        after = f"; next step: {left[0].name} ({left[0].id})" if left and self.incident.open else ""
        finished = f"{len(steps) - len(left)} of {count(len(steps), 'step')} finished"
        return f"{self.incident.id}, {self.incident.state.value}, {finished}{after}"

    def _commands(self) -> Iterator[str]:
        alert, span = (
            self.alert,
            f"--from {_option(self.alert.started)} --to {_option(self.alert.window_end)}",
        )
        if alert.firing and alert.acknowledged is None:
            yield f"tocsin ack {alert.incident or alert.fingerprint} --by NAME --reason WHY"
        if alert.incident:
            yield f"tocsin incidents {alert.incident}"
        yield f"tocsin findings --detector {alert.detector} {span}"
        yield f"tocsin scores --detector {alert.detector} {span}"
        yield f"tocsin alerts {alert.fingerprint} --json"

    def _moment(self, row: Mapping[str, Any]) -> tuple[str, str]:
        whom = f" to {row['receiver']}" if row["receiver"] else ""
        by = f" by {row['by']}" if row["by"] else ""
        reason = "" if row["reason"] in {None, self.alert.reason} else f": {row['reason']}"
        return short_time(row["at"], "seconds"), f"{row['action'].replace('_', ' ')}{whom}{by}{reason}"


def _option(time: datetime) -> str:
    """A time for a command line; the day alone where it is midnight."""
    day = not (time.hour or time.minute or time.second or time.microsecond)
    return short_time(time, "days") if day else format_time(time)


def _technique(id: str) -> str:
    try:
        return atlas.name(id)
    except KeyError:
        return f"not in ATLAS {atlas.version()}"


def _evidence(name: str, value: Any, width: int | None) -> Iterator[Text]:
    """A fact; a list of objects has a line for each object, and an object within an object stays JSON."""
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        yield Text(f"  {name}")
        for item in value:
            pairs = "; ".join(f"{key} {text(inner)}" for key, inner in item.items() if inner is not None)
            yield from _fact("", f"- {pairs}", width, label=2, hang=2)
    elif len(name) > _LABEL:
        yield from _fact(name, text(value), width, label=len(name))
    else:
        yield from _fact(name, text(value), width)


def _fact(name: str, value: str, width: int | None, label: int = _LABEL, hang: int = 0) -> Iterator[Text]:
    """A name and its value; the value is wrapped beside its name."""
    before = label + 4
    first, *rest = _wrapped(clean(value), None if width is None else max(width - before, 20))
    yield Text(f"  {name:<{label}}  {first}".rstrip())
    yield from (Text(" " * (before + hang) + line) for line in rest)


def _wrapped(value: str, width: int | None) -> list[str]:
    return [value] if width is None else wrap(value, width)
