"""What `model_extraction` costs over many requests: CPU seconds, peak memory, and the exponent between two sizes.

Run `python -m benchmarks.extraction_speed --requests 5000000`. The requests are on disk as Parquet, as the embedded store
has them, and belong to 5,000 principals of a model with 16 features; one in a hundred principals draws each feature by
itself. Honest principals send made-up rows of correlated features, a fifth of them edits of an earlier row. With `--zipf`,
the numbers of requests of the principals follow Zipf's law. Each size is measured in a process of its own, which fits no
baseline and makes no events, so that its peak memory is that of the detector and of reading.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from tocsin.contract.evaluation import fit, judge
from tocsin.contract.query import Measure, Where
from tocsin.contract.streams import STREAMS
from tocsin.contract.windows import Baseline, FrameSource, Window, aggregate, matches
from tocsin.errors import SnapshotError
from tocsin_detectors.model_extraction import ModelExtraction, Params

START, DAY = datetime(2026, 3, 30, tzinfo=UTC), timedelta(days=1)
FEATURES, CHUNK, ATTACKERS = 16, 500_000, 100
SMALLER = 8


@dataclass(frozen=True)
class Files:
    """A source over Parquet files that are read as the embedded store reads its own."""

    paths: Sequence[Path]

    def scan(
        self,
        stream: str,
        start: datetime,
        end: datetime,
        columns: Sequence[str] | None = None,
        where: Where = (),
    ) -> pl.LazyFrame:
        """Rows of the files."""
        time_ = pl.col("@timestamp")
        rows = pl.scan_parquet([*self.paths]).filter(time_ >= start, time_ < end, *map(matches, where))
        return rows.select(list(columns or (c.name for c in STREAMS[stream].columns)))

    def summarize(
        self,
        stream: str,
        start: datetime,
        end: datetime,
        by: Sequence[str],
        measures: Sequence[Measure],
        where: Where = (),
    ) -> pl.DataFrame:
        """Measures of groups of rows."""
        names = [*by, *(m.column for m in measures if m.column)]
        return aggregate(self.scan(stream, start, end, [*dict.fromkeys(names)], where), by, measures)

    def snapshot(self, digest: str) -> pl.LazyFrame:
        """There are none."""
        raise SnapshotError(f"this benchmark has no dataset snapshots, so not {digest}")


def applicants(rng: np.random.Generator, count: int) -> np.ndarray:
    """Rows of 16 features of four kinds: amounts, whole numbers, measurements and codes. One hidden factor ties them."""
    hidden = rng.normal(size=(count, 1))
    rows = 0.8 * hidden + 0.6 * rng.normal(size=(count, FEATURES))
    rows[:, 0::4] = np.exp(8 + rows[:, 0::4]).round(-1)
    rows[:, 1::4] = np.clip(5 + 3 * rows[:, 1::4], 0, 9).round()
    rows[:, 2::4] = rows[:, 2::4].round(2)
    rows[:, 3::4] = (rows[:, 3::4] > 0) + (rows[:, 3::4] > 1)
    return rows


def requests(
    rng: np.random.Generator, who: np.ndarray, first: int, start: datetime, span: timedelta, thieves: int = 0
) -> pl.DataFrame:
    """Requests of principals `who` in the order of time; the principals below `thieves` draw each feature by itself."""
    count = len(who)
    rows = applicants(rng, count)
    order = np.argsort(who, kind="stable")
    edited = order[1:][(who[order[1:]] == who[order[:-1]]) & (rng.uniform(size=count - 1) < 0.2)]
    before = order[np.argsort(order)[edited] - 1]
    column = rng.integers(FEATURES, size=len(edited))
    value = rows[edited, column]
    rows[edited] = rows[before]
    rows[edited, column] = value
    drawn = np.flatnonzero(who < thieves)
    rows[drawn] = applicants(rng, len(drawn) * FEATURES).reshape(len(drawn), FEATURES, FEATURES)[
        :, np.arange(FEATURES), np.arange(FEATURES)
    ]
    score = 1 / (1 + np.exp(-rows[:, 2]))
    times = (np.arange(count) * (span / timedelta(microseconds=1)) / count).astype(np.int64)
    number = pl.int_range(first, first + count, eager=True)
    return pl.DataFrame(
        {
            "@timestamp": start + pl.Series(times).cast(pl.Duration("us")),
            "event.ingested": start + pl.Series(times + 2_000_000).cast(pl.Duration("us")),
            "event.id": pl.select(pl.format("request-{}", number)).to_series(),
            "user.id": pl.select(pl.format("p{}", pl.Series(who))).to_series(),
            "tocsin.features.values": pl.Series(rows).arr.to_list(),
            "tocsin.output.confidence": np.maximum(score, 1 - score),
            "tocsin.output.score": score,
            "tocsin.output.label": np.where(score > 0.5, "1", "0"),
        }
    ).with_columns(
        pl.lit("credit").alias("tocsin.model.name"),
        pl.lit(",".join(f"f{i}" for i in range(FEATURES))).alias("tocsin.features.names"),
    )


def write(folder: Path, count: int, principals: int, *, zipf: bool) -> list[Path]:
    """A day of requests, in files of at most 500,000."""
    rng = np.random.default_rng(count)
    weight = 1 / np.arange(1, principals + 1) if zipf else np.ones(principals)
    share, paths = rng.permutation(weight / weight.sum()), []
    for first in range(0, count, CHUNK):
        size = min(CHUNK, count - first)
        who = rng.choice(principals, size, p=share)
        start, span = START + DAY * (first / count), DAY * (size / count)
        paths.append(folder / f"{count}-{first}.parquet")
        requests(rng, who, first, start, span, principals // ATTACKERS).write_parquet(paths[-1])
    return paths


def learned(folder: Path) -> Path:
    """The baseline of four weeks of 40 honest principals, as JSON and Parquet."""
    rng, start = np.random.default_rng(0), START - 28 * DAY
    month = requests(rng, rng.integers(40, size=20_000) + 10**6, 0, start, 28 * DAY)
    baseline = fit(
        ModelExtraction(Params()), Window(start, START, FrameSource.of({"inference": month})), 0.01
    )
    for name, frame in baseline.frames.items():
        frame.write_parquet(folder / f"baseline-{name}.parquet")
    (folder / "threshold.json").write_text(json.dumps([baseline.threshold, [*baseline.frames]]))
    return folder


def measure(folder: Path, paths: Sequence[Path]) -> dict[str, float]:
    """CPU seconds and peak MiB of one window, and the numbers of principals with a score and with a finding."""
    threshold, names = json.loads((folder / "threshold.json").read_text())
    frames = {name: pl.read_parquet(folder / f"baseline-{name}.parquet") for name in names}
    before = _peak()
    window = Window(START, START + DAY, Files(paths), Baseline(frames, threshold=threshold))
    began = time.process_time()
    judged = list(judge(ModelExtraction(Params()), window))
    return {
        "cpu": time.process_time() - began,
        "peak": _peak(),
        "before": before,
        "scores": len(judged),
        "findings": sum(one.finding is not None for one in judged),
    }


def _peak() -> float:
    """Peak memory of this process in MiB. `ru_maxrss` would be that of the process that started it, if larger."""
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1]) / 1024


def main() -> None:
    """Print the cost of a window of an eighth of the requests and of one of all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=500_000)
    parser.add_argument("--principals", type=int, default=5000)
    parser.add_argument("--zipf", action="store_true", help="numbers of requests follow Zipf's law")
    parser.add_argument("--here", nargs="+", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(measure(given.here[0], given.here[1:])))
        return
    cost = []
    with tempfile.TemporaryDirectory() as name:
        folder = learned(Path(name))
        for count in (given.requests // SMALLER, given.requests):
            principals = max(given.principals * count // given.requests, 1)
            paths = write(folder, count, principals, zipf=given.zipf)
            command = [
                sys.executable,
                "-m",
                "benchmarks.extraction_speed",
                "--here",
                str(folder),
                *map(str, paths),
            ]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            cost.append(found["cpu"])
            print(
                f"{count:>10,} requests of {principals:,} principals: {found['cpu']:6.1f} CPU-s, "
                f"peak {found['peak']:,.0f} MiB ({found['before']:,.0f} before), "
                f"{found['scores']:,.0f} scores, {found['findings']:,.0f} findings",
                flush=True,
            )
    exponent = math.log(cost[1] / cost[0]) / math.log(SMALLER)
    print(f"ratio {cost[1] / cost[0]:.2f} for {SMALLER} times the requests: exponent {exponent:.2f}")


if __name__ == "__main__":
    main()
