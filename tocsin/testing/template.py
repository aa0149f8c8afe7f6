"""`tocsin plugins new KIND NAME`: a working package, to be changed rather than filled in."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tocsin.config import discovery
from tocsin.contract.plugin import KINDS, Plugin
from tocsin.errors import ConfigError
from tocsin.testing.templates import baseline as with_baseline
from tocsin.testing.templates import collector, detector, package, receiver

_LONGEST = 60
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_KINDS: dict[str, type[Plugin[Any]]] = {kind.__name__.lower(): kind for kind in KINDS}
_EXAMPLES = {"collector": "server_log", "detector": "failed_calls", "receiver": "alert_file"}
_FILES: dict[str, Mapping[str, str]] = {
    "collector": package.WITH_TESTS | collector.FILES,
    "detector": package.WITH_CASES | detector.FILES,
    "receiver": package.WITH_TESTS | receiver.FILES,
}


def write(name: str, directory: Path, kind: str = "detector", *, baseline: bool = False) -> Path:
    """Write the package `tocsin-NAME` below a folder.

    Args:
        name: id of the plug-in, lower_snake_case.
        directory: the folder in which the package's folder is created.
        kind: collector, detector or receiver.
        baseline: of a detector, the form with a `fit`.

    Raises:
        ConfigError: the name is not lower_snake_case or is taken, or the package's folder exists.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST or keyword.iskeyword(name):
        raise ConfigError(
            f"{name[:_LONGEST]!r} is not a valid name for a {kind}: use lower_snake_case of up to {_LONGEST} "
            f"characters, such as {_EXAMPLES[kind]}"
        )
    if name in discovery.discover().of(_KINDS[kind]):
        raise ConfigError(f"a {kind} {name!r} is already installed; choose another name")
    folder = directory / f"tocsin-{name.replace('_', '-')}"
    if folder.exists():
        raise ConfigError("already exists; nothing was written", folder)
    files = package.WITH_CASES | with_baseline.FILES if baseline else _FILES[kind]
    words = {
        "kind": kind,
        "name": name,
        "dashed": name.replace("_", "-"),
        "cls": "".join(map(str.capitalize, name.split("_"))),
    }
    try:
        for place, content in files.items():
            path = folder / place.format(**words)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content.format(**words), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", folder) from None
    return folder
