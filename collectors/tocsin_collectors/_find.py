"""Finding the files behind configured paths."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tocsin.errors import InputError

log = logging.getLogger("tocsin.collectors")


class Found(NamedTuple):
    """A file, and the configured path that led to it."""

    path: Path
    root: str

    @property
    def named(self) -> bool:
        """Whether the configuration names this very file."""
        return not Path(self.root).expanduser().is_dir()


def find(
    paths: Sequence[str], wanted: re.Pattern[str], warned: set[str], beside: re.Pattern[str] | None = None
) -> list[Found]:
    """The files behind configured paths, each once, sorted by time of change with the oldest first.

    A file that is named or matched by a glob is read whatever its name is. In a folder and its subfolders,
    only files whose name matches `wanted` are read. One warning for each folder lists the other files and
    adds the folder to `warned`. Files that match `beside` belong to other files and are not listed.

    Raises:
        InputError: a path does not exist.
    """
    found: dict[Path, tuple[int, Found]] = {}
    for root in paths:
        for match in _matches(root, wanted, warned, beside):
            try:
                found.setdefault(match.resolve(), (match.stat().st_mtime_ns, Found(match, root)))
            except FileNotFoundError:
                continue  # rotated meanwhile; the file is found under its new name
    return [file for _, file in sorted(found.values(), key=lambda f: (f[0], f[1].path))]


def _matches(
    root: str, wanted: re.Pattern[str], warned: set[str], beside: re.Pattern[str] | None
) -> list[Path]:
    path = Path(root).expanduser()
    if path.is_dir():
        return _walk(path, wanted, warned, beside)
    if path.exists():
        return [path]
    matches = [Path(m) for m in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - may be absolute
    if not matches:
        raise InputError(f"{root}: there is no such file or folder; check the path")
    return [m for m in matches if m.is_file()]


def _walk(
    folder: Path, wanted: re.Pattern[str], warned: set[str], beside: re.Pattern[str] | None
) -> list[Path]:
    taken: list[Path] = []
    left: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        for name in sorted(n for n in names if not n.startswith(".")):
            path = Path(parent, name)
            if path.is_file() and not (beside and beside.search(name)):
                (taken if wanted.search(name) else left).append(path)
    if left and str(folder) not in warned:
        warned.add(str(folder))
        shown = ", ".join(str(p.relative_to(folder)) for p in left[:5])
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        log.warning("%s: left alone, not taken by name: %s%s; name a file to take it", folder, shown, more)
    return taken
