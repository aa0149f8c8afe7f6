"""MITRE ATLAS techniques and tactics. `atlas.json` contains the ids and names of one ATLAS version for validation."""

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
    """The name of a technique.

    Raises:
        KeyError: ATLAS has no such technique. If the technique was retired, the message names its successor.
    """
    if technique in _content()["techniques"]:
        return str(_content()["techniques"][technique])
    successor = _content()["retired"].get(technique)
    hint = f"; it was retired, use {successor}" if successor else ""
    raise KeyError(f"ATLAS {version()} has no technique {technique}{hint}")


def places(technique: str) -> list[str]:
    """The cells of the ATLAS matrix that contain a technique, one for each of its tactics.

    A cell is written as `06 Persistence › AML.T0020 Training Data Poisoning`. The number is the position of the
    tactic from left to right, so that cells sort as in the matrix. An unknown technique sorts after all tactics.
    """
    tactics = list(_content()["tactics"])
    try:
        label, own = f"{technique} {name(technique)}", _content()["tactics_of"][technique]
    except KeyError:
        return [f"{len(tactics):02} not in ATLAS {version()} › {technique}"]
    return [f"{tactics.index(id):02} {_content()['tactics'][id]} › {label}" for id in own]
