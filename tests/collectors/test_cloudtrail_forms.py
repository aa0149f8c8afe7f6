"""CloudTrail records in the envelopes of other tools, and the fields that an intruder is seen by."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.collectors.conftest import Committed
from tests.collectors.test_cloudtrail import RECORDS, record
from tocsin_collectors._aws import access_events
from tocsin_collectors._envelopes import unpacked
from tocsin_collectors.cloudtrail import Cloudtrail, _records


def copy(**asked):
    return record(
        1,
        eventName="CopyObject",
        requestParameters={"bucketName": "loot", "key": "a.pkl", **asked},
        additionalEventData={"bytesTransferredOut": 224},
    )


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (copy(**{"x-amz-copy-source": "prod/8/model.pkl"}), ("object", "prod/8/model.pkl", None)),
        (copy(**{"x-amz-copy-source": "/prod/a%20b.pkl?versionId=v1"}), ("object", "prod/a b.pkl", "v1")),
        (
            {
                **copy(),
                "resources": [{"ARN": "arn:aws:s3:::loot/a.pkl"}, {"ARN": "arn:aws:s3:::prod/8/model.pkl"}],
            },
            ("object", "prod/8/model.pkl", None),
        ),
        (
            record(
                1,
                eventName="CopySnapshot",
                requestParameters={"name": "n", "aId": "1", "sourceSnapshotId": "snap-1"},
            ),
            ("snapshot", "snap-1", None),
        ),
        (
            record(
                1,
                eventName="UploadPartCopy",
                requestParameters={"bucketName": "b", "x-amz-copy-source": "prod/a"},
            ),
            ("object", "prod/a", None),
        ),
    ],
)
def test_the_source_of_a_copy_is_an_access_of_its_own(tmp_path, make, committed, made, expected):
    (tmp_path / "a.json").write_text(json.dumps([made]))
    target, source = committed.take(make(Cloudtrail, tmp_path)).events
    assert (target["event.id"], source["event.id"]) == ("id-1", "id-1-source")
    assert tuple(source.get(f"tocsin.resource.{name}") for name in ("type", "id", "version")) == expected
    assert (source["event.type"], "http.response.bytes" in source) == (["access"], False)
    assert target.get("tocsin.resource.id") != source["tocsin.resource.id"]
    assert committed.batches[0].position(1) == f"{tmp_path / 'a.json'}[0]"


@pytest.mark.parametrize(
    ("given", "expected"), [(1152067684, 1152067684), ("17", 17), (-1, None), ("x", None), (True, 1)]
)
def test_bytes_outcome_and_verbs_of_objects(tmp_path, make, committed, given, expected):
    records = [
        record(1, additionalEventData={"bytesTransferredOut": given}, errorCode="", errorMessage=None),
        record(
            2,
            eventName="DeleteObjects",
            readOnly="false",
            requestParameters={"bucketName": "prod", "delete": ""},
        ),
        record(3, eventName="StartThing", readOnly="true", errorCode="AccessDenied"),
    ]
    (tmp_path / "a.json").write_text(json.dumps(records))
    first, second, third = committed.take(make(Cloudtrail, tmp_path)).events
    assert (first.get("http.response.bytes"), first["event.outcome"]) == (expected, "success")
    assert "error.code" not in first
    assert (second["event.type"], second["tocsin.resource.id"]) == (["deletion"], "prod")
    assert (third["event.type"], third["event.outcome"]) == (["access", "denied"], "failure")


def lookup(records):
    return json.dumps({"Events": [{"EventName": "x", "CloudTrailEvent": json.dumps(r)} for r in records]})


def bridge(records):
    return "\n".join(
        json.dumps({"version": "0", "detail-type": "AWS API Call", "detail": r}) for r in records
    )


def watch(records):
    return "".join(
        json.dumps({"messageType": "DATA_MESSAGE", "logEvents": [{"id": "1", "message": json.dumps(r)}]})
        for r in records
    )


def insights(records):
    return json.dumps(
        {"results": [[{"field": "@message", "value": json.dumps(r)}, {"field": "@ptr"}] for r in records]}
    )


ENVELOPES = {
    "lookup-events": lookup,
    "lookup-events --query": lambda records: json.dumps([json.dumps(r) for r in records]),
    "EventBridge": bridge,
    "CloudWatch subscription": watch,
    "CloudWatch filter": lambda records: json.dumps(
        {"events": [{"message": json.dumps(r)} for r in records]}
    ),
    "CloudWatch export": lambda records: "".join(
        f"2026-03-02T00:00:00.000Z {json.dumps(r)}\n" for r in records
    ),
    "CloudWatch query": insights,
    "CloudTrail Lake": lambda records: "\n".join(json.dumps({"eventJson": json.dumps(r)}) for r in records),
    "Firehose": lambda records: "".join(map(json.dumps, records)),
    "pretty": lambda records: "\n".join(json.dumps(r, indent=2) for r in records),
    "files joined": lambda records: "".join(json.dumps({"Records": [r]}) for r in records),
    "queue": lambda records: "\n".join(
        json.dumps({"body": json.dumps({"Message": bridge([r])})}) for r in records
    ),
}


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_envelopes_are_opened(tmp_path, make, committed, envelope):
    (tmp_path / "a.json").write_text(ENVELOPES[envelope](RECORDS))
    committed.take(make(Cloudtrail, tmp_path))
    assert [e["event.id"] for e in committed.events] == ["id-0", "id-1", "id-2"]
    assert not committed.rejected


def test_a_cut_after_whole_records_loses_only_the_last(tmp_path, make, committed):
    (tmp_path / "a.json").write_text("".join(map(json.dumps, RECORDS))[:-9])
    (tmp_path / "b.json").write_text("".join(json.dumps(r, indent=1) for r in RECORDS)[:-9])
    committed.take(make(Cloudtrail, tmp_path))
    assert [e["event.id"] for e in committed.events] == ["id-0", "id-1"] * 2
    assert len(committed.rejected) == 2


def test_digests_insights_and_control_messages_are_skipped_and_counted(tmp_path, make, committed, caplog):
    insight = {
        "eventVersion": "1.08",
        "eventType": "AwsCloudTrailInsight",
        "insightDetails": {"state": "Start"},
    }
    digest = {"awsAccountId": "1", "digestStartTime": "x", "digestEndTime": "y", "logFiles": []}
    control = {"messageType": "CONTROL_MESSAGE", "logEvents": [{"message": "CWL CONTROL MESSAGE"}]}
    fake = record(1, eventType="AwsCloudTrailInsight", eventCategory="Insight", insightDetails={})
    (tmp_path / "a.json").write_text(json.dumps({"Records": [insight, insight, fake]}))
    (tmp_path / "b.json").write_text(json.dumps(digest))
    (tmp_path / "c.json").write_text(json.dumps(control))
    committed.take(make(Cloudtrail, tmp_path))
    assert [e["event.id"] for e in committed.events] == ["id-1"]
    assert not committed.rejected
    assert "skipped, because they describe no access: control message 1, digest 1, insight 2" in caplog.text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    names=st.lists(st.sampled_from(sorted(set(ENVELOPES) - {"CloudWatch export"})), min_size=4, max_size=4),
    lines=st.booleans(),
)
def test_any_sequence_of_envelopes_gives_every_record_once(tmp_path_factory, make, sizes, names, lines):
    """Invariant: however tools wrap and join records, each is an event, in order, and nothing else is."""
    parts, number = [], 0
    for size, name in zip(sizes, names, strict=False):
        parts.append(ENVELOPES[name]([record(number + i) for i in range(size)]))
        number += size
    file = tmp_path_factory.mktemp("trail") / "a.json"
    file.write_text(("\n" if lines else "").join(parts))
    events = Committed().take(make(Cloudtrail, file)).events
    assert [e["event.id"] for e in events] == [f"id-{i}" for i in range(number)]


@pytest.mark.parametrize("name", ["BatchDeleteImage", "ScheduleKeyDeletion", "DeleteObject"])
def test_a_deletion_by_any_verb_is_a_deletion(name):
    record = {"eventTime": "2026-03-02T09:31:44Z", "eventSource": "ecr.amazonaws.com", "eventName": name}
    assert access_events(record)[0]["event.type"] == ["deletion"]


def test_an_empty_list_of_records_does_not_hide_the_record_that_has_it():
    record = (
        b'{"eventTime":"2026-03-02T09:31:44Z","eventSource":"s3.amazonaws.com","eventName":"X","Records":[]}'
    )
    assert list(unpacked(record)) == [record]
    assert list(unpacked(b'{"Records":[]}')) == []


@pytest.mark.parametrize(
    "poison", ['"\\ud800"', "NaN", "1e999", '"\x01"', "[" * 3000 + "]" * 3000, "'", '"]}"x', "tru"]
)
def test_a_record_that_cannot_be_read_is_rejected_alone(tmp_path, poison):
    good = json.dumps(
        {"eventTime": "2026-03-02T09:31:44Z", "eventSource": "s3", "eventName": "[X", "a": '"]}'}
    )
    bad = good.replace('"[X"', poison)
    path = tmp_path / "a.json"
    path.write_text(f'{{"Records": [{good}, {good}, {bad}, {good}]}}')
    found = [original for _, original in _records(path)]
    assert [original == good.encode() for original in found] == [True, True, False, True]
