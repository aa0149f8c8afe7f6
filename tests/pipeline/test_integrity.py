"""Findings, scores and alerts that somebody deleted or edited: health names them, and honest work raises no alarm."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck as Slow
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.pipeline.test_detect import HOUR, START, Bench, Count, bench
from tocsin.clock import ScriptedClock
from tocsin.contract.aspects import changed
from tocsin.contract.findings import Json, Score, Severity
from tocsin.contract.frames import conform
from tocsin.contract.plugin import NoParams
from tocsin.contract.streams import FOUND, ID, SOURCE, TIME
from tocsin.contract.windows import Window
from tocsin.pipeline.copying import copy
from tocsin.pipeline.detecting import integrity
from tocsin.pipeline.detecting.detect import Setting
from tocsin.pipeline.detecting.health import HealthCheck
from tocsin.pipeline.ingesting.rhythm import Rhythms
from tocsin.store.cluster import mappings
from tocsin.store.cluster.elastic import ElasticStore
from tocsin.store.embedded.delta import DeltaStore
from tocsin_alerting.context import Settings
from tocsin_alerting.engine import Alerting
from tocsin_alerting.routes import parse_route

__all__ = ["bench"]
KEPT = timedelta(days=3)
RETENTION = dict.fromkeys(("run", "score", "finding", "alert_history", "access"), KEPT)


class Shy(Count):
    """Counts only principals who made fewer than thirty accesses, so that late data withdraw findings."""

    def score(self, window: Window) -> Iterator[Score]:
        yield from (score for score in super().score(window) if score.value < 30)


SETTING = Setting(Shy(NoParams()))


class Place(Bench):
    """A store in a folder with a worker: detection, alerting and health."""

    def __init__(self, folder: Path, clock: ScriptedClock) -> None:
        self.folder = folder
        super().__init__(clock, DeltaStore.open(folder, clock=clock, retention=RETENTION))
        route = Settings(parse_route({"receiver": "nobody"}), Severity.HIGH)
        self.alerting = Alerting(self.store, clock, route, {}, {})
        ledger, rhythms = self.detect.ledger, Rhythms(self.store, clock)
        self.health = HealthCheck(self.store, clock, ledger, rhythms, retention=RETENTION)

    def work(self) -> None:
        self.detect.run([SETTING])
        self.alerting.tick(last=True)

    def wrong(self) -> dict[str, str]:
        """The sentence of each unhealthy subject of type store, by id."""
        scores = self.health.scores([SETTING], {})
        return {s.subject.id: s.reason for s in scores if s.subject.type == "store" and s.value >= 1}

    def table(self, stream: str) -> object:
        table = DeltaStore.open(self.folder, clock=self.clock)._table(stream)
        assert table is not None
        return table

    def delete(self, stream: str, where: str) -> None:
        self.table(stream).delete(where)  # type: ignore[attr-defined]

    def edit(self, stream: str, column: str, value: str, where: str = "true") -> None:
        self.table(stream).update(updates={f"`{column}`": value}, predicate=where)  # type: ignore[attr-defined]

    def state(self, change: Callable[[dict[str, object]], None] | None, like: str = "%") -> None:
        """Change or delete alerts behind Tocsin's back."""
        with sqlite3.connect(self.folder / "state.db") as state:
            found = state.execute(
                "SELECT key, value FROM state WHERE kind = 'alert' AND value LIKE ?", (like,)
            )
            for key, text in found.fetchall():
                if change is None:
                    state.execute("DELETE FROM state WHERE kind = 'alert' AND key = ?", (key,))
                    continue
                value = json.loads(text)
                change(value)
                state.execute(
                    "UPDATE state SET value = ? WHERE kind = 'alert' AND key = ?", (json.dumps(value), key)
                )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "store", ScriptedClock(START))
    for hour in range(3):
        made.add(hour, 12)
        made.add(hour, 3, "bob")
    made.add(1, 14, "eve")
    made.clock.set(START + 3 * HOUR)
    made.work()
    assert made.wrong() == {}
    yield made
    made.store.close()


def _acknowledge(alert: dict[str, object]) -> None:
    alert["acknowledged"] = {"by": "ciso", "at": "2026-03-01T03:00:00Z", "reason": "known"}


EVE, ANA = "`tocsin.subject.id` = 'eve'", "`tocsin.subject.id` = 'ana'"


@pytest.mark.parametrize(
    ("tamper", "subject", "said"),
    [
        (lambda p: p.delete("finding", EVE), "finding", "1 of 2 findings (principal eve) are missing, of count"),
        (lambda p: p.delete("score", ANA), "score", "1 of 2 scores are missing, of count"),
        (lambda p: p.delete("run", "true"), "finding", "no run record, but 1 findings of count"),
        (lambda p: p.edit("finding", "tocsin.severity", "'info'", EVE), "finding", "2 findings differ from the 2"),
        (lambda p: p.edit("finding", "event.reason", "'nothing'", ANA), "finding", "1 findings differ"),
        (lambda p: p.edit("finding", "tocsin.evidence", "'{\"a\": 1}'", ANA), "finding", "1 findings differ"),
        (lambda p: p.edit("finding", "event.action", "'withdrawn'", EVE), "finding", "1 of 2 findings"),
        (lambda p: p.edit("score", "tocsin.score", "0.5", EVE), "score", "3 scores differ from the recorded ones"),
        (lambda p: p.state(lambda a: a.update(severity="info")), "alert", "is info and"),
        (lambda p: p.state(lambda a: a.update(state="resolved"), "%ana%"), "alert", "is low and resolved"),
        (lambda p: p.state(_acknowledge, "%ana%"), "alert", "acknowledged by ciso, but nobody acknowledged it"),
        (lambda p: p.state(None, "%ana%"), "alert", "is missing, but was not resolved"),
        (lambda p: (p.state(None), p.delete("alert_history", "true")), "alert", "but its finding is there"),
        (lambda p: p.delete("alert_history", "true"), "alert", "has no transition in alert_history"),
        (lambda p: [p.delete(s, "true") for s in ("finding", "run", "score")], "alert", "has no finding"),
    ],
)  # fmt: skip
def test_what_was_deleted_or_edited_is_named(
    place: Place, tamper: Callable[[Place], object], subject: str, said: str
) -> None:
    tamper(place)
    assert said in place.wrong()[subject]


def test_an_acknowledgement_by_a_person_is_no_tampering(place: Place) -> None:
    alert = next(alert for alert in place.alerting.alerts() if alert.firing)
    place.alerting.acknowledge(alert.id, "ana", "known")
    assert place.wrong() == {}


def test_records_of_earlier_versions_have_no_digest_but_a_count(place: Place) -> None:
    place.edit("run", FOUND, "null")
    place.edit("finding", "event.reason", "'other words'")
    assert place.wrong() == {}
    place.delete("finding", EVE)
    assert "are missing" in place.wrong()["finding"]


def test_old_windows_are_compared_in_turn(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of a check is bounded; each window has its turn."""
    monkeypatch.setattr(integrity, "LIMIT", 5)
    place.delete("finding", "`tocsin.window.start` = '2026-03-01T00:00:00Z'")
    seen = []
    for _ in range(4):
        seen.append("finding" in place.wrong())
        place.clock.advance(timedelta(minutes=5))
    assert any(seen)


def _new(place: Place, number: int, size: int) -> None:
    place.add((place.clock.now() - START) // HOUR, size, prefix=f"{number}-")
    place.clock.advance(HOUR)
    place.work()


def _late(place: Place, number: int, size: int) -> None:
    """Events of one of the last hours, or of the days before; old enough ones of windows that retention has dropped."""
    back = size % 4 if number % 2 else 3 * size
    hour = max((place.clock.now() - START) // HOUR - 1 - back, 0)
    place.add(hour, size, ("ana", "bob")[size % 2], prefix=f"{number}-")
    place.work()


def _again(place: Place, number: int, size: int) -> None:
    since = place.clock.now() - (size + 1) * HOUR
    place.detect.run([SETTING], since, place.clock.now(), silent=bool(number % 2))


def _wait(place: Place, number: int, size: int) -> None:
    place.clock.advance(timedelta(days=size / 10))
    place.work()


def _maintain(place: Place, number: int, size: int) -> None:
    place.store.maintain()


def _ack(place: Place, number: int, size: int) -> None:
    for alert in place.alerting.alerts():
        if alert.firing:
            place.alerting.acknowledge(alert.id, "ana", "known")


def _copy(place: Place, number: int, size: int) -> Place | None:
    if not place.store.kinds():
        return None
    target = Place(place.folder.parent / str(number + 1), place.clock)
    copy(place.store, target.store)
    place.store.close()
    return target


STEPS = (_new, _late, _again, _wait, _maintain, _ack, _copy)


LATER_ALERT = [(_new, 21), (_new, 15), (_new, 0), (_late, 19), (_new, 0), (_new, 0), (_wait, 20), (_late, 11)]


@settings(max_examples=15, deadline=None, suppress_health_check=[Slow.too_slow])
@example(steps=LATER_ALERT)  # the transitions of an older alert with the same fingerprint are no longer read
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 30)), max_size=14))
def test_honest_work_is_never_called_tampering(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[Callable[[Place, int, int], Place | None], int]],
) -> None:
    """For any sequence of new and late data, detection, backfills, retention, acknowledgements and copies."""
    place = Place(tmp_path_factory.mktemp("honest") / "0", ScriptedClock(START))
    for number, (step, size) in enumerate(steps):
        place = step(place, number, size) or place
        assert place.wrong() == {}, (number, step)
    place.store.close()


class Wordy(Count):
    """Evidence with values that a store may write in another form."""

    def score(self, window: Window) -> Iterator[Score]:
        for score in super().score(window):
            evidence: dict[str, Json] = {
                "b": 1.0,
                "a": [1e-7, 1e22, 2**53, -0.5],
                "c": {"é": "\u200b", "n": None},
                "": True,
            }
            yield replace(score, value=score.value + 1 / 3, evidence=evidence)
            yield changed(score.subject, "aspect", score.reason, 1.5, evidence)


def test_both_stores_give_back_what_was_recorded(bench: Bench) -> None:
    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    setting = Setting(Wordy(NoParams()))
    bench.detect.run([setting])
    bench.add(0, 5, prefix="late-")
    bench.detect.run([setting])
    health = HealthCheck(bench.store, bench.clock, bench.detect.ledger, Rhythms(bench.store, bench.clock))
    scores = [s for s in health.scores([setting], {}) if s.subject.type == "store"]
    assert [s.reason for s in scores if s.value] == []
    assert len(scores) == 3
    if isinstance(bench.store, ElasticStore):
        client, index = bench.store._client, mappings.name("finding", bench.store.namespace)
        for hit in client.search(index=index, size=10)["hits"]["hits"]:
            client.delete(index=hit["_index"], id=hit["_id"], refresh=True)
        (score,) = [s for s in health.scores([setting], {}) if s.value >= 1 and s.subject.type == "store"]
        assert "2 of 2 findings (principal ana) are missing" in score.reason


def _events(count: int, source: str, days: range, word: str = "") -> pl.DataFrame:
    rows = {
        TIME: [START - timedelta(days=day) + timedelta(seconds=i) for day in days for i in range(count)],
        ID: [f"{word}{day}-{i}" for day in days for i in range(count)],
        "user.id": ["ana"] * count * len(days),
        SOURCE: [source] * count * len(days),
    }
    return conform(pl.DataFrame(rows), "access")


def _aspects(place: Place) -> dict[str, Score]:
    return {s.aspect: s for s in place.health.scores([SETTING], {}) if s.aspect}


def test_many_windows_of_the_past_are_named_with_their_source(tmp_path: Path) -> None:
    place = Place(tmp_path / "store", ScriptedClock(START))
    place.store.append("access", _events(5, "access_log:a", range(5, 105)))
    assert _aspects(place) == {}  # the first import of a source
    place.clock.advance(timedelta(days=2))
    place.store.append("access", _events(5, "access_log:a", range(1, 8), "late"))
    assert _aspects(place) == {}  # a late batch
    place.store.append("access", _events(1, "access_log:a", range(10, 3010), "old"))
    score = _aspects(place)["windows of the past: access"]
    assert score.reason == "access_log:a touched 3,007 days of the past in access; up to 14 are usual"
    assert (score.subject.id, score.value >= 1.5) == ("access_log:a", True)
    place.store.append("access", _events(3, "ndjson:b", range(-5, -4)))
    future = _aspects(place)["times of the future: access"]
    assert (future.subject.id, future.evidence["count"]) == ("ndjson:b", 3)


def test_an_id_of_another_source_is_named(tmp_path: Path) -> None:
    place = Place(tmp_path / "store", ScriptedClock(START))
    for source in ("ndjson:evil", "access_log:a"):
        assert place.store.append("access", _events(2, source, range(1))).accepted == 2
    score = _aspects(place)["shared ids: access"]
    assert (score.subject.id, score.evidence["count"]) == ("access_log:a", 2)
    place.clock.advance(timedelta(days=2))
    assert "shared ids: access" not in _aspects(place)
