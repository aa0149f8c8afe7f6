"""`tocsin plugins new collector NAME`: reads a model server's log."""

from __future__ import annotations

_COLLECTOR = '''\
"""Calls of models from the log of a model server."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tocsin import Batch, Collector, InputError, Rejected, Resume, Stability, param

_STREAM = "inference"
_MOST = 1000  # lines in one batch: memory stays bounded, however long the log is


@dataclass(frozen=True, slots=True)
class Params:
    """Settings. They are set in tocsin.yaml under `collectors: [{{type: {name}, params: {{path: …}}}}]`."""

    path: str = param(doc="the log: one call a line, `TIME MODEL PRINCIPAL SCORE`")


@dataclass(slots=True)
class _Part:
    """Some lines of the log, as far as they were read."""

    events: list[dict[str, Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)  # the line of each event
    rejected: list[Rejected] = field(default_factory=list)


class {cls}(Collector[Params]):
    """Calls of models from the log of a model server.

    Delivery: at least once. The checkpoint is the number of lines that were read; it is committed together
    with the events, so a crash neither loses a line nor counts it twice. A last line without its line end
    is read when it is complete. The log may only grow: a rotated log needs another name.
    """

    id = "{name}"
    stability = Stability.EXPERIMENTAL

    def collect(self, resume: Resume) -> Iterator[Batch]:
        path = Path(self.params.path)
        number = done = resume(_STREAM, self.params.path) or 0
        part = _Part()
        try:
            with path.open("rb") as file:
                for line in itertools.islice(file, done, None):
                    if not line.endswith(b"\\n"):  # the server is still writing it
                        break
                    number += 1
                    self._read(part, number, line)
                    if (number - done) % _MOST == 0:
                        yield self._batch(part, number)
                        part = _Part()
        except OSError as error:
            raise InputError(f"{{path}} cannot be read: {{error.strerror}}") from None
        if part.events or part.rejected:
            yield self._batch(part, number)

    def _read(self, part: _Part, number: int, line: bytes) -> None:
        try:
            time, model, principal, score = line.decode().split()
            value = float(score)
        except ValueError as error:
            part.rejected.append(Rejected(f"not a call: {{error}}", f"line {{number}}", line))
            return
        if not math.isfinite(value):
            part.rejected.append(Rejected("the score is not finite", f"line {{number}}", line))
            return
        id = hashlib.sha256(f"{{self.params.path}}:{{number}}:".encode() + line).hexdigest()[:32]
        part.lines.append(number)
        part.events.append(
            {{
                "@timestamp": time,
                "event.id": id,  # the same whenever the same line is read
                "tocsin.model.name": model,
                "user.id": principal,
                "tocsin.output.score": value,
            }}
        )

    def _batch(self, part: _Part, number: int) -> Batch:
        return Batch(
            _STREAM,
            f"{{self.id}}:{{self.params.path}}",
            {{self.params.path: number}},
            events=part.events,
            position=lambda index: f"line {{part.lines[index]}}",
            rejected=part.rejected,
            derived_ids=True,
        )
'''

_TEST = '''\
"""The collector over a small log. Run with: pytest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin import Batch, InputError

from tocsin_{name} import {name}

LOG = """\\
2026-03-02T09:00:00Z credit alice 0.81
2026-03-02T09:00:01Z credit bob high
2026-03-02T09:00:02Z fraud alice 0.07
"""


def collect(path: Path, committed: int | None = None) -> list[Batch]:
    """Every batch, with `committed` lines read before."""
    collector = {name}.{cls}({name}.Params(path=str(path)))
    return list(collector.collect(lambda stream, key: committed))


def test_every_line_becomes_an_event_or_is_rejected(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(LOG)
    (batch,) = collect(log)
    assert [event["tocsin.model.name"] for event in batch.events] == ["credit", "fraud"]
    assert [batch.position(index) for index in range(2)] == ["line 1", "line 3"]
    assert [(bad.position, bad.original) for bad in batch.rejected] == [
        ("line 2", b"2026-03-02T09:00:01Z credit bob high\\n")
    ]


def test_it_reads_what_was_added_since_the_checkpoint(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(LOG)
    (first,) = collect(log)
    committed = first.checkpoint[str(log)]
    assert collect(log, committed) == []
    with log.open("a") as file:
        file.write("2026-03-02T09:00:03Z credit carol 0.5\\n2026-03-02T09:00:04Z cred")
    (second,) = collect(log, committed)
    assert [event["user.id"] for event in second.events] == ["carol"]
    assert second.checkpoint == {{str(log): 4}}


def test_the_same_line_has_the_same_id(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(LOG + LOG)
    ids = [event["event.id"] for batch in collect(log) for event in batch.events]
    assert len(set(ids)) == len(ids) == 4
    assert ids == [event["event.id"] for batch in collect(log) for event in batch.events]


def test_a_log_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        collect(tmp_path / "absent.log")
'''

FILES = {
    "tocsin_{name}/{name}.py": _COLLECTOR,
    "tests/test_{name}.py": _TEST,
}
