"""Targets as the bodies that go over the wire, and answers as frames: cases are data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dashboards import frames, requests
from tests.dashboards.annotations import body as search_events
from tests.dashboards.annotations import events
from tests.dashboards.datasources import NotEmulated, Source
from tests.dashboards.emulator import data_fields
from tests.dashboards.frames import Frame
from tests.dashboards.interpolation import Value, built_in
from tests.dashboards.ranges import Range, of_panel
from tests.dashboards.transformations import UnknownFieldError, require, transformed
from tests.dashboards.variables import Option, _by_regex, _custom, _sorted, choose, ordered, terms_body

CASES = Path(__file__).parent / "cases"
SOURCE = Source("s", "logs-s-*", {"@timestamp": "date_nanos", "n": "long", "k": "keyword", "f": "flattened"})
HOUR = Range(1_000_000_000_000, 1_000_003_600_000)


def cases(file: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in yaml.safe_load((CASES / file).read_text())]


def values(case: dict[str, Any]) -> dict[str, Value]:
    given = case.get("values") or {}
    return {name: Value(tuple(v) if isinstance(v, list) else v) for name, v in given.items()}


@pytest.mark.parametrize("case", cases("requests.yaml"))
def test_requests(case: dict[str, Any]) -> None:
    interval = of_panel(case.get("panel") or {}, HOUR)
    known = {**values(case), **built_in(HOUR, interval)}
    target = requests.interpolated(case["target"], known, case.get("filters") or ())
    assert requests.body(target, SOURCE, HOUR, interval) == case["body"]


@pytest.mark.parametrize("case", cases("refused.yaml"))
def test_what_is_not_emulated_raises(case: dict[str, Any]) -> None:
    interval = of_panel({}, HOUR)
    with pytest.raises(NotEmulated, match=case["message"]):
        requests.body(case["target"], SOURCE, HOUR, interval)


@pytest.mark.parametrize("case", cases("frames.yaml"))
def test_frames(case: dict[str, Any]) -> None:
    found = frames.frames(case["target"], case["answer"], SOURCE)
    assert [frame.columns for frame in found] == case["frames"]
    assert [frame.filled for frame in found] == case.get("filled", [True] * len(found))


@pytest.mark.parametrize("case", cases("transformations.yaml"))
def test_transformations(case: dict[str, Any]) -> None:
    given = [Frame("A", columns) for columns in case["frames"]]
    if "error" in case:
        with pytest.raises((UnknownFieldError, NotEmulated), match=case["error"]):
            transformed(given, case["steps"])
        return
    assert [list(frame.columns) for frame in transformed(given, case["steps"])] == case["columns"]


def test_a_request_has_a_header_line_for_each_body() -> None:
    lines = requests.msearch([{"size": 0}, {"size": 1}], "logs-s-*").splitlines()
    assert [json.loads(line) for line in lines[::2]] == [
        {"search_type": "query_then_fetch", "ignore_unavailable": True, "index": "logs-s-*"}
    ] * 2
    assert [json.loads(line) for line in lines[1::2]] == [{"size": 0}, {"size": 1}]


def test_variables_ask_for_terms() -> None:
    found = terms_body({"find": "terms", "field": "k", "query": "n:1", "orderBy": "doc_count"}, SOURCE, HOUR)
    assert found["aggs"] == {"1": {"terms": {"field": "k", "size": 500, "order": {"_count": "desc"}}}}
    assert found["query"]["bool"]["filter"][1] == {"query_string": {"analyze_wildcard": True, "query": "n:1"}}


def test_variables_choose() -> None:
    options = [Option("b1", "b1"), Option("A2", "A2"), Option("a10", "a10")]
    assert [o.text for o in _sorted(options, 1)] == ["A2", "a10", "b1"]
    assert [o.text for o in _sorted(options, 4)] == ["a10", "A2", "b1"]
    assert [o.text for o in _sorted(options, 5)] == ["a10", "A2", "b1"]
    assert _by_regex(options, r"/^a(\d+)/i") == [Option("2", "2"), Option("10", "10")]
    assert _by_regex(options, r"/(?<text>[a-z])(?<value>\d+)/") == [Option("b", "1"), Option("a", "10")]
    assert _custom(r"a, more : b, c\,d") == [Option("a", "a"), Option("more", "b"), Option("c,d", "c,d")]
    several = {"name": "v", "multi": True, "includeAll": True}
    assert choose(several, options, None) == Value(("b1", "A2", "a10"), text="All")
    assert choose(several, options, "b1") == Value(("b1",), text="b1")
    assert choose({"name": "v"}, options, None) == Value("b1", text="b1")
    assert choose({**several, "allValue": "*"}, options, "$__all") == Value("*", raw=True, text="All")


def test_variables_come_after_those_that_they_use() -> None:
    listed = [{"name": "b", "query": '{"query":"k:$a"}'}, {"name": "a", "query": "{}"}]
    assert [v["name"] for v in ordered({"templating": {"list": listed}})] == ["a", "b"]


def test_annotations() -> None:
    annotation = {"query": "k:$v", "textField": "event.reason", "tagsField": "k", "timeEndField": "end"}
    found = search_events(annotation, SOURCE, HOUR, {"v": Value(("a",))})
    within = {"gte": HOUR.start, "lte": HOUR.end, "format": "epoch_millis"}
    assert found == {"size": 10000, "query": {"bool": {"filter": [
        {"bool": {"should": [{"range": {"@timestamp": within}}, {"range": {"end": within}}], "minimum_should_match": 1}},
        {"query_string": {"query": 'k:("a")'}},
    ]}}}  # fmt: skip
    nested = {"@timestamp": 1, "event": {"reason": "why"}, "k": "a,b"}
    dotted = {"@timestamp": 1, "event.reason": "why"}
    answer = {"hits": {"hits": [{"_source": nested}, {"_source": dotted}]}}
    one, other = events(annotation, SOURCE, answer)
    assert (one.text, one.tags, one.time) == ("why", ("a", "b"), 1)
    assert other.text == ""  # Grafana does not find keys with dots in annotations


def test_names_in_links() -> None:
    text = json.dumps({"url": '/d/x?var-a=${__data.fields["a.b"]}&var-c=${__data.fields.c:raw}'})
    assert list(data_fields(text)) == ["a.b", "c"]


def test_a_field_that_no_document_has_keeps_its_new_name() -> None:
    """Which documents a panel finds depends on the data: an override may name what another document has."""
    steps = [
        {
            "id": "organize",
            "options": {"excludeByName": {"n": True}, "renameByName": {"k": "path"}},
        }
    ]
    (left,) = transformed([Frame("A", {"n": [1]}, known=SOURCE)], steps)
    require([left], ["path"], "an override")
    for gone in ("n", "k"):
        with pytest.raises(UnknownFieldError, match=gone):
            require([left], [gone], "an override")
