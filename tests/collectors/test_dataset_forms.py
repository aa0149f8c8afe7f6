"""CSV files in every form that programs write them in: one table has one profile, whatever its form."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.collectors.conftest import Committed
from tocsin.config.params import build
from tocsin.datasets.digest import verified_snapshot
from tocsin.datasets.forms import Form, form_of
from tocsin.datasets.tables import open_snapshot, read_snapshot
from tocsin.errors import ConfigError, SnapshotError
from tocsin_collectors.dataset import Dataset, Params

MARKERS = ["", "NA", "N/A", "NULL", "null", "nan", "NaN", "None", "\\N", " NA "]
LABELS = {"whole": ("0", "1"), "float": ("0.0", "1.0"), "bool": ("False", "True"), "spaced": (" 0", "1 ")}
ROWS = [
    (20 + i % 50, None if i % 9 == 4 else 1000.25 + 37 * i, f"Zoë {i % 3}" if i % 7 else None, i % 3 == 0)
    for i in range(120)
]
NAMES = ("age", "income", "city", "label")


def written(
    separator=",", marker="NA", labels="whole", decimal=".", groups="", order=NAMES, ends="\n", header=""
):
    """The same table as text."""

    def cell(name, row):
        value = row[NAMES.index(name)]
        if value is None:
            return marker
        if name == "income":
            return f"{value:,.2f}".translate(str.maketrans({",": groups, ".": decimal}))
        return LABELS[labels][value] if name == "label" else str(value)

    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=ends)
    writer.writerow([f"{header}{name}" for name in order])
    writer.writerows([cell(name, row) for name in order] for row in ROWS)
    return text.getvalue()


def taken(tmp_path, data, **given):
    """The one event of a file with these bytes."""
    (tmp_path / "t.csv").write_bytes(data)
    params = {"paths": [str(tmp_path / "t.csv")], "label": "label", **given}
    committed = Committed().take(Dataset(build(Params, params)))
    assert not committed.rejected
    (event,) = committed.events
    return event


def facts(event):
    """What must not depend on the form: counts of labels, and of each column the counts and moments."""
    kept = ("nulls", "distinct", "mean", "std", "min", "max", "quantiles")
    profile = {
        name: {fact: column[fact] for fact in kept if fact in column}
        for name, column in event["tocsin.dataset.profile"].items()
        if name != "label"
    }
    return event["tocsin.dataset.rows"], event["tocsin.dataset.labels"], profile


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    separator=st.sampled_from(",;\t|"),
    marker=st.sampled_from(MARKERS),
    labels=st.sampled_from(list(LABELS)),
    marks=st.sampled_from([(".", ""), (".", ","), (",", ""), (",", "."), (",", " "), (".", "'")]),
    order=st.permutations(NAMES),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"]),
    ends=st.sampled_from(["\n", "\r\n", "\r"]),
    header=st.sampled_from(["", " "]),
)
def test_the_profile_does_not_depend_on_the_form(
    tmp_path, separator, marker, labels, marks, order, encoding, ends, header
):
    decimal, groups = marks
    text = written(separator, marker, labels, decimal, groups, order, ends, header)
    event = taken(tmp_path, text.encode(encoding))
    assert facts(event) == facts(taken(tmp_path, written().encode()))
    path, form = tmp_path / "t.csv", form_of(None)
    path.write_bytes(text.encode(encoding))
    assert len(verified_snapshot(path, event["tocsin.dataset.digest"], form).collect()) == len(ROWS)


@pytest.mark.parametrize(
    ("data", "given", "form"),
    [
        (b"a,b\n1,2\n", {}, Form(",", "utf-8")),
        (b"a;b\n1;2,5\n", {}, Form(";", "utf-8", ",")),
        ("a|é\n1|2\n".encode("cp1252"), {}, Form("|", "cp1252")),
        ("a\té\n1\t2\n".encode("utf-16-be"), {}, Form("\t", "utf-16-be")),
        (b"a:b\n1:2\n", {"separator": ":"}, Form(":", "utf-8")),
        (b"a,b\n1,-\n2,3\n", {"missing": ["-"]}, Form(",", "utf-8", "", ("-",))),
    ],
)
def test_the_form_is_in_the_event(tmp_path, data, given, form):
    event = taken(tmp_path, data, **given, label="")
    assert event["tocsin.dataset.form"]["separator"] == form.separator
    assert (
        open_snapshot(tmp_path / "t.csv", Form(given.get("separator", ""), missing=form.missing)).form == form
    )
    assert event["tocsin.dataset.profile"]["b" if b"b" in data else "é"]["type"] == "number"


def test_a_setting_decides_where_a_file_leaves_it_open(tmp_path):
    assert taken(tmp_path, b"a;b\n1;1,500\n", label="b")["tocsin.dataset.profile"]["b"]["mean"] == 1.5
    assert (
        taken(tmp_path, b"a;b\n1;1,500\n", label="b", decimal=".")["tocsin.dataset.profile"]["b"]["mean"]
        == 1500
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("a,b\n1,2\n".encode("utf-32"), "UTF-32"),
        (b"a,b\n1,\x81\x01\n", "neither UTF-8 nor UTF-16 nor Latin-1"),
        (b"a,b\n1,2,3\n", "found more fields"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(tmp_path, data, reason):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(SnapshotError, match=reason):
        read_snapshot(tmp_path / "a.csv").collect()


@pytest.mark.parametrize("odd", ["１", "٣.5", "２e3", "९", "9" * 45, "-" + "9" * 60, "1" * 400 + ".5"])
@pytest.mark.parametrize("plain", ["7", "7.5"])
def test_a_cell_that_only_looks_like_a_number_leaves_the_file_readable(tmp_path, odd, plain, monkeypatch):
    data = f"age,income,label\n{f'30,{plain},1' + chr(10)}30,{odd},0\n{f'30,{plain},1' + chr(10)}".encode()
    profile = taken(tmp_path, data)["tocsin.dataset.profile"]
    assert profile["age"]["mean"] == 30
    monkeypatch.setattr("tocsin.datasets.tables.AT_ONCE", 0)  # as a large file is read
    assert read_snapshot(tmp_path / "t.csv").collect()["age"].to_list() == [30, 30, 30]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cell=st.text(st.characters(categories=["Nd", "Nl", "No"]) | st.sampled_from("+-.,eE "), max_size=60))
def test_no_digits_make_a_file_unreadable(tmp_path, cell):
    event = taken(tmp_path, f'age;income;label\n30;7;1\n30;"{cell}";0\n'.encode())
    assert event["tocsin.dataset.rows"] == 2
    assert event["tocsin.dataset.profile"]["age"]["mean"] == 30


def test_a_pipe_is_no_dataset(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(SnapshotError, match="not a regular file"):
        read_snapshot(tmp_path / "a.csv")


def test_a_column_that_is_nearly_numbers_keeps_its_moments_and_is_named(tmp_path, caplog):
    rows = "".join(f"{'?' if i == 7 else i},1\n" for i in range(40))
    event = taken(tmp_path, f"age,label\n{rows}".encode())
    column = event["tocsin.dataset.profile"]["age"]
    assert (column["type"], column["numbers"], column["max"]) == ("text", 39, 39.0)
    assert "columns" in event["tocsin.dataset.remarks"]
    assert "is text, but numbers except for '?'" in caplog.text


def test_a_column_that_is_not_there_is_an_error_that_names_the_nearest(tmp_path, make, committed):
    (tmp_path / "a.csv").write_text("age,target\n1,0\n2,1\n")
    committed.take(make(Dataset, tmp_path / "a.csv", label="taget"))
    (rejected,) = committed.rejected
    assert "the label column 'taget' does not exist; the nearest is 'target'" in rejected.reason
    assert committed.events[0]["tocsin.dataset.rows"] == 2  # its other columns are judged
    committed.take(make(Dataset, tmp_path / "a.csv", label="target"))
    assert committed.events[1]["tocsin.dataset.labels"] == {"0": 1, "1": 1}
    assert committed.events[0]["event.id"] != committed.events[1]["event.id"]
    committed.take(make(Dataset, tmp_path / "a.csv", label="target"))
    assert len(committed.events) == 2


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"separator": ";"}, {}),
        ({}, {"separator": ","}),
        ({"label": "age"}, {"label": "target"}),
        ({"time": "2026-01-01"}, {"time": "2026-01-02"}),
        ({"name": "a"}, {"name": "b"}),
        ({"encoding": "utf-16-le"}, {"encoding": "utf-8"}),
    ],
)
def test_a_corrected_setting_reads_again(tmp_path, make, committed, wrong, right):
    (tmp_path / "a.csv").write_text("age,target\n1,0\n2,1\n")
    for params in (wrong, wrong, right, right):
        committed.take(make(Dataset, tmp_path / "a.csv", **params))
    assert len(committed.events) == 2


def test_what_version_0_2_read_is_not_read_again(tmp_path, make, committed, monkeypatch):
    (tmp_path / "a.csv").write_text("age,target\n1,0\n")
    monkeypatch.setattr("tocsin_collectors.dataset._READ", 1)
    committed.take(make(Dataset, tmp_path / "a.csv"))
    monkeypatch.undo()
    committed.take(make(Dataset, tmp_path / "a.csv", label="target"))
    assert len(committed.events) == 1


def test_wrong_forms_are_named(tmp_path, make):
    with pytest.raises(ConfigError, match="separator: '::' is not one ASCII character"):
        make(Dataset, tmp_path, separator="::")
    with pytest.raises(ConfigError, match="encoding: 'latin-99' is not known"):
        make(Dataset, tmp_path, encoding="latin-99")


def test_the_dry_run_shows_the_form_and_stores_nothing(tmp_path):
    (tmp_path / "a.csv").write_bytes("größe;y\n1,5;0\n2,5;1\n".encode("cp1252"))
    command = [
        sys.executable,
        "-m",
        "tocsin",
        "collect",
        "dataset",
        "a.csv",
        "--set",
        "label=yy",
        "--dry-run",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert 'form: {"separator":";","encoding":"cp1252","decimal":","}' in done.stdout
    assert "größe" in done.stdout
    assert "the label column 'yy' does not exist" in done.stdout
    assert os.listdir(tmp_path) == ["a.csv"]  # noqa: PTH208


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("loans/dt=2026-11-26/part-0.parquet", "loans"),
        ("loans/year=2026/month=11/loans-b.parquet", "loans"),
        ("loans/dt=2026-11-26/extra/x.parquet", "loans"),
        ("loans/part-00000-3f2a1b4c-1111-2222-3333-123456789abc-c000.snappy.parquet", "loans"),
        ("loans/part.0.parquet", "loans"),
        ("in/loans-2026-11-26-b.parquet", "loans"),
        ("in/loans-2026-11-26b.parquet", "loans"),
        ("in/loans_20261126 (1).parquet", "loans"),
        ("in/loans-2026-11-26-fixed.parquet", "loans"),
        ("in/2026-11-26-loans.parquet", "loans"),
        ("in/loans-2026-w48-v2.parquet", "loans"),
    ],
)
def test_a_name_does_not_follow_the_whim_of_a_file(tmp_path, make, committed, path, name):
    (tmp_path / path).parent.mkdir(parents=True)
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / path)
    committed.take(make(Dataset, tmp_path))
    assert [event["tocsin.dataset.name"] for event in committed.events] == [name]


def test_keys_of_folders_are_columns_and_no_figures(tmp_path, make, committed):
    for day in ("2026-11-25", "2026-11-26"):
        folder = tmp_path / "loans" / f"dt={day}" / "region=eu"
        folder.mkdir(parents=True)
        pl.DataFrame({"a": [1, 2]}).write_parquet(folder / "part-0.parquet")
    (tmp_path / "loans" / "_delta_log").mkdir()
    pl.DataFrame({"log": [1]}).write_parquet(tmp_path / "loans" / "_delta_log" / "1.checkpoint.parquet")
    committed.take(make(Dataset, tmp_path / "loans"))
    assert len({event["tocsin.dataset.digest"] for event in committed.events}) == 2
    for event in committed.events:
        assert event["tocsin.dataset.schema"] == [["a", "integer"], ["dt", "date"], ["region", "text"]]
        assert event["tocsin.dataset.profile"]["dt"] == {"type": "time", "nulls": 0, "distinct": 1}
        rows = verified_snapshot(event["tocsin.dataset.path"], event["tocsin.dataset.digest"]).collect()
        assert rows.columns == ["a", "dt", "region"]
