"""The panels that a detector declares: they are checked, and stand in its family's dashboard."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dashboards.built import declaring
from tocsin.contract.findings import Family
from tocsin.contract.panels import Distribution, Network, ValueTable
from tocsin.contract.plugin import Detector, NoParams
from tocsin.testing.checks import CheckError, check_panels
from tocsin_dashboards.asking import ranges
from tocsin_dashboards.building import build
from tocsin_dashboards.declared import BOARDS

TOLD = "What it says, and what somebody should do about it when it looks wrong."


def test_they_stand_at_the_end_of_the_familys_dashboard() -> None:
    plain, full = build(), build([declaring()])
    own = full["tocsin-usage"]["panels"][len(plain["tocsin-usage"]["panels"]) :]
    assert [panel["title"] for panel in own] == [
        "Plug-in query_budget",
        *(p.title for p in declaring().panels),
    ]
    assert [panel["type"] for panel in own] == ["row", "timeseries", "heatmap", "table", "nodeGraph"]
    assert {uid for uid in plain if plain[uid] != full[uid]} == {"tocsin-usage"}


def test_every_family_has_a_dashboard() -> None:
    assert set(BOARDS) == set(Family) and set(BOARDS.values()) <= build().keys()


def test_good_ones_pass() -> None:
    check_panels(declaring())


@pytest.mark.parametrize(
    ("panel", "message"),
    [
        (
            Distribution("p", "short", "inference", "tocsin.output.score", 0.1),
            "is too short to state what to do",
        ),
        (Distribution("p", TOLD, "inferences", "tocsin.output.score", 0.1), "unknown stream 'inferences'"),
        (
            Distribution("p", TOLD, "inference", "tocsin.output.scor", 0.1),
            "which is not a field of inference",
        ),
        (Distribution("p", TOLD, "inference", "user.id", 0.1), "cannot show 'user.id' of type"),
        (ValueTable("p", TOLD, "inference", {"gen_ai.input.messages": "words"}), "cannot show"),
    ],
)
def test_bad_ones_are_named(panel: Any, message: str) -> None:
    class Mine(Detector[NoParams]):
        panels = (panel,)

    with pytest.raises(CheckError, match=message):
        check_panels(Mine)  # type: ignore[type-abstract]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Distribution("p", TOLD, "inference", "tocsin.output.score", 0),
        lambda: Distribution("p", TOLD, "inference", "tocsin.output.score", 0.1, least=-1),
        lambda: Distribution("p", TOLD, "inference", "tocsin.output.score", 0.1, least=2),
        lambda: ValueTable("p", TOLD, "inference", {"user.id": "principal"}, rows=0),
        lambda: Network("p", TOLD, "access", "user.id", "tocsin.resource.id", edges=1),
    ],
)
def test_sizes_have_bounds(make: Any) -> None:
    with pytest.raises(ValueError, match="it must be"):
        make()


def test_a_heat_map_has_rows_that_can_be_told_apart() -> None:
    for step in (0.9, 0.001):

        class Mine(Detector[NoParams]):
            id = "mine"
            panels = (Distribution("p", TOLD, "inference", "tocsin.output.score", step),)

        with pytest.raises(CheckError, match="must have 2 to 50"):
            check_panels(Mine)  # type: ignore[type-abstract]


@pytest.mark.parametrize(
    ("about", "named"),
    [
        ((0, 1, 0.25), {"0.00": "f:(<0.25)", "0.25": "f:(>=0.25 AND <0.5)", "0.50": "f:(>=0.5 AND <0.75)",
                        "0.75": "f:(>=0.75)"}),
        ((50, 150, 50), {"050": "f:(<100)", "100": "f:(>=100)"}),
    ],
)  # fmt: skip
def test_ranges_stand_in_their_order_and_lose_nothing(
    about: tuple[float, float, float], named: dict[str, str]
) -> None:
    built: Any = ranges("f", *about).build()
    filters = built.settings.filters
    assert {f.label: f.query for f in filters} == named
    assert sorted(named) == list(named)


def test_a_family_is_one_of_the_families() -> None:
    class Mine(Detector[NoParams]):
        family = "access"  # type: ignore[assignment]

    with pytest.raises(CheckError, match="write one of"):
        check_panels(Mine)  # type: ignore[type-abstract]
