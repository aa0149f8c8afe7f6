"""A protected value is protected wherever it stands in an event, and nothing that detectors judge by is lost by that."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stores import open_store
from tocsin.clock import ScriptedClock
from tocsin.contract.plugin import Batch, Rejected
from tocsin.pipeline.ingesting.decode import fast
from tocsin.pipeline.ingesting.ingest import Ingest
from tocsin.pipeline.ingesting.protect import Protector, Rule
from tocsin.store.protocol import Appended
from tocsin_collectors._aws import access_event

NOW = datetime(2026, 3, 10, tzinfo=UTC)
KEY = b"0123456789abcdef0123456789abcdef"
CANARY = "CANARY01"
RULES = (
    Rule("user.id", "pseudonymize"),
    Rule("user.name", "mask"),
    Rule("user.roles", "pseudonymize"),
    Rule("source.ip", "pseudonymize"),
    Rule("customer", "drop"),
)


class Written:
    """A store that only remembers what is appended."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def append(self, stream: str, frame: Any, checkpoint: Any = None) -> Appended:
        self.rows += [{"stream": stream, **row} for row in frame.to_dicts()]
        return Appended(len(frame), 0)

    def checkpoint(self, stream: str, key: str) -> int | None:
        return None


def written(
    *events: Any,
    rules: tuple[Rule, ...] = RULES,
    key: bytes = KEY,
    as_events: bool = False,
    stream: str = "access",
) -> list[dict[str, Any]]:
    """Everything that is written for these events, without null."""
    store = Written()
    ingest = Ingest(store, ScriptedClock(NOW), Protector(rules, key))
    lines = b"".join((e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n" for e in events)
    given_events = list(events) if as_events else []
    batch = Batch(stream, "test", {"file": 1}, given_events, lines=b"" if as_events else lines)
    counts = ingest.take(batch)
    assert counts.read == len(events) == counts.accepted + counts.rejected
    return [{k: v for k, v in row.items() if v is not None} for row in store.rows]


def text_of(rows: list[dict[str, Any]]) -> str:
    """All that is written, as one text in small letters, with JSON texts decoded."""
    shown = json.dumps(rows, default=str, ensure_ascii=False)
    return shown.replace("\\", "").casefold()


def event(**more: Any) -> dict[str, Any]:
    start = {"@timestamp": "2026-03-02T09:00:00Z", "event": {"id": "e1", "action": "read"}}
    return start | {"tocsin": {"resource": {"type": "model", "id": "m"}}} | more


USER = {"user": {"id": CANARY}}
FORMS: dict[str, dict[str, Any]] = {
    "parent is a text": event(user=CANARY),
    "parent is a list": event(user=[CANARY, {"id": CANARY}, [CANARY]]),
    "an object in the place of a text": event(user={"id": {"name": CANARY}}),
    "a list in the place of a text": event(user={"id": [CANARY]}),
    "a key below": event(user={"id": {CANARY: 1}}),
    "other case": event(User={"Id": CANARY}) | {"USER.ID": CANARY},
    "other separators": event()
    | {"user_id": CANARY, "userId": CANARY, "user-ids": [CANARY], "user id ": CANARY},
    "invisible characters": event() | {"us\u200ber.id": CANARY, "\uff55ser.id": CANARY},
    "deeper": event(x={"audit": [{"user": {"id": CANARY}}]}) | {"x.customer.email": CANARY},
    "plural": event(customers=[CANARY], users=[{"id": CANARY}]),
    "a key below a dropped field": event(customer={CANARY: {"x": 1}}, note=CANARY),
    "labels": event(labels={"user.id": CANARY, "user": {"id": CANARY}, "j": json.dumps(USER)}),
    "labels that repeat it": event(**USER, labels={"who": CANARY, CANARY: "x", "n": [CANARY]}),
    "unknown fields": event(**USER, note=f"by {CANARY}", k={CANARY: 1}, **{CANARY: 1}),
    "JSON in a text": event(**USER, note=json.dumps({"x": json.dumps({"user": {"id": CANARY}})})),
    "other known fields": event(
        user={"id": CANARY, "roles": [f"{CANARY}r"]},
        error={"message": f"denied for {CANARY}"},
        url={"path": f"/u/{CANARY}"},
        tags=["x", CANARY],
        tocsin={"resource": {"type": "user", "id": f"home/{CANARY}/x"}},
        user_agent={"original": f"{CANARY}-agent"},
    ),
    "an id": event(**USER) | {"event": {"id": f"x-{CANARY}"}},
    "encodings": event(
        **USER, error={"message": "q%43ANARY01 &#67;ANARY01 \\u0043ANARY01"}, n={"x": "%2543ANARY01"}
    ),
    "other forms of letters": event(**USER, error={"message": "ＣＡＮＡＲＹ０１ CAN\u200bARY01"}),
    "a number": event(customer=181818240, n={"v": 181818240, "w": [1818182401]}),
    "the name in an ARN": event(
        user={"id": f"arn:aws:iam::1:user/{CANARY}"}, url={"path": f"/home/{CANARY}"}, s=CANARY
    ),
    "twice": event(**USER) | {"user.id": f"{CANARY}b", "note": CANARY},
    "a broken time": event(**USER) | {"@timestamp": "garbage", "x": CANARY},
    "in the place of a time": event() | {"@timestamp": CANARY},
    "beside a broken number": event(**USER, http={"response": {"status_code": CANARY}}),
    "no address": event(source={"ip": f"{CANARY} is none"}),
    "deep": event(**USER, x=json.loads('{"a":' * 300 + f'"{CANARY}"' + "}" * 300)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", [KEY, b""])
def test_a_canary_is_nowhere(form: str, key: bytes) -> None:
    rules = RULES if key else tuple(Rule(rule.field, "mask") for rule in RULES)
    for as_events in (False, True):
        found = text_of(written(FORMS[form], rules=rules, key=key, as_events=as_events))
        assert "canary" not in found
        assert "181818240" not in found


def test_events_that_need_no_lenient_decoder_are_looked_at_too() -> None:
    events = [
        event(
            user={"id": f"{CANARY}-{i}"},
            error={"message": f"{CANARY}-{i} was"},
            labels={"who": f"{CANARY}-{i}"},
        )
        | {"event": {"id": f"{i}"}}
        for i in range(50)
    ]
    lines = b"\n".join(json.dumps(e).encode() for e in events)
    assert fast("access", lines) is not None
    rows = written(*events)
    assert len(rows) == 50
    assert "canary" not in text_of(rows)
    assert all(row["user.id"] in row["error.message"] and row["user.id"] in row["labels"] for row in rows)


IDENTITIES: dict[str, Any] = {
    "text": CANARY,
    "list": [CANARY, {"arn": CANARY}],
    "ARN as a list": {"type": "IAMUser", "arn": [CANARY]},
    "session": {
        "type": "AssumedRole",
        "principalId": f"AROAEXAMPLEEXAMPLE12:{CANARY}",
        "arn": f"arn:aws:sts::1:assumed-role/R/{CANARY}",
        "accountId": "111122223333",
        "sessionContext": {
            "sessionIssuer": {"userName": CANARY, "arn": f"arn:aws:iam::1:role/{CANARY}"},
            "sourceIdentity": CANARY,
            "attributes": {"mfaAuthenticated": "true", CANARY: CANARY},
        },
    },
    "unknown key": {"type": "IAMUser", "userName": CANARY, "somethingNew": {"x": f"{CANARY}2"}},
    "type is an object": {"type": {CANARY: CANARY}, "arn": {"x": CANARY}},
}


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("rules", [RULES, (Rule("user", "pseudonymize"),), (Rule("user.id", "mask"),)])
def test_an_identity_of_cloudtrail_is_protected_in_every_form(identity: str, rules: tuple[Rule, ...]) -> None:
    record = {
        "eventID": "c1",
        "eventTime": "2026-03-02T09:00:00Z",
        "eventName": "GetObject",
        "eventSource": "s3.amazonaws.com",
        "userIdentity": IDENTITIES[identity],
        "requestParameters": {"roleSessionName": CANARY},
        "responseElements": {"assumedRoleUser": {"assumedRoleId": f"AROAEXAMPLEEXAMPLE12:{CANARY}"}},
    }
    rules = (*rules, Rule("user.name", "mask"), Rule("user.roles", "mask"))
    (row,) = written(access_event(record), rules=rules, as_events=True)
    assert "canary" not in text_of([row])
    assert "GetObject" in row["event.action"]
    if identity == "session":
        assert '"AssumedRole"' in row["tocsin.unmapped"]  # what names nobody stays readable


def test_what_a_collector_rejects_names_nobody() -> None:
    store = Written()
    ingest = Ingest(store, ScriptedClock(NOW), Protector(RULES, KEY))
    seen = Rejected(f"no record: {CANARY} is odd", "x.json", json.dumps({"a": 1, **USER}).encode())
    ingest.take(Batch("access", "test", {"k": 1}, rejected=[seen]))
    assert store.rows
    assert "canary" not in text_of(store.rows)


@pytest.mark.parametrize("name", ["read", "success", "m", "credit", "model", "high", "s3.amazonaws.com"])
def test_a_user_name_cannot_change_what_detectors_judge_by(name: str) -> None:
    """Otherwise a user who takes the name of a model, or of an outcome, is not seen by its detector."""
    given_event = event(user={"id": name}) | {
        "event": {
            "id": "e1",
            "action": "read",
            "outcome": "success",
            "type": ["access"],
            "provider": "s3.amazonaws.com",
        },
        "tocsin": {"model": {"name": "credit"}, "output": {"label": "high"}},
    }
    (row,) = written(given_event, stream="inference")
    (other,) = written(given_event | {"user": {"id": "somebody else"}}, stream="inference")
    judged = ("event.action", "event.outcome", "event.type", "tocsin.model.name", "tocsin.output.label")
    assert [row[name] for name in judged] == [other[name] for name in judged]


def test_masked_ids_and_keys_stay_different() -> None:
    """Two events whose ids contain a masked value are two events, and two masked keys are two values."""
    rules = (Rule("user.id", "mask"),)
    events = [
        event(user={"id": f"{CANARY}{i}"}, x={f"{CANARY}{i}": 1, f"{CANARY}{i}b": 2})
        | {"event": {"id": f"{CANARY}{i}"}}
        for i in range(3)
    ]
    rows = written(*events, rules=rules, key=b"")
    assert len({row["event.id"] for row in rows}) == 3
    assert all(sorted(json.loads(row["tocsin.unmapped"]).values()) == [1, 2] for row in rows)


def test_similar_names_of_other_things_stay() -> None:
    rules = (Rule("customer", "drop"), Rule("source.ip", "mask"))
    (row,) = written(event(customs="x", resource={"ip": "192.0.2.1"}, user={"id": "ana"}), rules=rules)
    assert json.loads(row["tocsin.unmapped"]) == {"customs": "x", "resource.ip": "192.0.2.1"}
    assert row["user.id"] == "ana"


def test_a_flood_of_protected_values_hides_all_rather_than_some(tmp_path: Path) -> None:
    names = [f"{CANARY}-{i}" for i in range(2_000)]
    rows = written(event(user={"id": "ana", "roles": names}, note=names, error={"message": " ".join(names)}))
    assert "canary" not in text_of(rows)
    store = open_store(tmp_path, ScriptedClock(NOW))
    Ingest(store, ScriptedClock(NOW), Protector(RULES, KEY)).take(Batch("access", "t", {}, [event(**USER)]))
    assert "canary" not in text_of(store.scan("access").collect().to_dicts())


# Any form

cases = st.lists(st.booleans(), min_size=24, max_size=24)
keys = st.sampled_from(
    ["note", "labels", "message", "x", "Tags", "a.b", "error", "url", "tocsin", "user_agent", "n"]
)
plain = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text("xyz ", max_size=5))
secret = st.sampled_from([CANARY, f"{CANARY}@example.org", f"arn:aws:iam::1:user/{CANARY}", f"über {CANARY}"])


def spelled(name: str, flags: list[bool]) -> str:
    return "".join(c.upper() if up else c for c, up in zip(name, flags, strict=False))


@st.composite
def protected_fields(draw: st.DrawFn) -> dict[str, Any]:
    """`user.id` or `customer` in any case, dotted or nested, with a canary below in any form."""
    flags, value = draw(cases), draw(secret)
    forms: list[Any] = [
        value,
        [value],
        {"x": value},
        {value: 1},
        [[value], {"y": [value]}],
        {value: {value: value}},
    ]
    inner = draw(st.sampled_from(forms))
    user, id, customer = spelled("user", flags), spelled("id", flags[4:]), spelled("customer", flags[6:])
    shapes: list[dict[str, Any]] = [
        {user: {id: inner}},
        {f"{user}.{id}": inner},
        {user: [{id: inner}]},
        {user: [value, {id: value}]},
        {user: value},
        {customer: inner},
        {f"{customer}.email": inner},
    ]
    return draw(st.sampled_from(shapes))


@st.composite
def surroundings(draw: st.DrawFn) -> dict[str, Any]:
    """Fields that may repeat the canary, and that may hold the protected field itself, at any depth."""
    here = draw(protected_fields())
    leaf = st.one_of(plain, st.just(here), st.just(f"by {CANARY}!"), st.just(json.dumps(here)))
    tree = st.recursive(
        leaf,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
        max_leaves=6,
    )
    around = draw(st.dictionaries(keys, tree, max_size=4))
    return {**around, **here, "user.name": CANARY}


@settings(deadline=None)
@given(surroundings(), st.sampled_from(["pseudonymize", "mask", "drop"]), st.booleans())
def test_a_canary_under_a_protected_field_is_nowhere(
    around: dict[str, Any], action: Any, as_events: bool
) -> None:
    """Invariant: for any nesting, case, key and list form, the canary is in no column of any stream."""
    rules = tuple(Rule(field, action) for field in ("user.id", "user.name", "customer"))
    start = {"@timestamp": "2026-03-02T09:00:00Z", "event.id": "1", "event.action": "read"}
    assert "canary" not in text_of(written(start | around, rules=rules, as_events=as_events))


words = st.sampled_from([CANARY, CANARY.lower(), f"-{CANARY}-", "read", "x", "%43ANARY01", "ÄÖ", "a\\b", ""])
texts = st.lists(words, max_size=3).map(" ".join)
FREE = ("error.message", "error.code", "url.path", "user_agent.original", "tocsin.resource.id", "user.name")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(FREE), texts),
            st.dictionaries(texts, texts, max_size=2),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_copy_in_a_known_field_is_found_in_both_decoders(rows: list[tuple[Any, Any, bool]]) -> None:
    """Invariant: events that both decoders can read are written the same by both, without the canary."""
    events = []
    for i, (known, labels, is_named) in enumerate(rows):
        nested: dict[str, Any] = event(labels=labels, user={"id": CANARY if is_named else CANARY.lower()})
        for name, value in known.items():
            node = nested
            *parents, leaf = name.split(".")
            for part in parents:
                node = node.setdefault(part, {})
            node[leaf] = value
        events.append(nested | {"event": {"id": f"e{i}-{CANARY}", "action": "read"}})
    rules = (Rule("user.id", "pseudonymize"),)
    lines = b"\n".join(json.dumps(e).encode() for e in events)
    assert fast("access", lines) is not None
    quick, slow = (written(*events, rules=rules, as_events=as_events) for as_events in (False, True))
    assert "canary" not in text_of(quick)
    for row in (*quick, *slow):
        row["event.id"], row["labels"] = "", json.loads(row["labels"])
    assert quick == slow


def test_a_long_text_with_many_values_costs_linear_time() -> None:
    names = [f"{CANARY}-{i}" for i in range(300)]
    for end in (f"x {CANARY}-7", "nothing"):
        rows = written(event(user={"id": "ana", "roles": names}, note="z" * 2_000_000 + end))
        assert "canary" not in text_of(rows)
    assert rows[0]["tocsin.unmapped"].count("z") == 2_000_000


def test_a_stream_without_rules_is_written_as_it_is() -> None:
    event = {
        "@timestamp": "2026-03-09T10:00:00Z",
        "event": {"id": "a"},
        "user": {"id": "ana"},
        "other": {"x": "y"},
    }
    (row,) = written(event, rules=(Rule("source.ip", "mask", ("inference",)),))
    assert row["user.id"] == "ana"
    assert json.loads(row["tocsin.unmapped"]) == {"other.x": "y"}
