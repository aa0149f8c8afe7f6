"""What stands in a line of an access log: prefixes, virtual hosts, lists of proxies, odd users, JSON, and `format`."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.errors import ConfigError
from tocsin_collectors.access_log import AccessLog

TAIL = '[26/Nov/2026:10:00:00 +0100] "GET /x HTTP/1.1" 200 5 "-" "curl"'
PREFIXES = [
    "",
    "Nov 26 10:00:00 web1 nginx[12]: ",
    "<190>Nov  6 10:00:00 web1 nginx: ",
    "Nov 26 10:00:00 nginx: ",
    "2026-11-26T10:00:00.123456+00:00 web1 nginx[12]: ",
    "<134>1 2026-11-26T10:00:00Z web1 nginx 12 - - ",
    '<134>1 2026-11-26T10:00:00Z web1 nginx 12 - [a@1 b="]"] ',
    "2026-11-26T10:00:00.123456789Z stdout F ",
    "2026-11-26T10:00:00Z ",
    "nginx-1  | ",
    "[pod/nginx-7d/nginx] ",
    "nginx: ",
]


def read(make, committed, tmp_path, *lines, **given):
    (tmp_path / "access.log").write_text("".join(f"{line}\n" for line in lines))
    committed.take(make(AccessLog, tmp_path / "access.log", **given))
    return committed.events


def who(event):
    return event.get("user.id"), event.get("source.ip"), event.get("network.forwarded_ip")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("user", ["maria", "-"])
def test_known_prefixes_are_passed_over(make, committed, tmp_path, prefix, user):
    (event,) = read(make, committed, tmp_path, f"{prefix}192.0.2.1 - {user} {TAIL}")
    assert who(event) == (None if user == "-" else user, "192.0.2.1", None)
    assert event["@timestamp"] == "2026-11-26T09:00:00Z"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("example.com:80 192.0.2.1 - maria", ("maria", "192.0.2.1", None)),
        ("_ 192.0.2.1 - maria", ("maria", "192.0.2.1", None)),
        ("192.0.2.1 example.com - maria", ("maria", "192.0.2.1", None)),
        ("203.0.113.5, 10.0.0.1 - maria", ("maria", "203.0.113.5", "203.0.113.5")),
        ("198.51.100.9, 203.0.113.5, 10.0.0.1 - maria", ("maria", "203.0.113.5", "198.51.100.9")),
        ("10.1.1.1,10.0.0.1 - maria", ("maria", "10.1.1.1", "10.1.1.1")),
        ("unknown, 203.0.113.5 - maria", ("maria", "203.0.113.5", "203.0.113.5")),
        ("203.0.113.5, 10.0.0.1 192.0.2.9 - maria", ("maria", "192.0.2.9", "203.0.113.5")),
        ("- 192.0.2.9 - maria", ("maria", "192.0.2.9", None)),
        ("::ffff:192.0.2.1 - maria", ("maria", "192.0.2.1", None)),
        ("2001:DB8:0::1 - maria", ("maria", "2001:db8::1", None)),
        (" - -", (None, None, None)),  # gunicorn behind a socket
        (" - maria", ("maria", None, None)),
        ("unix: - maria", ("maria", None, None)),
        ("unix:/run/web.sock - -", (None, None, None)),
        ("- - -", (None, None, None)),
        ('192.0.2.1 - ""', (None, "192.0.2.1", None)),  # Apache writes an empty user so
        ("192.0.2.1 - [192.0.2.1] - -", (None, "192.0.2.1", None)),
        ("192.0.2.1 id with spaces", (None, "192.0.2.1", None)),
        ("10.0.0.1 192.0.2.1 - maria", None),
        ("web1 - 192.0.2.1 - maria", None),
        ("maria - 192.0.2.1", (None, None, None)),  # $remote_user - $remote_addr
        ("192.0.2.1 - maria -", (None, "192.0.2.1", None)),
        ("some words 192.0.2.1 - maria", None),
        ("2026-11-26T10:00:00Z stdout P 192.0.2.1 - maria", None),
    ],
)
def test_what_stands_before_the_time(make, committed, tmp_path, before, expected):
    events = read(make, committed, tmp_path, f"{before} {TAIL}")
    assert [who(event) for event in events] == ([] if expected is None else [expected])
    assert len(committed.rejected) == (expected is None)


@pytest.mark.parametrize(
    "user",
    [
        "b [26/Nov/2026:10:00:00 +0000]",
        "b [",
        "[x] [y",
        "J R",
        "u" * 5000,
        'a"b',
        "a\\x22b",
        '\\" [26/Nov/2026:10:00:00 +0000] \\"',
        "192.0.2.99",
    ],
)
@pytest.mark.parametrize("host", ["192.0.2.1", "example.com:80 192.0.2.1"])
def test_a_client_may_choose_any_user_name(make, committed, tmp_path, host, user):
    (event,) = read(make, committed, tmp_path, f"{host} - {user} {TAIL}")
    assert who(event) == (user, "192.0.2.1", None)
    assert event["@timestamp"] == "2026-11-26T09:00:00Z"


def test_a_user_name_cannot_make_up_a_request_of_somebody_else(make, committed, tmp_path):
    user = 'eve" [26/Nov/2026:08:00:00 +0000] "GET /innocent HTTP/1.1" 200 5 "-'
    (event,) = read(make, committed, tmp_path, f"192.0.2.1 - {user} {TAIL}")
    assert who(event) == (None, "192.0.2.1", None)


# An `escape=default` of nginx and the escaping of Apache leave no quotation mark, no line break and no lone backslash.
USERS = st.text(
    st.characters(blacklist_characters='"\\', blacklist_categories=["C", "Zl", "Zp"]), max_size=60
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=USERS, prefix=st.sampled_from([*PREFIXES, "example.com:80 "]))
def test_whatever_the_user_is_the_line_is_an_event_with_its_address(make, user, prefix):
    """Invariant: a user name neither removes the event nor changes its address, time or status."""
    event = make(AccessLog)._event("", 0, f"{prefix}192.0.2.1 - {user} {TAIL}")
    assert event.get("user.id") in (user, None)
    assert (event["source.ip"], event["@timestamp"]) == ("192.0.2.1", "2026-11-26T09:00:00Z")
    assert event["http.response.status_code"] == 200


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.one_of(
        st.text(max_size=30),
        st.lists(
            st.sampled_from(["-", "a", "1.2.3.4", "::1", "[x]", '"', "x:", "|", ",", "F", "26"]), max_size=6
        ).map(" ".join),
    ),
    space=st.sampled_from(["", " "]),
)
def test_text_before_the_address_never_makes_a_principal(make, before, space):
    """Invariant: with any text in front, a line is rejected, or its principal is the real one or none."""
    try:
        event = make(AccessLog)._event("", 0, f"{before}{space}192.0.2.1 - maria {TAIL}")
    except ValueError:
        return
    assert event.get("user.id") in ("maria", None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            {"time_local": "26/Nov/2026:10:00:00 +0100", "remote_addr": "192.0.2.1", "remote_user": "maria",
             "request": "GET /x HTTP/1.1", "status": "200", "body_bytes_sent": "5", "request_time": "0.5"},
            ("maria", "192.0.2.1", None),
        ),
        (
            {"time": "2026-11-26T09:00:00+00:00", "remote_addr": "", "request_method": "GET", "uri": "/x", "status": 200,
             "http_x_forwarded_for": "203.0.113.5, 10.0.0.1"},
            (None, "203.0.113.5", "203.0.113.5"),
        ),
        (
            {"ts": 1795683600.5, "request": {"remote_ip": "10.0.0.1", "client_ip": "192.0.2.1", "method": "GET",
             "uri": "/x"},
             "user_id": "maria", "status": 200, "msg": "handled request"},
            ("maria", "192.0.2.1", None),
        ),
        (
            {"ClientHost": "192.0.2.1", "ClientUsername": "-", "DownstreamStatus": 200, "RequestMethod": "GET",
             "RequestPath": "/x", "time": "2026-11-26T09:00:00Z"},
            (None, "192.0.2.1", None),
        ),
        (
            {"@timestamp": "2026-11-26T09:00:00Z", "source": {"ip": "::ffff:192.0.2.1"}, "user": {"name": "maria"},
             "http": {"request": {"method": "GET"}, "response": {"status_code": 200}}, "url": {"original": "/x"}},
            ("maria", "192.0.2.1", None),
        ),
        ({"log": f"192.0.2.1 - maria {TAIL}\n", "stream": "stdout", "time": "2026-11-26T09:00:01Z"},
         ("maria", "192.0.2.1", None)),
        ({"MESSAGE": f"192.0.2.1 - maria {TAIL}", "_PID": "1"}, ("maria", "192.0.2.1", None)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "Nov 26 10:00:00 web1 nginx: ", "2026-11-26T10:00:00Z stdout F "])
def test_json_lines(make, committed, tmp_path, line, expected, prefix):
    (event,) = read(make, committed, tmp_path, prefix + json.dumps(line))
    assert who(event) == expected
    assert (event["event.action"], event["url.path"]) == ("get", "/x")
    assert event["@timestamp"].startswith("2026-11-26T09:00:00")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"remote_user": "eve", "remote_user": "maria", "status": 200}', "a key occurs twice"),
        ('{"a": 1}', "has no time and no status and no request"),
        ('{"cut', "not JSON"),
        ("{" * 5000, "not JSON"),
        ("[1]", "not a line of"),
    ],
)
def test_json_that_cannot_be_read_is_rejected_in_words(make, committed, tmp_path, line, reason):
    assert not read(make, committed, tmp_path, line)
    assert reason in committed.rejected[0].reason


def test_json_with_the_default_escaping_of_nginx_is_read(make, committed, tmp_path):
    line = r'{"time":"2026-11-26T09:00:00Z","request":"GET /x","status":200,"http_user_agent":"a\x22b"}'
    (event,) = read(make, committed, tmp_path, line)
    assert event["user_agent.original"] == 'a"b'


MAIN = """log_format main '$remote_addr - $remote_user [$time_local] "$request" '
                         '$status $body_bytes_sent "$http_referer" '
                         '"$http_user_agent" "$http_x_forwarded_for"';"""
VHOST = r'LogFormat "%v:%p %h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\"" vhost_combined'
GUNICORN = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(D)s'
PROXIED = 'log_format x \'$http_x_forwarded_for - $remote_user [$time_local] "$request" $status $bytes_sent "-" "curl"\''
BOTH = 'log_format x \'$http_x_forwarded_for $remote_addr - $remote_user [$time_local] "$request" $status 5 "-" "curl"\''


@pytest.mark.parametrize(
    ("form", "line", "expected"),
    [
        (MAIN, f'192.0.2.1 - a [b {TAIL} "203.0.113.5"', ("a [b", "192.0.2.1", "203.0.113.5")),
        (MAIN, f'nginx-1  | 192.0.2.1 - a {TAIL} "-"', ("a", "192.0.2.1", None)),
        (MAIN, f"192.0.2.1 - a {TAIL}", None),
        ("combined", f"web1 - 192.0.2.1 - maria {TAIL}", ("192.0.2.1 - maria", None, None)),
        (VHOST, f"example.com:443 192.0.2.1 - m x {TAIL}", ("m x", "192.0.2.1", None)),
        (VHOST.split('"', 1)[1].rsplit('"', 1)[0], f"a:1 192.0.2.1 - m {TAIL}", ("m", "192.0.2.1", None)),
        ("vhost_combined", f"example.com:443 ::1 - m {TAIL}", ("m", "::1", None)),
        (GUNICORN, f" - - {TAIL} 1234", (None, None, None)),
        (PROXIED, f"198.51.100.9, 203.0.113.5, 10.0.0.1 - m {TAIL}", ("m", "203.0.113.5", "198.51.100.9")),
        (
            PROXIED,
            f"1.2.3.4 - admin - m {TAIL}",
            (None, None, None),
        ),  # the client wrote a dash into its header
        (PROXIED, f"no address at all - m {TAIL}", ("m", None, None)),
        (BOTH, f"1.2.3.4 192.0.2.1 - m {TAIL}", ("m", "192.0.2.1", "1.2.3.4")),
        (BOTH, f"1.2.3.4 6.6.6.6 - admin 192.0.2.1 - m {TAIL}", (None, None, None)),
        (
            'log_format j \'{"t":"$time_iso8601","a":"$remote_addr","u":"$remote_user","r":"$request","s":$status}\';',
            '{"t":"2026-11-26T10:00:00+01:00","a":"192.0.2.1","u":"maria","r":"GET /x HTTP/1.1","s":200}',
            ("maria", "192.0.2.1", None),
        ),
        (
            "%{%d/%b/%Y:%T %z}t %a %u %m %U%q %>s",
            "26/Nov/2026:10:00:00 +0100 192.0.2.1 maria GET /x?k=1 200",
            ("maria", "192.0.2.1", None),
        ),
    ],
)
def test_the_format_of_the_server(make, committed, tmp_path, form, line, expected):
    events = read(make, committed, tmp_path, line, format=form)
    assert [who(event) for event in events] == ([] if expected is None else [expected])
    assert all(event["@timestamp"] == "2026-11-26T09:00:00Z" for event in events)
    assert all((event["event.action"], event["url.path"]) == ("get", "/x") for event in events)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("$remote_addr", "the format has no time and no status and no request"),
        ('%h %t "%r"', "the format has no status"),
        (
            '$http_a $http_b $http_c [$time_local] "$request" $status',
            "more than two values that clients choose",
        ),
        ("main", "the format has no time"),
    ],
)
def test_a_format_that_cannot_be_used_is_an_error(make, form, reason):
    with pytest.raises(ConfigError, match=reason):
        make(AccessLog, format=form)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forwarded=USERS, user=USERS)
def test_two_values_of_a_client_are_read_exactly_or_not_at_all(make, forwarded, user):
    """Invariant: with a header and a user outside of quotation marks, the user is the real one, or there is none."""
    event = make(AccessLog, format=PROXIED)._event("", 0, f"{forwarded} - {user} {TAIL}")
    assert event.get("user.id") in (user, None)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("//api/2.0/mlflow//registered-models/./delete?name=m", ("delete", "m")),
        ("/api/2.0/mlflow/registered-models/delete/?name=m", ("delete", "m")),
        ("/api/2.0/mlflow/registered-models/delete?name=m&name=decoy", ("delete", "m")),
        ("/api/2.0/mlflow/registered-models/delete?name=a b", ("delete", "a b")),
        ("  /api/2.0/mlflow/registered-models/delete?name=m", ("delete", "m")),  # nginx accepts these
        ("/api/2.0/mlflow/registered-models/delete?name=m  ", ("delete", "m")),
    ],
)
def test_a_path_in_another_spelling_is_the_same_action(make, committed, tmp_path, target, expected):
    line = f'192.0.2.1 - m [26/Nov/2026:10:00:00 +0100] "DELETE {target} HTTP/1.1" 200 5'
    (event,) = read(make, committed, tmp_path, line)
    assert (event["event.action"], event["tocsin.resource.id"]) == expected
