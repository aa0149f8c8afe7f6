"""Places that cannot be read: each is named, the rest is read, and the source fails; links that leave are not followed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.stores import only_embedded
from tocsin.errors import InputError
from tocsin_collectors._find import Faults, find
from tocsin_collectors._lines import opened
from tocsin_collectors.access_log import _WANTED as WANTED
from tocsin_collectors.access_log import AccessLog
from tocsin_collectors.cloudtrail import Cloudtrail
from tocsin_collectors.dataset import Dataset
from tocsin_collectors.ndjson import Ndjson

LINE = b'192.0.2.1 - maria [26/Nov/2026:10:00:00 +0000] "GET /x HTTP/1.1" 200 5\n'
KINDS = [
    (AccessLog, "access.log", LINE),
    (Ndjson, "access.ndjson", b'{"event.id":"1"}\n'),
    (Cloudtrail, "a.json", b'{"eventTime":"2026-11-26T10:00:00Z","eventName":"A","eventSource":"b"}'),
    (Dataset, "apps.csv", b"age,label\n1,0\n"),
]
#: As root, who may read everything, the capabilities that allow this are dropped.
AS_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def failing(make, committed, kind, *paths):
    """Take what a source delivers. Returns the message of the error at its end, or an empty text."""
    try:
        committed.take(make(kind, *paths))
    except InputError as error:
        return str(error)
    return ""


@pytest.fixture
def special(tmp_path):
    """Special files by kind, in a folder of their own. Some need a name that a collector wants."""

    def special(kind, name):
        path = tmp_path / "special" / name
        path.parent.mkdir(exist_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
        else:
            path.symlink_to("/dev/zero")
        return path

    return special


@pytest.mark.parametrize(("kind", "name", "content"), KINDS)
@pytest.mark.parametrize("what", ["pipe", "socket", "device"])
def test_what_is_not_a_regular_file_is_named_and_the_rest_is_read(
    make, committed, tmp_path, special, kind, name, content, what
):
    good = tmp_path / "good"
    good.mkdir()
    (good / name).write_bytes(content)
    odd = special(what, name)
    reason = failing(make, committed, kind, odd, good)
    assert f"{odd}: is a {what}, not a regular file" in reason
    assert len(committed.events) + len(committed.lines) == 1
    assert f"is a {what}, not a regular file" in failing(make, committed, kind, odd.parent)
    with pytest.raises(InputError, match=what):
        make(kind, odd).check()


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path, special):
    with pytest.raises(OSError, match="is a pipe"), opened(special("pipe", "access.log")):
        pass


@pytest.mark.parametrize(("kind", "name", "content"), KINDS)
def test_links_that_leave_the_folder_are_named_and_not_followed(
    make, committed, tmp_path, caplog, kind, name, content
):
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside, inside / "real"):
        folder.mkdir()
    (outside / name).write_bytes(content)
    (inside / f"1{name}").symlink_to(outside / name)
    (inside / "latest").symlink_to(outside)
    (inside / f"2{name}").symlink_to(tmp_path / "nothing")
    (inside / "loop").symlink_to(inside)
    assert failing(make, committed, kind, inside) == ""
    assert not committed.batches
    for link in (f"1{name}", "latest", f"2{name}"):
        assert f"{inside / link} -> " in caplog.text
    committed.take(make(kind, inside, outside))  # the target is configured, too
    assert len(committed.events) + len(committed.lines) == 1


@pytest.mark.parametrize(("kind", "name", "content"), KINDS)
def test_links_within_the_folder_are_followed_once(make, committed, tmp_path, caplog, kind, name, content):
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / name).write_bytes(content)
    (tmp_path / "now").symlink_to(tmp_path / ".data")
    (tmp_path / "again").symlink_to(tmp_path / ".data")
    (tmp_path / "up").symlink_to(tmp_path)
    assert failing(make, committed, kind, tmp_path) == ""
    assert len(committed.events) + len(committed.lines) == 1
    assert "not followed" not in caplog.text


def test_a_glob_does_not_follow_links_out_of_its_folder(make, committed, tmp_path, caplog):
    (tmp_path / "in" / "day").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(LINE)
    (tmp_path / "in" / "day" / "access.log").symlink_to(tmp_path / "secret")
    assert failing(make, committed, AccessLog, tmp_path / "in" / "*" / "*.log") == ""
    assert not committed.batches
    assert "access.log -> " in caplog.text


def test_a_path_that_is_missing_does_not_stop_the_others(make, committed, tmp_path):
    (tmp_path / "access.log").write_bytes(LINE)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    bad = [
        tmp_path / "missing",
        tmp_path / "*.none",
        tmp_path / "dangling",
        "~nobody-here/x",
        "a\0b",
        "x" * 5000,
    ]
    reason = failing(make, committed, AccessLog, *bad, tmp_path / "access.log")
    assert len(committed.events) == 1
    assert f"{tmp_path / 'missing'}: there is no such file or folder; check the path" in reason
    assert str(tmp_path / "dangling") in reason
    assert "and 1 more places" in reason
    assert "\0" not in reason


@pytest.mark.skipif(
    bool(AS_USER) and not shutil.which("setpriv"), reason="root needs setpriv to be refused a file"
)
@only_embedded
def test_unreadable_folders_and_files_fail_the_source(tmp_path):
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "sub" / "access.log").write_bytes(LINE)
    (tmp_path / "d" / "access.log").write_bytes(LINE.replace(b"/x", b"/y"))
    (tmp_path / "closed-access.log").write_bytes(LINE)
    (tmp_path / "closed-access.log").chmod(0)
    (tmp_path / "d" / "sub").chmod(0)
    try:
        for paths, read, named in (
            (["d"], 1, "d/sub: cannot be read: Permission denied"),
            (["d/*/access.log"], 0, "d/sub: cannot be read: Permission denied"),
            (["d/sub/access.log"], 0, "d/sub/access.log: cannot be read: Permission denied"),
            (["closed-access.log"], 0, "closed-access.log: cannot be read: Permission denied"),
            (["d/sub"], 0, "d/sub: cannot be read: Permission denied"),
        ):
            done = tocsin(tmp_path, "collect", "access_log", *paths)
            assert done.returncode == 1, done.stderr
            assert named in done.stderr
            assert "Traceback" not in done.stderr
            assert f"accepted {read}" in done.stdout
    finally:
        (tmp_path / "d" / "sub").chmod(0o755)


@only_embedded
def test_a_failing_source_is_in_health_and_the_next_one_goes_on(tmp_path):
    os.mkfifo(tmp_path / "access.log")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "access.log").write_bytes(LINE)
    (tmp_path / "tocsin.yaml").write_text(
        "collectors:\n"
        "  - {type: access_log, params: {paths: [access.log]}}\n"
        "  - {type: ndjson, params: {paths: [missing]}}\n"
        "  - {type: access_log, params: {paths: [in]}}\n"
    )
    checked = tocsin(tmp_path, "check")
    assert (checked.returncode, "access.log: is a pipe" in checked.stderr) == (1, True)
    assert not (tmp_path / "tocsin-data").exists()
    done = tocsin(tmp_path, "run", "--once")
    assert (done.returncode, "1 event accepted" in done.stdout) == (1, True)
    health = tocsin(tmp_path, "health", "--json").stdout
    assert "access.log: is a pipe" in health
    assert "missing: there is no such file or folder" in health
    (tmp_path / "access.log").unlink()
    (tmp_path / "access.log").write_bytes(LINE)
    (tmp_path / "missing").mkdir()
    tocsin(tmp_path, "run", "--once")
    assert "could not be read" not in tocsin(tmp_path, "health", "--json").stdout


@only_embedded
def test_a_worker_with_a_pipe_as_source_ends_on_sigterm(tmp_path):
    os.mkfifo(tmp_path / "access.log")
    (tmp_path / "tocsin.yaml").write_text(
        "collectors: [{type: access_log, params: {paths: [access.log]}}]\nschedule: {collect: 1s}\n"
    )
    command = [sys.executable, "-m", "tocsin", "run"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        lines = iter(worker.stderr.readline, "")
        assert any("is a pipe" in line for line in lines)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0


@only_embedded
@pytest.mark.parametrize("existing", [False, True])
def test_check_writes_nothing(tmp_path, existing):
    (tmp_path / "tocsin.yaml").write_text("namespace: right\n")
    if existing:
        tocsin(tmp_path, "events", "access")
    (tmp_path / "tocsin.yaml").write_text("namespace: typo\n")
    before = listing(tmp_path)
    checked = tocsin(tmp_path, "check")
    assert checked.returncode == existing
    assert ("belongs to namespace 'right', not 'typo'" in checked.stderr) == existing
    assert listing(tmp_path) == before
    (tmp_path / "tocsin.yaml").write_text("namespace: right\n")
    assert tocsin(tmp_path, "check").returncode == 0


def tocsin(folder, *arguments):
    command = [*AS_USER, sys.executable, "-m", "tocsin", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def listing(folder):
    return sorted(
        (str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*") if p.name != "tocsin.yaml"
    )


ENTRIES = st.dictionaries(
    st.sampled_from(
        ["access.log", "access-b.log", "sub/access.log", "sub/other.txt", "sub/deep/access.1", ".x/access.2"]
    ),
    st.sampled_from(["file", "pipe", "link inside", "link outside", "dangling link"]),
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=ENTRIES)
def test_nothing_that_is_not_hidden_is_passed_over_in_silence(tmp_path_factory, caplog, entries):
    """Invariant: whatever lies in a folder is read, is named in the warning, or is a fault; and nothing outside is read."""
    folder, outside = tmp_path_factory.mktemp("in"), tmp_path_factory.mktemp("out") / "access.log"
    outside.write_bytes(LINE)
    (folder / "target.access").write_bytes(LINE)
    for name, what in entries.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if what == "file":
            path.write_bytes(LINE + name.encode())
        elif what == "pipe":
            os.mkfifo(path)
        else:
            targets = {"link inside": folder / "target.access", "link outside": outside}
            path.symlink_to(targets.get(what, folder / "nowhere"))
    caplog.clear()
    faults = Faults()
    found = {file.path for file in find([str(folder)], WANTED, set(), faults=faults)}
    try:
        faults.check()
        reasons = ""
    except InputError as error:
        reasons = str(error)
    real = {os.path.realpath(path) for path in found}
    assert all(path.startswith(str(folder)) for path in real)
    for name in entries:
        path = folder / name
        hidden = name.startswith(".")
        assert hidden or os.path.realpath(path) in real or str(path) in reasons or name in caplog.text
