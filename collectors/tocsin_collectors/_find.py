"""Finding the files behind configured paths.

What a configured path leads to is not trusted: only regular files are opened, and a link is followed only to a target
below a configured folder. Whatever cannot be read is a fault of the source, which the collector reports after it has
read everything else.
"""

from __future__ import annotations

import errno
import glob
import logging
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tocsin.errors import InputError

log = logging.getLogger("tocsin.collectors")

_SHOWN = 5
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


class Found(NamedTuple):
    """A file, and the configured path that led to it."""

    path: Path
    root: str

    @property
    def named(self) -> bool:
        """Whether the configuration names this very file."""
        return not Path(self.root).expanduser().is_dir()


class Faults:
    """The places that one pass over a source could not read, each with its reason."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def add(self, place: str | Path, reason: OSError | str) -> None:
        """Record that a place cannot be read. The first reason for a place is kept."""
        if isinstance(reason, OSError):
            reason = f"cannot be read: {reason.strerror or reason}; check its permissions"
        self._reasons.setdefault(str(place), reason)

    def check(self) -> None:
        """Report the faults.

        Raises:
            InputError: there are faults; the message names the first five places.
        """
        if not self._reasons:
            return
        listed = [f"{place}: {reason}" for place, reason in self._reasons.items()]
        more = len(listed) - _SHOWN
        last = [f"and {more:,} more places"] if more > 0 else []
        raise InputError(_printable(" | ".join([*listed[:_SHOWN], *last])))


def find(
    paths: Sequence[str],
    wanted: re.Pattern[str],
    warned: set[str],
    beside: re.Pattern[str] | None = None,
    faults: Faults | None = None,
) -> list[Found]:
    """The files behind configured paths, each once, sorted by time of change with the oldest first.

    A file that is named or matched by a glob is read whatever its name is. In a folder and its subfolders,
    only files whose name matches `wanted` are read. One warning for each folder lists the other files and the links
    that are not followed, and is noted in `warned`. Files that match `beside` belong to other files
    and are not listed.

    `faults` receives the paths that do not exist, the folders and files that cannot be read, and wanted files that are
    not regular (pipes, sockets, devices).

    Raises:
        InputError: there are faults, and `faults` is None.
    """
    known = Faults() if faults is None else faults
    inside = [_fixed(root) for root in paths]
    found: dict[str, tuple[int, Found]] = {}
    for root in paths:
        search = _Search(root, wanted, beside, inside, known)
        for match in search.files():
            try:
                changed = match.stat().st_mtime_ns
            except FileNotFoundError:
                continue  # rotated meanwhile; the file is found under its new name
            except OSError as error:
                known.add(match, error)
                continue
            found.setdefault(os.path.realpath(match), (changed, Found(match, root)))
        search.warn(warned)
    if faults is None:
        known.check()
    return [file for _, file in sorted(found.values(), key=lambda f: (f[0], f[1].path))]


@dataclass(slots=True)
class _Search:
    """The search behind one configured path. Links are followed to targets below one of the folders `inside`."""

    root: str
    wanted: re.Pattern[str]
    beside: re.Pattern[str] | None
    inside: Sequence[str]
    faults: Faults
    left: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def files(self) -> Iterator[Path]:
        """The files to read. `left` then holds the others, and `links` the links that were not followed."""
        try:
            path = Path(self.root).expanduser()
            if path.is_dir():
                yield from self._walk(path, {os.path.realpath(path)})
            elif os.path.lexists(path):
                if self._readable(path):
                    yield path
            elif glob.has_magic(self.root):
                yield from self._matched(path)
            else:
                path.stat()
        except FileNotFoundError:
            self.faults.add(self.root, "there is no such file or folder; check the path")
        except OSError as error:
            self.faults.add(self.root, error)
        except (ValueError, RuntimeError) as error:  # a null byte, or the home of an unknown user
            self.faults.add(self.root, f"is not a path: {error}")

    def warn(self, warned: set[str]) -> None:
        """Name what was left alone: other files once for each path, links once for each set of links."""
        links = f"{self.root}: {self.links}"
        if self.left and self.root not in warned:
            why = "left alone, not taken by name"
            log.warning("%s: %s: %s; name a file to take it", self.root, why, _few(self.left))
        if self.links and links not in warned:
            why = "links not followed, because they lead out of the configured folders or to nothing"
            log.warning("%s: %s: %s; add the target to `paths` to read it", self.root, why, _few(self.links))
        warned.update((*((self.root,) if self.left else ()), *((links,) if self.links else ())))

    def _walk(self, folder: Path, seen: set[str]) -> Iterator[Path]:
        """The files below a folder. `seen` holds the real paths of the folders that links have led to."""
        for parent, folders, names in os.walk(folder, onerror=self._unreadable):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            for path in (Path(parent, name) for name in folders):
                if path.is_symlink() and self._inside(path) and os.path.realpath(path) not in seen:
                    seen.add(os.path.realpath(path))
                    yield from self._walk(path, seen)
            for name in sorted(n for n in names if not n.startswith(".")):
                path = Path(parent, name)
                if self.beside and self.beside.search(name):
                    continue
                if not self.wanted.search(name):
                    self.left.append(str(path.relative_to(Path(self.root).expanduser())))
                elif self._inside(path) and self._readable(path):
                    yield path

    def _matched(self, pattern: Path) -> Iterator[Path]:
        matches = sorted(map(Path, glob.glob(str(pattern), recursive=True)))  # noqa: PTH207 - may be absolute
        for parent in pattern.parents:  # a folder that cannot be read matches nothing
            for folder in glob.glob(str(parent), recursive=True):  # noqa: PTH207
                if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):  # noqa: PTH112
                    self._unreadable(PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder))
            if not glob.has_magic(str(parent)):
                break
        if not matches:
            raise FileNotFoundError
        for path in matches:
            if not path.is_dir() and self._inside(path) and self._readable(path):
                yield path

    def _unreadable(self, error: OSError) -> None:
        self.faults.add(error.filename or self.root, error)

    def _inside(self, path: Path) -> bool:
        """Whether a path that was found leads to a target that may be read.

        A link that leads out or to nothing is noted. A link to a pipe, socket or device is a fault, as these are.
        """
        real = os.path.realpath(path)
        if any(f"{real}/".startswith(f"{folder.rstrip('/')}/") for folder in self.inside):
            if os.path.lexists(real):
                return True
            if not path.is_symlink():
                return False  # rotated meanwhile
        try:
            reason = "" if os.path.isdir(real) else irregular(os.stat(real).st_mode)  # noqa: PTH112, PTH116
        except OSError:
            reason = ""
        if reason:
            self.faults.add(path, f"leads to {real}, which {reason}")
        else:
            self.links.append(f"{path} -> {real}")
        return False

    def _readable(self, path: Path) -> bool:
        """Whether a path leads to a regular file that may be read. If not, that is a fault."""
        try:
            if reason := irregular(path.stat().st_mode):
                self.faults.add(path, reason)
                return False
        except OSError as error:
            if not isinstance(error, FileNotFoundError) or path.is_symlink():
                self.faults.add(path, error)
            return False
        if not os.access(path, os.R_OK):
            self._unreadable(PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)))
            return False
        return True


def irregular(mode: int) -> str:
    """What a file is if it is not a regular file, as a reason; empty for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    kind = next((kind for test, kind in _KINDS if test(mode)), "a special file")
    return f"is {kind}, not a regular file; write the data to a file, and name that file"


def _fixed(root: str) -> str:
    """The real path of the part of a configured path that contains no wildcard."""
    try:
        path = Path(root).expanduser()
        return os.path.realpath(next(p for p in (path, *path.parents) if not glob.has_magic(str(p))))
    except (OSError, ValueError, RuntimeError, StopIteration):
        return root  # no path; the search reports it


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return _printable(", ".join(names[:_SHOWN])) + more


def _printable(text: str) -> str:
    """A text of one line, whatever names somebody gave to files."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
