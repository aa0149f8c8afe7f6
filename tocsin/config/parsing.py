"""Parses YAML text into plain values and records the line of every value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tocsin.config.settings import Place
from tocsin.errors import ConfigError

_MAX_VALUES = 100_000


def parse(text: str, path: Path | None, lines: dict[Place, int]) -> Any:
    """Parse YAML into plain values and fill `lines` with the line of every value.

    Dates and times are returned as text. Empty YAML is returned as an empty mapping.

    Raises:
        ConfigError: the text is not YAML, is nested too deeply, or contains more than 100,000 values.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return {} if node is None else _value(node, (), path, lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(
            f"the text is not valid YAML: {getattr(error, 'problem', error)}",
            path,
            mark.line + 1 if mark else None,
        ) from None
    except RecursionError:
        raise ConfigError(
            "the YAML is nested too deeply, or an alias refers to a value that contains the alias", path, 1
        ) from None


def _value(node: yaml.Node, place: Place, path: Path | None, lines: dict[Place, int]) -> Any:
    lines.setdefault(place, node.start_mark.line + 1)
    if len(lines) > _MAX_VALUES:  # a small file of nested aliases can expand to more than memory holds
        raise ConfigError(
            f"the YAML contains more than {_MAX_VALUES:,} values; do not nest aliases in aliases",
            path,
            node.start_mark.line + 1,
        )
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in found:
                raise ConfigError(
                    f"key {key!r} appears twice; remove one of the two",
                    path,
                    key_node.start_mark.line + 1,
                    key,
                )
            lines[(*place, key)] = key_node.start_mark.line + 1
            found[key] = _value(value_node, (*place, key), path, lines)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*place, i), path, lines) for i, item in enumerate(node.value)]
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        why = getattr(error, "problem", None) or error
        raise ConfigError(
            f"{node.value!r} is not a valid YAML value: {why}", path, node.start_mark.line + 1
        ) from None
    return value if value is None or isinstance(value, bool | int | float | str) else str(node.value)
