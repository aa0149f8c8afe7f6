"""Plays days: the lender's events happen in order of time, and Tocsin collects, evaluates and alerts in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.demo.lender import DAY, Event, Lender
from tocsin.demo.outcome import Attack
from tocsin.demo.timing import page
from tocsin.worker.app import App

#: How often Tocsin collects from the start of an attack until it has paged.
LIVE = timedelta(minutes=1)
_GROUP_WAIT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Days:
    """The days of a lender that Tocsin monitors.

    Attributes:
        app: Tocsin.
        lender: the lender.
        steps: how often Tocsin collects on a day, at even distances.
    """

    app: App
    lender: Lender
    steps: int = 1

    def collect(self, day: datetime, events: Sequence[Event]) -> None:
        """A day without detection: all its events are collected at its end."""
        self.lender.write(events)
        self._collect(day + DAY)

    def play(self, day: datetime, events: Sequence[Event], attack: Attack | None = None) -> None:
        """A day with detection. If the attack starts on this day, Tocsin collects every minute from then on until it pages.

        In production, `tocsin run` collects several times a minute and the whole day.
        """
        even = {day + DAY * number / self.steps for number in range(1, self.steps + 1)}
        live = _minutes(attack.started, day + DAY) if attack and day <= attack.started < day + DAY else set()
        written = 0
        for time in sorted(even | live):
            until = sum(event.at < time for event in events)
            if time not in even and (until == written or not live):
                continue
            self.lender.write(events[written:until])
            written = until
            self._collect(time)
            self._detect()
            if attack and live and page(self.app.store, attack.started, day + DAY, attack.subjects):
                live = set()
        self._settle()

    def _collect(self, time: datetime) -> None:
        self.lender.recorder.flush()
        self.lender.clock.set(max(time, self.lender.clock.now()))
        for collector in self.app.collectors:
            self.app.ingest.run(collector)

    def _detect(self) -> None:
        self.app.evaluate()
        self.app.alerting.tick()

    def _settle(self) -> None:
        """The minute after a day: notifications that wait for their group are sent."""
        self.lender.clock.advance(timedelta(seconds=1))
        self.app.alerting.tick()
        self.lender.clock.advance(_GROUP_WAIT)
        self.app.alerting.tick()


def _minutes(start: datetime, end: datetime) -> set[datetime]:
    """Every minute from `start` to before `end`."""
    return {start + LIVE * number for number in range(-(-(end - start) // LIVE))}
