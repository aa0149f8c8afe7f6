"""The CloudTrail collector: every record accounted for, whatever the file looks like."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tocsin_collectors import cloudtrail
from tocsin_collectors.cloudtrail import Cloudtrail

GOLDEN = Path(__file__).parent.parent / "data" / "cloudtrail.json"


def record(number, **more):
    return {
        "eventID": f"id-{number}",
        "eventTime": "2026-03-02T00:00:00Z",
        "eventName": "GetObject",
        "eventSource": "s3.amazonaws.com",
        **more,
    }


def test_golden_file(make, committed):
    committed.take(make(Cloudtrail, GOLDEN))
    get, delete, login, decrypt = committed.events
    trail = get.pop("aws")["cloudtrail"]
    assert get == {
        "@timestamp": "2026-03-02T02:14:05Z",
        "event.id": "11111111-0000-4000-8000-000000000001",
        "event.action": "GetObject",
        "event.provider": "s3.amazonaws.com",
        "event.type": ["access"],
        "event.outcome": "success",
        "user_agent.original": "aws-cli/2.17",
        "cloud.account.id": "123456789012",
        "cloud.region": "eu-central-1",
        "user.id": "arn:aws:iam::123456789012:role/training",
        "user.name": "i-0abc",
        "user.roles": ["training"],
        "tocsin.principal.type": "service",
        "source.ip": "198.51.100.7",
        "tocsin.resource.type": "object",
        "tocsin.resource.id": "models/credit/8/model.pkl",
        "tocsin.resource.version": "v8",
    }
    assert trail["userIdentity"]["arn"].endswith("i-0abc")
    assert trail["requestParameters"]["key"] == "credit/8/model.pkl"
    assert delete["user.id"].endswith("/AWSReservedSSO_Admin_1/ana@example.org")
    assert (delete["tocsin.principal.type"], delete["event.outcome"]) == ("human", "failure")
    assert (delete["error.code"], delete["event.type"]) == ("AccessDenied", ["deletion", "denied"])
    assert (delete["tocsin.resource.type"], delete["tocsin.resource.id"]) == ("model", "credit")
    assert delete["source.address"] == "sagemaker.amazonaws.com"
    assert "source.ip" not in delete
    assert (login["user.id"], login["event.outcome"]) == ("arn:aws:iam::123456789012:user/bert", "failure")
    assert (decrypt["user.id"], decrypt["tocsin.resource.type"]) == ("secretsmanager.amazonaws.com", "key")
    assert [(r.position, r.reason) for r in committed.rejected] == [
        (f"{GOLDEN}[4]", "not a CloudTrail record: eventTime is missing or is not text"),
        (f"{GOLDEN}[5]", "not a CloudTrail record: a JSON object is needed, not str"),
    ]
    assert committed.batches[0].position(3) == f"{GOLDEN}[3]"


@pytest.mark.parametrize(
    ("name", "files", "events"),
    [("cloudtrail_invictus", 55, 2900), ("stratus_detonation", 18, 267), ("otrf_aws", 1, 103)],
)
def test_real_trails(shared_data, make, committed, name, files, events, caplog):
    folder = shared_data(name)
    committed.take(make(Cloudtrail, folder))
    assert (len(committed.numbers), len(committed.events), len(committed.rejected)) == (files, events, 0)
    assert len({e["event.id"] for e in committed.events}) == events
    assert "left alone, not taken by name: LICENSE.txt" in caplog.text
    committed.take(make(Cloudtrail, folder))
    assert len(committed.events) == events  # nothing new
    for event in committed.events:
        assert event["user.id"]
        assert event["tocsin.resource.type"]


RECORDS = [record(i) for i in range(3)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps({"Records": RECORDS})),
        ("a.json", json.dumps(RECORDS, indent=2)),
        ("a.json", "\n".join(map(json.dumps, RECORDS))),
        ("a.jsonl", "\n\n".join(map(json.dumps, RECORDS)) + "\n"),
        ("a.json", "\n".join(json.dumps({"Records": [r]}) for r in RECORDS)),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_shapes_of_files(tmp_path, make, committed, name, content, compress):
    if compress:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    else:
        (tmp_path / name).write_text(content)
    committed.take(make(Cloudtrail, tmp_path))
    assert [e["event.id"] for e in committed.events] == ["id-0", "id-1", "id-2"]
    assert not committed.rejected


def test_a_single_record_and_an_empty_list(tmp_path, make, committed):
    (tmp_path / "a.json").write_text(json.dumps(record(1)))
    (tmp_path / "b.json").write_text('{"Records": []}')
    committed.take(make(Cloudtrail, tmp_path))
    assert [e["event.id"] for e in committed.events] == ["id-1"]
    assert sorted(committed.numbers.values()) == [0, 1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (json.dumps({"Records": RECORDS})[:-30].encode(), "the file is not JSON, or is cut short"),
        (json.dumps(RECORDS, indent=1)[:-30].encode(), "the file is not JSON, or is cut short"),
        (b'{"Records": 5}', "not JSON: Expected"),
        (b'{"Records": [{"eventName": NaN}]}', "the file is not JSON"),
        (b"[" * 100_000, "the file is not JSON"),
        (b'"\xff\xfe"', "the file is not JSON"),
        (b"", "the file is empty"),
        (b'{"digestStartTime": "x"}', "not a CloudTrail record: eventTime is missing"),
        (json.dumps([record(1, eventTime=5)]).encode(), "eventTime is missing or is not text"),
        (b'[{"eventName": "\xff"}]', "not a CloudTrail record: "),
    ],
)
def test_garbage_is_one_rejection_and_the_rest_goes_on(tmp_path, make, committed, content, reason):
    (tmp_path / "a.json").write_bytes(content)
    (tmp_path / "b.json").write_text(json.dumps(RECORDS))
    committed.take(make(Cloudtrail, tmp_path))
    assert len(committed.events) == 3
    (rejected,) = committed.rejected
    assert reason in rejected.reason
    assert rejected.position.startswith(str(tmp_path / "a.json"))
    assert rejected.original in content
    committed.take(make(Cloudtrail, tmp_path))
    assert len(committed.rejected) == 1


def test_records_of_wrong_types_are_events_all_the_same(tmp_path, make, committed):
    odd = [
        record(1, userIdentity="bert", requestParameters=[1], resources={"ARN": 1}, sourceIPAddress=7),
        record(2, userIdentity={"sessionContext": [], "arn": 5}, responseElements="x", errorCode=403),
        record(3, resources=[None, {"ARN": "arn:aws:iam::1:role/x"}], requestParameters=None),
        record(4, sourceIPAddress="253.252.51.07"),
    ]
    (tmp_path / "a.json").write_text(json.dumps(odd))
    committed.take(make(Cloudtrail, tmp_path))
    assert not committed.rejected
    assert "source.ip" not in committed.events[0]
    assert committed.events[1]["event.outcome"] == "failure"
    assert committed.events[2]["tocsin.resource.type"] == "role"
    assert committed.events[3]["source.ip"] == "253.252.51.7"


def test_broken_lines_of_ndjson_are_rejected_one_by_one(tmp_path, make, committed):
    (tmp_path / "a.json").write_text(f"{json.dumps(RECORDS[0])}\n{{broken\n{json.dumps(RECORDS[1])}\n")
    committed.take(make(Cloudtrail, tmp_path))
    assert len(committed.events) == 2
    assert [r.position for r in committed.rejected] == [f"{tmp_path / 'a.json'}:2"]


def test_a_kill_between_batches_loses_and_repeats_nothing(tmp_path, make, committed, monkeypatch):
    monkeypatch.setattr(cloudtrail, "_EVENTS", 4)
    for name, start in (("a", 0), ("b", 9), ("c", 18)):
        (tmp_path / f"{name}.json").write_text(json.dumps([record(start + i) for i in range(9)]))
    while len(committed.take(make(Cloudtrail, tmp_path), limit=1).events) < 27:
        pass
    assert [e["event.id"] for e in committed.events] == [f"id-{i}" for i in range(27)]
    committed.take(make(Cloudtrail, tmp_path))
    assert len(committed.events) == 27
    assert max(len(b.events) for b in committed.batches) == 4


def test_a_file_that_is_too_large_and_damaged_gzip(tmp_path, make, committed, monkeypatch):
    monkeypatch.setattr(cloudtrail, "LARGEST", 1 << 20)
    bomb = gzip.compress(b" " * (1 << 22))
    (tmp_path / "bomb.json.gz").write_bytes(bomb)
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(json.dumps(RECORDS).encode())[:-12])
    (tmp_path / "fake.json.gz").write_bytes(b"{}")
    committed.take(make(Cloudtrail, tmp_path))
    reasons = sorted(r.reason.partition(":")[0] for r in committed.rejected)
    assert reasons == [
        "the file holds more than 1 MiB; split it",
        "the gzip file is damaged or cut short",
        "the gzip file is damaged or cut short",
    ]


def test_files_that_differ_only_in_the_middle_are_two_files(tmp_path, make, committed):
    def record(number):
        event = {
            "eventTime": "2026-03-02T09:00:00Z",
            "eventName": "GetObject",
            "eventSource": "s3.amazonaws.com",
        }
        return {**event, "eventID": f"{number:08}", "awsRegion": "eu-central-1", "padding": "x" * 40}

    for name, middle in (("a.json", range(100)), ("b.json", range(100, 200))):
        records = [record(n) for n in (*range(900, 950), *middle, *range(950, 999))]
        (tmp_path / name).write_text(json.dumps({"Records": records}))
    committed.take(make(Cloudtrail, tmp_path))
    assert len({e["event.id"] for e in committed.events}) == 299


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b" " * 100, b"\xef\xbb\xbf" + b"\n" * 100])
def test_what_editors_put_before_the_json_does_no_harm(tmp_path, make, committed, before):
    event = {"eventTime": "2026-03-02T09:00:00Z", "eventName": "GetObject", "eventSource": "s3.amazonaws.com"}
    (tmp_path / "a.json").write_bytes(before + json.dumps([{**event, "eventID": "1"}]).encode())
    committed.take(make(Cloudtrail, tmp_path))
    assert len(committed.events) == 1
