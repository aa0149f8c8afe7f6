"""Checks a plug-in package in its folder, installed or not."""

from __future__ import annotations

import importlib
import sys
import tomllib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tocsin.config import discovery
from tocsin.contract.plugin import Detector, Plugin
from tocsin.errors import PluginError, TocsinError
from tocsin.testing import cases as case_files
from tocsin.testing.checks import CheckError, checks

_FOREIGN = (Path(__file__).parents[1], Path(importlib.__file__).parent)


def run_checks(path: Path) -> Iterator[dict[str, str]]:
    """Run every check on every plug-in of a package's folder or of one module file.

    Yields:
        plugin, check, outcome (passed, failed or skipped), why, and traceback if the plug-in raised.

    Raises:
        PluginError: the folder has no plug-in, or one cannot be imported; its cause is the error of the import.
    """
    for plugin, folder in _plugins(path.resolve()):
        cases, problem = [], ""
        if issubclass(plugin, Detector):
            file = case_file(folder, plugin.id)
            try:
                cases = [] if file is None else case_files.load(file)
            except TocsinError as error:
                problem = str(error)
        if problem:
            yield {
                "plugin": plugin.id,
                "check": "cases",
                "outcome": "failed",
                "why": problem,
                "traceback": "",
            }
        for check in checks(plugin, cases, playbooks()):
            yield {"plugin": plugin.id, "check": check.name, **_outcome(check.run, check.skipped)}


def _outcome(run: Any, skipped: str) -> dict[str, str]:
    if skipped:
        return {"outcome": "skipped", "why": skipped, "traceback": ""}
    try:
        run()
    except CheckError as error:
        return {"outcome": "failed", "why": str(error), "traceback": ""}
    except (Exception, SystemExit) as error:  # noqa: BLE001 — the fence around plug-in calls: reported to the author
        return {"outcome": "failed", "why": described(error), "traceback": trace(error)}
    return {"outcome": "passed", "why": "", "traceback": ""}


def described(error: BaseException) -> str:
    """An error as one line: its type, its message, and the line of the plug-in that raised it."""
    if isinstance(error, TocsinError):
        return str(error)
    first = str(error).partition("\n")[0]
    files = [(Path(f.filename), f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    own = [(file, line) for file, line in files if not _is_foreign(file)]
    place = f" ({own[-1][0].name}:{own[-1][1]})" if own else ""
    return f"{type(error).__name__}: {first}{place}"


def trace(error: BaseException) -> str:
    """The traceback of an error from the first line of the plug-in; empty if Tocsin itself raised it on purpose."""
    rest = error.__traceback__
    while rest is not None and _is_foreign(Path(rest.tb_frame.f_code.co_filename)):
        rest = rest.tb_next
    if rest is None and isinstance(error, TocsinError):
        return ""
    return "".join(traceback.format_exception(type(error), error, rest))


def _is_foreign(file: Path) -> bool:
    """Whether a file is no part of the plug-in: Tocsin's own, the import system's, or a library's."""
    return (
        "site-packages" in file.parts or str(file).startswith("<") or any(map(file.is_relative_to, _FOREIGN))
    )


def case_file(folder: Path, id: str) -> Path | None:
    """The case file of a plug-in: in its package, or in the folder of Tocsin's own tests."""
    places = (folder / "cases", folder / "tests" / "cases", folder.parent / "cases")
    return next((p for place in places if (p := place / f"{id}.yaml").exists()), None)


def playbooks() -> list[str]:
    """Ids of the playbooks that are installed."""
    from importlib.resources import files

    shipped = files("tocsin_alerting").joinpath("playbooks")
    return sorted(p.name.removesuffix(".yaml") for p in shipped.iterdir() if p.name.endswith(".yaml"))


def _plugins(path: Path) -> Iterator[tuple[type[Plugin[Any]], Path]]:
    folder = path if path.is_dir() else path.parent
    modules = _declared(folder) if path.is_dir() else [path.stem]
    for place in (folder, folder / "src"):
        if str(place) not in sys.path:
            sys.path.insert(0, str(place))
    catalogue = discovery.collect(modules)
    for module in catalogue.failures:
        raise _import_error(module, catalogue.failures[module])
    if not catalogue.plugins:
        raise PluginError(
            str(path),
            f"no plug-in in {', '.join(modules)}; a plug-in is a class with an `id` and the base "
            "Collector, Detector or Receiver",
        )
    for _, plugin in sorted(catalogue.plugins.items(), key=lambda item: item[0][1]):
        yield plugin, folder


def _import_error(module: str, why: str) -> PluginError:
    """The error of a module that could not be imported, with its cause: the import is tried again."""
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 — the fence around plug-in import: reported to the author
        found = PluginError(module, f"cannot be imported: {described(error)}")
        found.__cause__ = error
        return found
    return PluginError(module, f"cannot be imported at the first attempt, only at a second one: {why}")


def _declared(folder: Path) -> list[str]:
    file = folder / "pyproject.toml"
    if not file.exists():
        raise PluginError(
            str(folder), "has no pyproject.toml; name the plug-in's file, or the folder of its package"
        )
    try:
        project = tomllib.loads(file.read_text()).get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise PluginError(str(file), f"is not TOML: {error}") from None
    declared = project.get("entry-points", {}).get(discovery.GROUP, {})
    if not declared:
        raise PluginError(str(file), f'declares no plug-ins; add [project.entry-points."{discovery.GROUP}"]')
    return sorted(set(declared.values()))
