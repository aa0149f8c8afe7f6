"""The twelve weeks of the demo: their start times, and their bands in pictures."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from tocsin.demo.lender import START, WEEKS
from tocsin.demo.outcome import QUIET, TRUSTED
from tocsin.report.pictures.canvas import BLUE, RED, SOFT, Band, Calendar

_NOTE = "Blue weeks are quiet. Each red week contains the attack with the number above it."


def week(number: int) -> datetime:
    """The first moment of a week, counted from 0."""
    return START + timedelta(weeks=number)


def calendar(attacks: Mapping[int, str]) -> Calendar:
    """The twelve weeks with the trusted, the quiet and the attacked ones marked; `attacks` names them by week."""
    bands = [
        Band(week(0), week(TRUSTED), "baselines are fitted on these weeks", SOFT),
        Band(week(QUIET.start), week(QUIET.stop), "quiet weeks", BLUE),
        *(
            Band(week(at), week(at + 1), name, RED, place)
            for place, (at, name) in enumerate(attacks.items(), 1)
        ),
    ]
    middle = timedelta(days=3, hours=12)
    ticks = [(week(n) + middle, f"week {n + 1}\n{week(n):%d %b}") for n in range(WEEKS)]
    return Calendar(week(0), week(WEEKS), bands, ticks, _NOTE)
