"""Builds a params dataclass from plain values. An error names the setting that is wrong."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints

from tocsin.errors import ConfigError


def build(type_: type[Any], values: Mapping[str, Any]) -> Any:
    """Create an instance of a params dataclass from values by name.

    Raises:
        ConfigError: a key is unknown (the message suggests the nearest known key), a required key is missing, or a
            value has the wrong type or is out of bounds. The error's `key` names the setting.
    """
    hints = get_type_hints(type_)
    fields = {f.name: f for f in dataclasses.fields(type_)}
    for name in values:
        if name not in fields:
            raise ConfigError(unknown(name, fields), key=name)
    arguments = {}
    for name, field in fields.items():
        if name in values:
            arguments[name] = _value(name, values[name], hints[name], field.metadata)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"setting {name!r} is missing: {field.metadata.get('doc', '')}", key=name)
    return type_(**arguments)


def unknown(name: str, known: Any, what: str = "key") -> str:
    """The error message for an unknown name, with the nearest known name or all of them."""
    near = difflib.get_close_matches(name, list(known), 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known)) or 'none'}"
    return f"unknown {what} {name!r}{hint}"


def _value(name: str, value: Any, hint: Any, metadata: Mapping[str, Any]) -> Any:
    value = _typed(name, value, hint)
    ge, le, choices = metadata.get("ge"), metadata.get("le"), metadata.get("choices")
    if ge is not None and value is not None and value < ge:
        raise ConfigError(f"{name} is {value}; it must be at least {ge}", key=name)
    if le is not None and value is not None and value > le:
        raise ConfigError(f"{name} is {value}; it must be at most {le}", key=name)
    if choices and value not in choices:
        raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(choices)}", key=name)
    return value


def _typed(name: str, value: Any, hint: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None and type(None) in arguments else _one_of(name, value, arguments)
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{name} must be a list", key=name)
        return origin(_typed(name, item, arguments[0]) for item in value)
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} must be a mapping", key=name)
        return dict(value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _nested(name, value, hint)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"{name} is {value}; it must be a finite number", key=name)
        return float(value)
    if hint is not Any and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise ConfigError(f"{name} is {value!r}; it must be {_WORDS.get(hint, hint.__name__)}", key=name)
    return value


def _one_of(name: str, value: Any, hints: Sequence[Any]) -> Any:
    """A value of a union type: a mapping becomes the union's dataclass, any other value its first type."""
    nested = next((hint for hint in hints if dataclasses.is_dataclass(hint)), None)
    if isinstance(value, Mapping) and isinstance(nested, type):
        return _nested(name, value, nested)
    return _typed(name, value, next(hint for hint in hints if hint is not type(None)))


def _nested(name: str, value: Any, hint: type[Any]) -> Any:
    """A setting whose type is a dataclass. Errors do not show the value, which may be a secret put there by mistake."""
    if not isinstance(value, Mapping):
        known = ", ".join(f.name for f in dataclasses.fields(hint))
        raise ConfigError(f"{name} must be a mapping; its keys are {known}", key=name)
    try:
        return build(hint, value)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}", key=f"{name}.{error.key}".rstrip(".")) from None


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
