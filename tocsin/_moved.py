"""Modules that moved in 0.2. Importing an old path still works in 0.2, with a warning. Delete this file in 0.3."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_CONTRACT = (
    "alerts",
    "atlas",
    "evaluation",
    "findings",
    "frames",
    "incidents",
    "panels",
    "plugin",
    "query",
    "streams",
    "views",
    "windows",
)
#: Old path to new path.
MOVED = {f"tocsin.{name}": f"tocsin.contract.{name}" for name in _CONTRACT} | {
    "tocsin.digest": "tocsin.datasets.digest",
    "tocsin.tables": "tocsin.datasets.tables",
    "tocsin.discovery": "tocsin.config.discovery",
    "tocsin.params": "tocsin.config.params",
    "tocsin.secret": "tocsin.config.secret",
    "tocsin.routes": "tocsin_alerting.routes",
    "tocsin.recorder": "tocsin_recorder.recorder",
    "tocsin.app": "tocsin.worker.app",
}


class _OldPaths(MetaPathFinder, Loader):
    """Imports the module at the new path when the old path is imported."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the interface of importlib
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = MOVED[spec.name]
        warnings.warn(
            f"{spec.name} has moved; import {new} instead. Tocsin 0.3 removes the old path",
            DeprecationWarning,
            stacklevel=_importer(),
        )
        return ModuleType(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(MOVED[module.__name__])


def _importer() -> int:
    """The stack level of the import statement, for `warnings.warn`: the first frame outside importlib."""
    frame, level = sys._getframe(2), 2
    while frame.f_back and "importlib" in frame.f_code.co_filename:
        frame, level = frame.f_back, level + 1
    return level


def install() -> None:
    """Register the finder for old paths, after all other finders."""
    if not any(isinstance(finder, _OldPaths) for finder in sys.meta_path):
        sys.meta_path.append(_OldPaths())
