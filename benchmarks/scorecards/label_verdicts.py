"""Verdicts of label_poisoning on scripted causes, see `benchmarks.scorecards.poisoning`.

Half of the pipeline changes lose no column, but the pipeline of the dataset ran with new code an hour before. So it did
before half of the attacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.card import Row
from benchmarks.scorecards import poisoning
from tocsin.contract.evaluation import judge
from tocsin.contract.verdict import Verdict
from tocsin.contract.windows import FrameSource, Window
from tocsin.stats.encoding import Encoder, plain
from tocsin.stats.label_model import fitted, probabilities
from tocsin_detectors.label_poisoning import LabelPoisoning, Params

DAYS, SERIES = 16, 8  # snapshots of a series, and series of each cause for each seed
Relation = Callable[[pl.DataFrame], NDArray[np.int64]]
_CALM = (Verdict.CALENDAR, Verdict.PIPELINE_CHANGE)


class Causes:
    """Series of snapshots with a known cause, of the rows of a stream."""

    def __init__(self, stream: poisoning.Stream) -> None:
        self.stream, self.rng = stream, stream.rng
        self.deployed: int | None = None  # day of the last deployment of the last series
        features = plain(stream.trusted.drop(stream.label))
        self._encoder = Encoder.of(features)
        labels = stream.trusted[stream.label].to_numpy().astype(np.intp)
        self._model = fitted(self._encoder.encode(features), labels)

    def series(self, cause: Verdict) -> list[pl.DataFrame]:
        """Daily snapshots; the last one is judged."""
        relation, attack, first = self._relation(), self._attack(), int(self.rng.integers(1, 5))
        found, self.deployed = [], None
        if cause in (Verdict.ATTACK, Verdict.PIPELINE_CHANGE) and self.rng.random() < 0.5:
            self.deployed = DAYS - first if cause is Verdict.ATTACK else DAYS - 1
        for left in range(DAYS - 1, -1, -1):
            batch = self.stream.batch()
            if cause is Verdict.ATTACK and left < first:
                batch = attack(batch, self.rng)
            elif cause is Verdict.DRIFT:
                batch = self._moved(batch, relation, (DAYS - left) / DAYS * 0.8)
            elif cause is Verdict.CALENDAR and left % 7 == 0:
                batch = self._moved(batch, relation, 0.8)
            elif cause is Verdict.PIPELINE_CHANGE and left == 0:
                batch = self._moved(batch, relation, 0.8)
                if self.deployed is None:
                    batch = batch.drop(self.rng.choice(list(self._encoder.texts)))
            found.append(batch)
        return found

    def _attack(self) -> poisoning.Change:
        label = self.stream.label
        kinds = [poisoning.flipped(label, kind, 0.08) for kind in ("0→1", "1→0", "random")]
        kinds += [poisoning.of_partner(label, "p1", 0.3), poisoning.triggered(label, 0.02, 0)]
        return kinds[self.rng.integers(len(kinds))]

    def _relation(self) -> Relation:
        place = int(self.rng.integers(len(self._encoder.texts)))
        scale, with_feature, shift = (
            float(self.rng.choice(c)) for c in ((0.3, 0.6), (-1.5, 1.5), (-0.8, 0.8))
        )

        def relation(batch: pl.DataFrame) -> NDArray[np.int64]:
            rows = self._encoder.encode(plain(batch.drop(self.stream.label)))
            p = probabilities(self._model, rows, 2)[:, 1].clip(0.002, 0.998)
            feature = np.nan_to_num(rows[:, place])
            feature = (feature - feature.mean()) / (feature.std() + 1e-9)
            logit = scale * np.log(p / (1 - p)) + with_feature * feature + shift
            return (self.rng.random(len(p)) < 1 / (1 + np.exp(-logit))).astype(np.int64)

        return relation

    def _moved(self, batch: pl.DataFrame, relation: Relation, share: float) -> pl.DataFrame:
        labels, moved = batch[self.stream.label].to_numpy().copy(), self.rng.random(len(batch)) < share
        labels[moved] = relation(batch)[moved]
        return batch.with_columns(pl.Series(self.stream.label, labels))


def verdicts(data: str, streams: list[poisoning.Stream]) -> list[Row]:
    """For each cause, the share of its findings with that verdict; their mean; and attacks that are called harmless."""
    counts: Counter[tuple[Verdict, str]] = Counter()
    causes = [cause for cause in Verdict if cause is not Verdict.UNEXPLAINED]
    for stream in streams:
        made, detector = Causes(stream), LabelPoisoning(Params())
        for cause in causes:
            for _ in range(SERIES):
                series = made.series(cause)
                verdict = _verdict(detector, stream, series, made.deployed)
                counts[cause, verdict] += verdict != ""
    rows = []
    for cause in causes:
        found = sum(n for (of, _), n in counts.items() if of is cause)
        right = counts[cause, cause.value] / max(found, 1)
        rows.append(Row("label_poisoning", data, f"verdict on {cause.value}", "recall", right, found))
    mean, total = float(np.mean([row.value for row in rows])), sum(row.trials for row in rows)
    calm = sum(counts[Verdict.ATTACK, verdict.value] for verdict in _CALM) / max(rows[0].trials, 1)
    rows.append(Row("label_poisoning", data, "verdicts, balanced accuracy", "mean recall", mean, total, 0.8))
    case = "attacks called calendar or pipeline change"
    return [*rows, Row("label_poisoning", data, case, "share", calm, rows[0].trials, 0.02, "<=")]


def _pipeline(days: list[int]) -> pl.DataFrame:
    """Daily runs of the dataset's pipeline, with new code on some days."""
    runs = [
        {
            "@timestamp": poisoning.START + timedelta(days=100 + day, hours=-1),
            "event.outcome": "success",
            "user.id": "svc-etl",
            "tocsin.pipeline.name": "applications",
            "tocsin.pipeline.step": "build",
            "tocsin.pipeline.code_digest": f"code-{sum(change <= day for change in days)}",
        }
        for day in range(-50, DAYS)
    ]
    return pl.DataFrame(runs)


def _verdict(
    detector: LabelPoisoning, stream: poisoning.Stream, series: list[pl.DataFrame], deployed: int | None
) -> str:
    names = [f"series-{day}" for day in range(len(series))]
    events = pl.DataFrame([stream.event(name, 100 + day) for day, name in enumerate(names)])
    rows = dict(zip(names, (frame.lazy() for frame in series), strict=True))
    start = poisoning.START + timedelta(days=100 + len(series) - 1)
    changes = [-20, -35] if deployed is None else [-20, -35, deployed]
    source = FrameSource.of({"dataset": events, "pipeline": _pipeline(changes)}, rows)
    window = Window(start, start + timedelta(days=1), source, stream.baseline)
    [found, *_] = judge(detector, window)
    return str(found.score.evidence["verdict"]) if found.finding else ""
