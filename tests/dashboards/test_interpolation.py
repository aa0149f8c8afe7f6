"""Variables in texts, ad-hoc filters and intervals: examples, and what must hold for any value."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dashboards.datasources import NotEmulated
from tests.dashboards.interpolation import Value, lucene_escape, references, replace, with_filters
from tests.dashboards.lucene import LuceneError, parse
from tests.dashboards.ranges import DAY, HOUR, MINUTE, Interval, Range, interval, milliseconds

ONE, TWO = Value("a b"), Value(("a", 'b"c'), text="a + b")


@pytest.mark.parametrize(("text", "given_value", "format", "expected"), [
    ("x:$v", ONE, "lucene", r"x:a\ b"),
    ("x:${v}", TWO, "lucene", r'x:("a" OR "b\"c")'),
    ("x:[[v]]", Value(("a",)), "lucene", 'x:("a")'),
    ("x:$v", Value(()), "lucene", "x:__empty__"),
    ("x:$v", Value("*", raw=True), "lucene", "x:*"),
    ("x:$v", Value("*"), "lucene", r"x:\*"),
    ("x:$v", TWO, "glob", 'x:{a,b"c}'),
    ("${v:raw}", Value(("a", "b")), "lucene", "a,b"),
    ("${v:csv}", Value(("a", "b")), "lucene", "a,b"),
    ("${v:pipe}", Value(("a", "b")), "lucene", "a|b"),
    ("${v:regex}", Value(("a.", "b")), "lucene", r"(a\.|b)"),
    ("${v:regex}", Value(("a.",)), "lucene", r"a\."),
    ("${v:json}", Value(("a", "b")), "lucene", '["a","b"]'),
    ("${v:queryparam}", Value(("a b", "c&")), "glob", "var-v=a%20b&var-v=c%26"),
    ("${v:doublequote}", Value(("a", "b")), "glob", '"a","b"'),
    ("${v:text}", TWO, "glob", "a + b"),
    ("${v:date}", Value("1767225600000"), "glob", "2026-01-01T00:00:00.000Z"),
    ("${v:date:seconds}", Value("1767225600000"), "glob", "1767225600"),
    ("$w and ${w:raw} and 5 $", ONE, "lucene", "$w and ${w:raw} and 5 $"),
])  # fmt: skip
def test_formats(text: str, given_value: Value, format: str, expected: str) -> None:
    assert replace(text, {"v": given_value}, format) == expected


@pytest.mark.parametrize("text", ["${v:sqlstring}", "${v.path}", "${v:date:YYYY}"])
def test_what_is_not_emulated_raises(text: str) -> None:
    with pytest.raises(NotEmulated):
        replace(text, {"v": Value("1")})


def test_references() -> None:
    assert references("$a ${b:raw} [[c]] $__interval") == {"a", "b", "c", "__interval"}


@given(st.text(min_size=1).filter(lambda text: text.strip()))
def test_an_escaped_value_is_one_term_that_says_the_same(text: str) -> None:
    escaped = lucene_escape(text)
    assert re.sub(r"\\(.)", r"\1", escaped, flags=re.DOTALL) == text
    assert parse(f"field:{escaped} AND other:x").fields == ["field", "other"]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_several_values_stand_in_one_parenthesis(values: list[str]) -> None:
    found = parse(replace("field:$v AND other:x", {"v": Value(tuple(values))}, "lucene"))
    assert found.fields == ["field", "other"]
    assert not found.loose_or
    assert not found.bare


@given(st.text(min_size=1))
def test_any_value_of_a_filter_is_one_phrase(value: str) -> None:
    query = with_filters("a:b", [{"key": "user.id", "operator": "=", "value": value}])
    assert parse(query).fields == ["a", "user.id"]


@pytest.mark.parametrize(("query", "operator", "expected"), [
    ("", "=", r'k\:1:"v"'),
    ("a:b", "=", r'a:b AND k\:1:"v"'),
    ("a:b", "!=", r'a:b AND -k\:1:"v"'),
    ("a:b", "=~", r"a:b AND k\:1:/v/"),
    ("a:b", "!~", r"a:b AND -k\:1:/v/"),
    ("a:b", ">", r"a:b AND k\:1:>v"),
    ("a:b", "<", r"a:b AND k\:1:<v"),
])  # fmt: skip
def test_filters(query: str, operator: str, expected: str) -> None:
    assert with_filters(query, [{"key": "k:1", "operator": operator, "value": "v"}]) == expected


def test_a_filter_without_a_value_adds_nothing_and_an_unknown_one_raises() -> None:
    assert with_filters("a:b", [{"key": "k", "operator": "=", "value": ""}]) == "a:b"
    with pytest.raises(NotEmulated):
        with_filters("a:b", [{"key": "k", "operator": "=|", "value": "v"}])


@pytest.mark.parametrize(("length", "points", "least", "expected"), [
    (HOUR, 1000, None, "5s"),  # 3.6 s
    (6 * HOUR, 1000, None, "20s"),
    (DAY, 1000, None, "1m"),
    (7 * DAY, 1000, None, "10m"),
    (84 * DAY, 1000, None, "2h"),
    (84 * DAY, 84, None, "1d"),
    (84 * DAY, 10, None, "7d"),
    (HOUR, 1000, "1m", "1m"),
    (HOUR, 1000, ">10s", "10s"),
    (10, 1000, None, "1ms"),
    (4000 * DAY, 10, None, "1y"),
])  # fmt: skip
def test_intervals(length: int, points: int, least: str | None, expected: str) -> None:
    assert interval(Range(0, length), points, least).text == expected


@given(st.integers(10_000, 10 * 365 * DAY), st.integers(10, 4000))
def test_an_interval_gives_about_as_many_points_as_asked_for(length: int, points: int) -> None:
    found = interval(Range(0, length), points).milliseconds
    wanted = length / points
    assert found == 1 or wanted > 42 * DAY or wanted / 7 <= found <= wanted * 1.5 + 1


@given(st.integers(10_000, 10 * 365 * DAY), st.integers(10, 4000))
def test_fewer_points_never_make_a_shorter_interval(length: int, points: int) -> None:
    of = Range(0, length)
    assert interval(of, points).milliseconds <= interval(of, max(points // 2, 1)).milliseconds


def test_a_panel_may_have_its_own_time() -> None:
    of = Range(10 * DAY, 20 * DAY)
    assert of.of_panel({"timeFrom": "1d"}) == Range(19 * DAY, 20 * DAY)
    assert of.of_panel({"timeFrom": "now-1d", "timeShift": "2h"}) == Range(
        19 * DAY - 2 * HOUR, 20 * DAY - 2 * HOUR
    )
    assert (milliseconds("1.5h"), Interval(90 * MINUTE).text) == (90 * MINUTE, "1h")
    with pytest.raises(NotEmulated):
        of.of_panel({"timeFrom": "now/d"})


@pytest.mark.parametrize(("query", "fields"), [
    ("*", []),
    ('a.b:"x y" AND (c:1 OR NOT d:[1 TO *})', ["a.b", "c", "d"]),
    ("a:(x OR y) AND -b:z", ["a", "b"]),
    ("+a:/x(y)+/ b:>=5 c:x~2^3", ["a", "b", "c"]),
    ("_exists_:a.b AND NOT _exists_:c", ["a.b", "c"]),
    (r"a\:b:c", ["a:b"]),
    ("tocsin.evidence.*:x", ["tocsin.evidence.*"]),
])  # fmt: skip
def test_fields_of_queries(query: str, fields: list[str]) -> None:
    assert parse(query).fields == fields


@pytest.mark.parametrize(
    "query", ["(a:b", "a:b)", "a:b AND", "a: AND b:c", 'a:"b', "a:b AND OR c:d", "a:b:", "a:[1 TO"]
)
def test_broken_queries(query: str) -> None:
    with pytest.raises(LuceneError):
        parse(query)


def test_what_a_query_leaves_open() -> None:
    assert parse("a:b OR c:d").loose_or
    assert not parse("(a:b OR c:d) AND e:f").loose_or
    assert parse("word a:b").bare == ["word"]
