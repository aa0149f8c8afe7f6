"""Lines of access logs that a container runtime has split."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.collectors.conftest import Committed
from tests.collectors.test_access_formats import TAIL, read, who


def cri(tag, text, stream="stdout"):
    return f"2026-11-26T09:00:00.000000001Z {stream} {tag} {text}"


def docker(text, stream="stdout"):
    return json.dumps({"log": text, "stream": stream, "time": "2026-11-26T09:00:00Z"}, separators=(",", ":"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), form=st.sampled_from(["cri", "docker"]))
def test_lines_that_a_container_runtime_splits_are_joined(tmp_path_factory, make, data, form):
    """Invariant: wherever a runtime splits lines, and however it interleaves its streams, each line is one event."""
    user = "u" * data.draw(st.integers(1, 50))
    whole = [f"192.0.2.1 - {user} {TAIL}", f"192.0.2.2 - a\\x22b {TAIL.replace('curl', chr(92) + chr(34))}"]
    queues = []
    for line, stream in zip(whole, ("stdout", "stderr"), strict=True):
        cuts = sorted(data.draw(st.sets(st.integers(1, len(line) - 1), max_size=3)))
        parts = [line[a:b] for a, b in zip([0, *cuts], [*cuts, len(line)], strict=True)]
        last = len(parts) - 1
        if form == "cri":
            queues.append([cri("F" if i == last else "P", part, stream) for i, part in enumerate(parts)])
        else:
            queues.append([docker(part + "\n" * (i == last), stream) for i, part in enumerate(parts)])
    lines = []
    while any(queues):
        lines.append(data.draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    committed = Committed()
    events = read(make, committed, tmp_path_factory.mktemp("pod"), *lines)
    assert sorted(who(event) for event in events) == [
        ("a\\x22b", "192.0.2.2", None),
        (user, "192.0.2.1", None),
    ]
    assert not committed.rejected


def test_a_part_without_its_rest_is_rejected_in_words(make, committed, tmp_path):
    (event,) = read(
        make, committed, tmp_path, cri("P", "192.0.2.1 - maria"), docker(f"192.0.2.2 - maria {TAIL}")
    )
    assert who(event) == ("maria", "192.0.2.2", None)  # the last line of a container that wrote no line break
    assert "a part of a line" in committed.rejected[0].reason
