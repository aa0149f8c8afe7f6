"""Killed at any write: no notification is lost, and none is sent under two keys."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.alerting.conftest import DATASET, DAY, MODEL, PLAYBOOKS, Scene
from tests.stores import open_store
from tocsin.contract.alerts import Alert
from tocsin_alerting.engine import Alerting

WRITES = ("append", "put", "delete")


class Killed(BaseException):
    """The process was killed; no code catches this."""


class Dying:
    """A real store whose process dies at its nth write, before it or right after it."""

    def __init__(self, store: Any, at: int, *, after: bool) -> None:
        self._store, self._left, self._after = store, at, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in WRITES:
            return found

        def write(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._after:
                raise Killed
            done = found(*args, **kwargs)
            if self._left == 0:
                raise Killed
            return done

        return write


def story(scene: Scene) -> None:
    """Two alerts fire and one is resolved; ticked through to the end."""
    scene.finding(0)
    scene.finding(0, "medium", subject=DATASET)
    for day in range(2):
        if day:
            scene.finding(day)
        scene.evaluated(day)
        scene.flush()
        for _ in range(2):
            scene.tick("6m")


def run(scene: Scene, at: int, *, after: bool) -> bool:
    """The story with a process that dies at one write and is started again; False if it never died."""
    died = False
    scene.restart(Dying(scene.store, at, after=after))
    tick = scene.tick

    def surviving(*args: Any, **kwargs: Any) -> Any:
        nonlocal died
        try:
            return tick(*args, **kwargs)
        except Killed:
            died = True
            scene.restart()
            return tick("1m")

    scene.tick = surviving  # type: ignore[method-assign]
    story(scene)
    for _ in range(3):
        tick("6m")
    return died


def outcome(scene: Scene) -> tuple[Any, ...]:
    """Everything that must not depend on a crash: alerts, incidents, and the transitions in alert_history.

    Without fingerprints: they hold the namespace, which each store of this suite has for itself on a cluster.
    """
    columns = ("event.action", "tocsin.subject.id", "tocsin.alert.state", "tocsin.finding.id")
    alerts = sorted((*named(a), a.state.value, a.severity.value, a.findings, a.settled) for a in scene.alerts)
    incidents = sorted((i.subject.id, len(i.alerts), i.state.value) for i in scene.alerting.incidents())
    return alerts, incidents, sorted(map(str, scene.history(*columns)))


def named(alert: Alert) -> tuple[str, str, str]:
    """What an alert is about and when it began."""
    return alert.detector, alert.subject.id, alert.id.partition("-")[2]


def delivered(scene: Scene) -> dict[tuple[str, ...], set[str]]:
    """For each alert and state, the keys of its notifications."""
    keys: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for sent in scene.oncall.sent:
        for alert in sent.alerts:
            keys[*named(alert), alert.state.value].add(sent.key)
    return dict(keys)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    scene = Scene(tmp_path_factory.mktemp("undisturbed"))
    assert not run(scene, 10_000, after=False)
    assert all(len(keys) == 1 for keys in delivered(scene).values())
    found = outcome(scene), delivered(scene)
    scene.store.close()
    return found


@pytest.mark.parametrize("at", range(1, 29))
def test_killed_at_a_write(tmp_path: Path, undisturbed: tuple[Any, Any], at: int) -> None:
    expected, expected_keys = undisturbed
    scene = Scene(tmp_path)
    assert run(scene, at, after=at % 2 == 0)
    assert outcome(scene) == expected
    keys = delivered(scene)
    assert keys.keys() == expected_keys.keys()
    assert all(len(found) == 1 for found in keys.values()), "told twice under different keys"
    scene.store.close()


def test_two_processes_that_tick_at_the_same_time(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    other = open_store(tmp_path / "store", scene.clock)
    twin = Alerting(other, scene.clock, scene.settings, scene.receivers, PLAYBOOKS)
    for day in range(4):
        for subject in (MODEL, DATASET):
            scene.finding(day, "critical" if day == 2 else "high", subject)
        scene.evaluated(day)
        scene.flush()
        scene.clock.advance(DAY / 4)
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(a.tick, last=True) for a in (scene.alerting, twin)]:
                done.result()
    scene.tick("1h")
    keys = delivered(scene)
    assert len(keys) == 2
    assert {len(found) for found in keys.values()} == {4}  # first, repeat, worse, repeat: one key each
    assert [a.severity.value for a in scene.alerts] == ["critical"] * 2
    assert len(scene.alerting.incidents()) == 2
    assert scene.actions.count("firing") == 2
    assert scene.actions.count("severity_changed") == 2
    other.close()
    scene.store.close()
