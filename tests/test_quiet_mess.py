"""Four quiet days with each kind of ordinary mess once: no aspect is above `low`. The month: benchmarks/quiet_month.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.quiet_month import Before, QuietMonth, loud
from tests.generators.mess import MESS
from tocsin.contract.findings import Outcome

_DAYS = 4  # of three, one would have a longer vector without names, which model_extraction cannot align


@pytest.fixture(name="month", scope="module")
def _month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuietMonth]:
    folder = tmp_path_factory.mktemp("quiet")
    month = QuietMonth(folder, Before(days=28, calls=14, rows=150), pin=True)
    kinds = list(dict.fromkeys(mess.change for mess in MESS))
    for number in range(_DAYS):
        month.day(number, kinds[number::_DAYS])
    yield month
    month.app.close()


def test_no_aspect_is_above_low(month: QuietMonth) -> None:
    bad = loud(month.findings())
    assert not len(bad), bad.select("tocsin.detector.id", "tocsin.severity", "event.reason").rows()


def test_every_detector_evaluates_every_day(month: QuietMonth) -> None:
    done = {(run.detector, run.start) for run in month.runs if run.done and run.start >= month.begin}
    failed = [run.reason for run in month.runs if run.outcome is Outcome.FAILED]
    assert not failed
    detectors = {setting.detector.id for setting in month.app.settings} - {
        "performance"
    }  # there are no labels
    assert len(done) == _DAYS * len(detectors)
