"""Workers that are killed in the middle of a window, or suspended past their lease."""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.scenario import Site, check, sink, verdicts
from tocsin.store.cluster.elastic import ElasticStore

KILLS = 20
Told = dict[str, list[Any]]
Here = tuple[Site, ElasticStore, Told]


@pytest.fixture
def site(tmp_path: Path, elasticsearch_url: str, namespace: str) -> Iterator[Here]:
    with sink() as server:
        site = Site(tmp_path, elasticsearch_url, namespace, server.server_address[1], seconds=0.4)
        store = ElasticStore.open(elasticsearch_url, namespace, replicas=0)
        yield site, store, server.taken  # type: ignore[attr-defined]
        site.close()
        store.close()


def finished(site: Site, store: ElasticStore, taken: Told, findings: int) -> bool:
    waiting = [e for e in store.entries("detect", "slow_calls") if e.value["pending"]]
    return not waiting and len(verdicts(store)) == findings and len(taken) >= findings


def test_killed_in_the_middle_of_a_window_twenty_times(site: Here) -> None:
    here, store, taken = site
    for number in range(KILLS):
        here.grow(number)
        before, worker = here.at_work(), here.start()
        here.until(functools.partial(here.works, before))
        assert worker.poll() is None
        worker.kill()
        worker.wait()
    here.start()
    here.until(lambda: finished(here, store, taken, 7))
    check(here, store, taken, KILLS)


def test_paused_past_its_lease(site: Here) -> None:
    here, store, taken = site
    here.grow(0)
    first = here.start()
    here.until(lambda: here.at_work() == 1)
    family = [psutil.Process(first.pid), *psutil.Process(first.pid).children(recursive=True)]
    for process in family:
        process.suspend()
    here.grow(0, 300, "late-")  # the claimed window has been touched again
    second = here.start()
    here.until(lambda: finished(here, store, taken, 1))
    expected = verdicts(store)
    for process in family:
        process.resume()
    here.until(
        lambda: "another worker took over" in (here.folder / "log").read_text() or here.at_work() > 2, 10
    )
    here.grow(1)
    here.until(lambda: finished(here, store, taken, 1) and here.at_work() > 2)
    for worker in (first, second):
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    assert verdicts(store) == expected
    check(here, store, taken, 2)
