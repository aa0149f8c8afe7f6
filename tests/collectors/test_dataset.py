"""The dataset collector: snapshots, profiles without personal data, sidecars, garbage."""

from __future__ import annotations

import gzip
import json
import os

import msgspec
import numpy as np
import polars as pl
import pytest

from tocsin.datasets.digest import digest_file
from tocsin.errors import ConfigError
from tocsin_collectors._profile import profile
from tocsin_collectors.dataset import Dataset


@pytest.fixture
def frame():
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "limit": rng.normal(size=500),
            "age": rng.integers(18, 80, 500),
            "sex": rng.choice(["f", "m"], 500),
            "name": [f"person {i}" for i in range(500)],
            "default": (rng.random(500) < 0.2).astype(int),
        }
    )


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "applications"
    folder.mkdir()
    return folder


def test_one_event_a_file(folder, frame, make, committed):
    path = folder / "2026-w09.parquet"
    frame.write_parquet(path)
    os.utime(path, (1772420400, 1772420400))
    committed.take(make(Dataset, folder, label="default", writer="partner-feed", inputs=["sha256:1"]))
    (event,) = committed.events
    columns = event.pop("tocsin.dataset.profile")
    identity = event.pop("event.id")
    assert event == {
        "@timestamp": "2026-03-02T03:00:00Z",
        "event.action": "write",
        "event.outcome": "success",
        "user.id": "partner-feed",
        "tocsin.dataset.name": "applications",
        "tocsin.dataset.digest": digest_file(path),
        "tocsin.dataset.format": "parquet",
        "tocsin.dataset.path": str(path),
        "tocsin.dataset.rows": 500,
        "tocsin.dataset.bytes": path.stat().st_size,
        "tocsin.dataset.schema": [
            ["limit", "number"], ["age", "integer"], ["sex", "text"], ["name", "text"], ["default", "integer"]
        ],
        "tocsin.dataset.label": "default",
        "tocsin.dataset.labels": {"0": columns["default"]["top"][0][1], "1": columns["default"]["top"][1][1]},
        "tocsin.dataset.inputs": ["sha256:1"],
    }  # fmt: skip
    assert columns["sex"]["top"] == [list(v) for v in frame["sex"].value_counts(sort=True).iter_rows()]
    assert "top" not in columns["name"]
    assert "person" not in json.dumps(columns)
    committed.take(make(Dataset, folder))
    assert len(committed.events) == 1  # nothing new
    frame.head(400).write_parquet(path)
    committed.take(make(Dataset, folder))
    assert committed.events[1]["event.id"] != identity


def test_csv_and_parquet_of_the_same_rows_have_one_digest(folder, frame, make, committed):
    frame.write_parquet(folder / "a.parquet")
    frame.write_csv(folder / "b.csv")
    (folder / "c.csv.gz").write_bytes(gzip.compress((folder / "b.csv").read_bytes()))
    committed.take(make(Dataset, folder))
    assert {e["tocsin.dataset.format"] for e in committed.events} == {"csv", "parquet"}
    assert len({e["tocsin.dataset.digest"] for e in committed.events}) == 1
    profiles = [e["tocsin.dataset.profile"] for e in committed.events]
    assert profiles[0] == profiles[1] == profiles[2]


def test_profile_of_numbers():
    columns = profile(pl.LazyFrame({"x": [1.0, 2.0, 3.0, 4.0, None, float("nan"), float("inf")]}), None)
    assert columns["x"] == {
        "type": "number", "nulls": 2, "distinct": 5, "infinite": 1, "min": 1.0, "max": 4.0, "mean": 2.5,
        "std": pytest.approx(np.std([1, 2, 3, 4])),
        "quantiles": pytest.approx(np.quantile([1, 2, 3, 4], np.linspace(0, 1, 11)).tolist()),
    }  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([True, False, None, True], dtype=pl.Boolean),
        pl.Series([None, None], dtype=pl.Float64),
        pl.Series([], dtype=pl.String),
        pl.Series([float("nan"), float("inf")]),
        pl.Series([1e308, 1e308, -1e308]),
        pl.Series([2**63, 2**64 - 1], dtype=pl.UInt64),
        pl.Series([2**100, 1], dtype=pl.Int128),
        pl.Series(["2026-01-01", None]).str.to_date(),
        pl.Series(["2026-01-01 00:00:00"]).str.to_datetime(time_zone="Europe/Berlin"),
        pl.Series([1, 2]).cast(pl.Duration("ms")),
        pl.Series([1, 2]).cast(pl.Decimal(10, 2)),
        pl.Series([[1], [2], [1], [1]]),
        pl.Series([{"a": 1.0}, {"a": float("nan")}]),
        pl.Series([b"\xff", b"", b"", b""]),
        pl.Series(["a", "b", "a", "b"], dtype=pl.Categorical),
        pl.Series([None, None], dtype=pl.Null),
    ],
)
def test_profiles_of_all_types_are_json(values, folder, make, committed):
    columns = profile(pl.DataFrame({"x": values, "y": values}).lazy(), "x")
    assert {column["type"] for column in columns.values()} <= {"number", "text", "boolean", "time"}
    text = msgspec.json.encode(columns)
    assert msgspec.json.decode(text) == json.loads(json.dumps(columns, allow_nan=False))


def test_rare_values_are_kept_from_the_profile():
    columns = profile(pl.LazyFrame({"who": ["ana", "bert", "carl"], "plan": ["a", "a", "b"]}), None)
    assert "top" not in columns["who"]
    assert profile(pl.LazyFrame({"plan": ["a", "a", "b", "b"]}), None)["plan"]["top"] == [["a", 2], ["b", 2]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2026-w09.parquet", "applications"),
        ("applications-2026-w09.csv.gz", "applications"),
        ("credit_v2.csv", "credit"),
        ("train.csv", "train"),
        ("UCI_Credit_Card.csv", "UCI_Credit_Card"),
        ("part-00000-1f2e.snappy.parquet", "applications"),
        ("week-3.csv", "applications"),
        ("feed_20260302_1200.csv", "feed"),
    ],
)
def test_names(folder, make, committed, name, expected):
    pl.DataFrame({"a": [1]}).write_csv(folder / "x.csv")
    path = folder / name
    if name.endswith(".parquet"):
        pl.DataFrame({"a": [1]}).write_parquet(path)
    else:
        content = (folder / "x.csv").read_bytes()
        path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    committed.take(make(Dataset, path))
    assert committed.events[0]["tocsin.dataset.name"] == expected
    committed.take(make(Dataset, path, name="given"))


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (
            "json",
            '{"writer": "feed", "time": "2026-03-02T03:00:00Z", "label": "y", "inputs": ["a"], "name": "n"}',
        ),
        ("yaml", "writer: feed\ntime: 2026-03-02T03:00:00Z\nlabel: y\ninputs: [a]\nname: n\n"),
    ],
)
def test_the_settings_go_before_a_sidecar(folder, make, committed, suffix, text):
    pl.DataFrame({"y": [1, 0]}).write_csv(folder / "d.csv")
    (folder / f"d.csv.meta.{suffix}").write_text(text)
    committed.take(make(Dataset, folder))
    committed.take(make(Dataset, folder, writer="someone", name="other", time="2020-01-01"))
    (alone, event) = committed.events
    assert (alone["@timestamp"], event["@timestamp"]) == ("2026-03-02T03:00:00Z", "2020-01-01T00:00:00Z")
    assert (alone["user.id"], alone["tocsin.dataset.name"]) == ("feed", "n")
    assert (event["user.id"], event["tocsin.dataset.name"]) == ("someone", "other")
    assert set(event["tocsin.dataset.remarks"]) == {"name", "writer", "separator"}
    for taken in (alone, event):
        assert (taken["tocsin.dataset.labels"], taken["tocsin.dataset.inputs"]) == ({"0": 1, "1": 1}, ["a"])


def test_a_sidecar_that_cannot_be_used_is_a_rejection_and_the_file_is_read(folder, make, committed):
    pl.DataFrame({"y": [1, 0]}).write_csv(folder / "d.csv")
    for number, text in enumerate(['{"writr": "x"}', '{"time": "soon"}', '{"name": 5}', "{"], 1):
        (folder / "d.csv.meta.json").write_text(text)
        os.utime(folder / "d.csv.meta.json", ns=(0, number * 10**9))
        committed.take(make(Dataset, folder))
        committed.take(make(Dataset, folder))
        assert len(committed.rejected) == number
        assert "d.csv.meta.json: cannot be used" in committed.rejected[-1].reason
        assert committed.events[-1]["tocsin.dataset.rows"] == 2
        assert "sidecar" in committed.events[-1]["tocsin.dataset.remarks"]
    (folder / "d.csv.meta.json").unlink()
    committed.take(make(Dataset, folder))
    assert len(committed.events) == 5
    assert "sidecar" not in committed.events[-1]["tocsin.dataset.remarks"]


def test_datasets_without_rows_are_events(folder, make, committed):
    pl.DataFrame(schema={"a": pl.Int64, "b": pl.String}).write_parquet(folder / "a.parquet")
    pl.DataFrame().write_parquet(folder / "b.parquet")
    (folder / "c.csv").write_text("a,b\n")
    committed.take(make(Dataset, folder, label="a"))
    assert not committed.rejected
    by_name = {e["tocsin.dataset.name"]: e for e in committed.events}
    assert [by_name[n]["tocsin.dataset.rows"] for n in ("a", "b", "c")] == [0, 0, 0]
    assert by_name["a"]["tocsin.dataset.digest"] == by_name["c"]["tocsin.dataset.digest"]
    assert by_name["a"]["tocsin.dataset.profile"]["b"] == {"type": "text", "nulls": 0, "distinct": 0}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b""),
        ("a.csv", b"a,b\n1,2,3\n"),
        ("a.csv", b"a\n\xff\xfe\n" * 5),
        ("a.csv.gz", b"no gzip"),
        ("a.csv.gz", gzip.compress(b"a\n1\n" * 9999, mtime=0)[:-9]),
        ("a.parquet", b""),
        ("a.parquet", b"PAR1" + b"\0" * 50 + b"PAR1"),
        ("a.parquet", b"a,b\n1,2\n"),
    ],
)
def test_garbage_is_a_rejection_and_the_rest_goes_on(folder, make, committed, name, content):
    (folder / name).write_bytes(content)
    pl.DataFrame({"a": [1]}).write_csv(folder / "good.csv")
    committed.take(make(Dataset, folder))
    (bad,) = (e for e in committed.events if e["event.outcome"] == "failure")
    (good,) = (e for e in committed.events if e["event.outcome"] == "success")
    assert (bad["tocsin.dataset.path"], good["tocsin.dataset.name"]) == (str(folder / name), "good")
    assert bad["tocsin.dataset.digest"].startswith("file-sha256:")
    (rejected,) = committed.rejected
    assert bad["tocsin.dataset.remarks"]["unreadable"] == rejected.reason
    assert rejected.position == str(folder / name)
    assert rejected.reason.startswith(str(folder / name))
    assert "\n" not in rejected.reason
    committed.take(make(Dataset, folder))
    assert len(committed.rejected) == 1


def test_a_measure_is_no_label(folder, make, committed):
    pl.DataFrame({"y": range(500)}).write_csv(folder / "d.csv")
    committed.take(make(Dataset, folder, label="y"))
    committed.take(make(Dataset, folder / "d.csv", label="absent"))
    assert "tocsin.dataset.labels" not in committed.events[0]


def test_wrong_settings_are_named(folder, make):
    with pytest.raises(ConfigError, match=r"time: 'soon' is not a time; .*or mtime"):
        make(Dataset, folder, time="soon")


def test_real_data(shared_data, make, committed):
    committed.take(make(Dataset, shared_data("credit_default_uci"), label="default-payment-next-month"))
    (event,) = committed.events
    assert event["tocsin.dataset.rows"] == 30_000
    assert event["tocsin.dataset.labels"] == {"0": 23364, "1": 6636}
    assert event["tocsin.dataset.name"] == "UCI_Credit_Card"


@pytest.mark.parametrize("dtype", [pl.Datetime("us"), pl.Duration("ms"), pl.Date])
def test_times_that_no_calendar_has_stop_nothing(make, committed, tmp_path, dtype):
    numbers = [2**30, -(2**30)] if dtype == pl.Date else [2**62, -(2**62)]
    raw = pl.Series("x", numbers, dtype=pl.Int32 if dtype == pl.Date else pl.Int64)
    pl.DataFrame({"x": raw.cast(dtype)}).write_parquet(tmp_path / "odd.parquet")
    pl.DataFrame({"x": [1, 2]}).write_parquet(tmp_path / "good.parquet")
    committed.take(make(Dataset, tmp_path))
    taken = {e["tocsin.dataset.path"] for e in committed.events} | {r.position for r in committed.rejected}
    assert taken == {str(tmp_path / "good.parquet"), str(tmp_path / "odd.parquet")}
    assert "good" in {e["tocsin.dataset.name"] for e in committed.events}


def test_a_sidecar_from_before_the_calendar_is_a_rejection(make, committed, tmp_path):
    pl.DataFrame({"x": [1, 2]}).write_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.parquet.meta.json").write_text('{"time": "0001-01-01T00:00:00+14:00"}')
    committed.take(make(Dataset, tmp_path))
    assert committed.events[0]["@timestamp"] > "2026"
    assert "is not a time" in committed.rejected[0].reason
