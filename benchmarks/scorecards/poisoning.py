"""label_poisoning and dataset_profile on credit applications, and on census rows for generality.

A seed draws ten trusted snapshots of 1,000 rows each and judges batches of 1,000 rows that the baseline
has not seen, no row twice in a batch. Flips are of a share of all rows of a batch: 5 % are 50 labels.
A trigger sets three amounts, drawn anew for each batch, to one value each (fixed) or to values within 2 % of
the column's standard deviation around it (jittered), and all labels of these rows to one class. Partners are a
column of five values that says nothing about the label; flips of a partner are of a share of its own rows.

A verdict is that on the last of 16 daily snapshots. The relation of labels and rows is replaced, in a share of the
rows, by another one: the model's logits are multiplied, moved, and shifted with one feature, all three drawn anew.
In drift the share grows from day to day; on a calendar it is .8 every seventh day; in a pipeline change it is .8 on the
last day, without a column. An attack (flips of 8 %, of 30 % of a partner's rows, or a trigger) is in the last one to
four snapshots. Cases that give no finding have no verdict.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from benchmarks.card import SHARED, Row, credit, of_windows, shared
from tocsin.contract.findings import Severity
from tocsin.contract.windows import Baseline
from tocsin.datasets.digest import content
from tocsin.testing.evaluate import Evaluation, evaluate
from tocsin_collectors._profile import label_counts, profile

START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 1_000
TRUSTED = 10
CLEAN = 100  # batches for each seed
BATCHES = 40  # of each attack, for each seed
PROFILES = 75  # snapshots judged by dataset_profile, for each seed

Change = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


class Stream:
    """One shuffle of a table: trusted snapshots, and a pool that batches are drawn from."""

    def __init__(self, table: pl.DataFrame, label: str, seed: int) -> None:
        self.label, self.rng = label, np.random.default_rng(seed)
        table = table[self.rng.permutation(len(table))]
        self.trusted, self.pool = table[: TRUSTED * ROWS], table[TRUSTED * ROWS :]
        self.baseline: Baseline | None = None

    def batch(self, rows: int = ROWS) -> pl.DataFrame:
        """A quiet batch."""
        return self.pool[self.rng.choice(len(self.pool), rows, replace=False)]

    def judged(self, batches: list[pl.DataFrame]) -> Evaluation:
        """Each batch as a snapshot of a day; fits on the trusted ones the first time."""
        if not batches:
            return Evaluation(pl.DataFrame(), [], self.baseline)
        frames = [self.trusted[i * ROWS : (i + 1) * ROWS] for i in range(TRUSTED)]
        rows = {f"trusted-{i}": frame.lazy() for i, frame in enumerate(frames)}
        rows |= {f"batch-{i}": frame.lazy() for i, frame in enumerate(batches)}
        trusted, events = (
            {"dataset": pl.DataFrame([self.event(name, d) for d, name in enumerate(names, first)])}
            for names, first in (
                ([n for n in rows if n[0] == "t"], 0),
                ([n for n in rows if n[0] == "b"], 100),
            )
        )
        result = evaluate("label_poisoning", events, baseline=self.baseline or trusted, snapshots=rows)
        self.baseline = result.baseline
        return result

    def event(self, digest: str, day: int) -> dict[str, object]:
        """The event of a snapshot."""
        return {
            "@timestamp": START + timedelta(days=day),
            "user.id": "feed",
            "tocsin.dataset.name": "applications",
            "tocsin.dataset.digest": digest,
            "tocsin.dataset.label": self.label,
        }


def flipped(label: str, kind: str, share: float) -> Change:
    """Flip labels of a share of all rows: `0→1`, `1→0`, `random`, or `swap` (as many there as back)."""

    def change(batch: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        labels = batch[label].to_numpy().copy()
        count = round(share * len(labels))
        among = {
            "random": [(np.arange(len(labels)), count)],
            "swap": [(np.flatnonzero(labels == c), count // 2) for c in (0, 1)],
            "0→1": [(np.flatnonzero(labels == 0), count)],
            "1→0": [(np.flatnonzero(labels == 1), count)],
        }[kind]
        chosen = np.concatenate([rng.choice(rows, n, replace=False) for rows, n in among])
        labels[chosen] = 1 - labels[chosen]
        return batch.with_columns(pl.Series(label, labels))

    return change


def triggered(label: str, share: float, jitter: float) -> Change:
    """Plant a trigger of three amounts in a share of the rows, all of one class afterwards."""

    def change(batch: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        amounts = [c for c in batch.columns if batch[c].dtype.is_numeric() and batch[c].n_unique() > 64]
        chosen = rng.choice(len(batch), round(share * len(batch)), replace=False)
        columns = {label: batch[label].to_numpy().copy()}
        columns[label][chosen] = rng.integers(2)
        for name in rng.choice(amounts, 3, replace=False):
            values = batch[name].to_numpy().astype(np.float64)
            center, spread = np.quantile(values, rng.uniform(0.2, 0.8)), jitter * values.std()
            values[chosen] = np.round(center + spread * rng.uniform(-1, 1, len(chosen)))
            columns[str(name)] = values
        return batch.with_columns(pl.Series(name, values) for name, values in columns.items())

    return change


def measure(seeds: Sequence[int]) -> list[Row]:
    """Every figure of the family, over these seeds."""
    label = "default-payment-next-month"
    attacks = [
        ("directional flips 0→1, 5 %", flipped(label, "0→1", 0.05), 0.90),
        ("directional flips 1→0, 5 %", flipped(label, "1→0", 0.05), 0.90),
        ("random flips, 5 %", flipped(label, "random", 0.05), 0.65),
        ("as many flips there as back, 10 %", flipped(label, "swap", 0.10), None),
        ("fixed trigger, 1 %", triggered(label, 0.01, 0), 0.95),
        ("jittered trigger, 3 %", triggered(label, 0.03, 0.02), 0.90),
        ("jittered trigger, 1 %", triggered(label, 0.01, 0.02), 0.40),
    ]
    streams = [Stream(credit(), label, seed) for seed in seeds]
    rows = [_clean(streams, "credit")]
    rows += [_attacked(streams, "credit", *attack) for attack in attacks]
    rows += _severe(streams, label)
    return rows + _low_noise(seeds) + _verdicts(seeds) + _profiles(seeds, label)


def _verdicts(seeds: Sequence[int]) -> list[Row]:
    from benchmarks.scorecards.label_verdicts import verdicts

    rows: list[Row] = []
    for data, table, label in (
        ("credit", credit(), "default-payment-next-month"),
        ("loans", _loans(), "repaid"),
    ):
        streams = [Stream(with_partners(table, seed), label, seed) for seed in seeds]
        for stream in streams:
            stream.judged([stream.batch()])
        rows += verdicts(data, streams)
    return rows


def _low_noise(seeds: Sequence[int]) -> list[Row]:
    """Small shares of flips where labels depend on the rows closely, also in small batches and in partners' rows."""
    rows: list[Row] = []
    for data, table, label in (("census", _census(), "employed"), ("loans", _loans(), "repaid")):
        streams = [Stream(with_partners(table, seed), label, seed) for seed in seeds]
        rows.append(_clean(streams, data))
        for size, share, bar in ((1000, 0.02, 0.7), (300, 0.02, 0.5), (300, 0.05, 0.95)):
            for kind in ("0→1", "1→0", "random"):
                case = f"{kind} flips, {share:.0%}, {size:,} rows"
                rows.append(_attacked(streams, data, case, flipped(label, kind, share), bar, size))
        for share, bar in ((0.05, 0.5), (0.2, 0.95)):
            for partner in range(3):
                change = of_partner(label, f"p{partner}", share)
                rows.append(_attacked(streams, data, f"{share:.0%} of partner {partner}'s rows", change, bar))
    return rows


def _census() -> pl.DataFrame:
    path = SHARED / "acs_employment_nannyml" / "employment_MA_reference.pq"
    return pl.read_parquet(path).drop("id", "year", "prediction", "predicted_probability")


def _loans() -> pl.DataFrame:
    path = SHARED / "synth_car_loan_nannyml" / "synthetic_car_loan_reference.csv.gz"
    table = pl.read_csv(gzip.decompress(path.read_bytes()))
    others = [name for name in table.columns if name in ("id", "timestamp", "y_pred", "y_pred_proba")]
    return table.drop(others).with_columns(pl.col("repaid").cast(pl.Int64))


def with_partners(table: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The table with a column `partner`: p0 to p4, with 30, 25, 20, 15 and 10 % of the rows."""
    names = np.random.default_rng(seed).choice(5, len(table), p=(0.3, 0.25, 0.2, 0.15, 0.1))
    return table.with_columns(partner=pl.Series([f"p{name}" for name in names]))


def of_partner(label: str, partner: str, share: float) -> Change:
    """Flip a share of the labels of one partner's rows."""

    def change(batch: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        labels, rows = (
            batch[label].to_numpy().copy(),
            np.flatnonzero((batch["partner"] == partner).to_numpy()),
        )
        chosen = rng.choice(rows, round(share * len(rows)), replace=False)
        labels[chosen] = 1 - labels[chosen]
        return batch.with_columns(pl.Series(label, labels))

    return change


def _clean(streams: list[Stream], data: str) -> Row:
    results = [stream.judged([stream.batch() for _ in range(CLEAN)]) for stream in streams]
    scores = [score for result in results for score in of_windows(result.scores)]
    return shared(("label_poisoning", data, "clean batches"), "FPR", scores, 0.02, quiet=True)


def _attacked(
    streams: list[Stream], data: str, case: str, change: Change, bar: float | None, size: int = ROWS
) -> Row:
    results = [s.judged([change(s.batch(size), s.rng) for _ in range(BATCHES)]) for s in streams]
    scores = [score for result in results for score in of_windows(result.scores)]
    return shared(("label_poisoning", data, case), "TPR", scores, bar)


def _severe(streams: list[Stream], label: str) -> list[Row]:
    """A strong attack is at least `high`; and of the rows that a finding names, how many were flipped."""
    rows: list[Row] = []
    for kind in ("0→1", "1→0"):
        change, high, named = flipped(label, kind, 0.15), 0, []
        for stream in streams:
            before = [stream.batch() for _ in range(BATCHES // 4)]
            after = [change(batch, stream.rng) for batch in before]
            for finding in stream.judged(after).findings:
                high += finding.severity.rank >= Severity.HIGH.rank
                batch = int(str(finding.evidence["snapshot"]).removeprefix("batch-"))
                changed = (before[batch][label] != after[batch][label]).to_list()
                suspicious: object = finding.evidence["suspicious"]
                assert isinstance(suspicious, list)
                named += [changed[row["row"]] for row in suspicious]
        count, case = BATCHES // 4 * len(streams), f"directional flips {kind}, 15 %"
        rows.append(
            Row("label_poisoning", "credit", case, "share high or critical", high / count, count, 1.0)
        )
        precision = float(np.mean(named)) if named else 0.0
        rows.append(Row("label_poisoning", "credit", case, "named rows flipped", precision, len(named)))
    return rows


def _profiles(seeds: Sequence[int], label: str) -> list[Row]:
    """Quiet snapshots against up to 30 earlier ones, damaged ones against 12; their sizes vary by a tenth."""
    table, last, trials = credit(), PROFILES + 8, 10
    damage: dict[str, Change] = {
        "three times the rows": lambda batch, _: pl.concat([batch, batch, batch]),
        "5 % nulls in an amount": _damaged(0.05, None),
        "an amount in cents in 10 % of the rows": _damaged(0.1, 100),
    }
    alarms, hits = 0, dict.fromkeys(damage, 0)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        sizes = (ROWS * rng.lognormal(0, 0.1, last + trials)).astype(int)
        batches = [table[rng.choice(len(table), size, replace=False)] for size in sizes]
        events = [_profiled(batch, label, day) for day, batch in enumerate(batches[:last])]
        alarms += len(evaluate("dataset_profile", {"dataset": pl.DataFrame(events)}).findings)
        history = {"dataset": pl.DataFrame(events[-12:])}
        for case, change in damage.items():
            for batch in batches[last:]:
                event = pl.DataFrame([_profiled(change(batch, rng), label, last)])
                hits[case] += len(evaluate("dataset_profile", {"dataset": event}, baseline=history).findings)
    quiet = PROFILES * len(seeds)
    rows = [Row("dataset_profile", "credit", "quiet snapshots", "FPR", alarms / quiet, quiet, 0.02, "<=")]
    count = trials * len(seeds)
    return rows + [
        Row("dataset_profile", "credit", case, "TPR", n / count, count) for case, n in hits.items()
    ]


def _damaged(share: float, factor: int | None) -> Change:
    """Multiply a column with many values, drawn anew, in a share of the rows; None makes it null there."""

    def change(batch: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        name = str(rng.choice([c for c in batch.columns if batch[c].n_unique() > 64]))
        hit = pl.Series(rng.random(len(batch)) < share)
        value = None if factor is None else pl.col(name) * factor
        return batch.with_columns(pl.when(hit).then(value).otherwise(pl.col(name)).alias(name))

    return change


def _profiled(batch: pl.DataFrame, label: str, day: int) -> dict[str, object]:
    """The event that the dataset collector makes of a snapshot."""
    rows = batch.lazy()
    facts = content(rows)
    return {
        "@timestamp": START + timedelta(days=day),
        "user.id": "feed",
        "tocsin.dataset.name": "applications",
        "tocsin.dataset.digest": facts.digest,
        "tocsin.dataset.rows": facts.rows,
        "tocsin.dataset.schema": json.dumps(facts.columns),
        "tocsin.dataset.profile": json.dumps(profile(rows, label)),
        "tocsin.dataset.label": label,
        "tocsin.dataset.labels": json.dumps(label_counts(rows, label)),
    }
