"""What Tocsin knows of ATLAS is what ATLAS says."""

from __future__ import annotations

import json

import pytest

from tests.conftest import SHARED, missing
from tocsin.contract import atlas


def test_a_technique_stands_under_each_of_its_tactics() -> None:
    assert atlas.places("AML.T0020") == ["06 Persistence › AML.T0020 Training Data Poisoning"]
    assert [place.partition(" › ")[0] for place in atlas.places("AML.T0012")] == [
        "03 Initial Access",
        "07 Privilege Escalation",
        "11 Lateral Movement",
    ]


def test_one_that_atlas_does_not_have_stands_behind_all() -> None:
    assert atlas.places("AML.T9999") == ["16 not in ATLAS 2026.09 › AML.T9999"]


def test_names_and_tactics_are_those_of_the_release() -> None:
    path = SHARED / "atlas" / "techniques-2026.09.json"
    if not path.exists():
        missing(f"{path} is not there")
    released = json.loads(path.read_text())
    tactics = list(released["tactics"])
    for technique in released["techniques"]:
        numbers = sorted(tactics.index(id) for id in technique["tactics"])
        assert atlas.places(technique["id"]) == [
            f"{number:02} {released['tactics'][tactics[number]]} › {technique['id']} {atlas.name(technique['id'])}"
            for number in numbers
        ]
        assert atlas.name(technique["id"]).endswith(technique["name"])


@pytest.mark.parametrize("old", ["AML.T0019", "AML.T0045"])
def test_a_retired_one_names_its_successor(old: str) -> None:
    with pytest.raises(KeyError, match="it was retired, use AML"):
        atlas.name(old)
