"""Pages of early findings: detection and alerting over one store, on a scripted clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.alerting.conftest import DAY, Scene
from tests.alerting.conftest import START as FIRST
from tocsin.contract.early import Early
from tocsin.contract.findings import Score, Subject
from tocsin.contract.frames import conform
from tocsin.contract.plugin import Detector, NoParams, Requires
from tocsin.contract.streams import ID, TIME
from tocsin.contract.windows import Window
from tocsin.pipeline.detecting.detect import Detect
from tocsin.pipeline.detecting.settings import Setting

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
START = FIRST + 30 * DAY  # where the clock of a scene begins


class Newest(Detector[NoParams]):
    """The score is the size of the newest access, so that it may rise and fall at will."""

    id = "newest"
    requires = Requires("access", window="1h")
    threshold = 1.0
    playbook = "registry-intrusion"
    early = Early(by="user.id")

    def score(self, window: Window) -> Iterator[Score]:
        size = window.rows("access", ["http.response.bytes"])["http.response.bytes"][-1]
        yield Score(Subject("principal", "ana"), size / 100, f"{size} bytes")


class Attack:
    """An hour of accesses, one a minute. Detection and alerting run after each."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.setting = scene, Setting(Newest(NoParams()))
        self.detect = Detect(scene.store, scene.clock)
        self.minute = 0

    def access(self, size: int) -> None:
        at = START + self.minute * MINUTE
        rows = {TIME: [at], ID: [str(self.minute)], "user.id": ["ana"], "http.response.bytes": [size]}
        self.scene.store.append("access", conform(pl.DataFrame(rows), "access"))
        self.minute += 1
        self.scene.clock.set(at + MINUTE)
        self.work()

    def end(self) -> None:
        """The window ends, and time passes until nothing is left to send."""
        for minutes in range(0, 60, 5):
            self.scene.clock.set(START + HOUR + minutes * MINUTE)
            self.work()

    def work(self) -> None:
        self.detect.run([self.setting])
        self.scene.tick()

    @property
    def pages(self) -> list[list[tuple[str, str]]]:
        """The alerts of each notification to the person on call: state and severity."""
        return [[(a.state.value, a.severity.value) for a in n.alerts] for n in self.scene.oncall.sent]


@pytest.fixture
def attack(tmp_path: Path) -> Iterator[Attack]:
    scene = Scene(tmp_path)
    yield Attack(scene)
    scene.store.close()


def test_a_score_that_crosses_back_and_forth_pages_once_and_is_withdrawn_once(attack: Attack) -> None:
    for turn in range(40):
        attack.access(250 if turn % 2 == 0 else 10)
    assert attack.pages == [[("firing", "high")]]
    attack.end()
    assert attack.pages == [[("firing", "high")], [("resolved", "high")]]
    assert attack.scene.actions.count("firing") == attack.scene.actions.count("resolved") == 1
    reasons = attack.scene.history("event.action", "event.reason")
    assert ("resolved", "withdrawn by the full window") in reasons


def test_a_page_comes_again_only_when_the_severity_rises(attack: Attack) -> None:
    for size in (210, 100, 220, 290, 10, 280, 310, 20, 400, 210):
        attack.access(size)
    assert attack.pages == [[("firing", "high")], [("firing", "critical")]]
    attack.access(210)  # the newest of the full window: the finding stays, with a lower severity
    attack.end()
    assert attack.pages == [[("firing", "high")], [("firing", "critical")]]
    [alert] = attack.scene.alerts
    assert alert.firing
    assert not alert.early


def test_an_early_finding_that_the_full_window_confirms_is_not_paged_again(attack: Attack) -> None:
    for _ in range(5):
        attack.access(250)
    attack.end()
    assert attack.pages == [[("firing", "high")]]
