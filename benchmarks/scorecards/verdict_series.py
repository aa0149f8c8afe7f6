"""Series of a model's calls with a known cause, for `benchmarks.scorecards.verdicts`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.contract.verdict import Verdict
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin_detectors._shift_causes import spans

Floats = NDArray[np.float64]
Change = Callable[[Floats], Floats]

MODEL, TRAINED, ROWS = "risk", 4_000, 800
DAY = timedelta(days=1)


@dataclass
class Table:
    """Rows, their truth, and a model that was fitted on other rows; `later`: real rows after a real change."""

    name: str
    names: list[str]
    rows: Floats
    truth: NDArray[np.int64]
    later: tuple[Floats, NDArray[np.int64]] | None = None
    model: Any = None
    baselines: dict[str, Baseline] = field(default_factory=dict)

    def fitted(self) -> Table:
        """Fit the model."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        chosen = np.random.default_rng(0).permutation(len(self.rows))
        self.rows, self.truth = self.rows[chosen], self.truth[chosen]
        model = HistGradientBoostingClassifier(max_iter=40, random_state=0)
        self.model = model.fit(self.rows[:TRAINED], self.truth[:TRAINED])
        self.rows, self.truth = self.rows[TRAINED:], self.truth[TRAINED:]
        return self


@dataclass
class Day:
    """The calls of a day: rows, truth, callers, addresses, versions and the hours of the day."""

    rows: Floats
    truth: NDArray[np.int64]
    callers: NDArray[np.str_]
    addresses: NDArray[np.str_]
    versions: NDArray[np.str_]
    hours: Floats
    odd: NDArray[np.bool_]  # answered by another model


class World:
    """The callers of a model, and what happens to their calls."""

    def __init__(self, table: Table, rng: np.random.Generator) -> None:
        self.table, self.rng = table, rng
        number = int(rng.integers(12, 31))
        self.callers = np.array([f"client-{k}" for k in range(number)])
        weights = rng.dirichlet(np.full(number, 2.0)) + 0.01
        self.share = weights / weights.sum()
        column = table.rows[:, rng.integers(table.rows.shape[1])]
        rank = np.argsort(np.argsort(np.nan_to_num(column))) / len(column) - 0.5
        self.tilt = [np.exp(rng.normal(0, 0.4) * rank) for _ in range(number)]
        self.ends = [np.cumsum(tilt) / tilt.sum() for tilt in self.tilt]

    def day(self, rows: int = ROWS, share: Floats | None = None) -> Day:
        """A quiet day."""
        rng, table = self.rng, self.table
        who = rng.choice(len(self.callers), rows, p=self.share if share is None else share)
        places = np.array([np.searchsorted(self.ends[w], rng.random()) for w in who])
        places = np.minimum(places, len(table.rows) - 1)
        addresses = np.array([f"10.0.{w}.{rng.integers(3)}" for w in who])
        return Day(
            table.rows[places].copy(), table.truth[places].copy(), self.callers[who], addresses,
            np.full(rows, "7", dtype="<U8"), np.sort(rng.uniform(0, 24, rows)), np.zeros(rows, dtype=bool),
        )  # fmt: skip

    def change(self) -> Change:
        """One kind of change of rows, drawn anew."""
        rng, rows = self.rng, self.table.rows
        many = [j for j in range(rows.shape[1]) if len(np.unique(rows[:2000, j])) > 64]
        column = int(rng.choice(many))
        kind = rng.choice(["units", "zeros", "scale", "missing", "permuted", "others"])
        factor, high = float(rng.choice([1e-3, 1e3])), bool(rng.integers(2))
        order = np.argsort(np.nan_to_num(rows[:, column]))
        third = order[-len(order) // 3 :] if high else order[: len(order) // 3]

        def changed(given: Floats) -> Floats:
            if kind == "others":
                found: Floats = rows[rng.choice(third, len(given))]
                return found
            found = given.copy()
            values = found[:, column]
            found[:, column] = {
                "units": lambda: values * factor,
                "zeros": lambda: values * 0,
                "scale": lambda: values * 1.5,
                "missing": lambda: np.where(rng.random(len(values)) < 0.5, np.nan, values),
                "permuted": lambda: rng.permutation(rows[:, column])[: len(values)],
            }[str(kind)]()
            return found

        return changed


class Series:
    """A series with one cause: the calls of the days that are read, and the events of pipelines."""

    def __init__(self, world: World, cause: Verdict) -> None:
        self.world, self.rng, self.cause = world, world.rng, cause
        self.kind, self.since = "", 0
        month_end = cause is Verdict.CALENDAR and self.rng.random() < 0.4
        day = int(self.rng.choice([29, 30])) if month_end else int(self.rng.integers(1, 29))
        self.start = datetime(2026, int(self.rng.integers(5, 12)), day, tzinfo=UTC)
        self.monthly = month_end or (cause is Verdict.CALENDAR and self.rng.random() < 0.3)
        self.from_end = month_end
        self.hour = float(self.rng.uniform(2, 14))
        self.pipeline: list[dict[str, object]] = []
        self.change = world.change()
        self._plan()

    def _plan(self) -> None:
        rng = self.rng
        kinds = {
            Verdict.ATTACK: ("caller", "new", "address", "weekly", "beside", "forged", "stranger", "version"),
            Verdict.PIPELINE_CHANGE: ("version", "pipeline"),
            Verdict.CALENDAR: ("calendar",),
            Verdict.UNEXPLAINED: ("sudden", "other model", "growing", "real"),
        }[self.cause]
        if self.world.table.later is None:
            kinds = tuple(kind for kind in kinds if kind != "real")
        self.kind = str(rng.choice(kinds))
        if self.cause in (Verdict.ATTACK, Verdict.PIPELINE_CHANGE):
            self.since = int(rng.integers(0, 4)) if self.kind != "weekly" else 0
        self.onset = self.start - self.since * DAY + timedelta(hours=self.hour)
        self._history()
        before = self.onset - timedelta(hours=float(rng.uniform(0.05, 1.5)))
        if self.kind in ("beside", "forged", "stranger", "pipeline"):
            who = "mallory" if self.kind in ("forged", "stranger") else "svc-ci"
            self._event(before, who, "feature-pipeline", code=f"code-{before:%j%H}")
        if self.cause is Verdict.PIPELINE_CHANGE and self.kind == "version":
            self._event(before, "svc-ci", "serving", model=MODEL, version="8")
        if self.kind == "other model":
            self._event(before, "svc-ci", "serving", model="churn", version="3")

    def _history(self) -> None:
        """Releases of the pipeline and of the model every few weeks, and a training every week."""
        every = int(self.rng.integers(7, 25))
        for back in range(8 + int(self.rng.integers(every)), 62, every):
            time = self.start - back * DAY + timedelta(hours=float(self.rng.uniform(8, 18)))
            self._event(time, "svc-ci", "feature-pipeline", code=f"code-{back}")
            self._event(time, "svc-ci", "serving", model=MODEL, version=f"{7 - back // every}")
        for back in range(1, 62, 7):
            time = self.start - back * DAY + timedelta(hours=4)
            self._event(time, "svc-ci", "training", step="train", model=MODEL, version=f"c{back}")
            self._event(time, "svc-ci", "feature-pipeline", step="build", code=None)

    def _event(
        self, time: datetime, who: str, pipeline: str, step: str = "deploy", code: str | None = None,
        model: str | None = None, version: str | None = None,
    ) -> None:  # fmt: skip
        self.pipeline.append(
            {
                "@timestamp": time, "event.outcome": "success", "event.action": step, "user.id": who,
                "tocsin.pipeline.name": pipeline, "tocsin.pipeline.step": step,
                "tocsin.pipeline.code_digest": code, "tocsin.model.name": model, "tocsin.model.version": version,
            }
        )  # fmt: skip

    def day(self, start: datetime) -> Day:
        """The calls of a day."""
        day, back = self.world.day(), round((self.start - start) / DAY)
        after = np.ones(ROWS, dtype=bool)
        if back == self.since and self.cause is not Verdict.CALENDAR:
            after = day.hours >= self.hour
        if self.cause is Verdict.ATTACK:
            if back <= self.since or (self.kind == "weekly" and back % 7 == 0):
                self._attack(day, after)
        elif self.cause is Verdict.CALENDAR:
            if self._on_calendar(start):
                self._everywhere(day, after & (self.rng.random(ROWS) < 0.7))
        elif self.kind == "growing":
            self._everywhere(day, self.rng.random(ROWS) < 0.7 * max(1 - back / 40, 0))
        elif back <= self.since:
            self._changed(day, after)
        return day

    def _changed(self, day: Day, after: NDArray[np.bool_]) -> None:
        if self.kind == "real":
            self._later(day, after)
        else:
            version = "8" if self.cause is Verdict.PIPELINE_CHANGE and self.kind == "version" else ""
            self._everywhere(day, after, version)

    def _on_calendar(self, start: datetime) -> bool:
        if not self.monthly:
            return (self.start - start).days % 7 == 0
        if not self.from_end:
            return start.day == self.start.day
        return (start + (self._left() + 1) * DAY).day == 1

    def _left(self) -> int:
        following = (self.start.replace(day=28) + 4 * DAY).replace(day=1)
        return (following - self.start).days - 1

    def _everywhere(self, day: Day, hit: NDArray[np.bool_], version: str = "") -> None:
        if version:
            day.versions[hit] = version
            day.odd |= hit
        else:
            day.rows[hit] = self.change(day.rows[hit])

    def _later(self, day: Day, hit: NDArray[np.bool_]) -> None:
        assert self.world.table.later is not None
        rows, truth = self.world.table.later
        begin = int(self.rng.integers(max(len(rows) - ROWS, 1)))
        number = int(hit.sum())
        day.rows[hit], day.truth[hit] = rows[begin : begin + number], truth[begin : begin + number]

    def _attack(self, day: Day, after: NDArray[np.bool_]) -> None:
        if self.kind == "stranger":
            self._everywhere(day, after)
            return
        if self.kind == "version":
            self._everywhere(day, after, version="7b")
            return
        rng = self.rng
        count = int(ROWS * rng.uniform(0.1, 0.35))
        hit = np.flatnonzero(after)
        hit = rng.choice(hit, min(count, len(hit)), replace=False)
        day.rows[hit] = self.change(day.rows[hit])
        if self.kind == "address":
            day.callers[hit] = [f"acct-{k}" for k in rng.integers(200, size=len(hit))]
            day.addresses[hit] = "203.0.113.9"
        elif self.kind == "new":
            day.callers[hit] = [f"guest-{k}" for k in rng.integers(3, size=len(hit))]
            day.addresses[hit] = [f"198.51.100.{k}" for k in rng.integers(60, size=len(hit))]
        else:
            day.callers[hit], day.addresses[hit] = self.world.callers[0], "10.0.0.1"

    def window(self) -> Window:
        """The window that is judged, with the days before."""
        last = Window(self.start, self.start + DAY, FrameSource({}))
        days = [(span.start, self.day(span.start)) for span in [*spans(last), last]]
        calls, labels = events(self.world.table, days)
        frames = {"inference": calls, "label": labels, "pipeline": pl.DataFrame(self.pipeline)}
        return Window(self.start, self.start + DAY, FrameSource.of(frames))


def events(table: Table, days: list[tuple[datetime, Day]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The calls of some days, and their labels a second later."""
    rows = np.concatenate([day.rows for _, day in days])
    scores = table.model.predict_proba(rows)[:, 1]
    odd = np.concatenate([day.odd for _, day in days])
    scores = np.where(odd, scores**0.5, scores)
    times = [start + timedelta(hours=float(h)) for start, day in days for h in day.hours]
    frame = pl.DataFrame(
        {
            "@timestamp": times,
            "event.id": [f"{k:08d}" for k in range(len(rows))],
            "user.id": np.concatenate([day.callers for _, day in days]),
            "source.ip": np.concatenate([day.addresses for _, day in days]),
            "tocsin.model.name": MODEL,
            "tocsin.model.version": np.concatenate([day.versions for _, day in days]),
            "tocsin.features.names": ",".join(table.names),
            "tocsin.features.values": pl.Series(rows.tolist(), dtype=pl.List(pl.Float64)),
            "tocsin.output.label": (scores >= 0.5).astype(int).astype(str),
            "tocsin.output.score": scores,
            "tocsin.output.confidence": np.maximum(scores, 1 - scores),
        }
    )
    truth = np.concatenate([day.truth for _, day in days]).astype(str)
    labels = frame.select(
        pl.col("@timestamp") + timedelta(microseconds=1), "tocsin.model.name",
        pl.col("event.id").alias("tocsin.label.of"), ("l" + pl.col("event.id")).alias("event.id"),
        pl.Series("tocsin.label.value", truth),
    )  # fmt: skip
    return frame, labels
