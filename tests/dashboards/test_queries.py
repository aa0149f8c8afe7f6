"""Every panel, variable and annotation of every dashboard, asked of a real Elasticsearch and a real Prometheus.

The samples are asked too, so that the asking itself is tested while there is no dashboard.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import missing
from tests.dashboards import prometheus
from tests.dashboards.built import WAITING, dashboards
from tests.dashboards.cluster import QueryError
from tests.dashboards.datasources import of_tocsin, uid_of
from tests.dashboards.emulator import Emulator, Json, asking
from tests.dashboards.filled import Filled, fill
from tests.dashboards.frames import Frame
from tests.dashboards.interpolation import Values, references
from tests.dashboards.lint import Board
from tests.dashboards.samples import CALLS, sampled
from tests.nodes.node import Missing

#: Panels (by dashboard and title), variables and annotations (by name) that show nothing here, each with the reason.
_WELL = "nothing of Tocsin's own fails in the demo"
MAY_BE_EMPTY: dict[tuple[str, str], str] = {
    ("tocsin-overview", "Open alerts by family"): "every alert of the demo is over in the end",
    ("tocsin-data-integrity", "What was trained on which digest"): "the demo's lender reports no lineage",
    ("tocsin-principal", "Datasets that it wrote"): "no detector judges who writes the demo's feeds",
    ("tocsin-health", "Tocsin's own alerts"): _WELL,
    ("tocsin-health", "Events rejected"): _WELL,
    ("tocsin-health", "Rejected events"): _WELL,
    ("tocsin-health", "Rejected, by reason of stream"): _WELL,
}
#: How many values of a variable are tried until one shows something.
TRIED = 40
ALL = {**sampled(), **dashboards()}


@pytest.fixture(scope="module")
def filled(elasticsearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    return fill(elasticsearch_url, tmp_path_factory.mktemp("dashboards"))


@pytest.fixture(scope="module")
def measured(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[prometheus.Prometheus]:
    try:
        with prometheus.running(tmp_path_factory.mktemp("prometheus"), filled.range.end) as found:
            yield found
    except Missing as error:
        missing(str(error))


@pytest.fixture(scope="module")
def grafana(filled: Filled, request: pytest.FixtureRequest) -> Emulator:
    uses = any("tocsin-prometheus" in json.dumps(board) for board in ALL.values())
    measures = request.getfixturevalue("measured") if uses else None
    return Emulator(filled.cluster, of_tocsin(filled.namespace), filled.range, measures)


def _panels() -> list[Any]:
    return [
        pytest.param(uid, panel, id=f"{uid}-{panel.get('id')}")
        for uid, board in ALL.items()
        for panel in asking(board)
    ]


def _variables() -> list[Any]:
    found = [
        (uid, v) for uid, board in ALL.items() for v in board["templating"]["list"] if v["type"] == "query"
    ]
    return [pytest.param(uid, variable, id=f"{uid}-{variable['name']}") for uid, variable in found]


def _annotations() -> list[Any]:
    found = [(uid, a) for uid, board in ALL.items() for a in Board(uid, board, {}, {}).annotations]
    return [pytest.param(uid, annotation, id=f"{uid}-{annotation['name']}") for uid, annotation in found]


@dataclass(frozen=True, slots=True)
class Look:
    """One panel under some choice of variables."""

    picks: dict[str, str]
    frames: list[Frame]

    @property
    def filled(self) -> bool:
        return any(frame.filled for frame in self.frames)


def looks(grafana: Emulator, uid: str, panel: Json, vary: str | None) -> Iterator[Look]:
    """A panel as it opens; or under one value after the other of one variable."""
    values, choices = grafana.choices(ALL[uid])
    if vary is None:
        yield Look({}, grafana.show(panel, values))
        return
    for option in choices[vary][:TRIED]:
        picks = {vary: option.value}
        yield Look(picks, grafana.show(panel, grafana.variables(ALL[uid], picks)))


def shows(grafana: Emulator, uid: str, panel: Json, vary: str | None) -> bool:
    """Whether it shows something: under the first choice that does, of those that are tried."""
    return any(look.filled for look in looks(grafana, uid, panel, vary))


def asked_variables(uid: str, panel: Json) -> list[Json]:
    """The query variables that a panel's queries depend on."""
    used = references(json.dumps([panel.get("targets"), panel.get("repeat")])) | {panel.get("repeat")}
    return [v for v in ALL[uid]["templating"]["list"] if v["type"] == "query" and v["name"] in used]


@pytest.mark.parametrize(("uid", "panel"), _panels())
def test_panel(grafana: Emulator, uid: str, panel: Json) -> None:
    variables = asked_variables(uid, panel)
    ways = [None, *(v["name"] for v in variables)]
    found = {way: shows(grafana, uid, panel, way) for way in ways}
    single = [v["name"] for v in variables if not v.get("includeAll")]
    found[None] |= any(found[way] for way in single)  # what it opens with is whatever comes first
    if "namespace" in found:  # there is one here: what another single choice shows, it shows
        found["namespace"] |= any(found[way] for way in single)
    empty = [way or "as it opens" for way, is_filled in found.items() if not is_filled]
    if (uid, panel["title"]) not in MAY_BE_EMPTY:
        assert not empty, (
            f"{panel['title']} shows nothing under any choice of {empty}; it asked {grafana.asked}"
        )


@pytest.mark.parametrize(("uid", "panel"), _panels())
def test_panel_under_an_ad_hoc_filter(grafana: Emulator, uid: str, panel: Json) -> None:
    filtered = {uid_of(v.get("datasource")) for v in ALL[uid]["templating"]["list"] if v["type"] == "adhoc"}
    if uid_of(panel.get("datasource")) not in filtered:
        pytest.skip("no ad-hoc filter reaches it")
    values = grafana.variables(ALL[uid])
    plain = _sizes(grafana, panel, values, "!=", 'nothing: \\ "like" this')
    assert plain == _sizes(grafana, panel, values)
    assert not any(frame.filled for frame in grafana.show(panel, values, [_filter("=", "nothing like this")]))


def _sizes(grafana: Emulator, panel: Json, values: Values, operator: str = "", value: str = "") -> list[int]:
    return [
        frame.rows for frame in grafana.show(panel, values, [_filter(operator, value)] if operator else [])
    ]


def _filter(operator: str, value: str) -> Json:
    return {"key": "event.kind", "operator": operator, "value": value}


@pytest.mark.parametrize(("uid", "variable"), _variables())
def test_variable(grafana: Emulator, uid: str, variable: Json) -> None:
    _, choices = grafana.choices(ALL[uid])
    if (uid, variable["name"]) not in MAY_BE_EMPTY:
        assert choices[variable["name"]], "it offers nothing"


@pytest.mark.parametrize(("uid", "annotation"), _annotations())
def test_annotation(grafana: Emulator, uid: str, annotation: Json) -> None:
    found = grafana.annotate(annotation, grafana.variables(ALL[uid]))
    if (uid, annotation["name"]) not in MAY_BE_EMPTY:
        assert found, "no event"
        assert all(event.time and event.text for event in found), f"an event without time or text: {found[0]}"


def test_there_are_dashboards() -> None:
    if not dashboards():
        pytest.skip(WAITING)
    assert all(asking(board) for board in dashboards().values())


def test_what_may_be_empty_is_there() -> None:
    names = {(uid, panel["title"]) for uid, board in ALL.items() for panel in asking(board)}
    names |= {(uid, v["name"]) for uid, board in ALL.items() for v in board["templating"]["list"]}
    names |= {(uid, a["name"]) for uid, board in ALL.items() for a in Board(uid, board, {}, {}).annotations}
    assert set(MAY_BE_EMPTY) <= names


def test_the_mappings_are_those_of_the_cluster(grafana: Emulator, filled: Filled) -> None:
    """What the lint believes of fields is what the cluster has."""
    for source in grafana.sources.values():
        found = filled.cluster.field_types(source.index)
        assert {
            name: type
            for name, type in found.items()
            if source.fields.get(name, type) not in (type, "stored")
        } == {}


def test_a_broken_query_is_an_error(grafana: Emulator) -> None:
    panel = sampled()[CALLS]["panels"][0]
    panel["targets"][0]["query"] = "user.id:(x"
    with pytest.raises(QueryError, match="Failed to parse query"):
        grafana.show(panel, grafana.variables(sampled()[CALLS]))


def test_a_query_for_nothing_is_empty(grafana: Emulator) -> None:
    panel = sampled()[CALLS]["panels"][0]
    panel["targets"][0]["query"] = "user.id:nobody"
    assert not any(frame.filled for frame in grafana.show(panel, {}))


def test_prometheus_answers(grafana: Emulator, measured: prometheus.Prometheus) -> None:
    of = grafana.range
    every: Any = None
    rate = {
        "expr": "sum by (outcome) (rate(tocsin_events_total[$__rate_interval]))",
        "legendFormat": "{{outcome}}",
    }
    found = measured.frames(rate, of, every, {})
    assert {name for frame in found for name in frame.columns} == {
        "Time",
        "accepted",
        "duplicate",
        "rejected",
    }
    table = {"expr": "tocsin_coverage_gaps", "instant": True, "format": "table"}
    (gaps,) = measured.frames(table, of, every, {})
    assert gaps.rows == 4
    with pytest.raises(QueryError, match="parse error"):
        measured.frames({"expr": "sum("}, of, every, {})


def test_the_samples_of_metrics_are_open_metrics() -> None:
    lines = list(prometheus.samples(1_774_486_800_000))
    assert lines[-1] == "# EOF"
    assert any(line.startswith("tocsin_up 1.0 ") for line in lines)
