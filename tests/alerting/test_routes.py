"""The route tree: Alertmanager's semantics, and an error with its place for every invalid setting."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.contract.alerts import LABELS
from tocsin.contract.findings import Severity
from tocsin.errors import ConfigError
from tocsin_alerting.routes import Matcher, parse_route

ALERT = {
    "namespace": "default",
    "detector": "label_poisoning",
    "subject_type": "dataset",
    "subject_id": "applications",
    "severity": "high",
    "technique": "AML.T0020,AML.T0059",
    "verdict": "pipeline change",
}


def parse(matchers: list[str]) -> tuple[Matcher, ...]:
    route = parse_route({"receiver": "all", "routes": [{"matchers": matchers}]})
    return route.routes[0].matchers


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ('detector="label_poisoning"', True),
        ("detector = label_poisoning", True),
        ("detector!=label_poisoning", False),
        ('subject_id=~"app.*"', True),
        ('subject_id=~"app"', False),  # all of the value must match
        ('subject_id!~"app"', True),
        ("severity=high", True),
        ("severity>=high", True),
        ("severity>=critical", False),
        ("severity >= info", True),
        ("technique=AML.T0059", True),  # one of them
        ("technique!=AML.T0059", False),  # none of them
        ('technique=~"AML[.]T00.*"', True),
        ('subject_id="a \\"b\\""', False),
        ('verdict="pipeline change"', True),
        ("verdict!=attack", True),
    ],
)
def test_matchers(text: str, hit: bool) -> None:
    (matcher,) = parse([text])
    assert matcher.matches(ALERT) is hit


def names(tree: dict[str, Any], **labels: str) -> list[str]:
    return [route.receiver for route in parse_route(tree).match(ALERT | labels)]


TREE = {
    "receiver": "all",
    "routes": [
        {"matchers": ["subject_type=model"], "receiver": "models"},
        {"matchers": ["severity>=high"], "receiver": "archive", "continue": True},
        {
            "matchers": ["severity>=medium"],
            "receiver": "soc",
            "routes": [{"matchers": ["severity>=critical"], "receiver": "pager"}],
        },
        {"matchers": ["severity>=low"], "receiver": "never, the one above matches"},
    ],
}


def test_the_first_child_that_matches_has_it_unless_it_says_continue() -> None:
    assert names(TREE) == ["archive", "soc"]
    assert names(TREE, severity="critical") == ["archive", "pager"]
    assert names(TREE, severity="medium") == ["soc"]
    assert names(TREE, subject_type="model") == ["models"]
    assert names(TREE, severity="info") == ["all"]


def test_what_a_node_leaves_out_it_inherits() -> None:
    root = parse_route(
        {
            "receiver": "all",
            "group_by": ["detector"],
            "group_wait": "10s",
            "routes": [
                {
                    "matchers": ["severity>=high"],
                    "playbook": "p",
                    "group_wait": "0s",
                    "routes": [{"matchers": ["detector=x"], "group_by": []}],
                }
            ],
        }
    )
    child = root.routes[0].routes[0]
    assert (child.receiver, child.playbook, child.group_by) == ("all", "p", ())
    assert (child.group_wait, child.group_interval) == (timedelta(0), timedelta(minutes=5))
    assert child.key == '{}/{severity>="high"}/{detector="x"}'


def test_group_labels() -> None:
    root = parse_route({"receiver": "all", "group_by": ["detector", "severity"]})
    assert root.group_labels(ALERT) == {"detector": "label_poisoning", "severity": "high"}
    every = parse_route({"receiver": "all", "group_by": ["..."]})
    assert "severity" not in every.group_labels(ALERT)  # a group must not change with the severity
    assert every.group_labels(ALERT)["subject_id"] == "applications"


matchers = st.one_of(
    st.builds(
        lambda label, op, value: f'{label}{op}"{value}"',
        st.sampled_from([name for name in LABELS if name != "severity"]),
        st.sampled_from(["=", "!=", "=~", "!~"]),
        st.sampled_from(["label_poisoning", "dataset", ".*", "x"]),
    ),
    st.builds(lambda s: f"severity>={s}", st.sampled_from(list(Severity))),
)
nodes = st.recursive(
    st.fixed_dictionaries(
        {"matchers": st.lists(matchers, max_size=2)}, optional={"receiver": st.sampled_from("abc")}
    ),
    lambda inner: st.fixed_dictionaries(
        {
            "matchers": st.lists(matchers, max_size=2),
            "continue": st.booleans(),
            "routes": st.lists(inner, max_size=3),
        },
        optional={"receiver": st.sampled_from("abc")},
    ),
    max_leaves=8,
)


@settings(max_examples=50)
@given(
    st.lists(nodes, max_size=4),
    st.fixed_dictionaries(
        {name: st.text(max_size=5) for name in LABELS}
        | {"severity": st.sampled_from([s.value for s in Severity])}
    ),
)
def test_every_alert_reaches_a_receiver(children: list[Any], labels: dict[str, str]) -> None:
    reached = parse_route({"receiver": "root", "routes": children}).match(labels)
    assert reached
    assert all(route.receiver for route in reached)


BAD: list[tuple[Any, str, str]] = [
    ([], "route", "a route must be a mapping"),
    ({}, "route", "the root route has no receiver"),
    ({"receiver": "b"}, "route.receiver", "unknown receiver 'b'; known: a, oncall"),
    ({"receiver": "a", "matchers": ["severity=low"]}, "route.matchers", "must match every alert"),
    ({"receiver": "a", "continue": True}, "route.continue", "must match every alert"),
    ({"receiver": "a", "group_bye": []}, "route.group_bye", "did you mean 'group_by'?"),
    ({"receiver": "a", "group_by": "detector"}, "route.group_by", "must be a list"),
    ({"receiver": "a", "group_by": ["detectr"]}, "route.group_by.0", "did you mean 'detector'?"),
    ({"receiver": "a", "group_wait": "soon"}, "route.group_wait", "'soon' is not a length of time"),
    ({"receiver": "a", "group_interval": "0s"}, "route.group_interval", "must be longer than 0"),
    ({"receiver": "a", "repeat_interval": "1m"}, "route.repeat_interval", "shorter than group_interval"),
    ({"receiver": "a", "routes": "x"}, "route.routes", "must be a list"),
    (
        {"receiver": "a", "routes": [{"receiver": "oncal"}]},
        "route.routes.0.receiver",
        "did you mean 'oncall'?",
    ),
    (
        {"receiver": "a", "routes": [{"playbook": "drift"}]},
        "route.routes.0.playbook",
        "unknown playbook 'drift'",
    ),
    ({"receiver": "a", "routes": [{"continue": "yes"}]}, "route.routes.0.continue", "must be true or false"),
    ({"receiver": "a", "routes": [{"matchers": ["x"]}]}, "route.routes.0.matchers.0", "'x' is not a matcher"),
    (
        {"receiver": "a", "routes": [{"matchers": ["team=x"]}]},
        "route.routes.0.matchers.0",
        "unknown label 'team'",
    ),
    (
        {"receiver": "a", "routes": [{"matchers": ["detector>=x"]}]},
        "route.routes.0.matchers.0",
        "only severity has an order",
    ),
    (
        {"receiver": "a", "routes": [{"matchers": ["severity>=bad"]}]},
        "route.routes.0.matchers.0",
        "severity is one of info, low",
    ),
    (
        {"receiver": "a", "routes": [{"matchers": ['detector=~"["']}]},
        "route.routes.0.matchers.0",
        "not a regular expression",
    ),
]


@pytest.mark.parametrize(("values", "key", "message"), BAD)
def test_a_mistake_is_named_with_its_place(values: Any, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_route(values, ["a", "oncall"], ["model-drift"])
    assert error.value.key == key
    assert message in str(error.value)
