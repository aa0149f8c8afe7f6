"""Kinds of ordinary mess in telemetry, which no detector may report above `low` as "not judged" or "changed".

Each kind is a function that changes a day before it is written. To add a kind, write a function and list it in `MESS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from tests.generators import queries
from tests.generators.quiet_days import DAY, MODEL, NAMES, SECOND, TIME, USER, VALUES, VERSION, Day, Event


@dataclass(frozen=True)
class Mess:
    """A kind of mess: it begins on a day of the month, counted from 0, and lasts some days."""

    change: Callable[[Day], None]
    first: int
    days: int = 1

    @property
    def name(self) -> str:
        return self.change.__name__


def retries(day: Day) -> None:
    """Clients repeat calls that timed out, and a person repeats requests that the server refused."""
    for call in [call for call in day.calls if day.rng.random() < 0.05]:
        day.calls.append(_later(call, 2 * SECOND, "retry"))
    for access in day.log[:10]:
        refused = _later(access, -2 * SECOND, "refused")
        day.log.append({**refused, "http.response.status_code": 503})


def new_clients(day: Day) -> None:
    """Two customers go live, one with a few calls and one with as many as the others."""
    for number, share in ((3, 1.0), (4, 0.3)):
        for call in day.of_client(number):
            if day.rng.random() < share:
                other = _later(call, timedelta(minutes=45), "new")
                day.calls.append({**other, USER: f"new-{number}", **_applicant(day, other)})


def feature_added(day: Day) -> None:
    """The model `credit` has one feature more."""
    for call in day.of_model("credit"):
        _add_feature(day, call)


def feature_added_by_some(day: Day) -> None:
    """Three clients already send a new feature to `limits`; the others still send the old schema."""
    for call in day.of_model("limits"):
        if call[USER] in ("client-1", "client-2", "client-3"):
            _add_feature(day, call, "tenure")


def features_in_another_order(day: Day) -> None:
    """A client's new library sends the features of `credit` in another order, with their names."""
    for call in day.of_client(5):
        if call[MODEL] == "credit":
            names = call[NAMES].split(",")
            call[NAMES], call[VALUES] = ",".join(reversed(names)), call[VALUES][::-1]


def features_named_otherwise(day: Day) -> None:
    """A client's library writes spaces between the names of features, another one upper case, a third one no names."""
    for call in day.of_client(0):
        call[NAMES] = call[NAMES].replace(",", ", ")
    for call in day.of_client(8):
        call[NAMES] = call[NAMES].upper().replace(":CATEGORY", ":category")
        call[MODEL] = call[MODEL].upper()
    for call in day.of_client(9):
        call[NAMES] = None


def column_added(day: Day) -> None:
    """The delivery has one column more."""
    for name, table in day.tables.items():
        day.tables[name] = table.with_columns(channel=pl.Series(day.rng.choice(["web", "desk"], len(table))))


def file_renamed(day: Day) -> None:
    """The delivery's file has the date in another form."""
    day.tables = {f"loans_{day.start:%Y%m%d}": table for table in day.tables.values()}


def late_batch(day: Day) -> None:
    """The calls of an hour of the day before arrive with those of this day."""
    held = [_later(call, -DAY, "late") for call in day.calls if call[TIME].hour == 11]
    day.held += [{**call, **_applicant(day, call)} for call in held]


def names_in_another_case(day: Day) -> None:
    """A gateway writes the names of principals in upper case."""
    for event in (*day.of_client(2), *day.of_client(6), *(a for a in day.log if a[USER] in ("ana", "ben"))):
        event[USER] = event[USER].upper()


def health_checker(day: Day) -> None:
    """A health checker calls `credit` every hour, without a principal, with the vector of a usual applicant."""
    call = day.of_model("credit")[0]
    for hour in range(24):
        check = _later(call, timedelta(0), f"check-{hour}")
        day.calls.append({**check, TIME: day.start + hour * timedelta(hours=1), USER: None})


def missing_values(day: Day) -> None:
    """A few calls lack a value, and a few lack all of them."""
    for number, call in enumerate(day.calls[:: len(day.calls) // 12]):
        values = [None, *call[VALUES][1:]]
        call[VALUES] = values if number < 9 else None


def new_version(day: Day) -> None:
    """A new version of `credit` answers."""
    for call in day.of_model("credit"):
        call[VERSION] = "4"


def duplicated_lines(day: Day) -> None:
    """A shipper sends lines twice."""
    day.calls += day.calls[::7]
    day.services += day.services[::3]


def clock_off(day: Day) -> None:
    """The clock of a gateway is a second fast, that of another one a second slow."""
    for number, seconds in ((7, 1), (8, -1)):
        for call in day.of_client(number):
            call[TIME] += seconds * SECOND
    last = _later(day.of_client(7)[-1], timedelta(0), "off")
    day.calls.append({**last, TIME: day.start + DAY - SECOND / 2 + SECOND})


def empty_files(day: Day) -> None:
    """A rotation leaves empty files."""
    day.texts |= {"events/inference-empty.ndjson": "", "logs/access-empty.log": ""}


def malformed_line(day: Day) -> None:
    """One line of each log is cut off."""
    day.raw["events/inference-{date}.ndjson"] = ['{"@timestamp": "2026-03-0']
    day.raw["logs/access-{date}.log"] = ["10.0.0.4 - dia [12/Mar/2026:09:14:22 +00"]


def labels_as_decimals(day: Day) -> None:
    """The label column has 1.0 in place of 1."""
    for name, table in day.tables.items():
        day.tables[name] = table.with_columns(pl.col("default").cast(pl.Float64))


MESS = (
    Mess(retries, 0, 30),
    Mess(new_clients, 2, 28),
    Mess(features_in_another_order, 3, 27),
    Mess(clock_off, 4, 26),
    Mess(features_named_otherwise, 4, 4),
    Mess(late_batch, 5),
    Mess(missing_values, 6, 3),
    Mess(column_added, 7, 23),
    Mess(duplicated_lines, 8, 2),
    Mess(health_checker, 9, 21),
    Mess(feature_added, 10, 20),
    Mess(names_in_another_case, 12, 3),
    Mess(file_renamed, 13, 2),
    Mess(malformed_line, 14),
    Mess(new_version, 16, 14),
    Mess(empty_files, 17),
    Mess(feature_added_by_some, 19, 11),
    Mess(labels_as_decimals, 21),
    Mess(late_batch, 24),
    Mess(missing_values, 26, 2),
)


def _later(event: Event, by: timedelta, mark: str) -> Event:
    """A copy of an event at another time, with its own id."""
    return {**event, TIME: event[TIME] + by, "event.id": f"{event['event.id']}-{mark}"}


def _applicant(day: Day, call: Event) -> Event:
    """The vector of another applicant, of the schema of this call of `credit`, and the model's answer to it."""
    if call[MODEL] != "credit":
        return {}
    vector = queries.applicants(4000, 1)[day.rng.integers(4000)]
    answer = {name: column[0] for name, column in queries.answers(vector[np.newaxis]).items()}
    return {VALUES: vector.tolist() + call[VALUES][queries.FEATURES :], **answer}


def _add_feature(day: Day, call: Event, name: str = "tenure") -> None:
    if call[VALUES] is not None:
        call[NAMES] = f"{call[NAMES]},{name}"
        call[VALUES] = [*call[VALUES], float(day.rng.integers(0, 40))]
