"""Reads a YAML file into plain values with line numbers, for errors that name file and line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from tocsin.clock import parse_time
from tocsin.config.params import unknown
from tocsin.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Node:
    """A mapping in a YAML file: its values and line numbers by key."""

    path: Path
    line: int
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def error(self, message: str, key: str = "") -> ConfigError:
        """An error at the line of a key, or of the mapping."""
        return ConfigError(message, self.path, self.lines.get(key, self.line), key)

    def only(self, known: Iterable[str], required: Iterable[str] = ()) -> None:
        """Check that no key is unknown and no required key is missing.

        Raises:
            ConfigError: a key is unknown or missing; for an unknown one, the error names the nearest known key.
        """
        names = list(known)
        for key in self.values:
            if key not in names:
                raise self.error(unknown(key, names), key)
        for key in required:
            if self.values.get(key) in (None, "", []):
                raise self.error(f"{key} is missing")

    def text(self, key: str) -> str:
        """A text without surrounding white space; empty if the key is missing.

        Raises:
            ConfigError: the value is not text.
        """
        value = self.values.get(key, "")
        if not isinstance(value, str):
            raise self.error(f"{key} must be text, not {value!r}", key)
        return value.strip()

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty if the key is missing.

        Raises:
            ConfigError: the value is not a list of texts.
        """
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(f"{key} must be a list of texts", key)
        return tuple(item.strip() for item in value)

    def time(self, key: str) -> datetime:
        """A time.

        Raises:
            ConfigError: the value is not a time.
        """
        try:
            return parse_time(self.text(key))
        except ValueError as error:
            raise self.error(f"{key}: {error}", key) from None

    def nodes(self, key: str) -> dict[str, Node]:
        """A mapping of mappings, in the order of the file.

        Raises:
            ConfigError: the value is not a mapping of mappings.
        """
        value = self.values.get(key)
        if not isinstance(value, Node) or not all(isinstance(item, Node) for item in value.values.values()):
            raise self.error(f"{key} must be a mapping of mappings", key)
        return dict(value.values)


def read(path: Path) -> Node:
    """Read a YAML file whose top is a mapping.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or contains a key twice.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", path) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ConfigError(f"not YAML: {error.problem}", path, mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", path) from None
    node = _plain(root, path)
    if not isinstance(node, Node):
        raise ConfigError("a playbook must be a mapping", path, 1)
    return node


class _Loader(yaml.SafeLoader):
    """Does not convert times: they stay text and are parsed by `Node.time`."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _plain(node: Any, path: Path) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, path) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        return yaml.constructor.SafeConstructor().construct_object(node) if node is not None else None
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = str(key.value)
        if name in values:
            raise ConfigError(f"key {name!r} is given twice; remove one", path, line, name)
        values[name], lines[name] = _plain(value, path), line
    return Node(path, node.start_mark.line + 1, values, lines)
