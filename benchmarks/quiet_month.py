"""Thirty quiet days with ordinary mess: `python -m benchmarks.quiet_month [--seed N] [--pin]`.

Files in a temporary folder go through the collectors, ingestion and all detectors, with a scripted clock and the embedded
store. Eight quiet weeks come before, from which the detectors fit their baselines. The mess: `tests/generators/mess.py`.
The bar: no finding with an aspect ("not judged", "changed") is above `low`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl

from tests.generators.mess import MESS, Mess
from tests.generators.quiet_days import CONFIG, DAY, START, Day
from tocsin.clock import ScriptedClock
from tocsin.config.load import load
from tocsin.contract.findings import Severity
from tocsin.contract.query import Condition
from tocsin.contract.streams import ASPECT
from tocsin.errors import BaselineError
from tocsin.pipeline.detecting.records import Run, newest_findings
from tocsin.worker.app import App

DETECTOR, SEVERITY, REASON = "tocsin.detector.id", "tocsin.severity", "event.reason"
_WINDOW = "tocsin.window.start"


@dataclass(frozen=True)
class Before:
    """The quiet days before the month: of accesses and deliveries, of calls, and the rows of a delivery."""

    days: int = 56
    calls: int = 35
    rows: int = 600


class QuietMonth:
    """Days of telemetry in a folder, and the app that reads them."""

    def __init__(
        self,
        folder: Path,
        before: Before = Before(),
        seed: int = 1,
        pin: bool = False,
    ) -> None:
        """Write the days before the month and fit baselines on them.

        Args:
            folder: an empty folder.
            before: the quiet days before the month.
            seed: of every random number.
            pin: baselines are pinned. Otherwise they roll on, as by default.
        """
        self.folder, self.before, self.seed = folder, before, seed
        self.begin = START + before.days * DAY
        (folder / "tocsin.yaml").write_text(CONFIG)
        self.clock = ScriptedClock(self.begin)
        self.runs: list[Run] = []
        for number in range(before.days):
            Day.of(number, seed, number >= before.days - before.calls, before.rows).write(folder)
        self.app = App(load(folder / "tocsin.yaml"), self.clock)
        self.app.collect()
        for setting in self.app.settings:
            if pin and setting.detector.requires.baseline is not None:
                with contextlib.suppress(BaselineError):  # of a detector whose stream is empty
                    version = self.app.detect.fit(setting, self.begin, START)
                    self.app.detect.baselines.pin(version.detector, version.number)

    def day(self, number: int, mess: Sequence[Callable[[Day], None]]) -> None:
        """Write a day of the month with its mess, collect it and evaluate its windows when they end."""
        day = Day.of(self.before.days + number, self.seed, rows=self.before.rows)
        for change in mess:
            change(day)
        day.write(self.folder)
        self.clock.set(self.begin + (number + 1) * DAY + timedelta(minutes=1))
        self.app.collect()
        self.runs += self.app.evaluate()

    def findings(self) -> pl.DataFrame:
        """The newest revision of each finding in the month, by detector, aspect and time."""
        found = newest_findings(self.app.store, [Condition(_WINDOW, ">=", self.begin)])
        return found.sort(DETECTOR, ASPECT, _WINDOW, nulls_last=True)


def loud(findings: pl.DataFrame) -> pl.DataFrame:
    """The findings with an aspect that are above `low`."""
    quiet = [severity.value for severity in Severity if severity.rank <= Severity.LOW.rank]
    return findings.filter(pl.col(ASPECT).is_not_null(), ~pl.col(SEVERITY).is_in(quiet))


def of_day(number: int, mess: Sequence[Mess] = MESS) -> list[Callable[[Day], None]]:
    """The kinds of mess that a day of the month has."""
    return [m.change for m in mess if m.first <= number < m.first + m.days]


def main(arguments: Sequence[str]) -> int:
    """Run the month. Returns 1 if an aspect is above `low`, or if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pin", action="store_true", help="pin the baselines of the weeks before")
    given = parser.parse_args(arguments)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="tocsin-quiet-") as folder:
        month = QuietMonth(Path(folder), seed=given.seed, pin=given.pin)
        for number in range(given.days):
            month.day(number, of_day(number))
        findings, failed = month.findings(), [run for run in month.runs if run.outcome == "failed"]
        month.app.close()
    _show(findings, failed)
    bad = loud(findings)
    print(f"{given.days} days, {time.perf_counter() - began:.0f} s: {len(bad)} aspects above low; bar: 0")
    return 1 if len(bad) or failed else 0


def _show(findings: pl.DataFrame, failed: Sequence[Run]) -> None:
    for row in findings.iter_rows(named=True):
        print(
            f"{row[_WINDOW]:%Y-%m-%d} {row[DETECTOR]:18} {row[SEVERITY]:8} {row[ASPECT] or '-'}: {row[REASON]}"
        )
    print()
    counts = Counter(findings.select(DETECTOR, pl.col(ASPECT).fill_null("(its score)"), SEVERITY).iter_rows())
    for (detector, aspect, severity), count in sorted(counts.items()):
        print(f"{detector:18} {aspect:32} {severity:8} {count:4}")
    for severity, count in sorted(Counter(findings[SEVERITY]).items()):
        print(f"all: {severity} {count}")
    for run in failed:
        print(f"failed: {run.detector} {run.start:%Y-%m-%d}: {run.reason}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
