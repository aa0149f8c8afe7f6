"""False alarms of early evaluation in quiet windows: `python -m benchmarks.early_null [--parts N] [DETECTOR …]`.

A window of one subject (a principal's day, a model's day, a dataset's day) is judged at each trigger and finally. The
parts of each detector are measured in two processes. A part that `--folder` contains is not measured again.

    model_extraction, evasion   11 principals of `tests.generators.queries`, 400 calls a day; a round has 20 calls
    query_budget       13 principals of `tests.generators.vectors`, 420 calls a day; 30 calls
    feature_drift, prediction_drift  one model of `tests.generators.drift`, 400 calls a day; 20 calls
    registry_access    15 principals of `tests.generators.accesses`, about 60 accesses a day; one row
    dataset_profile    two snapshots of about 400 rows a day, of `tests.generators.data_integrity`; one snapshot
    label_poisoning    two snapshots of 400 rows a day, credit data; one snapshot

In production, a round comes every 30 seconds, or at once for whole things.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tocsin.contract.early import Early
from tocsin.contract.evaluation import fit, judge
from tocsin.contract.plugin import Detector
from tocsin.contract.streams import ID, TIME
from tocsin.contract.windows import Baseline, FrameSource, Window

FALSE_ALARMS, ALL = 0.01, 1.2  # the bar of a detector, and the factor for all detectors together
MARGINS = (1.0, 1.25, 1.35, 1.5)
DAY = timedelta(days=1)
Frames = Mapping[str, pl.LazyFrame]


class Judged(NamedTuple):
    """A subject's window: the highest score of an early evaluation and the score of the final one, in thresholds."""

    subject: str
    early: float
    final: float

    def found_early(self, margin: float) -> bool:
        """Whether an early evaluation gave a finding."""
        return self.early >= margin

    def found(self, margin: float) -> bool:
        """Whether any evaluation gave a finding."""
        return self.final >= 1 or self.found_early(margin)


@dataclass
class Quiet:
    """Quiet telemetry of one stream: the time before `first`, and windows from then on. `batch`: new rows of a round."""

    rows: pl.DataFrame
    first: datetime
    batch: int
    snapshots: Frames = field(default_factory=dict)


def _clients(part: int) -> Quiet:
    from tests.generators import queries

    rows = queries.calls(0, 28 + 46, batch=100, seed=part + 1)
    return Quiet(rows, queries.START + 28 * DAY, 20)


def _calls(part: int) -> Quiet:
    from tests.generators import vectors

    return Quiet(vectors.customers(0, 54, seed=part + 1), vectors.START + 28 * DAY, 30)


def _drift(part: int) -> Quiet:
    from tests.generators import drift

    seed = 100_000 * (part + 1)
    before = drift.calls(5_000, seed, days=28)
    days = [drift.calls(400, seed + day, day=day) for day in range(28, 28 + 250)]
    return Quiet(pl.concat([before, *days]), drift.START + 28 * DAY, 20)


def _access(part: int) -> Quiet:
    from tests.generators import accesses

    return Quiet(accesses.quiet(7000 + part, days=78), accesses.START + 56 * DAY, 1)


def _profiles(part: int) -> Quiet:
    import numpy as np

    from tests.generators import data_integrity

    rng, events = np.random.default_rng(9000 + part), []
    for number in range(20 + 2 * 100):
        frame = data_integrity.applications(int(400 * rng.lognormal(0, 0.05)), 10_000 * (part + 1) + number)
        event = data_integrity.event(frame, 0)
        events.append({**event, TIME: data_integrity.START + number * DAY / 2})
    return Quiet(pl.DataFrame(events), data_integrity.START + 10 * DAY, 1)


def _labels(part: int) -> Quiet:
    from benchmarks.card import credit
    from benchmarks.scorecards import poisoning

    label = "default-payment-next-month"
    stream = poisoning.Stream(credit(), label, part)
    size, trusted = poisoning.ROWS, poisoning.TRUSTED
    frames = [stream.trusted[i * size : (i + 1) * size] for i in range(trusted)]
    frames += [stream.batch()[:400] for _ in range(2 * 200)]
    times = [*(i * DAY for i in range(trusted)), *(trusted * DAY + i * DAY / 2 for i in range(2 * 200))]
    rows = {
        TIME: [datetime(2026, 1, 1, tzinfo=UTC) + time for time in times],
        "user.id": "feed",
        "tocsin.dataset.name": "applications",
        "tocsin.dataset.digest": [f"{i}" for i in range(len(frames))],
        "tocsin.dataset.label": label,
    }
    snapshots = {f"{i}": frame.lazy() for i, frame in enumerate(frames)}
    return Quiet(pl.DataFrame(rows), datetime(2026, 1, 1, tzinfo=UTC) + trusted * DAY, 1, snapshots)


#: The quiet telemetry of each detector, and the number of parts that have at least 1,000 windows of a subject.
QUIET: dict[str, tuple[Callable[[int], Quiet], int]] = {
    "registry_access": (_access, 5),
    "model_extraction": (_clients, 2),
    "evasion": (_clients, 2),
    "prediction_drift": (_drift, 4),
    "feature_drift": (_drift, 4),
    "query_budget": (_calls, 3),
    "dataset_profile": (_profiles, 10),
    "label_poisoning": (_labels, 5),
}


class Part(NamedTuple):
    """A detector with its baseline, and the days of quiet telemetry after it: the start and the rows of each."""

    detector: Detector[Any]
    baseline: Baseline | None
    quiet: Quiet
    past: FrameSource
    days: list[tuple[datetime, pl.DataFrame]]


def prepared(detector: str, part: int) -> Part:
    """One instance of the detector, fitted on the quiet telemetry of a part."""
    from tocsin.config import discovery, params

    plugin = discovery.discover().get(Detector, detector)  # type: ignore[type-abstract]
    instance: Detector[Any] = plugin(params.build(plugin.params_type(), {}))
    quiet = QUIET[detector][0](part)
    stream = instance.requires.streams[0]
    rows = quiet.rows.with_columns(pl.int_range(pl.len()).cast(pl.String).alias(ID)).sort(TIME, ID)
    past = FrameSource.of({stream: rows}, quiet.snapshots)
    baseline = None
    if instance.requires.baseline is not None:
        baseline = fit(instance, Window(rows[TIME][0], quiet.first, past), FALSE_ALARMS)
    later = rows.filter(pl.col(TIME) >= quiet.first)
    days = later.group_by(pl.col(TIME).dt.truncate("1d"), maintain_order=True)
    return Part(instance, baseline, quiet, past, [(start, day) for (start,), day in days])


def measure(detector: str, part: int) -> list[Judged]:
    """Judge the windows of a part as production does: with one instance of the detector, and the baseline before."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        this = prepared(detector, part)
        return [
            judged
            for start, day in this.days
            for judged in _window(this.detector, this.baseline, this.quiet, this.past, start, day)
        ]


def _window(
    detector: Detector[Any],
    baseline: Baseline | None,
    quiet: Quiet,
    past: FrameSource,
    start: datetime,
    rows: pl.DataFrame,
) -> Iterator[Judged]:
    """All evaluations of one window: the subjects that the final one judges, or an early one found."""
    assert detector.early is not None
    stream = detector.requires.streams[0]

    def judged(part: pl.DataFrame, changed: frozenset[str | None] | None) -> dict[str, float]:
        source = FrameSource.of({stream: part}, quiet.snapshots)
        window = Window(start, start + DAY, source, baseline, past, changed)
        scores = [j for j in judge(detector, window) if not j.score.aspect]
        return {j.score.subject.id: j.score.value / j.threshold for j in scores}

    highest: dict[str, float] = {}
    for end, changed in rounds(rows, detector.early, quiet.batch):
        for subject, ratio in judged(rows[:end], changed).items():
            highest[subject] = max(ratio, highest.get(subject, 0.0))
    final = judged(rows, None)
    for subject in sorted(final.keys() | highest.keys()):
        yield Judged(subject, highest.get(subject, 0.0), final.get(subject, 0.0))


def rounds(rows: pl.DataFrame, early: Early, batch: int) -> Iterator[tuple[int, frozenset[str | None]]]:
    """The number of rows that each round has, and the values with a trigger; only rounds with a trigger."""
    counts: dict[str | None, int] = {}
    values = rows[early.by].to_list()
    for start in range(0, len(rows), batch):
        end, new = min(start + batch, len(rows)), dict[str | None, int]()
        for value in values[start:end]:
            new[value] = new.get(value, 0) + 1
        due = {v for v, n in new.items() if early.triggered(counts.get(v, 0), counts.get(v, 0) + n)}
        counts |= {value: counts.get(value, 0) + n for value, n in new.items()}
        if due:
            yield end, frozenset(due)


def _saved(detector: str, part: int, folder: Path) -> list[Judged]:
    path = folder / f"{detector}-{part}.json"
    if not path.exists():
        began = time.perf_counter()
        found = measure(detector, part)
        path.with_suffix(".part").write_text(json.dumps(found))
        path.with_suffix(".part").replace(path)
        print(f"{path.name}: {len(found)} in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return [Judged(*row) for row in json.loads(path.read_text())]


class Share(NamedTuple):
    """A share of windows with its 95 % confidence interval (Clopper and Pearson 1934), and the lower bound alone."""

    found: int
    windows: int

    def bounds(self) -> tuple[float, float, float]:
        """The interval, and the one-sided lower bound."""
        from scipy.stats import beta

        k, n = self.found, self.windows
        low, bound = (float(beta.ppf(a, k, n - k + 1)) if k else 0.0 for a in (0.025, 0.05))
        return low, float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0, bound

    def __str__(self) -> str:
        low, high, _ = self.bounds()
        return f"{self.found:4} {self.found / self.windows:.4f} [{low:.4f}, {high:.4f}]"


def table(found: Mapping[str, Sequence[Judged]], margins: Sequence[float]) -> tuple[list[str], bool]:
    """The lines of the table, and whether the bars hold at each detector's own margin."""
    heads = ("final alone", "all evaluations")
    lines = [f"{'detector':17} windows  margin  {heads[0]:28}  {heads[1]:28}  early withdrawn  bar"]
    own = {name: margin(name) for name in found}
    holds = True
    for name, judged in found.items():
        for multiple in sorted({*margins, own[name]}):
            line, held = _line(name, [(j, multiple) for j in judged], f"{multiple:g}", FALSE_ALARMS)
            lines.append(line + "  (its own margin)" * (multiple == own[name]))
            holds &= held or multiple != own[name]
    everything = [(j, own[name]) for name, judged in found.items() for j in judged]
    lines += [
        _line("all", [(j, multiple) for j, _ in everything], f"{multiple:g}", ALL * FALSE_ALARMS)[0]
        for multiple in margins
    ]
    line, held = _line("all", everything, "own", ALL * FALSE_ALARMS)
    return [*lines, line], holds and held


def margin(detector: str) -> float:
    """How much higher than the threshold the score of an early finding of a detector must be."""
    from tocsin.config import discovery

    early = discovery.discover().get(Detector, detector).early  # type: ignore[type-abstract]
    assert early is not None
    return early.margin


def _line(name: str, judged: Sequence[tuple[Judged, float]], margin: str, bar: float) -> tuple[str, bool]:
    final = Share(sum(j.final >= 1 for j, _ in judged), len(judged))
    share = Share(sum(j.found(m) for j, m in judged), len(judged))
    early = [j for j, m in judged if j.found_early(m)]
    withdrawn = sum(j.final < 1 for j in early)
    held = share.bounds()[2] <= bar
    word = "held" if held else "MISSED"
    line = f"{name:17} {len(judged):7}  {margin:<6}  {final}  {share}  {len(early):5} {withdrawn:9}  {word}"
    return line, held


def main(arguments: Sequence[str]) -> int:
    """Measure what is missing and print the table. Returns 1 if a bar is missed at a detector's own margin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/early_null"), help="of the measured parts")
    parser.add_argument("--margin", type=float, nargs="+", default=MARGINS, help="of all detectors")
    parser.add_argument("--parts", type=int, help="parts of each detector; fewer than 1,000 windows if fewer")
    parser.add_argument("detectors", nargs="*", metavar="DETECTOR", help="all if left out")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    names = given.detectors or list(QUIET)
    asked = [(n, part, given.folder) for n in names for part in range(given.parts or QUIET[n][1])]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        answers = pool.starmap(_saved, asked, chunksize=1)
    found: dict[str, list[Judged]] = {name: [] for name in names}
    for (name, *_), judged in zip(asked, answers, strict=True):
        found[name] += judged
    lines, holds = table(found, given.margin)
    print("\n".join(lines))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
