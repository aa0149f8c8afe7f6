"""Modules that moved in 0.2. An old path still imports, with a warning, until 0.3; then this file goes."""

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
    "tocsin.pipeline.ingest": "tocsin.pipeline.ingesting.ingest",
}


class _OldPaths(MetaPathFinder, Loader):
    """Finds a module under its old path: it is the module at the new one."""

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
            f"{spec.name} is now {new}; the old path ends with Tocsin 0.3",
            DeprecationWarning,
            stacklevel=2,  # the import statement: `warnings` does not count importlib's own frames
        )
        return ModuleType(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(MOVED[module.__name__])


def install() -> None:
    """Let old paths be found, after everything else was asked."""
    if not any(isinstance(finder, _OldPaths) for finder in sys.meta_path):
        sys.meta_path.append(_OldPaths())
