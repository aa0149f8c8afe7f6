"""MITRE ATLAS techniques and tactics: ids and names, kept with their content version, so that every id is checked."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any


@functools.cache
def _content() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(files("tocsin.contract").joinpath("atlas.json").read_text())
    return content


def version() -> str:
    """The ATLAS content version, such as `2026.09`."""
    return str(_content()["version"])


def name(technique: str) -> str:
    """A technique's name.

    Raises:
        KeyError: ATLAS has no such technique; the message names its successor where it was retired.
    """
    if technique in _content()["techniques"]:
        return str(_content()["techniques"][technique])
    successor = _content()["retired"].get(technique)
    hint = f"; it was retired, use {successor}" if successor else ""
    raise KeyError(f"ATLAS {version()} has no technique {technique}{hint}")


def places(technique: str) -> list[str]:
    """Where a technique stands in the matrix: `06 Persistence › AML.T0020 Training Data Poisoning` for each of its
    tactics, which are numbered from left to right. One that ATLAS does not have stands behind all of them.
    """
    tactics = list(_content()["tactics"])
    try:
        said, own = f"{technique} {name(technique)}", _content()["tactics_of"][technique]
    except KeyError:
        return [f"{len(tactics):02} not in ATLAS {version()} › {technique}"]
    return [f"{tactics.index(id):02} {_content()['tactics'][id]} › {said}" for id in own]
