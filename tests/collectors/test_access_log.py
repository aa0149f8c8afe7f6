"""The access log collector: formats, MLflow's paths, times, identity of events."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.errors import ConfigError
from tocsin_collectors._mlflow import registry_request
from tocsin_collectors.access_log import AccessLog

GOLDEN = Path(__file__).parent.parent / "data" / "access.log"


def one(make, committed, tmp_path, line, **settings):
    (tmp_path / "access.log").write_text(line + "\n")
    (event,) = committed.take(make(AccessLog, tmp_path, **settings)).events
    return event


def test_golden_log(make, committed):
    committed.take(make(AccessLog, GOLDEN, service="registry"))
    first = committed.events[0]
    first.pop("event.id")
    assert first == {
        "@timestamp": "2026-03-02T09:31:44Z",
        "event.action": "download",
        "event.outcome": "success",
        "event.type": ["access"],
        "user.id": "maria",
        "source.ip": "192.0.2.17",
        "user_agent.original": "mlflow-python-client/3.4.0",
        "service.name": "registry",
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.response.bytes": 118,
        "url.path": "/api/2.0/mlflow/model-versions/get-download-uri",
        "url.query": "name=credit+risk&version=8",  # not the token
        "tocsin.resource.type": "model_version",
        "tocsin.resource.id": "credit risk",
        "tocsin.resource.version": "8",
    }
    rest = [
        (e["event.action"], e["tocsin.resource.type"], e.get("tocsin.resource.id"), e["event.outcome"])
        for e in committed.events[1:]
    ]
    assert rest == [
        *[("download", "artifact", "0123456789abcdef0123456789abcdef/model", "success")] * 3,
        ("promote", "model_version", None, "failure"),
        ("get", "http", "/health", "success"),
        ("malformed", "http", None, "failure"),
        ("delete", "model", "credit", "success"),
    ]
    assert committed.events[1]["event.duration"] == 113_000_000
    assert committed.events[4]["source.ip"] == "2001:db8::7"
    assert committed.events[4]["event.type"] == ["change", "denied"]
    assert committed.events[7]["source.ip"] == "192.0.2.17"
    assert "user.id" not in committed.events[4]
    (rejected,) = committed.rejected
    assert rejected.original == b"Traceback (most recent call last):"
    assert rejected.position == f"{GOLDEN}@{GOLDEN.read_bytes().index(b'Traceback')}"


def test_identical_lines_are_several_events_and_the_same_ones_when_read_again(make, committed, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for file in (first / "access.log", second / "access.log.1"):
        file.parent.mkdir()
        file.write_bytes(GOLDEN.read_bytes())
    committed.take(make(AccessLog, first / "access.log"))
    ids = [e["event.id"] for e in committed.events]
    assert len(set(ids)) == len(ids) == 8
    committed.take(make(AccessLog, first, second))
    assert [e["event.id"] for e in committed.events] == ids  # a rotated copy is the same file
    committed.numbers.clear()
    committed.take(make(AccessLog, second))
    assert [e["event.id"] for e in committed.events] == ids + ids


def test_a_mended_line_makes_no_other_line_a_new_event(make, committed, tmp_path):
    file = tmp_path / "access.log"
    first, second = GOLDEN.read_bytes().splitlines()[4:6]
    file.write_bytes(first + b"\n" + b"x" * len(second) + b"\n")
    committed.take(make(AccessLog, file))
    before = [e["event.id"] for e in committed.events]
    assert len(before) == len(committed.rejected) == 1
    file.write_bytes(first + b"\n" + second + b"\n")
    committed.take(make(AccessLog, file))
    assert len(committed.events) == 3
    assert len({e["event.id"] for e in committed.events}) == 2


def test_a_half_written_line_waits(make, committed, tmp_path):
    file = tmp_path / "access.log"
    line = GOLDEN.read_bytes().splitlines()[5]
    file.write_bytes(line[:-1])  # valid already, but with another number of bytes
    committed.take(make(AccessLog, file))
    assert not committed.events
    file.write_bytes(line + b"\n")
    committed.take(make(AccessLog, file))
    assert [e["http.response.bytes"] for e in committed.events] == [2]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            '::1 - - [28/Feb/2026:23:59:59 -0130] "GET /" 304 - "https://x/?k=1" "a \\" b" "203.0.113.5, -"',
            {
                "@timestamp": "2026-03-01T01:29:59Z",
                "http.request.referrer": "https://x/",
                "user_agent.original": 'a \\" b',
                "network.forwarded_ip": "203.0.113.5",
            },
        ),
        ('[::1]:99 - "GET /x HTTP/1.1" 200', None),
        (
            '2026-07-01 12:00:00,250 INFO 127.0.0.1:1 - "GET /x HTTP/1.1" 404 Not Found',
            {"event.outcome": "failure"},
        ),
        (
            'host.example - J R [01/Jan/2026:00:00:00 +0000] "GET /a%20b?x=1 HTTP/1.0" 200 5',
            {"user.id": "J R"},
        ),
        ('1.2.3.4 - - [40/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 5', None),
        ("", None),
        ('1.2.3.4 - - [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200', None),
        ("\x00" * 50, None),
    ],
)
def test_lines_of_all_sorts(make, committed, tmp_path, line, expected):
    (tmp_path / "access.log").write_text(line + "\n")
    committed.take(make(AccessLog, tmp_path))
    if expected is None:
        assert not committed.events
        assert len(committed.rejected) == bool(line)
    else:
        assert expected.items() <= committed.events[0].items()


def test_a_time_without_zone_is_in_the_zone_of_the_setting(make, committed, tmp_path):
    line = '2026/07/01 12:00:00 INFO:     192.0.2.1:5 - "GET / HTTP/1.1" 200 OK'
    event = one(make, committed, tmp_path, line, zone="Europe/Berlin")
    assert event["@timestamp"] == "2026-07-01T10:00:00Z"
    with pytest.raises(ConfigError, match="zone 'Mars' is unknown"):
        make(AccessLog, tmp_path, zone="Mars")


@pytest.mark.parametrize(
    "line",
    [
        '192.0.2.1 - - [02/Mar/2026:09:31:44 +0000] "GET / HTTP/1.1" 200 5 "-" "x" rt=' + "9" * 400 + ".0",
        '192.0.2.1 - - [02/Mar/2026:09:31:44 +0000] "GET / HTTP/1.1" 200 ' + "9" * 5000,
        '192.0.2.1 - - [01/Jan/0001:00:00:44 +1400] "GET / HTTP/1.1" 200 5',
        '192.0.2.1 - - [31/Dec/9999:23:59:44 -1400] "GET / HTTP/1.1" 200 5',
    ],
)
def test_numbers_and_times_beyond_all_bounds_are_rejections(make, committed, tmp_path, line):
    file = tmp_path / "access.log"
    file.write_bytes(GOLDEN.read_bytes().splitlines()[4] + b"\n" + line.encode() + b"\n")
    committed.take(make(AccessLog, file))
    assert len(committed.events) == len(committed.rejected) == 1


def test_hostile_lines_take_no_time(make, committed, tmp_path):
    lines = ["1.2.3.4 - " + " [" * 300_000, '1.2.3.4 - - [x] "' + "\\" * 300_000, "a " * 300_000]
    (tmp_path / "access.log").write_text("\n".join(lines) + "\n")
    committed.take(make(AccessLog, tmp_path))
    assert len(committed.rejected) == 3


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        ("GET /api/2.0/mlflow/registered-models/get?name=m", ("read", "model", "m", None)),
        ("POST /api/2.0/mlflow/registered-models/create", ("create", "model", None, None)),
        ("PATCH /api/2.0/mlflow/registered-models/update", ("update", "model", None, None)),
        ("POST /api/2.0/mlflow/registered-models/alias", ("promote", "model", None, None)),
        ("GET /api/2.0/mlflow/registered-models/alias?name=m&alias=prod", ("read", "model", "m", "prod")),
        ("DELETE /api/2.0/mlflow/registered-models/alias?name=m", ("delete_alias", "model", "m", None)),
        ("GET /ajax-api/2.0/mlflow/registered-models/search?filter=x", ("search", "model", None, None)),
        ("POST /api/2.0/mlflow/model-versions/set-tag", ("set_tag", "model_version", None, None)),
        ("GET /api/2.0/mlflow/model-versions/get?name=m&version=3", ("read", "model_version", "m", "3")),
        ("GET /api/2.0/mlflow/runs/get?run_id=7", ("read", "run", "7", None)),
        ("POST /api/2.0/mlflow/runs/log-batch", ("update", "run", None, None)),
        ("GET /api/2.0/mlflow/experiments/get-by-name?experiment_name=e", ("read", "experiment", "e", None)),
        ("GET /api/2.0/mlflow/artifacts/list?run_id=7&path=model", ("search", "artifact", "7", None)),
        ("PATCH /api/2.0/mlflow/users/update-admin", ("update", "user", None, None)),
        (
            "POST /api/2.0/mlflow/registered-models/permissions/create",
            ("create", "permission", None, None),
        ),
        ("GET /get-artifact?path=model/model.pkl&run_uuid=7", ("download", "artifact", "7/model", None)),
        ("GET /get-artifact?path=x", ("download", "artifact", None, None)),
        (
            "GET /mlflow/model-versions/get-artifact?name=m&version=3&path=a",
            ("download", "model_version", "m", "3"),
        ),
        (
            "PUT /api/2.0/mlflow-artifacts/artifacts/1/7/artifacts/model/a.bin",
            ("upload", "artifact", "7/model", None),
        ),
        (
            "POST /api/2.0/mlflow-artifacts/mpu/create/1/7/artifacts/a.bin",
            ("upload", "artifact", "7/a.bin", None),
        ),
        (
            "GET /api/2.0/mlflow-artifacts/artifacts/1/models/m-9f/artifacts/a",
            ("download", "model", "m-9f", None),
        ),
        (
            "GET /api/2.0/mlflow-artifacts/artifacts?path=1/models/m-9f/artifacts",
            ("search", "model", "m-9f", None),
        ),
        ("GET /api/2.0/mlflow/logged-models/m-9f", ("read", "model", "m-9f", None)),
        ("POST /api/2.0/mlflow/logged-models", ("create", "model", None, None)),
        ("PATCH /api/2.0/mlflow/logged-models/m-9f/tags", ("set_tag", "model", "m-9f", None)),
        ("GET /static/index.html", None),
    ],
)
def test_mlflow_requests(request_line, expected):
    method, _, target = request_line.partition(" ")
    path, _, text = target.partition("?")
    query = dict(pair.split("=") for pair in text.split("&")) if text else {}
    assert registry_request(method, path, query) == expected
