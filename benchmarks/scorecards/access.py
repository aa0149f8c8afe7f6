"""registry_access on who touched what when in two real repositories, with masquerades put in.

The first 60 % of the accesses are the baseline, the rest is the test; bots are services, people humans. A
masquerade gives a real principal's id to accesses to resources that it never touched before that day,
drawn by how popular they are. Principal and day come from an access of the test ("active"), so that it
hides among what the principal really did that day, or the principal is any known one ("any", mostly long
gone); times of day come from the test. No masquerade is in the history of another.

An event's score is measured twice: by `tocsin.stats.surprise` alone, and by the detector in a window of
one microsecond, which holds that access only. A session is six masquerades (drawn with replacement, or six
different resources) on one principal's day, scored as a window of a day; its threshold is the 99 % quantile
of the principal-days of the test without masquerades. Also reported: the findings above the calibrated threshold.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.card import SHARED, Row, shared
from tocsin.config import discovery, params
from tocsin.contract import evaluation
from tocsin.contract.plugin import Detector
from tocsin.contract.windows import FrameSource, Window
from tocsin.stats.surprise import Touches, surprise

Floats = NDArray[np.float64]

DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
BASELINE = 0.6  # share of the accesses
EVENTS = 120  # real ones and masquerades, of each seed
SESSIONS = 50  # of each kind and seed
ACCESSES = 6
HARD = frozenset({"kubeflow_manifests"})  # most accesses are to what is new: sweeping changes


class Attack(NamedTuple):
    """Accesses under a principal's name; `start` is the day of a session, or the time of one access."""

    principal: str
    start: datetime
    rows: pl.DataFrame


class Stream:
    """One repository's accesses, the detector and its baseline."""

    def __init__(self, name: str) -> None:
        self.rows = accesses(name)
        cut = int(len(self.rows) * BASELINE)
        self.test = self.rows[cut:]
        self.source = FrameSource.of({"access": self.rows})
        plugin = discovery.discover().get(Detector, "registry_access")  # type: ignore[type-abstract]
        self.detector: Detector[Any] = plugin(params.build(plugin.params_type(), {}))
        trusted = Window(self.rows["@timestamp"][0], self.test["@timestamp"][0], self.source)
        self.baseline = evaluation.fit(self.detector, trusted, 0.01)
        self.codes = {c: coded(self.rows[c]) for c in ("user.id", "tocsin.resource.id")}
        self.touches = touches(self.rows, *self.codes.values())

    def scores(self, start: datetime, length: timedelta, rows: pl.DataFrame) -> dict[str, float]:
        """The score of each principal in a window that holds these rows, after the real past."""
        source = FrameSource.of({"access": rows})
        window = Window(start, start + length, source, self.baseline, self.source)
        return {score.subject.id: score.value for score in self.detector.score(window)}

    def quiet(self) -> Floats:
        """The scores of all principal-days of the test."""
        days = self.test.group_by(pl.col("@timestamp").dt.truncate("1d"), maintain_order=True)
        return np.asarray([s for (day,), rows in days for s in self.scores(day, DAY, rows).values()])

    def session(self, attack: Attack) -> float:
        """The score of a masquerade together with what the principal really did that day."""
        day = pl.col("@timestamp").dt.truncate("1d")
        real = self.test.filter(day == attack.start, pl.col("user.id") == attack.principal)
        return self.scores(attack.start, DAY, pl.concat([real, attack.rows]))[attack.principal]

    def event(self, attack: Attack) -> tuple[float, float]:
        """The score of one access: of `surprise` alone, and of the detector."""
        principal, resource = attack.rows.row(0)[1], attack.rows["tocsin.resource.id"][0]
        now = self.rows["@timestamp"].search_sorted(attack.start)
        time = attack.start.timestamp() / 86400
        rows = slice(0, int(np.searchsorted(self.touches.time, time)))
        past = Touches(
            self.touches.time[rows],
            self.touches.principal[rows],
            self.touches.resource[rows],
            self.touches.pool,
            self.touches.resources,
        )
        first_touch = self.rows[:now]["tocsin.resource.id"].n_unique() / max(now, 1)
        who = np.asarray([self.codes["user.id"][principal]])
        what = np.asarray([self.codes["tocsin.resource.id"][resource]])
        alone = surprise(past, who, what, np.asarray([first_touch]), time)
        return float(alone[0]), self.scores(attack.start, MOMENT, attack.rows)[principal]

    def real(self, rng: np.random.Generator) -> Attack:
        """An access of the test as it was."""
        row = self.test[int(rng.integers(len(self.test)))]
        return Attack(row["user.id"][0], row["@timestamp"][0], row)

    def masquerade(self, rng: np.random.Generator, who: str, size: int, *, different: bool = False) -> Attack:
        """Accesses to what a principal never touched; `who` is active or any."""
        while True:
            time: datetime = self.test["@timestamp"][int(rng.integers(len(self.test)))]
            day = time.replace(hour=0, minute=0, second=0, microsecond=0)
            past = self.rows.filter(pl.col("@timestamp") < (day if size > 1 else time))
            known = past["user.id"].unique().sort()
            at = self.test.filter(pl.col("@timestamp") == time)["user.id"]
            principal = str(at[0] if who == "active" else known[int(rng.integers(len(known)))])
            touched = past.filter(pl.col("user.id") == principal)["tocsin.resource.id"].unique()
            others = past.filter(~pl.col("tocsin.resource.id").is_in(touched.to_list()))
            popular = others["tocsin.resource.id"].value_counts().sort("tocsin.resource.id")
            if not len(touched) or len(popular) < size:
                continue
            chance = popular["count"].to_numpy() / popular["count"].sum()
            chosen = rng.choice(len(popular), size, replace=not different, p=chance)
            drawn = self.test[rng.integers(len(self.test), size=size).tolist()]
            times = [
                day + (t - t.replace(hour=0, minute=0, second=0, microsecond=0)) for t in drawn["@timestamp"]
            ]
            rows = drawn.with_columns(
                pl.Series("@timestamp", times if size > 1 else [time], dtype=self.rows.schema["@timestamp"]),
                pl.Series("tocsin.resource.id", popular["tocsin.resource.id"].to_list()).gather(
                    chosen.tolist()
                ),
                pl.lit(principal).alias("user.id"),
                pl.lit(kind(principal)).alias("tocsin.principal.type"),
            )
            return Attack(principal, day if size > 1 else time, rows)


def accesses(name: str) -> pl.DataFrame:
    """A repository's accesses as events of the access stream, oldest first."""
    raw = (SHARED / "git_access" / f"access_{name}.csv.gz").read_bytes()
    rows = pl.read_csv(gzip.decompress(raw)).select(
        pl.col("ts").str.to_datetime("%+", time_unit="us", time_zone="UTC").alias("@timestamp"),
        pl.col("principal").alias("user.id"),
        pl.col("action").alias("event.action"),
        pl.col("resource").alias("tocsin.resource.id"),
        pl.col("principal").map_elements(kind, pl.String).alias("tocsin.principal.type"),
    )
    return rows.sort("@timestamp", maintain_order=True)


def kind(principal: str) -> str:
    """Bots are marked by how they are named."""
    return "service" if principal.startswith("svc-") else "human"


def coded(values: pl.Series) -> dict[str, int]:
    """A number for each value."""
    return {value: code for code, value in enumerate(values.unique().sort())}


def touches(rows: pl.DataFrame, who: dict[str, int], what: dict[str, int]) -> Touches:
    """The whole stream as touches: each principal, resource and day once."""
    day = pl.col("@timestamp").dt.truncate("1d")
    first = rows.unique(["user.id", "tocsin.resource.id", day], keep="first", maintain_order=True)
    return Touches(
        first["@timestamp"].dt.epoch("us").to_numpy() / 86_400e6,
        np.asarray([who[value] for value in first["user.id"]]),
        np.asarray([what[value] for value in first["tocsin.resource.id"]]),
        np.asarray([kind(value) == "service" for value in who]).astype(np.int64),
        len(what),
    )


def measure(seeds: Sequence[int]) -> list[Row]:
    """The rows of registry_access."""
    return [row for name in ("kubeflow_pipelines", "kubeflow_manifests") for row in _measured(name, seeds)]


def _measured(name: str, seeds: Sequence[int]) -> Iterator[Row]:
    stream = Stream(name)
    quiet = stream.quiet()
    limit, threshold = float(np.quantile(quiet, 0.99)), stream.baseline.threshold or 0.0
    rngs = [np.random.default_rng(seed) for seed in seeds]

    real = np.asarray([stream.event(stream.real(rng)) for rng in rngs for _ in range(EVENTS)])
    for who, bar in (("active", 0.95), ("any", None)):
        drawn = [stream.masquerade(rng, who, 1) for rng in rngs for _ in range(EVENTS)]
        false = np.asarray([stream.event(attack) for attack in drawn])
        for place, what in enumerate(("surprise", "detector")):
            value = auc(real[:, place], false[:, place])
            given = None if name in HARD else bar
            yield _row(name, f"one access, {what}, {who} principal", "AUC", value, len(false), given)
    for who, different in (("active", False), ("active", True), ("any", True)):
        drawn = [
            stream.masquerade(r, who, ACCESSES, different=different) for r in rngs for _ in range(SESSIONS)
        ]
        scores = np.asarray([stream.session(attack) for attack in drawn])
        case = f"six {'different' if different else 'accesses'}, {who} principal"
        bar = (0.6 if name in HARD else 0.9) if who == "active" else None
        yield _row(name, case, "TPR at 1 % FPR", float(np.mean(scores > limit)), len(scores), bar)
        yield _row(name, case, "AUC", auc(quiet, scores), len(scores), 0.95)
        yield shared(("registry_access", name, case), "TPR by default", scores / threshold)
    if 0 in seeds:
        of = "registry_access", name, "principal-days of the test"
        yield shared(of, "FPR", quiet / threshold, 1 / 200, quiet=True)


def _row(name: str, case: str, metric: str, value: float, trials: int, bar: float | None = None) -> Row:
    return Row("registry_access", name, case, metric, value, trials, bar)


def auc(quiet: Floats, attack: Floats) -> float:
    """Area under the ROC curve."""
    labels = np.repeat([0, 1], [len(quiet), len(attack)])
    return float(roc_auc_score(labels, np.concatenate([quiet, attack])))
