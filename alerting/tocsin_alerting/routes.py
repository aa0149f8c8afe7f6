"""The route tree: which alerts go to which receiver, with Alertmanager's terms and semantics.

An alert enters at the root and descends to the first child that matches. If that child has `continue: true`, the alert
is also tested against the following siblings. If no child matches, the alert stays at the node. A node inherits the
settings that it does not set. One operator is specific to Tocsin: `severity>=high`, because severities are ordered.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from tocsin.clock import format_length, parse_length
from tocsin.config.params import unknown
from tocsin.contract.alerts import IDENTITY, LABELS
from tocsin.contract.findings import Severity
from tocsin.errors import ConfigError

#: In `group_by`: group by all labels that identify an alert, so that every alert has its own group.
EVERY = "..."

_MATCHER = re.compile(r'\s*([\w.]+)\s*(=~|!~|!=|>=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"{},]+))\s*')
_KEYS = ("receiver", "matchers", "group_by", "playbook", "continue", "routes")
_LENGTHS = ("group_wait", "group_wait_urgent", "group_interval", "repeat_interval")
_ZERO = ("group_wait", "group_wait_urgent")  # lengths that may be 0


@dataclass(frozen=True, slots=True)
class Matcher:
    """`label op value`, with = != =~ !~ and, for severity, >=. Regular expressions match all of a value.

    `technique` may hold several values: `=` and `=~` match if one of them matches, `!=` and `!~` if none does.
    """

    label: str
    operator: str
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels match. A missing label counts as empty."""
        found = labels.get(self.label, "")
        values = found.split(",") if self.label == "technique" else [found]
        if self.operator == ">=":
            return Severity(found).rank >= Severity(self.value).rank
        if self.operator in ("=~", "!~"):
            hit = any(re.fullmatch(self.value, value) for value in values)
        else:
            hit = self.value in values
        return hit is not self.operator.startswith("!")

    def __str__(self) -> str:
        return f'{self.label}{self.operator}"{self.value}"'


@dataclass(frozen=True, slots=True)
class Route:
    """A node of the tree, with the settings inherited from its parent filled in."""

    receiver: str
    matchers: tuple[Matcher, ...] = ()
    group_by: tuple[str, ...] = ()
    group_wait: timedelta = timedelta(seconds=30)
    group_wait_urgent: timedelta = timedelta(
        0
    )  # in place of `group_wait` for a group with an alert that is urgent
    group_interval: timedelta = timedelta(minutes=5)
    repeat_interval: timedelta = timedelta(hours=4)
    playbook: str = ""
    continues: bool = False
    routes: tuple[Route, ...] = ()
    key: str = "{}"

    def match(self, labels: Mapping[str, str]) -> list[Route]:
        """The deepest nodes that an alert with these labels reaches; at the root, at least one."""
        if not all(matcher.matches(labels) for matcher in self.matchers):
            return []
        found: list[Route] = []
        for child in self.routes:
            reached = child.match(labels)
            found += reached
            if reached and not child.continues:
                break
        return found or [self]

    def group_labels(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The labels that identify an alert's group, with their values."""
        names = IDENTITY if EVERY in self.group_by else self.group_by
        return {name: labels[name] for name in names}


ROOT: Final = Route("")


def parse_route(
    values: Mapping[str, Any],
    receivers: Collection[str] | None = None,
    playbooks: Collection[str] | None = None,
    key: str = "route",
) -> Route:
    """Build the route tree from plain values.

    Args:
        values: the mapping under `route`.
        receivers: the configured names; None accepts any name.
        playbooks: the known ids; None accepts any id.
        key: the path of `values` in the configuration; the `key` of an error begins with it.

    Raises:
        ConfigError: a setting is unknown, missing or of the wrong type; `key` is its path.
    """
    if isinstance(values, Mapping):
        if not values.get("receiver"):
            raise ConfigError(
                "the root route has no receiver; set one, so that every alert has a receiver", key=key
            )
        for name in ("matchers", "continue"):
            if values.get(name):
                raise ConfigError(
                    f"the root route must match every alert; move {name} to a child route",
                    key=f"{key}.{name}",
                )
    return _node(values, ROOT, receivers, playbooks, key, root=True)


def _node(
    values: Any,
    parent: Route,
    receivers: Collection[str] | None,
    playbooks: Collection[str] | None,
    key: str,
    *,
    root: bool = False,
) -> Route:
    if not isinstance(values, Mapping):
        raise ConfigError("a route must be a mapping", key=key)
    for name in values:
        if name not in _KEYS + _LENGTHS:
            raise ConfigError(unknown(str(name), _KEYS + _LENGTHS), key=f"{key}.{name}")
    matchers = tuple(
        _matcher(text, f"{key}.matchers.{i}") for i, text in enumerate(_texts(values, "matchers", key))
    )
    node = Route(
        receiver=_known(values, "receiver", parent.receiver, receivers, key),
        matchers=matchers,
        group_by=_group_by(values, key) if "group_by" in values else parent.group_by,
        group_wait=_length(values, "group_wait", parent.group_wait, key),
        group_wait_urgent=_length(values, "group_wait_urgent", parent.group_wait_urgent, key),
        group_interval=_length(values, "group_interval", parent.group_interval, key),
        repeat_interval=_length(values, "repeat_interval", parent.repeat_interval, key),
        playbook=_known(values, "playbook", parent.playbook, playbooks, key),
        continues=_flag(values, "continue", key),
        key=parent.key if root else f"{parent.key}/{{{','.join(map(str, matchers))}}}",
    )
    if node.repeat_interval < node.group_interval:
        raise ConfigError(
            f"repeat_interval {format_length(node.repeat_interval)} is shorter than group_interval "
            f"{format_length(node.group_interval)}; make it at least as long",
            key=f"{key}.repeat_interval" if "repeat_interval" in values else key,
        )
    children = values.get("routes") or []
    if not isinstance(children, Sequence) or isinstance(children, str):
        raise ConfigError("routes must be a list", key=f"{key}.routes")
    below = (_node(c, node, receivers, playbooks, f"{key}.routes.{i}") for i, c in enumerate(children))
    return replace(node, routes=tuple(below))


def _matcher(text: str, key: str) -> Matcher:
    parsed = _MATCHER.fullmatch(text)
    if parsed is None:
        raise ConfigError(
            f'{text!r} is not a matcher; write one like detector="label_poisoning" or severity>=high',
            key=key,
        )
    label, operator, quoted, bare = parsed.groups()
    value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    if label not in LABELS:
        raise ConfigError(unknown(label, LABELS).replace("key", "label", 1), key=key)
    if operator == ">=" and label != "severity":
        raise ConfigError(f"{text!r}: only severity has an order; use =, !=, =~ or !~", key=key)
    if operator in ("=~", "!~"):
        try:
            re.compile(value)
        except re.error as error:
            raise ConfigError(f"{text!r}: not a regular expression: {error}", key=key) from None
    elif label == "severity" and value not in list(Severity):
        raise ConfigError(f"{text!r}: severity is one of {', '.join(Severity)}", key=key)
    return Matcher(label, operator, value)


def _texts(values: Mapping[str, Any], name: str, key: str) -> list[str]:
    found = values.get(name) or []
    if not isinstance(found, list | tuple) or not all(isinstance(item, str) for item in found):
        raise ConfigError(f"{name} must be a list of texts", key=f"{key}.{name}")
    return list(found)


def _group_by(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = _texts(values, "group_by", key)
    for i, name in enumerate(names):
        if name not in (*LABELS, EVERY):
            raise ConfigError(unknown(name, LABELS).replace("key", "label", 1), key=f"{key}.group_by.{i}")
    return tuple(names)


def _length(values: Mapping[str, Any], name: str, inherited: timedelta, key: str) -> timedelta:
    if name not in values:
        return inherited
    try:
        length = parse_length(str(values[name]))
    except ValueError as error:
        raise ConfigError(f"{name}: {error}", key=f"{key}.{name}") from None
    if not length and name not in _ZERO:
        raise ConfigError(f"{name} must be longer than 0", key=f"{key}.{name}")
    return length


def _known(
    values: Mapping[str, Any], name: str, inherited: str, known: Collection[str] | None, key: str
) -> str:
    value = values.get(name, inherited)
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be a name", key=f"{key}.{name}")
    if value and known is not None and value not in known:
        raise ConfigError(unknown(value, known).replace("key", name, 1), key=f"{key}.{name}")
    return value


def _flag(values: Mapping[str, Any], name: str, key: str) -> bool:
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false", key=f"{key}.{name}")
    return value
