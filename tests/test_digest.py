"""Digests of datasets: an independent implementation of the format, and what must not and must change it."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import math
import struct
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tocsin.datasets.digest import digest_file, digest_frame, read_snapshot, verified_snapshot
from tocsin.errors import SnapshotError

COLUMNS = {
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.UInt8: st.integers(0, 255),
    pl.Float64: st.floats(),
    pl.Boolean: st.booleans(),
    pl.String: st.text(max_size=8),
    pl.Datetime("us"): st.datetimes(),
    pl.Date: st.dates(),
}


@st.composite
def frames(draw):
    count = draw(st.integers(1, 12))
    return pl.DataFrame(
        [
            pl.Series(
                f"c{i}",
                draw(st.lists(st.none() | COLUMNS[dtype], min_size=count, max_size=count)),
                dtype=dtype,
            )
            for i, dtype in enumerate(draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=4)))
        ]
    )


def reference(frame, types):
    """The format of `tocsin.datasets.digest`, value by value."""
    sha = hashlib.sha256(b"tocsin.dataset.1\n")
    for start in range(0, len(frame), 65_536):
        block = frame[start : start + 65_536]
        sha.update(struct.pack("<Q", len(block)))
        for (_, type_), series in zip(types, block.iter_columns(), strict=True):
            values = series.to_list()
            bits = sum(1 << i for i, v in enumerate(values) if v is not None)
            sha.update(bits.to_bytes((len(values) + 7) // 8, "little"))
            present = [v for v in values if v is not None]
            sha.update(encoded(present, type_))
    sha.update(struct.pack("<Q", 0))
    sha.update(json.dumps([list(t) for t in types], separators=(",", ":"), ensure_ascii=False).encode())
    return f"sha256:{sha.hexdigest()}"


def encoded(values, type_):
    match type_:
        case "integer":
            return b"".join(struct.pack("<q", v) for v in values)
        case "unsigned":
            return b"".join(struct.pack("<Q", v) for v in values)
        case "number":
            return b"".join(
                bytes.fromhex("000000000000f87f") if math.isnan(v) else struct.pack("<d", v or 0.0)
                for v in values
            )
        case "boolean":
            return bytes(values)
        case "null":
            return b""
        case "date":
            return b"".join(
                struct.pack("<q", (v - dt.date(1970, 1, 1)).days * 86_400_000_000) for v in values
            )
        case "datetime":
            second = dt.timedelta(microseconds=1)
            return b"".join(struct.pack("<q", (v - dt.datetime(1970, 1, 1)) // second) for v in values)  # noqa: DTZ001
        case "text":
            texts = [v.encode() for v in values]
            return b"".join(struct.pack("<Q", len(t)) for t in texts) + b"".join(texts)
    raise AssertionError(type_)


WORDS = {
    pl.Int64: "integer", pl.UInt8: "integer", pl.UInt64: "unsigned", pl.Float64: "number",
    pl.Boolean: "boolean", pl.String: "text", pl.Date: "date", pl.Datetime("us"): "datetime",
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(frames())
def test_the_format_is_what_the_docs_say(frame):
    types = [
        (name, "null" if series.null_count() == len(series) else WORDS[series.dtype])
        for name, series in zip(frame.columns, frame.iter_columns(), strict=True)
    ]
    assert digest_frame(frame) == reference(frame, types)


def test_a_frame_of_several_blocks():
    frame = pl.DataFrame({"i": range(150_000), "t": [str(i) for i in range(150_000)]})
    assert digest_frame(frame) == reference(frame, [("i", "integer"), ("t", "text")])
    pieces = pl.concat([frame[:7], frame[7:70_000], frame[70_000:]], rechunk=False)
    assert digest_frame(pieces) == digest_frame(frame)


def test_unsigned_numbers():
    frame = pl.DataFrame({"u": [1, 2**64 - 1]}, schema={"u": pl.UInt64})
    assert digest_frame(frame) == reference(frame, [("u", "unsigned")])
    small = pl.DataFrame({"u": [1, 2]}, schema={"u": pl.UInt64})
    assert digest_frame(small) == digest_frame(small.cast(pl.Int8))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frame=frames(), size=st.integers(1, 20))
def test_row_groups_and_compression_do_not_count(frame, size, tmp_path):
    path = tmp_path / "a.parquet"
    frame.write_parquet(path, row_group_size=size, compression="lz4" if size % 2 else "uncompressed")
    assert digest_file(path) == digest_frame(frame)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frame=frames())
def test_csv_and_parquet_with_equal_values_have_one_digest(frame, tmp_path):
    frame.write_csv(tmp_path / "a.csv")
    read = read_snapshot(tmp_path / "a.csv").collect()
    # a CSV cannot tell the text 1 from the number 1, nor a lone line of nothing from an end of file
    assume(
        all(
            read[n].null_count() == len(frame) or read[n].dtype == _csv(frame[n].dtype) for n in frame.columns
        )
    )
    assume(len(read) == len(frame))
    assert digest_file(tmp_path / "a.csv") == digest_frame(frame)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    assert digest_file(tmp_path / "a.csv.gz") == digest_frame(frame)


def _csv(dtype):
    return pl.Int64 if dtype == pl.UInt8 else dtype


@settings(max_examples=60, deadline=None)
@given(frame=frames(), data=st.data())
def test_one_changed_cell_changes_the_digest(frame, data):
    name = data.draw(st.sampled_from(frame.columns))
    row = data.draw(st.integers(0, len(frame) - 1))
    values = frame[name].to_list()
    new = data.draw(st.none() | COLUMNS[frame[name].dtype])
    both_nan = (
        isinstance(new, float) and math.isnan(new) and values[row] is not None and math.isnan(values[row])
    )
    assume(new != values[row] and not both_nan)
    values[row] = new
    changed = frame.with_columns(pl.Series(name, values, dtype=frame[name].dtype))
    assert digest_frame(changed) != digest_frame(frame)


@pytest.mark.parametrize(
    "other",
    [
        pl.DataFrame({"a": [1, 2], "c": ["x", ""]}),
        pl.DataFrame({"b": ["x", ""], "a": [1, 2]}),
        pl.DataFrame({"a": [2, 1], "b": ["", "x"]}),
        pl.DataFrame({"a": [1.0, 2.0], "b": ["x", ""]}),
        pl.DataFrame({"a": [1, 2], "b": ["x", None]}),
        pl.DataFrame({"a": [1, 2], "b": ["", "x"]}),
        pl.DataFrame({"a": [1, 2]}),
        pl.DataFrame({"a": [1], "b": ["x"]}),
    ],
)
def test_names_order_types_and_nulls_count(other):
    assert digest_frame(other) != digest_frame(pl.DataFrame({"a": [1, 2], "b": ["x", ""]}))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (pl.Series("a", [0.0, float("nan")]), pl.Series("a", [-0.0, -float("nan")])),
        (pl.Series("a", [1, 2], dtype=pl.Int8), pl.Series("a", [1, 2], dtype=pl.Int128)),
        (pl.Series("a", [0.5], dtype=pl.Float32), pl.Series("a", [0.5])),
        (pl.Series("a", ["x"], dtype=pl.Categorical), pl.Series("a", ["x"])),
        (pl.Series("a", [None], dtype=pl.Int8), pl.Series("a", [None], dtype=pl.String)),
        (
            pl.Series("a", [1_000_000]).cast(pl.Datetime("us", "UTC")),
            pl.Series("a", [1_000_000_000]).cast(pl.Datetime("ns")),
        ),
    ],
)
def test_equal_values_of_other_types_are_equal(one, two):
    assert digest_frame(one.to_frame()) == digest_frame(two.to_frame())


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (pl.Series([1]).cast(pl.Datetime("ns")), pl.Series([2]).cast(pl.Datetime("ns"))),
        (pl.Series([1]).cast(pl.Time), pl.Series([2]).cast(pl.Time)),
        (pl.Series([1]).cast(pl.Duration("ns")), pl.Series([2]).cast(pl.Duration("ns"))),
        (pl.Series([[1, 2]]), pl.Series([[12]])),
        (pl.Series([{"a": 1}]), pl.Series([{"b": 1}])),
        (pl.Series([b"\x00"]), pl.Series([b""])),
        (pl.Series([Decimal("1.5")]), pl.Series([Decimal("1.6")])),
        (pl.Series([2**64], dtype=pl.Int128), pl.Series([0], dtype=pl.Int128)),
        (pl.Series([2**63], dtype=pl.UInt64), pl.Series([-(2**63)])),
        (pl.Series(["2026-01-01"]).str.to_date(), pl.Series(["2026-01-01"])),
    ],
)
def test_other_values_of_rare_types_are_other_digests(one, two):
    digests = {digest_frame(one.to_frame("a")), digest_frame(two.to_frame("a"))}
    assert len(digests) == 2


def test_csv_types_follow_from_the_whole_file(tmp_path):
    path = tmp_path / "a.csv"
    day = "2026-01-01"
    row = f"1,a,{day} 00:00:00,{day},10:00:00,{day}T00:00:00+01:00,{day} 00:00:00.1234567,1\n"
    path.write_text(f"i,t,when,day,clock,zoned,fine,mixed\n{row * 5000},,,,,,,x\n")
    assert read_snapshot(path).collect_schema() == {
        "i": pl.Int64,
        "t": pl.String,
        "when": pl.Datetime("us"),
        "day": pl.Date,
        "clock": pl.Time,
        "zoned": pl.Datetime("us", "UTC"),
        "fine": pl.Datetime("ns"),
        "mixed": pl.String,
    }
    path.write_text(
        "day,old\n2026-02-30,1500-01-01 00:00:00.1234567\n"
    )  # no such day; no such time in nanoseconds
    assert set(read_snapshot(path).collect_schema().values()) == {pl.String}


def test_verified_snapshot(tmp_path):
    path = tmp_path / "a.parquet"
    frame = pl.DataFrame({"a": [1, 2, 3]})
    frame.write_parquet(path)
    digest = digest_file(path)
    rows = verified_snapshot(path, digest)
    pl.DataFrame({"a": [1, 2, 4]}).write_parquet(path)
    assert_frame_equal(rows.collect(), frame)  # what was checked is what is given out
    with pytest.raises(SnapshotError, match=f"has changed since the snapshot: the digest was {digest}"):
        verified_snapshot(path, digest)
    path.unlink()
    with pytest.raises(SnapshotError, match="the file does not exist"):
        verified_snapshot(path, digest)
    with pytest.raises(SnapshotError, match="its name must end in"):
        read_snapshot(tmp_path / "a.txt")
    path.write_bytes(b"PAR1")
    with pytest.raises(SnapshotError, match="cannot be read as a dataset"):
        digest_file(path)
