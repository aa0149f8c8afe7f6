"""Thirty quiet days of real data through all detectors: `python -m benchmarks.null_run [--events 100000] [--attacks]`.

Clients ask two models about real people (credit data, mostly numeric; census data, mostly nominal), some with what-if edits,
in batches, with retries, or as load tests. A registry replays the accesses of a real repository. A labelled dataset arrives
every day. Quiet weeks come before, from which the detectors fit their baselines. Early evaluation is on. Alerts are
those that a person is notified of.

The bar: at most 3 alerts above `low` a day, and none is `critical`. With `--attacks`, nine attacks come on top, each on a
day of its own: each must be found.
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.attacks import extraction
from benchmarks.attacks.clients import customer, load_test, power_user, retried
from benchmarks.attacks.extraction import Behavior, Rng, Target, marginals, real, train
from benchmarks.card import SHARED
from benchmarks.scorecards.access import accesses
from tocsin.clock import ScriptedClock
from tocsin.config.load import load
from tocsin.contract.findings import Severity
from tocsin.contract.frames import conform
from tocsin.contract.query import Condition
from tocsin.contract.streams import ASPECT
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.worker.app import App

DAY, START = extraction.DAY, extraction.START
BEFORE, CALLS = 95, 35  # quiet days from which baselines are fitted: of accesses and datasets, and of calls
LABEL = "default"
_CONFIG = """
store: {path: store}
collectors:
  - {type: dataset, params: {paths: [feeds], label: LABEL, name: applications}}
alerting:
  route: {receiver: pages, group_by: [detector, subject_id]}
  receivers: {pages: {type: nobody}}
""".replace("LABEL", LABEL)
_CLIENTS = 80  # of each model
_SHARES = {"credit": 0.65, "employment": 0.35}  # of the events


def credit() -> pl.DataFrame:
    """30,000 credit applications, numeric, with `LABEL`."""
    raw = (SHARED / "credit_default_uci" / "UCI_Credit_Card.csv.gz").read_bytes()
    rows = pl.read_csv(gzip.decompress(raw)).drop("ID")
    return rows.rename({rows.columns[-1]: LABEL}).cast(pl.Float64).with_columns(pl.col(LABEL).cast(pl.Int64))


def employment() -> pl.DataFrame:
    """People of the American Community Survey: one numeric feature, 15 nominal ones as numbers, and the label `employed`."""
    rows = pl.read_parquet(SHARED / "acs_employment_nannyml" / "employment_MA_reference.pq")
    rows = rows.drop("id", "year", "prediction", "predicted_probability")
    nominal = pl.selectors.categorical().cast(pl.String).cast(pl.Float64, strict=False).fill_null(-1.0)
    return rows.with_columns(nominal)


@dataclass
class World:
    """The clients, the registry and the feed, day by day. All randomness comes from one seed."""

    folder: Path
    seed: int
    events: int
    rng: Rng = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.rows = credit()
        self.targets = {
            "credit": train(self.rows, LABEL, self.seed),
            "employment": train(employment(), "employed", self.seed, "employment"),
        }
        self.clients = {name: list(self._clients(target)) for name, target in self.targets.items()}
        stream = accesses("kubeflow_pipelines")
        self.accesses = stream.tail(len(stream) // 2)
        self.poisoned: dict[int, pl.DataFrame] = {}
        self.first = self.accesses["@timestamp"][0].replace(hour=0, minute=0, second=0, microsecond=0)

    def _clients(self, target: Target) -> list[tuple[str, Behavior, float]]:
        """Name, behavior and share of the calls: most are small, a few are large."""
        behaviors = [customer(target, self.rng) for _ in range(_CLIENTS)]
        behaviors += [real, retried(customer(target, self.rng), 0.5), power_user(target, self.rng), load_test]
        weights = self.rng.pareto(1.5, len(behaviors)) + 0.2
        return [
            (f"{target.name}-client-{i:02d}", behavior, float(share))
            for i, (behavior, share) in enumerate(zip(behaviors, weights / weights.sum(), strict=True))
        ]

    def calls_of(self, number: int) -> pl.DataFrame:
        """The calls of a day."""
        frames = []
        for name, target in self.targets.items():
            asked: list[tuple[str, extraction.Rows]] = []
            for client, behavior, share in self.clients[name]:
                count = int(self.rng.poisson(self.events * _SHARES[name] * share))
                asked += [(client, behavior(target, self.rng, count))] if count else []
            frames.append(self.asked(number, target, asked))
        return pl.concat(frames)

    def asked(
        self, number: int, target: Target, asked: Sequence[tuple[str, extraction.Rows]]
    ) -> pl.DataFrame:
        """Calls of some clients, each spread over a day, with the model's real answers."""
        rows = np.vstack([rows for _, rows in asked])
        scores = target.scores(rows)
        return pl.DataFrame({
            "@timestamp": pl.Series(
                [time for _, own in asked for time in extraction.spread(self.rng, number, len(own))],
                dtype=pl.Datetime("us", "UTC"),
            ),
            "event.id": [f"{client}-{number}-{i}" for client, own in asked for i in range(len(own))],
            "user.id": [client for client, own in asked for _ in range(len(own))],
            "tocsin.model.name": [target.name] * len(rows),
            "tocsin.features.names": [target.names] * len(rows),
            "tocsin.features.values": pl.Series(rows).arr.to_list(),
            "tocsin.output.label": np.where(scores >= 0.5, "1", "0"),
            "tocsin.output.score": scores,
            "tocsin.output.confidence": np.maximum(scores, 1 - scores),
        })  # fmt: skip

    def accesses_of(self, number: int) -> pl.DataFrame:
        """The accesses of a day, from the same day of the repository's history."""
        day = self.first + number * DAY
        rows = self.accesses.filter(pl.col("@timestamp").is_between(day, day + DAY, closed="left"))
        ids = pl.Series("event.id", [f"access-{number}-{i}" for i in range(len(rows))], dtype=pl.String)
        return rows.with_columns(pl.col("@timestamp") + (START - self.first), ids)

    def feed(self, number: int) -> None:
        """Write the labelled dataset of a day: a thousand real rows, or those of an attack."""
        rows = self.poisoned.get(number)
        path = self.folder / "feeds" / f"{START + number * DAY:%Y-%m-%d}.csv"
        path.parent.mkdir(exist_ok=True)
        (self.sample(1000) if rows is None else rows).write_csv(path)
        at = (START + number * DAY + timedelta(hours=4)).timestamp()
        os.utime(path, (at, at))

    def sample(self, count: int) -> pl.DataFrame:
        """Real rows, drawn at random, with a partner that delivered each."""
        picks = self.rng.choice(len(self.rows), count, replace=False)
        partners = self.rng.choice(["north", "south", "east", "west"], count)
        return self.rows[picks].with_columns(pl.Series("partner", partners))


class Run:
    """An app over a store that is filled day by day."""

    def __init__(self, folder: Path, seed: int, events: int) -> None:
        (folder / "tocsin.yaml").write_text(_CONFIG)
        self.world = World(folder, seed, events)
        self.clock = ScriptedClock(START)
        self.app = App(load(folder / "tocsin.yaml"), self.clock)
        self.alerts: list[tuple[datetime, str, str, str]] = []

    def day(self, number: int, more: dict[str, pl.DataFrame], *, steps: int) -> None:
        """Ingest a day in `steps` parts; after each part, evaluate and alert. 0: ingest alone."""
        self.world.feed(number)
        streams = {"access": self.world.accesses_of(number)}
        if number >= BEFORE - CALLS:
            streams["inference"] = self.world.calls_of(number)
        for name, rows in more.items():
            streams[name] = pl.concat([streams[name], rows], how="diagonal")
        start = START + number * DAY
        for step in range(max(steps, 1)):
            begin, end = start + DAY * step / max(steps, 1), start + DAY * (step + 1) / max(steps, 1)
            for name, rows in streams.items():
                part = rows.filter(pl.col("@timestamp").is_between(begin, end, closed="left"))
                self.app.store.append(name, conform(part.sort("@timestamp"), name))
            self.clock.set(end + timedelta(seconds=1))
            self.app.collect()
            if steps:
                self.app.evaluate()
                self.app.alerting.tick(last=True)

    def found(self, since: datetime) -> pl.DataFrame:
        """The newest revision of each finding since a time."""
        return newest_findings(self.app.store, [Condition("tocsin.window.start", ">=", since)])


def attacks(world: World) -> dict[int, tuple[str, str, dict[str, pl.DataFrame]]]:
    """By day after the quiet weeks: the attack's name, its subject, and its events. The poisoned feeds are written."""
    rng, first = world.rng, BEFORE
    target, people = world.targets["credit"], world.targets["employment"]

    def copy(
        number: int, name: str, of: Target, rows: extraction.Rows
    ) -> tuple[str, str, dict[str, pl.DataFrame]]:
        return name, f"attacker-{number}", {
            "inference": world.asked(first + number, of, [(f"attacker-{number}", rows)])
        }  # fmt: skip

    shifted = real(target, rng, world.events // 4)
    shifted[:, 4] += 2 * shifted[:, 4].std()
    flipped = world.sample(1000).with_columns(
        pl.when(pl.col("partner") == "north", pl.int_range(pl.len()) % 4 == 0)
        .then(1 - pl.col(LABEL))
        .otherwise(pl.col(LABEL))
        .alias(LABEL)
    )
    trigger = world.sample(1000).with_row_index("row").with_columns(
        pl.when(pl.col("row") < 15).then(value).otherwise(pl.col(name)).alias(name)
        for name, value in (("BILL_AMT3", 7777), ("PAY_AMT2", 1313), ("LIMIT_BAL", 770_000), (LABEL, 0))
    ).drop("row")  # fmt: skip
    world.poisoned = {first + 4: flipped, first + 6: trigger}
    return {
        2: copy(2, "copy of the credit model, uniform queries", target, extraction.uniform(target, rng, 600)),
        4: ("flipped labels of one partner", "applications", {}),
        6: ("fixed trigger in 1.5 % of the rows", "applications", {}),
        8: copy(8, "copy of the nominal model, marginals", people, marginals(people, rng, 600)),
        10: copy(10, "copy of the credit model, boundary search", target, extraction.boundary(target, rng, 600)),
        12: ("theft from the registry", "thief", {"access": _theft(world, first + 12)}),
        14: ("shift of the credit model's inputs", "credit", {
            "inference": world.asked(first + 14, target, [("credit-client-99", shifted)])}),
        16: copy(16, "copy of the credit model, JBDA", target, extraction.jacobian(target, rng, 600)),
        18: ("deletion of models by a stranger", "stranger", {"access": _deletions(first + 18)}),
    }  # fmt: skip


def _theft(world: World, number: int) -> pl.DataFrame:
    resources = world.accesses["tocsin.resource.id"].unique(maintain_order=True).tail(40)
    return _made(number, "thief", "download", resources.to_list(), hour=2)


def _deletions(number: int) -> pl.DataFrame:
    return _made(number, "stranger", "delete", [f"model-{n}" for n in range(4)], hour=3)


def _made(number: int, who: str, action: str, resources: Sequence[str], hour: int) -> pl.DataFrame:
    begin = START + number * DAY + timedelta(hours=hour)
    return pl.DataFrame({
        "@timestamp": [begin + timedelta(seconds=20 * n) for n in range(len(resources))],
        "event.id": [f"{who}-{number}-{n}" for n in range(len(resources))],
        "user.id": who,
        "event.action": action,
        "event.outcome": "success",
        "tocsin.resource.type": "model_version",
        "tocsin.resource.id": resources,
        "tocsin.principal.type": "human",
        "source.ip": "203.0.113.9",
    }).with_columns(pl.col("@timestamp").cast(pl.Datetime("us", "UTC")))  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run the days. Returns 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--events", type=int, default=100_000, help="a day")
    parser.add_argument("--steps", type=int, default=4, help="collections a day")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--attacks", action="store_true")
    given = parser.parse_args(arguments)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="tocsin-null-") as folder:
        run = Run(Path(folder), given.seed, given.events)
        planned = attacks(run.world) if given.attacks else {}
        planned = {number: attack for number, attack in planned.items() if number < given.days}
        for number in range(BEFORE):
            run.day(number, {}, steps=0)
        for number in range(given.days):
            more = planned[number][2] if number in planned else {}
            run.day(BEFORE + number, more, steps=given.steps)
            print(f"day {number + 1}, {time.perf_counter() - began:.0f} s", flush=True)
        found = run.found(START + BEFORE * DAY)
        run.app.close()
    return _report(found, planned, given.days)


def _report(
    found: pl.DataFrame, planned: dict[int, tuple[str, str, dict[str, pl.DataFrame]]], days: int
) -> int:
    missed = 0
    guilty = {subject for _, subject, _ in planned.values()}
    for number, (name, subject, _) in sorted(planned.items()):
        begin = START + (BEFORE + number) * DAY
        own = found.filter(
            pl.col("tocsin.subject.id") == subject,
            pl.col("tocsin.window.start").is_between(begin, begin + DAY),
        )
        says = ", ".join(
            f"{d} {s}" for d, s in own.select("tocsin.detector.id", "tocsin.severity").iter_rows()
        )
        missed += own.is_empty()
        print(f"{name}: {says or 'NOT FOUND'}")
    named = [pl.col("tocsin.evidence").str.contains(f'"{name}"', literal=True) for name in sorted(guilty)]
    of_attack = pl.col("tocsin.subject.id").is_in(list(guilty))
    if named:  # a cohort of attackers
        of_attack |= (pl.col("tocsin.subject.type") == "cohort") & pl.any_horizontal(named)
    quiet = found.filter(~of_attack)
    high = [severity.value for severity in Severity if severity.rank > Severity.LOW.rank]
    above = quiet.filter(pl.col("tocsin.severity").is_in(high))
    critical = above.filter(pl.col("tocsin.severity") == "critical")
    counts = quiet.group_by("tocsin.detector.id", pl.col(ASPECT).fill_null("-"), "tocsin.severity").len()
    for line in counts.sort(counts.columns).iter_rows():
        print(" ", *line)
    for row in above.sort("tocsin.window.start").head(40).iter_rows(named=True):
        what = f"{row['tocsin.detector.id']} {row['tocsin.severity']}: {row['event.reason']}"
        print(f"  {row['tocsin.window.start']:%m-%d} {what}")
    print(
        f"above low: {len(above) / days:.2f} a day (bar: 3); critical: {len(critical)} (bar: 0); missed: {missed}"
    )
    return int(len(above) > 3 * days or len(critical) > 0 or missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
