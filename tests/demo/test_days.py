"""The days of the demo: when Tocsin collects, and what the lender has written by then."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tocsin.clock import ScriptedClock
from tocsin.contract.findings import Subject
from tocsin.demo import days
from tocsin.demo.days import Days
from tocsin.demo.lender import DAY, START, Line
from tocsin.demo.outcome import Attack

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
ATTACK = Attack("theft", "AML.T0012", START + 2 * HOUR, 0, (Subject("principal", "maria"),), {})
EVENTS = [Line(START + n * 10 * MINUTE, "maria", "GET /") for n in range(6 * 24)]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[datetime, int]]:
    """When Tocsin collected, and the number of lines by then; the page comes with the 16th line."""
    found: list[tuple[datetime, int]] = []
    monkeypatch.setattr(days, "page", lambda *_: found[-1][0] if found and found[-1][1] >= 16 else None)
    return found


def played(
    seen: list[tuple[datetime, int]], attack: Attack | None, steps: int = 1
) -> list[tuple[datetime, int]]:
    clock, lines = ScriptedClock(START), list[Line]()
    collector: Any = object()
    lender: Any = SimpleNamespace(
        clock=clock, write=lines.extend, recorder=SimpleNamespace(flush=lambda: None)
    )
    app: Any = SimpleNamespace(
        store=None,
        collectors=[collector],
        ingest=SimpleNamespace(run=lambda _: seen.append((clock.now(), len(lines)))),
        evaluate=lambda: None,
        alerting=SimpleNamespace(tick=lambda: None),
    )
    Days(app, lender, steps).play(START, EVENTS, attack)
    assert lines == EVENTS
    assert clock.now() == START + DAY + timedelta(seconds=61)
    return seen


def test_a_quiet_day_is_one_step(seen: list[tuple[datetime, int]]) -> None:
    assert played(seen, None) == [(START + DAY, 144)]


def test_an_attack_is_followed_every_minute_with_new_events_until_the_page(
    seen: list[tuple[datetime, int]],
) -> None:
    until_page = [(START + 2 * HOUR, 12)]
    until_page += [(START + 2 * HOUR + (10 * n + 1) * MINUTE, 13 + n) for n in range(4)]
    assert played(seen, ATTACK) == [*until_page, (START + DAY, 144)]


def test_a_quiet_day_can_have_steps(seen: list[tuple[datetime, int]]) -> None:
    assert played(seen, None, 24) == [(START + (n + 1) * HOUR, 6 * (n + 1)) for n in range(24)]
