"""What ingest reads as one value: NaN in JSON, the spellings of one address, and blank names."""

from __future__ import annotations

import ipaddress
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.test_ingest import Bench, access, bench
from tests.pipeline.test_protect import event, written
from tocsin.contract.addresses import canonical_address
from tocsin.contract.json_text import read_json
from tocsin.pipeline.ingesting.protect import Rule
from tocsin.testing.evaluate import evaluate

__all__ = ["bench"]

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**53), 2**53),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["NaN", "-Infinity", '": NaN, "', "\\", "null"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@settings(deadline=None)
@given(VALUES)
def test_what_python_writes_is_read_with_null_for_nan(value: Any) -> None:
    """Invariant: of any value that Python writes as JSON, only the numbers that are not finite change."""
    assert read_json(json.dumps(value).encode()) == finite(value)


@pytest.mark.parametrize(
    "text", [b'{"a": NaN', b'{"a": NaNs}', b"NaN NaN", b'{"a": "\xff NaN"}', b"[" * 9999 + b"NaN"]
)
def test_other_text_with_nan_in_it_is_not_json(text: bytes) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        read_json(text)


def test_a_call_with_nan_among_its_features_is_an_event(bench: Bench) -> None:
    call = {
        "tocsin": {
            "model": {"name": "credit"},
            "features": {"names": "a,b,c", "values": [1.0, math.nan, -math.inf]},
        }
    }
    lines = [
        {**access(), **call},
        {**access(event={"id": "2"}, user={"id": "NaN"}), **call},
    ]
    assert bench.take(*lines, stream="inference").accepted == 2
    first, second = sorted(bench.rows("inference"), key=lambda row: row["event.id"])
    assert first["tocsin.features.values"][0] == 1.0
    assert all(math.isnan(value) for value in first["tocsin.features.values"][1:])
    assert second["user.id"] == "NaN"


ADDRESS = "192.0.2.1"
SPELLINGS = [
    "192.0.2.1",
    "::ffff:192.0.2.1",
    "::FFFF:192.0.2.1",
    "::ffff:c000:201",
    "0:0:0:0:0:ffff:c000:0201",
    "0000:0000:0000:0000:0000:ffff:192.0.2.1",
    "[::ffff:192.0.2.1]",
    "[::ffff:192.0.2.1]:443",
    "192.0.2.1:51234",
    " 192.0.2.1 ",
]


@pytest.mark.parametrize("dotted", [True, False])
def test_all_spellings_of_an_address_are_one(bench: Bench, dotted: bool) -> None:
    """The fast decoder reads nested events, the lenient one dotted events; collectors that return events use it, too."""
    given: list[dict[str, Any]] = [
        {"source.ip": text} if dotted else {"source": {"ip": text}} for text in [*SPELLINGS, "no address"]
    ]
    bench.take(*(access(event={"id": str(i), "action": "read"}, **more) for i, more in enumerate(given)))
    assert {row["source.ip"] for row in bench.rows()} == {ADDRESS, "no address"}


def test_all_spellings_of_an_address_have_one_pseudonym(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Rule("source.ip", "pseudonymize"))
    bench.take(*(access(event={"id": str(i)}, source={"ip": text}) for i, text in enumerate(SPELLINGS)))
    bench.take(
        *({**access(event={"id": f"b{i}"}), "source.ip": text} for i, text in enumerate(SPELLINGS)), key=2
    )
    found = {row["source.ip"] for row in bench.rows()}
    assert len(found) == 1
    assert ADDRESS not in found


@settings(deadline=None)
@given(st.ip_addresses())
def test_every_way_to_write_an_address_gives_its_one_spelling(address: Any) -> None:
    """Invariant: the canonical form of every spelling is the same, and its own canonical form."""
    if address.version == 4:
        spellings = [
            str(address),
            f"::ffff:{address}",
            f"{address}:80",
            f"::FFFF:{int(address) >> 16:x}:{int(address) & 0xFFFF:X}",
        ]
        mapped = address
    else:
        mapped = address.ipv4_mapped or address
        spellings = [
            str(address),
            address.exploded,
            address.exploded.upper(),
            f"[{address}]:80",
            f"{address}%eth0",
        ]
    assert {canonical_address(text) for text in spellings} == {str(mapped)}
    assert canonical_address(str(mapped)) == str(mapped)


@given(st.text())
def test_what_is_no_address_is_left_as_it_is(text: str) -> None:
    found = canonical_address(text)
    assert found is None or ipaddress.ip_address(found)
    assert msgspec.json.encode(found)


NO_INK = st.text(" \t\n\u00a0\u200b\u200d\u2060\ufeff\u00ad\u202e\u3000\u3164\u2800\u0301", max_size=6)
WHO = ("user.id", "user.name", "source.ip")


@settings(deadline=None, max_examples=50)
@given(NO_INK, st.sampled_from(WHO), st.booleans(), st.booleans())
def test_a_name_without_a_visible_character_is_no_name(
    name: str, column: str, nested: bool, pseudonymized: bool
) -> None:
    """Invariant: whatever the form of the event and its protection, nobody is a subject without a visible name."""
    first, last = column.split(".")
    fields: dict[str, Any] = {first: {last: name}} if nested else {column: name}
    rules = (Rule(column, "pseudonymize"),) if pseudonymized else ()
    (row,) = written(event(**fields), rules=rules)
    assert column not in row


@settings(deadline=None, max_examples=50)
@given(NO_INK, st.sampled_from("a-0_é中"), NO_INK)
def test_a_name_with_a_visible_character_stays_as_it_is_written(before: str, ink: str, after: str) -> None:
    (row,) = written(event(user={"id": f"{before}{ink}{after}"}), rules=())
    assert row["user.id"] == f"{before}{ink}{after}"


@pytest.mark.parametrize("blank", ["", "\u200b"])
@pytest.mark.parametrize("detector", ["registry_access", "query_budget", "principal_spelling"])
def test_detectors_judge_events_with_a_blank_name_as_those_without_one(detector: str, blank: str) -> None:
    def frames(user: str | None, start: datetime, days: int) -> dict[str, pl.DataFrame]:
        times = [start + timedelta(hours=h) for h in range(24 * days)]
        who = ["ana" if h % 2 else user for h in range(len(times))]
        common = {"@timestamp": times, "event.id": [f"{start}{h}" for h in range(len(times))], "user.id": who}
        common |= {"source.ip": ["192.0.2.1"] * len(times)}
        calls = {"tocsin.model.name": "m", "tocsin.features.names": "a,b"}
        values = [[float(h % 7), float(h % 5)] for h in range(len(times))]
        inference = pl.DataFrame(common).with_columns(pl.lit(v).alias(n) for n, v in calls.items())
        inference = inference.with_columns(pl.Series("tocsin.features.values", values))
        access = pl.DataFrame(common).with_columns(
            pl.lit("read").alias("event.action"),
            pl.Series("tocsin.resource.id", [f"r{h % 3}" for h in range(len(times))]),
        )
        return {"inference": inference, "access": access}

    start = datetime(2026, 1, 5, tzinfo=UTC)
    past = frames(None, start, 60)
    now = [
        evaluate(detector, frames(name, start + timedelta(days=60), 2), baseline=past)
        .scores.drop("score")
        .to_dicts()
        for name in (None, blank)
    ]
    assert now[0] == now[1]
    assert not [row for row in now[1] if row["subject.id"] == blank]
