"""Checking a plug-in package as it lies in its folder, installed or not."""

from __future__ import annotations

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


def run_checks(path: Path) -> Iterator[dict[str, str]]:
    """Run every check on every plug-in of a package's folder or of one module file.

    Yields:
        plugin, check, outcome (passed, failed or skipped), why, and the traceback of a plug-in that raised.

    Raises:
        PluginError: there is no plug-in there, or one cannot be imported.
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
        trace = traceback.format_exc() if error.__cause__ else ""
        return {"outcome": "failed", "why": str(error), "traceback": trace}
    except (Exception, SystemExit) as error:  # noqa: BLE001 — the fence around plug-in calls: the row has the error
        why = f"{type(error).__name__}: {error}"
        return {"outcome": "failed", "why": why, "traceback": traceback.format_exc()}
    return {"outcome": "passed", "why": "", "traceback": ""}


def case_file(folder: Path, id: str) -> Path | None:
    """The case file of a plug-in, where a package or our own tests keep it."""
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
    for module, why in catalogue.failures.items():
        raise PluginError(module, f"cannot be imported: {why}")
    if not catalogue.plugins:
        raise PluginError(
            str(path), f"no plug-in in {', '.join(modules) or 'it'}; a class with an `id` and a kind as base"
        )
    for _, plugin in sorted(catalogue.plugins.items(), key=lambda item: item[0][1]):
        yield plugin, folder


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
