"""The lint of dashboards: the real ones are clean, and every check flags a dashboard that was broken on purpose."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.dashboards import lint_fields, lint_links, lint_looks, lint_sizes
from tests.dashboards.built import WAITING, dashboards, fresh
from tests.dashboards.datasources import of_tocsin
from tests.dashboards.lint import CHECKS, lint
from tests.dashboards.samples import ALERTS, CALLS, sampled

SOURCES = of_tocsin()
EVERY = (*CHECKS, *lint_fields.CHECKS, *lint_links.CHECKS, *lint_looks.CHECKS, *lint_sizes.CHECKS)
Boards = dict[str, Any]


def test_the_dashboards_are_clean() -> None:
    if not dashboards():
        pytest.skip(WAITING)
    assert [str(flaw) for flaw in lint(dashboards(), SOURCES)] == []


def test_building_twice_gives_the_same() -> None:
    if not dashboards():
        pytest.skip(WAITING)
    assert json.dumps(fresh(), indent=1) == json.dumps(fresh(), indent=1)


def test_the_samples_are_clean() -> None:
    assert [str(flaw) for flaw in lint(sampled(), SOURCES)] == []


def _panel(boards: Boards, place: int = 0, uid: str = CALLS) -> Any:
    return boards[uid]["panels"][place]


def _target(boards: Boards, place: int = 0) -> Any:
    return _panel(boards, place)["targets"][0]


def _defaults(boards: Boards, place: int = 0) -> Any:
    return _panel(boards, place)["fieldConfig"]["defaults"]


def _variable(boards: Boards, place: int = 0) -> Any:
    return boards[CALLS]["templating"]["list"][place]


def _event(boards: Boards) -> Any:
    return boards[ALERTS]["annotations"]["list"][0]


def _terms(boards: Boards) -> Any:
    return _target(boards)["bucketAggs"][0]


def _columns(boards: Boards, heading: str, width: int) -> None:
    """A column of the table with a width."""
    panel = _panel(boards, 1)
    panel["transformations"][0]["options"]["renameByName"][heading] = heading
    _override(panel, heading, "custom.width", width)


def _stated(boards: Boards) -> None:
    """A table of alerts with their states, sorted by nothing."""
    _columns(boards, "state", 100)
    _columns(boards, "severity", 100)
    _panel(boards, 1)["datasource"].update(uid="tocsin-alerts")


def _shares(boards: Boards) -> None:
    """A heat map whose counts are written as shares."""
    _panel(boards).update(type="heatmap")
    _defaults(boards).update(unit="percentunit")


def _thin(boards: Boards) -> None:
    """Bars of an automatic width on a board whose annotations are on."""
    _defaults(boards)["custom"] = {"drawStyle": "bars"}
    boards[CALLS]["annotations"] = boards[ALERTS]["annotations"]


def _override(panel: Any, heading: str, id: str, value: object) -> None:
    matcher = {"id": "byName", "options": heading}
    panel["fieldConfig"]["overrides"].append({"matcher": matcher, "properties": [{"id": id, "value": value}]})


def _by_kind(boards: Boards) -> None:
    """A link to the dashboard that a mapping names, which there is not."""
    _panel(boards)["links"][0].update(url="/d/${__data.fields.kind.text}")
    mapping = {"type": "value", "options": {"x": {"text": "nowhere"}}}
    _override(_panel(boards, 1), "kind", "mappings", [mapping])


Break = Callable[[Boards], object]
#: The check that must see it, how a sample is broken, and words of the flaw.
BREAKS: list[tuple[str, Break, str]] = [
    ("uid_is_its_key", lambda b: b[CALLS].update(uid="other"), "under the key"),
    ("uid_is_its_key", lambda b: b.update({"a b": {**b[CALLS], "uid": "a b"}}), "other signs"),
    ("uids_are_unique", lambda b: b[ALERTS].update(uid=CALLS), "belongs to"),
    ("titles_are_unique", lambda b: b[ALERTS].update(title="Calls"), "another"),
    ("schema_is_the_classic_one", lambda b: b[CALLS].update(schemaVersion=36), "not 42"),
    ("panel_ids_are_unique", lambda b: _panel(b, 1).update(id=1), "has the id of"),
    ("panel_ids_are_unique", lambda b: _panel(b, 1).pop("id"), "no number"),
    ("panels_lie_beside_one_another", lambda b: _panel(b, 1)["gridPos"].update(x=11), "lies over"),
    ("panels_lie_beside_one_another", lambda b: _panel(b, 1)["gridPos"].update(w=13), "beyond column 24"),
    ("panels_lie_beside_one_another", lambda b: _panel(b, 1)["gridPos"].update(h=0), "no place"),
    ("sources_are_known", lambda b: _panel(b)["datasource"].update(uid="tocsin-nothing"), "unknown data source"),
    ("sources_are_known", lambda b: _target(b).update(datasource={"uid": "x"}), "its target A"),
    ("sources_are_known", lambda b: _variable(b)["datasource"].update(uid="x"), "variable model"),
    ("sources_are_known", lambda b: _event(b)["datasource"].update(uid="x"), "annotation Severe findings"),
    ("targets_have_their_own_ids", lambda b: _panel(b)["targets"].append(_target(b)), "are called"),
    ("targets_have_their_own_ids", lambda b: _panel(b)["targets"].clear(), "asks nothing"),
    ("no_namespace_is_written_out", lambda b: _panel(b).update(description="of logs-tocsin.run-default " * 3), "namespace"),
    ("queries_parse", lambda b: _target(b).update(query="(user.id:x"), "ends too early"),
    ("queries_parse", lambda b: _target(b).update(query="$search AND tocsin.model.name:$model"), "with :raw"),
    ("queries_parse", lambda b: _target(b).update(query="failure"), "names no field"),
    ("fields_of_queries_exist", lambda b: _target(b).update(query="usr.id:x"), "no field 'usr.id'"),
    ("fields_of_queries_exist", lambda b: _target(b).update(query="_exists_:nothing"), "no field 'nothing'"),
    ("fields_of_queries_exist", lambda b: _target(b).update(query="tocsin.features.values:1"), "can find"),
    ("or_stands_in_parentheses", lambda b: _target(b).update(query="user.id:x OR user.id:y"), "parentheses"),
    ("aggregations_fit_their_fields", lambda b: _terms(b).update(field="gen_ai.input.messages"), "is text"),
    ("aggregations_fit_their_fields", lambda b: _terms(b).update(field="labels"), "is flattened"),
    ("aggregations_fit_their_fields", lambda b: _target(b, 1)["metrics"][1].update(field="user.id"), "avg of 'user.id'"),
    ("aggregations_fit_their_fields", lambda b: _target(b)["bucketAggs"][1].update(field="user.id"), "date_histogram"),
    ("aggregations_fit_their_fields", lambda b: _target(b).update(timeField="event.ingested"), "time field"),
    (
        "aggregations_fit_their_fields",
        lambda b: _target(b).update(metrics=[{"id": "1", "type": "top_metrics", "settings": {"metrics": ["x"]}}]),
        "top_metrics of 'x'",
    ),
    ("buckets_are_in_order", lambda b: _target(b)["bucketAggs"].reverse(), "not the last"),
    ("histograms_are_innermost", lambda b: _terms(b).update(type="histogram"), "whole numbers"),
    ("buckets_are_in_order", lambda b: _target(b)["bucketAggs"].clear(), "no buckets"),
    ("buckets_are_in_order", lambda b: _target(b)["metrics"].clear(), "no metric"),
    ("buckets_are_in_order", lambda b: _target(b)["metrics"][0].update(type="raw_data"), "has buckets"),
    ("buckets_are_in_order", lambda b: _terms(b).update(id="1"), "share ids"),
    ("buckets_are_in_order", lambda b: _terms(b)["settings"].update(orderBy="9"), "in the order of"),
    ("orders_by_percentile_leave_no_gaps", lambda b: _terms(b)["settings"].update(orderBy="1[95.0]"), "_exists_"),
    ("settings_are_texts", lambda b: _terms(b)["settings"].update(size=5), "no text"),
    ("variables_ask_for_fields", lambda b: _variable(b).update(query="models"), "no JSON"),
    ("variables_ask_for_fields", lambda b: _variable(b).update(query='{"find":"terms","field":"x"}'), "terms of 'x'"),
    ("annotations_name_fields", lambda b: _event(b).update(tagsField="x"), "no field"),
    ("annotations_name_fields", lambda b: _event(b).update(timeEndField="tocsin.severity"), "no date"),
    ("annotations_name_fields", lambda b: _event(b).pop("textField"), "no textField"),
    ("annotations_name_fields", lambda b: _event(b).update(target={"query": "x"}), "which counts"),
    ("variables_are_defined", lambda b: _target(b).update(query="user.id:$who"), "$who"),
    ("variables_are_defined", lambda b: _event(b).update(query="tocsin.severity:$who"), "$who"),
    ("variables_are_used", lambda b: _target(b).update(query="tocsin.model.name:$model"), "used nowhere"),
    ("links_lead_somewhere", lambda b: _panel(b)["links"][0].update(url="/d/nothing"), "does not exist"),
    ("links_lead_somewhere", lambda b: _panel(b)["links"][0].update(url=f"/d/{ALERTS}?var-x=1"), "variable 'x'"),
    ("links_lead_somewhere", lambda b: _panel(b)["links"][0].update(url=f"/d/{ALERTS}?${{model:queryparam}}"), "'model'"),
    ("links_lead_somewhere", lambda b: _panel(b)["links"][0].update(url="alerts"), "leads nowhere"),
    ("links_lead_somewhere", lambda b: _panel(b)["links"][0].update(title=""), "no title"),
    ("links_lead_somewhere", lambda b: b[CALLS].update(links=[{"type": "dashboards", "tags": ["x"]}]), "which none has"),
    ("panels_say_what_to_do", lambda b: _panel(b).update(description="Calls."), "less than 40"),
    ("panels_say_what_to_do", lambda b: _panel(b).update(title=" "), "no title"),
    ("panels_have_a_unit", lambda b: _defaults(b).pop("unit"), "no unit"),
    ("panels_lead_on", lambda b: _panel(b).update(links=[]), "no link"),
    ("panels_say_when_they_are_empty", lambda b: _defaults(b).pop("noValue"), "noValue"),
    ("empty_cells_say_nothing", lambda b: _panel(b).update(type="table"), "an empty cell"),
    ("networks_have_their_fields", lambda b: _panel(b).update(type="nodeGraph"), "['id', 'source', 'target']"),
    ("colors_are_safe", lambda b: _defaults(b).update(thresholds={"steps": [{"color": "red"}]}), "'red'"),
    ("colors_are_safe", lambda b: _defaults(b)["color"].update(mode="continuous-GrYlRd"), "not safe"),
    ("colors_are_safe", lambda b: _defaults(b)["color"].update(mode="palette-classic-by-name"), "not safe"),
    ("colors_are_safe", lambda b: _defaults(b).pop("color"), "no color scheme"),
    ("colors_are_safe", lambda b: _panel(b).update(type="heatmap"), "heatmap's scheme"),
    ("colors_are_safe", lambda b: _event(b).update(iconColor="rgba(255, 0, 0, 1)"), "palette"),
    ("series_can_be_told_apart", lambda b: _defaults(b)["color"].update(mode="shades"), "in the color scheme 'shades'"),
    ("series_can_be_told_apart", lambda b: _panel(b)["fieldConfig"]["overrides"].pop(), "in 4 colors"),
    ("series_can_be_told_apart", lambda b: _override(_panel(b), "x", "color", {"fixedColor": "red"}), "color 'red'"),
    ("no_raw_names_are_shown", lambda b: _target(b).update(alias="tocsin.model.name"), "'tocsin.model.name'"),
    ("no_raw_names_are_shown", lambda b: _columns(b, "tocsin.score", 80), "'tocsin.score'"),
    ("no_raw_names_are_shown", lambda b: _panel(b, 1).update(transformations=[]), "'user.id'"),
    ("no_raw_names_are_shown", lambda b: _panel(b).update(type="nodeGraph"), "'mainstat'"),
    ("no_raw_names_are_shown", lambda b: _target(b, 1)["metrics"][0].update(type="raw_data"), "every field"),
    ("filters_name_their_limit", lambda b: _panel(b)["datasource"].update(uid="tocsin-access"), "ad-hoc filter"),
    ("annotations_leave_thin_bars", _thin, "thin bars"),
    ("heat_maps_count", lambda b: _panel(b).update(type="heatmap"), "a pixel"),
    ("heat_maps_count", _shares, "percentunit"),
    ("tables_have_no_footer", lambda b: _panel(b, 1)["options"].update(footer={}), "options.footer"),
    ("titles_fit", lambda b: _panel(b).update(title="Calls of every principal to every model " * 2), "fit its width"),
    ("columns_fit", lambda b: _columns(b, "principal", 700), "need 1560 pixels"),
    ("columns_fit", lambda b: _columns(b, "why", 100), "'why' has a fixed width"),
    ("open_comes_first", _stated, "do not come first"),
    ("links_lead_somewhere", lambda b: _panel(b)["links"][0].update(url="/d/${__data.fields.kind.text}"), "no mapping"),
    ("links_lead_somewhere", _by_kind, "'nowhere', which does not exist"),
]  # fmt: skip


def _cases() -> Iterator[Any]:
    for number, (check, broken, words) in enumerate(BREAKS):
        yield pytest.param(check, broken, words, id=f"{check}-{number}")


@pytest.mark.parametrize(("check", "broken", "words"), list(_cases()))
def test_a_broken_dashboard_is_flagged(check: str, broken: Break, words: str) -> None:
    boards = copy.deepcopy(sampled())
    broken(boards)
    found = [str(flaw) for flaw in lint(boards, SOURCES) if flaw.check == f"check_{check}"]
    assert any(words in flaw for flaw in found), found


def test_every_check_has_a_dashboard_that_it_flags() -> None:
    assert {f"check_{check}" for check, _, _ in BREAKS} == {check.__name__ for check in EVERY}


def test_panels_inside_of_rows_are_looked_at() -> None:
    boards = sampled()
    inner = boards[CALLS]["panels"][2]["panels"][0]
    inner["description"] = ""
    assert any("Workers" in str(flaw) for flaw in lint(boards, SOURCES))
