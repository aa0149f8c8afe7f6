"""What Tocsin writes to disk is for its own user alone, whatever the umask is."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.stores import open_store
from tocsin.cli.main import tocsin
from tocsin.clock import ScriptedClock
from tocsin.contract.plugin import Batch, Rejected
from tocsin.pipeline.ingesting.ingest import Ingest
from tocsin.store.private import private_files
from tocsin.store.spool.segments import Segments

NOW = datetime(2026, 3, 10, tzinfo=UTC)


def _write(path: str) -> None:
    Path(path).write_bytes(b"x")


@pytest.fixture(params=[0o000, 0o022, 0o027])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    assert os.umask(before) == request.param  # the store leaves it as it was


def modes(root: Path) -> set[tuple[bool, int]]:
    """The kind (is a folder) and mode of everything below a folder, and of the folder."""
    found = [root, *root.rglob("*")]
    assert len(found) > 1
    return {(p.is_dir(), stat.S_IMODE(p.stat().st_mode)) for p in found}


PRIVATE = {(True, 0o700), (False, 0o600)}


def fill(folder: Path) -> None:
    clock = ScriptedClock(NOW)
    store = open_store(folder, clock)
    ingest = Ingest(store, clock)
    for i in range(30):  # more files of a day than are kept without compaction
        event = {"@timestamp": "2026-03-09T00:00:00Z", "event.id": str(i)}
        rejected = [Rejected("broken", f"line {i}", b"?")]
        ingest.take(Batch("access", "test", {"file": i}, [event], rejected=rejected))
    store.put("kind", "key", {"a": 1})
    store.save_file("baselines/d/1/a.parquet", _write)
    store.maintain()


@pytest.mark.usefixtures("umask")
def test_a_new_store_is_private(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "store")
    assert modes(tmp_path / "a") == PRIVATE


@pytest.mark.usefixtures("umask")
def test_an_open_store_goes_on_and_is_private_from_now_on(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    before = set((tmp_path / "store").rglob("*"))
    for path in (tmp_path / "store", *before):
        path.chmod(0o755 if path.is_dir() else 0o644)
    fill(tmp_path / "store")
    new = set((tmp_path / "store").rglob("*")) - before
    assert {stat.S_IMODE(p.stat().st_mode) for p in new} <= {0o600, 0o700}
    assert open_store(tmp_path / "store", ScriptedClock(NOW)).scan("access").collect().height == 30


@pytest.mark.usefixtures("umask")
def test_the_spool_is_private(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", ScriptedClock(NOW))
    Ingest(store, ScriptedClock(NOW)).take(
        Batch("access", "t", {}, [{"@timestamp": "2026-03-09T00:00:00Z", "event.id": "1"}])
    )
    segments = Segments.open(tmp_path / "spool", 2**30)
    assert segments is not None
    segments.write("access", store.scan("access").collect(), {}, NOW)
    assert modes(tmp_path / "spool") == PRIVATE


@pytest.mark.usefixtures("umask")
def test_threads_do_not_open_each_others_umask() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with private_files():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    with private_files():
        pass
    assert os.umask(0o077) == 0o077
    leave.set()
    thread.join()


@pytest.mark.usefixtures("umask")
def test_the_command_line_writes_private_reports(tmp_path: Path) -> None:
    from click.testing import CliRunner

    (tmp_path / "tocsin.yaml").write_text("store: {path: data}\n")
    for name in ("report.html", "report.md"):
        arguments = [
            "--config",
            str(tmp_path / "tocsin.yaml"),
            "report",
            "--output",
            str(tmp_path / "out" / name),
        ]
        (tmp_path / "out").mkdir(exist_ok=True, mode=0o700)
        result = CliRunner().invoke(tocsin, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert {mode for is_folder, mode in modes(tmp_path / "out") if not is_folder} == {0o600}
