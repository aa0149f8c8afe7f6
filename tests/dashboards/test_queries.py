"""Every panel, variable and annotation of every dashboard, asked of a real Elasticsearch and a real Prometheus.

The samples are asked too, so that the asking itself is tested while there is no dashboard.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import missing
from tests.dashboards import prometheus
from tests.dashboards.built import WAITING, dashboards
from tests.dashboards.cluster import QueryError
from tests.dashboards.datasources import STORED, of_tocsin, uid_of
from tests.dashboards.emulator import Emulator, Json, asking
from tests.dashboards.filled import Filled, fill
from tests.dashboards.interpolation import Values, references
from tests.dashboards.lint import Board
from tests.dashboards.samples import CALLS, sampled
from tests.dashboards.variables import Option
from tests.nodes.node import Missing

#: Panels (by dashboard and title), variables and annotations (by name) that show nothing here, each with the reason.
MAY_BE_EMPTY: dict[tuple[str, str], str] = {}
#: How many values of a variable are tried until one shows something.
TRIED = 40
NAMESPACE = "namespace"
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


def _filtered() -> list[Any]:
    """The panels that an ad-hoc filter reaches: those of its data source."""
    reached = {
        (uid, uid_of(v.get("datasource")))
        for uid, board in ALL.items()
        for v in board["templating"]["list"]
        if v["type"] == "adhoc"
    }
    return [p for p in _panels() if (p.values[0], uid_of(p.values[1].get("datasource"))) in reached]


def _variables() -> list[Any]:
    found = [
        (uid, v) for uid, board in ALL.items() for v in board["templating"]["list"] if v["type"] == "query"
    ]
    return [pytest.param(uid, variable, id=f"{uid}-{variable['name']}") for uid, variable in found]


def _annotations() -> list[Any]:
    found = [(uid, a) for uid, board in ALL.items() for a in Board(uid, board, {}, {}).annotations]
    return [pytest.param(uid, annotation, id=f"{uid}-{annotation['name']}") for uid, annotation in found]


@dataclass
class Reader:
    """Somebody who looks at one dashboard and chooses above it."""

    grafana: Emulator
    uid: str

    @property
    def asked(self) -> list[Json]:
        """The dashboard's query variables."""
        return [v for v in ALL[self.uid]["templating"]["list"] if v["type"] == "query"]

    def choices(self, picks: dict[str, str]) -> dict[str, list[Option]]:
        return self.grafana.choices(ALL[self.uid], picks)[1]

    def shows(self, panel: Json, picks: dict[str, str]) -> bool:
        values = self.grafana.variables(ALL[self.uid], picks)
        return any(frame.filled for frame in self.grafana.show(panel, values))

    def starts(self) -> Iterator[dict[str, str]]:
        """As it opens, then with other values of what has one value at a time: first the ones that nothing else decides."""
        yield {}
        single = {v["name"] for v in self.asked if not v.get("includeAll")}
        free = [
            v["name"]
            for v in self.asked
            if v["name"] in single and not references(str(v["query"])) & single - {NAMESPACE}
        ]
        lists = [[(name, option.value) for option in self.choices({})[name][:TRIED]] for name in free]
        yield from (dict(picks) for picks in itertools.islice(itertools.product(*lists), 1, TRIED**2))

    def start(self, panel: Json) -> dict[str, str] | None:
        """The first choice under which a panel shows something."""
        return next((picks for picks in self.starts() if self.shows(panel, picks)), None)


@pytest.mark.parametrize(("uid", "panel"), _panels())
def test_panel(grafana: Emulator, uid: str, panel: Json) -> None:
    """It shows something as it opens, or under another single choice; and then under some value of each variable alone."""
    if (uid, panel["title"]) in MAY_BE_EMPTY:
        Reader(grafana, uid).shows(panel, {})
        return
    reader = Reader(grafana, uid)
    picks = reader.start(panel)
    assert picks is not None, f"{panel['title']!r} shows nothing under any choice; it asked {grafana.asked}"
    used = references(json.dumps([panel.get("targets"), panel.get("repeat")])) | {panel.get("repeat")}
    for variable in reader.asked:
        name = variable["name"]
        if name in used and variable.get("includeAll"):
            options = reader.choices(picks)[name][:TRIED]
            found = [option.value for option in options if reader.shows(panel, {**picks, name: option.value})]
            assert found, (
                f"{panel['title']!r} shows nothing under any value of ${name}: {[o.value for o in options]}"
            )


@pytest.mark.parametrize(("uid", "panel"), _filtered())
def test_panel_under_an_ad_hoc_filter(grafana: Emulator, uid: str, panel: Json) -> None:
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
    reader = Reader(grafana, uid)
    if (uid, variable["name"]) not in MAY_BE_EMPTY:
        assert any(reader.choices(picks)[variable["name"]] for picks in reader.starts()), "it offers nothing"


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


def test_the_story_holds_on_elasticsearch(filled: Filled) -> None:
    """Seeds 2 and 3 on the embedded store: tests/demo/test_story.py."""
    if filled.story is None:
        pytest.skip("TOCSIN_TEST_DASHBOARDS_NAMESPACE names a story of before")
    assert filled.story.good, (filled.story.detections, filled.story.false_alarms)


def test_the_mappings_are_those_of_the_cluster(grafana: Emulator, filled: Filled) -> None:
    """What the lint believes of fields is what the cluster has."""
    for source in grafana.sources.values():
        found = filled.cluster.field_types(source.index)
        wrong = {n: t for n, t in source.fields.items() if found and t not in (found.get(n), STORED)}
        assert wrong == {}, source.uid


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
