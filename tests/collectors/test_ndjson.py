"""The ndjson collector: nothing lost and nothing counted twice, whatever happens to the files."""

from __future__ import annotations

import gzip
import os
import shutil
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.collectors.conftest import Committed
from tocsin.errors import ConfigError, InputError
from tocsin_collectors import ndjson
from tocsin_collectors.ndjson import Ndjson


def event(number, **more):
    return b'{"@timestamp":"2026-03-02T00:00:00Z","event":{"id":"%d"}%s}' % (
        number,
        b"".join(b',"%s":%s' % (k.encode(), v) for k, v in more.items()),
    )


def lines(*numbers):
    return b"".join(event(n) + b"\n" for n in numbers)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "inference.ndjson"


@pytest.fixture
def small_runs(monkeypatch):
    """Runs of 400 bytes, lines of at most 100: what takes 32 MiB in production."""
    monkeypatch.setattr(ndjson, "RUN", 400)


def old(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_growing_file_is_read_on_where_it_stood(file, make, committed):
    file.write_bytes(lines(1, 2))
    collector = make(Ndjson, file)
    committed.take(collector)
    committed.take(collector)
    with file.open("ab") as f:
        f.write(lines(3))
    committed.take(make(Ndjson, file))
    assert committed.lines == [event(1), event(2), event(3)]
    assert [len(b.lines) > 0 for b in committed.batches] == [True, True]


def test_an_unfinished_last_line_waits(file, make, committed):
    file.write_bytes(lines(1) + event(2)[:20])
    committed.take(make(Ndjson, file))
    assert committed.lines == [event(1)]
    with file.open("ab") as f:
        f.write(event(2)[20:])
    committed.take(make(Ndjson, file))  # complete JSON now, though without a newline
    with file.open("ab") as f:
        f.write(b"\n" + event(3) + b"\n")
    committed.take(make(Ndjson, file))
    assert committed.lines == [event(1), event(2), event(3)]


def test_an_unfinished_last_line_of_a_settled_file_is_taken(file, make, committed):
    file.write_bytes(lines(1) + b'{"cut')
    old(file, 700)
    committed.take(make(Ndjson, file))
    assert committed.lines == [event(1), b'{"cut']


def test_a_single_line_without_newline_keeps_its_checkpoint_when_the_newline_comes(file, make, committed):
    file.write_bytes(event(1))
    committed.take(make(Ndjson, file))
    file.write_bytes(event(1) + b"\r\n" + lines(2))
    committed.take(make(Ndjson, file))
    assert committed.lines == [event(1), event(2)]


def test_rotation_by_renaming(file, tmp_path, make, committed):
    file.write_bytes(lines(1, 2))
    committed.take(make(Ndjson, tmp_path))
    with file.open("ab") as f:
        f.write(lines(3))
    file.rename(tmp_path / "inference.ndjson.1")
    file.write_bytes(lines(4))
    committed.take(make(Ndjson, tmp_path))
    assert sorted(committed.lines) == [event(n) for n in (1, 2, 3, 4)]
    (tmp_path / "inference.ndjson.2.gz").write_bytes(
        gzip.compress((tmp_path / "inference.ndjson.1").read_bytes())
    )
    (tmp_path / "inference.ndjson.1").unlink()
    committed.take(make(Ndjson, tmp_path))
    assert len(committed.lines) == 4


@pytest.mark.parametrize("second", [lines(5), lines(1, 7), lines(1, 2, 8, 9, 10)])
def test_copytruncate_even_when_the_new_file_begins_like_the_old_one(file, make, committed, second):
    file.write_bytes(lines(1, 2, 3))
    committed.take(make(Ndjson, file))
    shutil.copy(file, file.with_suffix(".ndjson.1"))
    file.write_bytes(second)
    committed.take(make(Ndjson, file.parent))
    assert committed.lines[3:] == second.split(b"\n")[:-1]
    committed.take(make(Ndjson, file.parent))
    assert len(committed.lines) == 3 + second.count(b"\n")


def test_two_files_that_begin_with_the_same_line_are_two(tmp_path, make, committed):
    for name, numbers in (("access-a", (1, 2, 3)), ("access-b", (1, 4, 5, 6)), ("access-c", (1,))):
        (tmp_path / f"{name}.ndjson").write_bytes(lines(*numbers))
    for _ in range(3):
        committed.take(make(Ndjson, tmp_path))
    assert {event(n) for n in range(1, 7)} == set(committed.lines)
    assert len(committed.lines) <= 8
    with (tmp_path / "access-b.ndjson").open("ab") as f:
        f.write(lines(9))
    before = len(committed.lines)
    committed.take(make(Ndjson, tmp_path))
    assert committed.lines[before:] == [event(9)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_way_of_growing_and_being_killed_gives_each_line_once(tmp_path_factory, make, data):
    folder = tmp_path_factory.mktemp("grow")
    content = lines(*range(data.draw(st.integers(1, 30))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    committed, file, start = Committed(), folder / "access.ndjson", 0
    for cut in [*cuts, len(content)]:
        with file.open("ab") as f:
            f.write(content[start:cut])
        start = cut
        committed.take(make(Ndjson, folder), limit=data.draw(st.sampled_from([None, 1])))
        if data.draw(st.booleans()):
            file.rename(folder / "access.ndjson.1")
            (folder / "access.ndjson.1").rename(file)
    committed.take(make(Ndjson, folder))
    assert committed.lines == content.split(b"\n")[:-1]


def test_batches_are_bounded_and_resume_between_them(file, make, committed, small_runs):
    file.write_bytes(lines(*range(100)))
    while True:
        before = len(committed.lines)
        committed.take(make(Ndjson, file), limit=1)  # killed after every batch
        if len(committed.lines) == before:
            break
    assert committed.lines == [event(n) for n in range(100)]
    assert max(len(b.lines) for b in committed.batches) <= 400


def test_a_line_that_is_too_long_is_passed_over_and_reported(file, make, committed, small_runs):
    file.write_bytes(lines(1) + b"x" * 5000 + b"\n" + lines(2) + b"y" * 3000)
    committed.take(make(Ndjson, file))
    committed.take(make(Ndjson, file))
    assert committed.lines == [event(1), event(2)]
    assert [r.reason for r in committed.rejected] == [
        "line of 5,000 bytes is longer than the limit of 100",
        "line of 3,000 bytes is longer than the limit of 100",
    ]
    assert committed.rejected[0].position == f"{file}@{len(lines(1))}"
    assert committed.rejected[0].original.startswith(b"x" * 100)


def test_a_line_of_ten_megabytes_at_the_real_limits(file, make, committed):
    file.write_bytes(lines(1) + b'{"a":"' + b"x" * 10_000_000 + b'"}\n' + lines(2))
    committed.take(make(Ndjson, file))
    assert committed.lines == [event(1), event(2)]
    assert "10,000,008 bytes" in committed.rejected[0].reason
    assert len(committed.rejected[0].original) == 4096


def test_positions_count_lines_that_are_not_blank(file, make, committed):
    file.write_bytes(b"\n" + lines(1) + b"  \r\n\n" + b"\xff\xfe\n" + lines(2))
    committed.take(make(Ndjson, file))
    batch = committed.batches[0]
    content = file.read_bytes()
    for index, line in enumerate(committed.lines):
        path, _, at = batch.position(index).rpartition("@")
        assert path == str(file)
        assert content[int(at) :].startswith(line)


def test_files_of_one_stream_share_a_batch_and_streams_do_not(tmp_path, make, committed):
    (tmp_path / "access-1.ndjson").write_bytes(event(1))
    (tmp_path / "access-2.ndjson").write_bytes(lines(2))
    (tmp_path / "inference.jsonl.gz").write_bytes(gzip.compress(lines(3)))
    committed.take(make(Ndjson, tmp_path))
    assert {(b.stream, len(b.checkpoint)) for b in committed.batches} == {("access", 2), ("inference", 1)}
    assert sorted(committed.lines) == [event(1), event(2), event(3)]


def test_a_byte_order_mark_is_no_part_of_the_first_line(file, make, committed):
    file.write_bytes(b"\xef\xbb\xbf" + lines(1, 2))
    committed.take(make(Ndjson, file))
    assert committed.lines == [event(1), event(2)]


@pytest.mark.parametrize(
    ("name", "content", "stream"),
    [
        ("access-2026-01.ndjson", lines(1), "access"),
        ("x.ndjson", b'{"event":{"dataset":"tocsin.inference"}}\n', "inference"),
        ("x.ndjson", b'{"event.dataset":"pipeline"}\n', "pipeline"),
        ("accessory.ndjson", b'{"event.dataset":"dataset"}\n', "dataset"),
    ],
)
def test_the_stream_is_told_by_the_name_or_the_first_event(tmp_path, make, committed, name, content, stream):
    (tmp_path / name).write_bytes(content)
    committed.take(make(Ndjson, tmp_path / name))
    assert [b.stream for b in committed.batches] == [stream]


@pytest.mark.parametrize(
    "content", [lines(1), b'{"event.dataset":"tocsin.finding"}\n', b"\xff\n", b"[" * 99999]
)
def test_a_stream_that_nobody_tells_is_an_error_or_left_alone(tmp_path, make, committed, content, caplog):
    (tmp_path / "x.ndjson").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.ndjson: which stream is this\?.*or set `stream`"):
        committed.take(make(Ndjson, tmp_path / "x.ndjson"))
    committed.take(make(Ndjson, tmp_path))
    assert not committed.batches
    assert "left alone" in caplog.text
    committed.take(make(Ndjson, tmp_path, stream="access"))
    assert bool(committed.batches) == content.endswith(b"\n")


def test_wrong_paths_and_streams_are_named(tmp_path, make, committed):
    with pytest.raises(InputError, match=r"nowhere\.ndjson: there is no such file"):
        committed.take(make(Ndjson, tmp_path / "nowhere.ndjson"))
    with pytest.raises(ConfigError, match="'finding' takes no events"):
        make(Ndjson, tmp_path, stream="finding")


def test_damaged_gzip_is_reported_and_what_stands_before_it_is_kept(tmp_path, make, committed):
    whole = gzip.compress(lines(*range(5000)))
    (tmp_path / "access.ndjson.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "inference.ndjson.gz").write_bytes(b"this is no gzip")
    committed.take(make(Ndjson, tmp_path))
    assert 0 < len(committed.lines) < 5000
    assert committed.lines == [event(n) for n in range(len(committed.lines))]
    assert all("damaged or cut short" in r.reason for r in committed.rejected)
    assert len(committed.rejected) == 2
    (tmp_path / "access.ndjson.gz").write_bytes(whole)
    committed.take(make(Ndjson, tmp_path / "access.ndjson.gz"))
    assert committed.lines == [event(n) for n in range(5000)]


def test_collected_spools_can_be_removed(tmp_path, make, committed):
    file = tmp_path / "inference-a.ndjson"
    file.write_bytes(lines(1, 2))
    collector = make(Ndjson, tmp_path, remove=True)
    old(file, 7200)
    committed.take(collector)
    assert file.exists()  # read, but when it was looked at not committed yet
    committed.take(collector)
    assert not file.exists()
    file.write_bytes(lines(3))
    committed.take(collector)
    committed.take(collector)
    assert file.exists()  # committed, but it was changed within the last hour
    assert len(committed.lines) == 3
