"""Ingest: valid and invalid events, duplicates, protected fields and crashes."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stores import open_store
from tocsin.clock import ScriptedClock
from tocsin.config.params import build
from tocsin.contract.plugin import Batch, Rejected
from tocsin.contract.query import COUNT
from tocsin.contract.streams import SOURCES, STREAMS, UNMAPPED
from tocsin.errors import PluginError
from tocsin.pipeline.ingesting.decode import RUN, fast, lenient, runs
from tocsin.pipeline.ingesting.ingest import Counts, Ingest
from tocsin.pipeline.ingesting.protect import Protector, Rule
from tocsin_collectors.ndjson import Ndjson

NOW = datetime(2026, 3, 10, tzinfo=UTC)
KEY = b"0123456789abcdef0123456789abcdef"


class Bench:
    """A store, an ingest, and a way to give it lines."""

    def __init__(self, folder: Path, *rules: Rule, key: bytes = KEY) -> None:
        self.store = open_store(folder, ScriptedClock(NOW))
        self.ingest = Ingest(self.store, ScriptedClock(NOW), Protector(rules, key if rules else b""))

    def take(self, *events: Any, stream: str = "access", key: int = 1) -> Counts:
        lines = b"".join((e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n" for e in events)
        return self.ingest.take(
            Batch(stream, "test", {"file": key}, lines=lines, position=lambda i: f"file:{i + 1}")
        )

    def rows(self, stream: str = "access") -> list[dict[str, Any]]:
        rows = self.store.scan(stream).collect().to_dicts()
        return [{k: v for k, v in row.items() if v is not None} for row in rows]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def access(**more: Any) -> dict[str, Any]:
    return {"@timestamp": "2026-03-02T09:00:00Z", "event": {"id": "1", "action": "read"}, **more}


def test_nested_and_dotted_are_the_same_event(bench: Bench) -> None:
    nested = {"@timestamp": "2026-03-02T09:00:00Z", "event": {"action": "read"}, "user": {"id": "ana"}}
    dotted = {"@timestamp": "2026-03-02T09:00:00Z", "event.action": "read", "user.id": "ana"}
    assert bench.take(nested, dotted) == Counts(2, 1, 1, 0)
    assert bench.rows()[0]["user.id"] == "ana"


@pytest.mark.parametrize("stream", SOURCES)
def test_the_catalogue_s_examples_are_good_events(bench: Bench, stream: str) -> None:
    assert bench.take(dict(STREAMS[stream].example), stream=stream).accepted == 1
    row = bench.rows(stream)[0]
    assert UNMAPPED not in row
    assert row["event.id"]


def test_unknown_fields_are_kept(bench: Bench) -> None:
    bench.take(access(team={"name": "risk", "size": 3}, user="bob"))
    assert json.loads(bench.rows()[0][UNMAPPED]) == {"team.name": "risk", "team.size": 3, "user": "bob"}


def test_a_keyword_that_no_index_holds_is_cut_and_stays_itself(bench: Bench) -> None:
    """Equal long keywords stay equal and different ones different, so every store counts them correctly."""
    names = ["a" * 9_000, "a" * 9_001, "ä" * 5_000, "b" * 8_191]
    for n, name in enumerate([*names, *names]):
        bench.take({"@timestamp": "2026-03-02T09:00:00Z", "event": {"id": str(n)}, "user": {"name": name}})
    found = [row["user.name"] for row in sorted(bench.rows(), key=lambda row: row["event.id"])]
    assert found[:4] == found[4:]
    assert len(set(found)) == 4
    assert found[3] == names[3]
    assert found[1].startswith("a" * 2_000 + "… 9,001 characters, sha256:")
    counted = bench.store.summarize("access", None, None, ["user.name"], [COUNT])
    assert sorted(counted.iter_rows()) == sorted((name, 2) for name in found[:4])


def test_what_tocsin_stamps_cannot_be_forged(bench: Bench) -> None:
    bench.take({**access(), "event.ingested": "2020-01-01T00:00:00Z", "tocsin.source.id": "trusted"})
    row = bench.rows()[0]
    assert row["event.ingested"] == NOW
    assert row["tocsin.source.id"] == "test"
    assert json.loads(row[UNMAPPED])["tocsin.source.id"] == "trusted"


def test_constants_fill_what_an_event_leaves_out(bench: Bench) -> None:
    bench.take(access(), {"@timestamp": "2026-03-02T09:00:00Z", "event": {"id": "2", "category": "iam"}})
    by_id = {row["event.id"]: row for row in bench.rows()}
    assert by_id["1"]["event.category"] == ["api"]
    assert by_id["2"]["event.category"] == ["iam"]
    assert by_id["1"]["event.kind"] == "event"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-02T09:00:00Z", 0),
        ("2026-03-02T10:00:00+01:00", 0),
        ("2026-03-02T09:00:00.5Z", 0.5),
        ("2026-03-02 09:00:00", 0),
        ("2026-03-02T09:00", 0),
        (1772442000000, 0),
    ],
)
def test_times(bench: Bench, text: Any, seconds: float) -> None:
    assert bench.take({"@timestamp": text, "event.id": "1"}).accepted == 1
    moment = bench.rows()[0]["@timestamp"]
    assert moment.timestamp() == datetime(2026, 3, 2, 9, tzinfo=UTC).timestamp() + seconds


GARBAGE: dict[str, tuple[bytes, str]] = {
    "truncated": (b'{"@timestamp": "2026-03-02T09:00:00Z", "event": {"id": "1"', "not JSON"),
    "empty object": (b"{}", "@timestamp: required"),
    "a list": (b"[1, 2]", "object is needed, not list"),
    "a number": (b"17", "object is needed, not number"),
    "NaN in a broken line": (
        b'{"@timestamp": "2026-03-02T09:00:00Z", "http.response.bytes": NaN',
        "not JSON",
    ),
    "infinity": (b'{"@timestamp": "2026-03-02T09:00:00Z", "http.response.bytes": 1e999}', "not JSON"),
    "invalid UTF-8": (b'{"@timestamp": "2026-03-02T09:00:00Z", "user.id": "\xff\xfe"}', "not JSON"),
    "lone surrogate": (b'{"@timestamp": "2026-03-02T09:00:00Z", "user.id": "\\ud800"}', ""),
    "wrong type": (
        b'{"@timestamp": "2026-03-02T09:00:00Z", "http": {"response": {"bytes": "many"}}}',
        "http.response.bytes: long is needed, not text 'many'",
    ),
    "too large": (
        b'{"@timestamp": "2026-03-02T09:00:00Z", "http.response.bytes": 99999999999999999999}',
        "long",
    ),
    "not a time": (b'{"@timestamp": "yesterday"}', "not an RFC 3339 time"),
    "a century ago": (b'{"@timestamp": "1926-03-02T09:00:00Z"}', "older than the limit"),
    "a century ahead": (b'{"@timestamp": "2126-03-02T09:00:00Z"}', "too far in the future"),
    "a year beyond reason": (b'{"@timestamp": "99999-03-02T09:00:00Z"}', "@timestamp"),
    "given twice": (
        b'{"@timestamp": "2026-03-02T09:00:00Z", "user": {"id": "a"}, "user.id": "b"}',
        "given twice",
    ),
    "deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not JSON"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_becomes_a_dead_letter(bench: Bench, name: str) -> None:
    line, reason = GARBAGE[name]
    assert bench.take(access(), line) == Counts(2, 1, 0, 1)
    letter = bench.rows("dead_letter")[0]
    assert reason in letter["error.message"]
    assert letter["tocsin.dead_letter.position"] == "file:2"
    assert letter["tocsin.dead_letter.stream"] == "access"
    assert letter["tocsin.dead_letter.bytes"] > 0
    assert len(letter["event.original"]) <= 8192


def test_a_line_of_ten_megabytes_is_taken_or_rejected_but_never_stops_the_batch(bench: Bench) -> None:
    assert (
        bench.take(
            access(), access(event={"id": "2"}, note="x" * 10_000_000), access(event={"id": "3"})
        ).accepted
        == 3
    )


def test_ten_thousand_unknown_fields_make_no_column(bench: Bench) -> None:
    assert bench.take(access(**{f"field-{i}": i for i in range(10_000)})).accepted == 1
    row = bench.rows()[0]
    assert len(json.loads(row[UNMAPPED])) == 10_000
    assert len(row) < 20


def test_a_batch_again_changes_nothing(bench: Bench) -> None:
    lines = [access(), b"broken", access(event={"id": "2"})]
    assert bench.take(*lines) == Counts(3, 2, 0, 1)
    assert bench.take(*lines) == Counts(3, 0, 2, 1)
    assert len(bench.rows()) == 2
    assert len(bench.rows("dead_letter")) == 1


def test_the_checkpoint_is_committed_with_a_batch_of_nothing_but_garbage(bench: Bench) -> None:
    bench.take(b"broken", key=77)
    assert bench.store.checkpoint("access", "file") == 77


def test_null_features_are_nan(bench: Bench) -> None:
    event = {
        "@timestamp": "2026-03-02T09:00:00Z",
        "event": {"id": "1"},
        "tocsin": {"model": {"name": "m"}, "features": {"values": [1, None, 2.5]}},
    }
    assert bench.take(event, stream="inference").accepted == 1
    values = bench.rows("inference")[0]["tocsin.features.values"]
    assert values[0] == 1.0
    assert math.isnan(values[1])


def test_collectors_cannot_write_tocsin_s_own_streams(bench: Bench) -> None:
    with pytest.raises(PluginError, match="collectors may write only to"):
        bench.take(access(), stream="finding")


def test_what_a_collector_rejects_is_counted(bench: Bench) -> None:
    batch = Batch("access", "test", {"k": 1}, rejected=[Rejected("no CloudTrail record", "x.json", b"?")])
    assert bench.ingest.take(batch) == Counts(1, 0, 0, 1)
    assert bench.rows("dead_letter")[0]["error.message"] == "no CloudTrail record"


def test_an_empty_id_is_none(bench: Bench) -> None:
    events = [{"@timestamp": "2026-03-02T09:00:00Z", "event": {"id": "", "action": a}} for a in "abc"]
    assert bench.take(*events) == Counts(3, 3, 0, 0)


# Protection


def test_an_id_gives_nobody_away(tmp_path: Path) -> None:
    """Events without an id get one from their content; with a key, guessed contents cannot be tested against it."""
    event = {"@timestamp": "2026-03-02T09:00:00Z", "event": {"action": "read"}, "user": {"id": "alice"}}
    plain = Bench(tmp_path / "plain")
    keyed = Bench(tmp_path / "keyed", Rule("user.id", "pseudonymize"))
    masked = Bench(tmp_path / "masked", Rule("user.id", "mask"), key=b"")
    for bench in (plain, keyed, masked):
        bench.take(event, event, b"{broken")
    assert plain.rows()[0]["event.id"] not in {keyed.rows()[0]["event.id"], masked.rows()[0]["event.id"]}
    assert len(keyed.rows()) == 1  # still the same event twice
    assert len(masked.rows()) == 2  # without a key, only the place distinguishes events
    hashes = {bench.rows("dead_letter")[0]["event.hash"] for bench in (plain, keyed, masked)}
    assert len(hashes) == 3


@pytest.mark.parametrize("key", [b"", KEY])
def test_rules_that_come_later_do_not_begin_a_source_anew(tmp_path: Path, key: bytes) -> None:
    (tmp_path / "access.ndjson").write_text(
        '{"@timestamp": "2026-03-02T09:00:00Z", "user": {"id": "alice"}}\n'
    )
    source = Ndjson(build(Ndjson.params_type(), {"paths": [str(tmp_path / "access.ndjson")]}))
    before = Bench(tmp_path / "store")
    assert before.ingest.run(source).accepted == 1
    after = Bench(tmp_path / "store", Rule("user.id", "pseudonymize" if key else "mask"), key=key)
    assert after.ingest.run(source) == Counts()


def test_what_is_in_the_source_s_own_words_is_not_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Rule("user.id", "pseudonymize"))
    seen = Rejected('cannot be read: could not parse `"SECRET"x` as "SECRET"', "d.csv", b'{"who": "SECRET"}')
    bench.ingest.take(Batch("access", "test", {"k": 1}, rejected=[seen]))
    bench.take({"@timestamp": "2026-03-02T09:00:00Z", "labels": '{"email": "SECRET"}'})
    assert "SECRET" not in json.dumps(bench.rows("dead_letter"), default=str)


def test_json_in_a_text_is_looked_into(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Rule("labels.email", "mask"))
    bench.take(access(labels='{"email": "SECRET", "team": "risk"}'))
    assert json.loads(bench.rows()[0]["labels"]) == {"email": "***", "team": "risk"}


def test_what_a_protected_field_says_is_protected_in_unknown_fields_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Rule("user", "pseudonymize"))
    arn = "arn:aws:iam::1:user/alice"
    bench.take(access(user={"id": arn, "name": "alice"}, aws={"identity": {"arn": arn, "who": ["alice", 7]}}))
    (row,) = bench.rows()
    assert "alice" not in json.dumps(row, default=str)
    assert row["user.id"] in row["tocsin.unmapped"]
    assert row["user.name"] in row["tocsin.unmapped"]


def test_secrets_are_protected_before_anything_is_written(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        Rule("user.id", "pseudonymize"),
        Rule("source.ip", "mask"),
        Rule("customer", "pseudonymize"),
        Rule("labels.phone", "drop"),
        Rule("user_agent.original", "drop"),
    )
    secret = {
        "user": {"id": "SECRET-ana"},
        "source": {"ip": "192.0.2.99"},
        "user_agent": {"original": "SECRET-ua"},
    }
    bench.take(
        access(
            **secret,
            customer={"name": "SECRET-name", "ids": [{"ssn": "SECRET-ssn"}]},
            labels={"phone": "SECRET-1", "ok": "kept"},
        ),
        access(**secret, event={"id": "2"}),
        {**secret, "note": "SECRET ends here in no rule"},
        b'{"user": {"id": "SECRET-broken"',
        {"@timestamp": "nonsense", "user.id": "SECRET-late", "customer.name": "SECRET-late"},
        {
            "@timestamp": "2026-03-02T09:00:00Z",
            "user.id": {"SECRET-inside": 1},
            "http.response.bytes": "many",
        },
    )
    rows = {row["event.id"]: row for row in bench.rows()}
    assert rows["1"]["user.id"] == rows["2"]["user.id"]
    assert rows["1"]["user.id"].startswith("hmac:")
    assert len(rows["1"]["user.id"]) == 37
    assert rows["1"]["source.ip"] == "***"
    assert json.loads(rows["1"]["labels"]) == {"ok": "kept"}
    assert "user_agent.original" not in rows["1"]
    written = json.dumps([bench.rows(), bench.rows("dead_letter")], default=str)
    assert written.count("SECRET") == written.count("SECRET ends here")
    assert len(bench.rows("dead_letter")) == 4


def test_a_pseudonym_needs_its_key() -> None:
    assert Protector([], KEY).pseudonym("ana") == Protector([], KEY).pseudonym("ana")
    assert Protector([], KEY).pseudonym("ana") != Protector([], b"another key").pseudonym("ana")


def test_a_pseudonym_is_hmac_sha256() -> None:
    """RFC 4231, test case 2, cut to 128 bits."""
    assert (
        Protector([], b"Jefe").pseudonym("what do ya want for nothing?")
        == "hmac:5bdcc146bf60754e6a042426089575c7"
    )


@pytest.mark.parametrize("action", ["pseudonymize", "mask", "drop"])
def test_each_action_on_each_kind_of_field(tmp_path: Path, action: Any) -> None:
    bench = Bench(
        tmp_path, *(Rule(f, action) for f in ("user.roles", "http.response.bytes", "labels", "extra"))
    )
    event = access(
        user={"roles": ["SECRET"]}, http={"response": {"bytes": 7}}, labels={"a": "SECRET"}, extra="SECRET"
    )
    assert bench.take(event).accepted == 1
    assert "SECRET" not in json.dumps(bench.rows(), default=str)
    row = bench.rows()[0]
    assert "http.response.bytes" not in row
    instead = {"pseudonymize": "hmac:", "mask": "***"}.get(action)
    assert json.loads(row["labels"]).startswith(instead) if instead else "labels" not in row


# The two decoders

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(2**40), 2**40)
events = st.fixed_dictionaries(
    {
        "@timestamp": st.just("2026-03-02T09:00:00Z"),
        "event": st.fixed_dictionaries(
            {"id": texts.filter(bool)}, optional={"duration": numbers, "outcome": texts}
        ),
        "tocsin": st.fixed_dictionaries(
            {"model": st.fixed_dictionaries({"name": texts})},
            optional={
                "features": st.fixed_dictionaries(
                    {"values": st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4)}
                ),
                "output": st.fixed_dictionaries({}, optional={"label": texts, "score": st.floats(0, 1)}),
            },
        ),
    },
    optional={
        "labels": st.dictionaries(texts, texts, max_size=2),
        "user": st.fixed_dictionaries({"id": texts}),
    },
)


@given(st.lists(events, min_size=1, max_size=5))
def test_both_decoders_give_the_same_rows(given_events: list[dict[str, Any]]) -> None:
    lines = [json.dumps(event, ensure_ascii=False).encode() for event in given_events]
    columns = fast("inference", b"\n".join(lines))
    assert columns is not None
    quick = [tuple(map(_plain, row)) for row in zip(*columns, strict=True)]
    slow = [tuple(map(_plain, lenient("inference", line)[0])) for line in lines]
    assert quick == slow


def _plain(value: Any) -> Any:
    return json.loads(bytes(value)) if isinstance(value, msgspec.Raw) else value


@given(st.lists(st.binary(max_size=40).filter(lambda b: b"\n" not in b), max_size=30), st.booleans())
def test_runs_are_whole_lines_and_lose_nothing(lines: list[bytes], ended: bool) -> None:
    whole = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    cut = list(runs(whole))
    assert b"".join(run for _, run in cut) == whole
    assert all(run.endswith(b"\n") for _, run in cut[:-1])


def test_a_run_stays_in_the_cache() -> None:
    whole = (b"x" * 99 + b"\n") * 20_000
    assert all(len(run) <= RUN for _, run in runs(whole))
