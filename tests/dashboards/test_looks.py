"""The colors of series whose names come from the data."""

from __future__ import annotations

import re
import string

import pytest

from tests.dashboards.lint_looks import PALETTE
from tocsin_dashboards import looks


def look(name: str) -> tuple[str, bool]:
    """The color and whether the line is dotted, as Grafana applies the overrides to a series."""
    color, dotted = "", False
    for pattern, properties in looks.by_name(dotted=True):
        body, flags = pattern[1:].rsplit("/", 1)
        assert flags == "i"
        if re.search(body, name, re.IGNORECASE):
            for found in properties:
                dotted = dotted or found.id_val == "custom.lineStyle"
                if found.id_val == "color":
                    assert not color, name
                    color = found.value["fixedColor"]  # type: ignore[index]
    return color, dotted


def test_numbered_names_differ() -> None:
    assert len({look(f"broker-{n:02}") for n in range(1, 8)}) == 7
    assert look("broker-03") != look("broker-13")
    assert len({look(f"{version}")[0] for version in range(1, 8)}) == 7


@pytest.mark.parametrize("last", [*string.ascii_letters, *string.digits])
def test_every_name_has_exactly_one_color(last: str) -> None:
    assert {
        look(name)[0].lower() for name in (last, f"x-{last}", f"{last}-x", f"{last}1", f"1{last}")
    } <= PALETTE


def test_red_is_left_to_the_threshold() -> None:
    colors = {look(name)[0] for name in string.ascii_lowercase + string.digits}
    assert len(colors) == 7
    assert looks.RED not in colors
