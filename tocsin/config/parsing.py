"""YAML text as plain values, with the line of every value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tocsin.config.settings import Place
from tocsin.errors import ConfigError

_MOST = 100_000  # values in a configuration


def parse(text: str, path: Path | None, lines: dict[Place, int]) -> Any:
    """YAML as plain values, a time as its text; `lines` gets the line of every one. An empty text is a mapping.

    Raises:
        ConfigError: it is not YAML, or holds more than a configuration does.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return {} if node is None else _value(node, (), path, lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(
            f"is not YAML: {getattr(error, 'problem', error)}", path, mark.line + 1 if mark else None
        ) from None
    except RecursionError:
        raise ConfigError(
            "is nested too deeply, or an alias stands for what it is part of", path, 1
        ) from None


def _value(node: yaml.Node, place: Place, path: Path | None, lines: dict[Place, int]) -> Any:
    lines.setdefault(place, node.start_mark.line + 1)
    if len(lines) > _MOST:  # aliases of aliases
        raise ConfigError(f"holds more than {_MOST:,} values", path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in found:
                raise ConfigError(f"key {key!r} is given twice", path, key_node.start_mark.line + 1, key)
            lines[(*place, key)] = key_node.start_mark.line + 1
            found[key] = _value(value_node, (*place, key), path, lines)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*place, i), path, lines) for i, item in enumerate(node.value)]
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        why = getattr(error, "problem", None) or error
        raise ConfigError(f"{node.value!r} cannot be read: {why}", path, node.start_mark.line + 1) from None
    return value if value is None or isinstance(value, bool | int | float | str) else str(node.value)
