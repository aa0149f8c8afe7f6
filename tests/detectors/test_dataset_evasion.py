"""Whoever writes a poisoned snapshot must not be able to turn off its check: by a name, a time, a label, a flood."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.collectors.conftest import Committed
from tests.generators.data_integrity import LABEL, applications, event, history, next_day
from tocsin.config.params import build
from tocsin.contract.findings import Severity
from tocsin.testing.evaluate import Evaluation, evaluate
from tocsin_collectors.dataset import Dataset
from tocsin_collectors.dataset import Params as CollectorParams
from tocsin_detectors.dataset_profile import DatasetProfile, Params
from tocsin_detectors.label_poisoning import LabelPoisoning
from tocsin_detectors.label_poisoning import Params as LabelParams

START = datetime(2026, 3, 2, 3, tzinfo=UTC)
DETECTOR = DatasetProfile(Params())
WORST = (Severity.HIGH, Severity.CRITICAL)


class Folder:
    """A folder of daily snapshots, ten of them collected; `deliver` collects more."""

    def __init__(self, path, **settings):
        self.path, self.committed = path, Committed()
        self.collector = Dataset(build(CollectorParams, {"paths": [str(path)], **settings}))
        for day in range(10):
            self.put(f"loans-{START + timedelta(days=day):%Y-%m-%d}.parquet", applications(500, day), day)
        self.past = self.deliver()

    def put(self, name, frame, day, modified=None):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path) if name.endswith("parquet") else path.write_bytes(frame)
        seconds = (modified or START + timedelta(days=day)).timestamp()
        os.utime(path, (seconds, seconds))
        return path

    def deliver(self):
        done = len(self.committed.events)
        self.committed.take(self.collector)
        return frame(self.committed.events[done:], f"dataset:{self.path}")

    def judged(self):
        return evaluate(DETECTOR, {"dataset": self.deliver()}, baseline={"dataset": self.past})


def frame(events, source):
    """Events as ingest stores them."""
    rows = [
        {
            n: json.dumps(v) if isinstance(v, dict | list) and n != "tocsin.dataset.inputs" else v
            for n, v in e.items()
        }
        for e in events
    ]
    found = pl.DataFrame(rows, infer_schema_length=None).with_columns(
        pl.lit(source).alias("tocsin.source.id")
    )
    return found.with_columns(pl.col("@timestamp").str.to_datetime(time_zone="UTC", time_unit="us"))


def poisoned(seed=99):
    return applications(500, seed, approve=0.25)


def is_found(result: Evaluation) -> bool:
    return any(f.severity in (Severity.MEDIUM, *WORST) for f in result.findings)


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    return Folder(tmp_path_factory.mktemp("in") / "loans", label=LABEL)


texts = st.text(max_size=12) | st.sampled_from(
    ["loans", "loans2", "Loans", LABEL, "age", "2009-01-01", "2026-03-12"]
)
fields = st.sampled_from(["name", "label", "writer", "time", "inputs", "nope"])
sidecars = st.dictionaries(fields, texts | st.integers() | st.none(), max_size=5).map(json.dumps) | st.text(
    max_size=20
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=sidecars, suffix=st.sampled_from(["json", "yaml"]))
@example(text='{"name": "\\ud800\\udc00"}', suffix="yaml")
@example(text='{"name": "loans2"}', suffix="json")
@example(text='{"time": "2009-01-01"}', suffix="json")
@example(text='{"label": "age", "writer": "other"}', suffix="json")
@example(text='{"name": "loans2", "label": "age", "time": "1999-01-01"}', suffix="json")
def test_whatever_a_sidecar_says_the_poisoned_file_is_found(collected, text, suffix):
    path = collected.put("loans-2026-03-12.parquet", poisoned(), 10)
    beside = path.with_name(f"{path.name}.meta.{suffix}")
    beside.write_text(text, encoding="utf-8", errors="replace")
    kept = dict(collected.committed.numbers)
    try:
        result = collected.judged()
    finally:
        collected.committed.numbers = kept
        beside.unlink()
    assert any(not f.aspect and f.severity in WORST for f in result.findings), result.findings


@pytest.mark.parametrize(
    ("name", "modified"),
    [
        ("loans-2026-03-12.parquet", datetime(2009, 1, 1, tzinfo=UTC)),
        ("loans-2026-03-12.parquet", datetime(2100, 1, 1, tzinfo=UTC)),
        ("loans-2026-03-12.parquet", datetime(1970, 1, 1, tzinfo=UTC)),
        ("loans2.parquet", None),
        ("dt=2026-03-12/part-0.parquet", None),
        ("Loans-2026-03-12.parquet", None),
        ("customers-2026-03-12.parquet", None),
    ],
)
def test_whatever_its_name_and_time_the_poisoned_file_is_found(tmp_path, name, modified):
    folder = Folder(tmp_path / "loans", label=LABEL)
    folder.put(name, poisoned(), 10, modified)
    result = folder.judged()
    assert any(not f.aspect and f.severity in WORST for f in result.findings), result.findings


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"\x00" * 100, b"a,b\n1,2,3\n", "a,b\n1,2\n".encode("utf-32")], ids=range(5)
)
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_a_snapshot_that_cannot_be_read_is_a_finding_at_once(tmp_path, data, suffix):
    folder = Folder(tmp_path / "loans", label=LABEL)
    path = folder.put("loans-2026-03-12.csv", data, 10)
    path.rename(path.with_name(f"loans-2026-03-12.{suffix}"))
    worst = max(folder.judged().findings, key=lambda f: f.severity.rank)
    assert (worst.severity in WORST, worst.subject.id) == (True, "loans")
    if suffix != "csv" or data[:1] not in (b"P", b"\0"):  # a CSV file without rows can be read
        assert worst.aspect == "unreadable"


def test_a_new_file_in_a_known_dataset_stays_quiet(tmp_path):
    folder = Folder(tmp_path / "loans", label=LABEL)
    folder.put("loans-2026-03-12.parquet", applications(500, 77), 10)
    assert not folder.judged().findings


def test_another_spelling_of_labels_and_header_is_at_most_low(tmp_path):
    folder = Folder(tmp_path / "loans", label=LABEL)
    rows = applications(500, 77).with_columns(pl.col(LABEL).cast(pl.Float64), pl.col("owner").cast(pl.Int8))
    folder.put("loans-2026-03-12.csv", rows.rename({LABEL: f" {LABEL}"}).write_csv().encode(), 10)
    result = folder.judged()
    assert {f.severity for f in result.findings} <= {Severity.LOW}
    assert not [f for f in result.findings if not f.aspect]


@pytest.mark.parametrize("dtype", [pl.Boolean, pl.Float64, pl.String])
def test_labels_in_another_type_are_the_same_labels(dtype):
    past = history()
    rows = applications(1000, 11).with_columns(pl.col(LABEL).cast(dtype))
    assert not evaluate(
        DETECTOR, {"dataset": pl.DataFrame([event(rows, 10)])}, baseline={"dataset": past}
    ).findings


def test_an_event_of_another_source_neither_hides_nor_replaces_a_snapshot():
    past = history().with_columns(pl.lit("dataset:in").alias("tocsin.source.id"))
    bad = next_day(unit=100).with_columns(pl.lit("dataset:in").alias("tocsin.source.id"))
    forged = bad.with_columns(
        pl.lit("ndjson:x").alias("tocsin.source.id"),
        pl.lit("{}").alias("tocsin.dataset.profile"),
        pl.col("@timestamp").dt.offset_by("-2d"),
    )
    flood = pl.concat(
        [forged.with_columns(pl.lit(f"d{i}").alias("tocsin.dataset.digest")) for i in range(40)] + [forged]
    )
    result = evaluate(DETECTOR, {"dataset": bad}, baseline={"dataset": pl.concat([past, flood])})
    assert [f.severity for f in result.findings if not f.aspect] == [Severity.CRITICAL]


def test_a_flood_of_names_is_a_finding_and_hides_nothing():
    past = history().with_columns(pl.lit("dataset:in").alias("tocsin.source.id"))
    bad = next_day(unit=100).with_columns(pl.lit("dataset:in").alias("tocsin.source.id"))
    alone = evaluate(DETECTOR, {"dataset": bad}, baseline={"dataset": past}).findings
    flood = pl.DataFrame(
        {
            "@timestamp": bad["@timestamp"][0],
            "event.id": [f"e{i}" for i in range(5000)],
            "tocsin.dataset.name": [f"n{i}" for i in range(5000)],
            "tocsin.dataset.digest": [f"d{i}" for i in range(5000)],
            "tocsin.source.id": "ndjson:x",
        }
    )
    rows = pl.concat([bad, flood], how="diagonal_relaxed")
    result = evaluate(DETECTOR, {"dataset": rows}, baseline={"dataset": past})
    assert [f for f in result.findings if f.subject.id == "loans"] == alone
    [flooded] = [f for f in result.findings if f.subject.id != "loans"]
    assert (flooded.severity, flooded.aspect, flooded.evidence["count"]) == (
        Severity.HIGH,
        "new datasets",
        5000,
    )


def test_poisoned_rows_in_many_small_snapshots_are_judged_together():
    trusted = {f"t{i}": applications(1000, i) for i in range(2)}
    parts = {f"p{i}": part for i, part in enumerate(poisoned(5).iter_slices(25))}
    rows = {digest: part.lazy() for digest, part in (trusted | parts).items()}

    def events(digests, day):
        return pl.DataFrame([label_event(digest, day, i) for i, digest in enumerate(digests)])

    result = evaluate(
        LabelPoisoning(LabelParams(chunks=20)), {"dataset": events(parts, 50)}, baseline={"dataset": events(trusted, 0)},
        snapshots=rows,
    )  # fmt: skip
    [finding] = result.findings
    assert (finding.evidence["snapshots"], finding.severity) == (20, Severity.CRITICAL)


def label_event(digest, day, minute=0, **fields):
    return {
        "@timestamp": START + timedelta(days=day, minutes=minute),
        "event.id": f"{digest}-{day}",
        "tocsin.dataset.name": "loans",
        "tocsin.dataset.digest": digest,
        "tocsin.dataset.label": LABEL,
        "tocsin.source.id": "dataset:in",
        **fields,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"tocsin.dataset.label": None},
        {"tocsin.dataset.label": "age"},
        {"tocsin.dataset.name": "loans2"},
        {"tocsin.dataset.name": "loans2", "tocsin.dataset.label": None},
    ],
    ids=["no label", "another label", "another name", "another name, no label"],
)
@pytest.mark.parametrize("spelled", [False, True])
def test_flipped_labels_are_found_whatever_the_event_says(fields, spelled):
    bad = poisoned(5)
    if spelled:
        bad = bad.rename({LABEL: f" {LABEL.upper()} ", "age": " Age"}).with_columns(
            pl.col(f" {LABEL.upper()} ").cast(pl.Float64)
        )
    trusted = {f"t{i}": applications(1000, i) for i in range(2)}
    rows = {digest: part.lazy() for digest, part in (trusted | {"bad": bad}).items()}
    past = pl.DataFrame([label_event(digest, i) for i, digest in enumerate(trusted)])
    result = evaluate(
        LabelPoisoning(LabelParams(chunks=20)), {"dataset": pl.DataFrame([label_event("bad", 50, **fields)])},
        baseline={"dataset": past}, snapshots=rows,
    )  # fmt: skip
    assert any(f.severity in WORST and not f.aspect for f in result.findings)


def test_one_snapshot_does_not_choose_the_label_of_a_baseline():
    trusted = {f"t{i}": applications(800, i) for i in range(3)}
    rows = {digest: part.lazy() for digest, part in (trusted | {"bad": poisoned(5)}).items()}
    past = [label_event(digest, i) for i, digest in enumerate(trusted)]
    past[-1]["tocsin.dataset.label"] = "region"
    result = evaluate(
        LabelPoisoning(LabelParams(chunks=20)), {"dataset": pl.DataFrame([label_event("bad", 50)])},
        baseline={"dataset": pl.DataFrame(past)}, snapshots=rows,
    )  # fmt: skip
    assert any(f.severity in WORST for f in result.findings)


def test_without_labels_the_reason_says_so():
    from tocsin.errors import BaselineError

    trusted = {f"t{i}": applications(800, i) for i in range(3)}
    past = pl.DataFrame(
        [label_event(digest, i, **{"tocsin.dataset.label": None}) for i, digest in enumerate(trusted)]
    )
    with pytest.raises(BaselineError, match="no label column is set"):
        evaluate(LabelPoisoning(LabelParams()), {"dataset": past}, baseline={"dataset": past})


def test_ordinary_days_of_a_folder_stay_quiet(tmp_path):
    folder = Folder(tmp_path / "loans", label=LABEL)
    for day in range(10, 20):
        size = int(500 * np.random.default_rng(day).lognormal(0, 0.05))
        folder.put(
            f"loans-{START + timedelta(days=day):%Y-%m-%d}.parquet", applications(size, 500 + day), day
        )
    found = folder.judged().findings
    assert not [f for f in found if f.aspect]
    assert len(found) <= 1
