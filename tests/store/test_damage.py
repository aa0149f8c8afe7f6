"""Missing and damaged files of the store in a folder: one sentence with the name of the file, in every command."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.store.conformance import accesses
from tocsin.cli.main import tocsin
from tocsin.contract.frames import conform
from tocsin.errors import StoreError
from tocsin.store.embedded.delta import DeltaStore

COMMANDS = (("findings",), ("health",), ("coverage",), ("runs",), ("events", "finding"), ("events", "run"))


def _remove(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-300:-20] = bytes(random.Random(1).randrange(256) for _ in range(280))
    path.write_bytes(content)


def _extend(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


HARM = (_remove, _truncate, _empty, _garble, _extend)


def _store(folder: Path) -> None:
    store = DeltaStore.open(folder / "tocsin-data")
    for stream in ("finding", "run"):
        store.append(stream, conform(accesses(20), stream))
    store.close()


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(tocsin, list(arguments))


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("kind", ["day=*/*.parquet", "_delta_log/*0.json", "_delta_log/*1.json"])
def test_a_command_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, harm: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    _store(tmp_path)
    named = []
    for stream in ("finding", "run"):
        (file,) = (tmp_path / "tocsin-data" / "streams" / stream).glob(kind)
        harm(file)
        named.append(file.name)
    if kind.endswith("json") and (harm is _extend or (harm is _remove and "1" in kind)):
        return  # twice the same commit: no row is lost; a commit that was taken back: the records show what is missing
    for command in COMMANDS:
        done = _run(*command)
        shown = done.output + str(done.exception)
        assert done.exit_code != 0, command
        assert any(name in shown for name in named), (command, shown)
        assert isinstance(done.exception, StoreError | SystemExit), command


def test_a_log_that_is_gone_is_not_an_empty_stream(tmp_path: Path) -> None:
    _store(tmp_path)
    for file in (tmp_path / "tocsin-data" / "streams" / "finding" / "_delta_log").iterdir():
        file.unlink()
    store = DeltaStore.open(tmp_path / "tocsin-data")
    with pytest.raises(StoreError, match="the log of its commits is missing"):
        store.scan("finding")
    store.close()
