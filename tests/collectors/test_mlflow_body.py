"""Names from the bodies of requests to MLflow's registry."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin_collectors._mlflow_body import NAMES, with_body

PATH = "/api/2.0/mlflow/model-versions/delete"


def escaped(text: str) -> str:
    r"""A text as nginx writes it: `\xHH` for quotation marks, backslashes and what is not printable ASCII."""
    return "".join(
        chr(b) if 32 <= b < 127 and chr(b) not in '"\\' else f"\\x{b:02X}"
        for b in text.encode("utf-8", "surrogatepass")
    )


@given(
    st.dictionaries(
        st.sampled_from([*NAMES, "key", "source"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    )
)
def test_the_names_of_any_body_come_back(body: dict[str, str]) -> None:
    wanted = {key: value for key, value in body.items() if key in NAMES}
    assert with_body("DELETE", PATH, {}, escaped(json.dumps(body))) == wanted
    assert with_body("DELETE", PATH, {}, escaped(json.dumps(body, ensure_ascii=False))) == wanted


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    found = with_body("POST", PATH, {"name": "kept"}, text)
    assert set(found) <= {*NAMES}


@given(st.integers(1, 60))
def test_a_body_that_is_cut_keeps_the_names_before_the_cut(end: int) -> None:
    body = json.dumps({"name": "credit", "version": "3", "description": "x" * 50})
    found = with_body("POST", PATH, {}, escaped(body[:end]))
    assert found.items() <= {"name": "credit", "version": "3"}.items()
    assert ("name" in found) == (end >= len('{"name": "credit"'))


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "expected"),
    [
        ("DELETE", PATH, {"name": "decoy"}, '{"name": "credit"}', {"name": "credit"}),
        ("GET", PATH, {"name": "credit"}, '{"name": "decoy"}', {"name": "credit"}),
        ("GET", PATH, {}, '{"name": "credit"}', {"name": "credit"}),
        ("DELETE", PATH, {}, '{"name": "decoy", "name": "credit"}', {"name": "credit"}),
        ("DELETE", PATH, {}, '{"name": "decoy", "name": "credit", "x', {"name": "credit"}),
        ("DELETE", PATH, {}, r'{"na\u006de": "credit"}'.replace("\\", "\\x5C"), {"name": "credit"}),
        (
            "POST",
            PATH,
            {},
            '{"name": {"a": 1}, "version": 3, "alias": null, "stage": true}',
            {"version": "3"},
        ),
        ("POST", PATH, {}, "[1, 2]", {}),
        ("POST", "/api/2.0/mlflow/users/create", {}, '{"name": "x"}', {}),
        ("POST", "/api/2.0/mlflow-artifacts/artifacts/x", {}, '{"name": "x"}', {}),
        ("POST", PATH, {}, "", {}),
    ],
)
def test_which_parameters_count(
    method: str, path: str, query: dict[str, str], body: str, expected: dict[str, str]
) -> None:
    assert with_body(method, path, query, body) == expected
