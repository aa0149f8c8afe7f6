"""A stand-in Grafana, and a client of it whose clock does not wait."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.dashboards.grafana_stub import TOKEN, Stub, serving
from tocsin.clock import ScriptedClock
from tocsin_dashboards.grafana import Grafana


def client(url: str, token: str = TOKEN, ca_certs: str | None = None) -> Grafana:
    """A client that waits on a scripted clock."""
    clock = ScriptedClock(datetime(2026, 3, 1, tzinfo=UTC))

    def wait(seconds: float) -> None:
        clock.advance(timedelta(seconds=seconds))

    return Grafana(url, token, clock, ca_certs=ca_certs, sleep=wait)


@pytest.fixture
def stub() -> Iterator[Stub]:
    """The stand-in; every request that it got must have been one of the published API."""
    found = Stub()
    yield found
    assert found.faults == []


@pytest.fixture
def url(stub: Stub) -> Iterator[str]:
    with serving(stub) as at:
        yield at


@pytest.fixture
def grafana(url: str) -> Iterator[Grafana]:
    found = client(url)
    yield found
    found.close()
