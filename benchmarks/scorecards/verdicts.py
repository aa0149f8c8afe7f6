"""Verdicts of feature_drift, prediction_drift and performance on scripted and real causes.

A series is the calls of a model by 12 to 30 callers on the days that a verdict reads; the last day is judged. Each
caller has a population of its own: rows with high or low values of one column are commoner. The same kinds of change
(units, zeros, a scale, missing and permuted values, other clients, other answers) happen in every class:

attack: one caller, new callers, or accounts of one address, for one to four days; on every seventh day; beside an honest
or a forged deployment; or for all callers by somebody who never deployed before, or by a version without a deployment.
pipeline change: all callers, from a deployment of a new version or of a pipeline on. calendar: all callers, on the same
day of the week or of the month. unexplained: all callers, suddenly or growing for weeks, with deployments at other
times or of other models; and the second half of car loans and the houses of another time, in their real order (drift).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.card import SHARED, Row, credit
from benchmarks.scorecards.relations import coded
from tocsin.contract.evaluation import fit, judge
from tocsin.contract.verdict import Verdict
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin_detectors import feature_drift, performance, prediction_drift
from tocsin_detectors._shift_causes import spans

Floats = NDArray[np.float64]
Change = Callable[[Floats], Floats]

MODEL, TRAINED, TRUSTED, ROWS, SERIES = "risk", 4_000, 6_000, 800, 6
DAY = timedelta(days=1)
CLASSES = (Verdict.ATTACK, Verdict.PIPELINE_CHANGE, Verdict.CALENDAR, Verdict.UNEXPLAINED)
_CALM = (Verdict.PIPELINE_CHANGE, Verdict.CALENDAR)
DETECTORS = (
    feature_drift.FeatureDrift(feature_drift.Params()),
    prediction_drift.PredictionDrift(prediction_drift.Params()),
    performance.Performance(performance.Params()),
)


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


def baselines(table: Table, world: World) -> dict[str, Baseline]:
    """The baselines of all detectors, from a day with many calls."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    calls, labels = events(table, [(start, world.day(TRUSTED))])
    window = Window(start, start + DAY, FrameSource.of({"inference": calls, "label": labels}))
    return {detector.id: fit(detector, window, 0.01) for detector in DETECTORS}


def tables() -> list[Table]:
    """Credit applications, car loans, census rows and houses."""
    data = credit()
    label = "default-payment-next-month"
    names = [name for name in data.columns if name != label]
    found = [
        Table("credit_default", names, data.select(names).to_numpy().astype(float), data[label].to_numpy())
    ]
    loans = [_loans("reference"), _loans("analysis")]
    half = len(loans[1][1]) // 2
    found.append(Table("car_loan", *loans[0], later=(loans[1][1][half:], loans[1][2][half:])))
    census = pl.read_parquet(SHARED / "acs_employment_nannyml" / "employment_MA_reference.pq")
    truth = census["employed"].cast(pl.Int64).to_numpy()
    rows = census.drop("id", "year", "employed", "prediction", "predicted_probability")
    found.append(
        Table(
            "acs_employment", *coded(rows, [n for n in rows.columns if not rows.schema[n].is_float()]), truth
        )
    )
    return [table.fitted() for table in found]


def _loans(part: str) -> tuple[list[str], Floats, NDArray[np.int64]]:
    folder = SHARED / "synth_car_loan_nannyml"
    table = pl.read_csv(folder / f"synthetic_car_loan_{part}.csv.gz", infer_schema_length=10_000)
    if part == "analysis":
        target = pl.read_csv(folder / "synthetic_car_loan_analysis_target.csv.gz")
        table = table.join(target.select("id", "repaid"), on="id", how="left")
    truth = table["repaid"].cast(pl.Int64).to_numpy()
    table = table.drop("id", "timestamp", "repaid", "y_pred", "y_pred_proba")
    return *coded(table, [n for n in table.columns if not table.schema[n].is_float()]), truth


def measure(seeds: int) -> list[Row]:
    """Of each cause, the share of its findings with that verdict; their mean; and attacks that are called harmless."""
    rows = []
    for table in tables():
        counts, _ = confusion(table, seeds)
        rows += _rows(table.name, counts)
    return rows


def confusion(table: Table, seeds: int) -> tuple[Counter[tuple[Verdict, str]], list[tuple[str, ...]]]:
    """How often findings about each cause have each verdict, and each finding in detail."""
    counts: Counter[tuple[Verdict, str]] = Counter()
    detail: list[tuple[str, ...]] = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        world = World(table, rng)
        known = baselines(table, world)
        for cause in CLASSES:
            for _ in range(SERIES):
                series = Series(world, cause)
                window = series.window()
                for detector in DETECTORS:
                    for judged in judge(detector, window.with_baseline(known[detector.id])):
                        if judged.finding and not judged.score.aspect:
                            evidence = {name: str(value) for name, value in judged.finding.evidence.items()}
                            counts[cause, evidence["verdict"]] += 1
                            why = (evidence["verdict"], evidence["verdict_for"], evidence["verdict_against"])
                            detail.append((cause.value, series.kind, detector.id, *why))
    return counts, detail


def _rows(data: str, counts: Counter[tuple[Verdict, str]]) -> list[Row]:
    rows, found = [], {cause: sum(n for (of, _), n in counts.items() if of is cause) for cause in CLASSES}
    for cause in CLASSES:
        right = {cause, Verdict.DRIFT} if cause is Verdict.UNEXPLAINED else {cause}
        value = sum(counts[cause, verdict.value] for verdict in right) / max(found[cause], 1)
        rows.append(Row("shifts", data, f"verdict on {cause.value}", "recall", value, found[cause]))
    mean, total = float(np.mean([row.value for row in rows])), sum(found.values())
    rows.append(Row("shifts", data, "verdicts, balanced accuracy", "mean recall", mean, total, 0.8))
    calm = sum(counts[Verdict.ATTACK, verdict.value] for verdict in _CALM) / max(found[Verdict.ATTACK], 1)
    case = "attacks called calendar or pipeline change"
    return [*rows, Row("shifts", data, case, "share", calm, found[Verdict.ATTACK], 0.02, "<=")]
