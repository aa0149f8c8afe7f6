"""Discovery of plug-ins: imports all public modules of each package in the entry-point group `tocsin.plugins`.

A new file in an installed package is found without a reinstall. A module that fails to import is reported in
`Catalogue.failures`; the plug-ins of all other modules are still available.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, TypeVar

from tocsin.contract.plugin import KINDS, Plugin
from tocsin.errors import PluginError, described

GROUP = "tocsin.plugins"
K = TypeVar("K", bound=Plugin[Any])


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The plug-ins that were found, by kind and id, and the modules that failed to import, with the reason."""

    plugins: Mapping[tuple[type[Plugin[Any]], str], type[Plugin[Any]]]
    failures: Mapping[str, str] = field(default_factory=dict)

    def of(self, kind: type[K]) -> dict[str, type[K]]:
        """All plug-ins of a kind by id, sorted by id."""
        found = {i: p for (k, i), p in self.plugins.items() if k is kind and issubclass(p, kind)}
        return dict(sorted(found.items()))

    def get(self, kind: type[K], id: str) -> type[K]:
        """The plug-in with this kind and id.

        Raises:
            PluginError: no such plug-in exists, or its module failed to import.
        """
        found = self.of(kind)
        if id in found:
            return found[id]
        broken = [f"{module}: {why}" for module, why in self.failures.items() if module.endswith(f".{id}")]
        known = ", ".join(found) or "none"
        raise PluginError(id, broken[0] if broken else f"no such {kind.__name__.lower()}; known: {known}")


def discover(group: str = GROUP) -> Catalogue:
    """Import every package in the entry-point group and return its plug-ins.

    Raises:
        PluginError: two plug-ins of one kind have the same id.
    """
    packages = sorted({point.value for point in entry_points(group=group)})
    return collect(packages)


def collect(packages: list[str]) -> Catalogue:
    """Import these packages or modules and return their plug-ins.

    Raises:
        PluginError: two plug-ins of one kind have the same id.
    """
    plugins: dict[tuple[type[Plugin[Any]], str], type[Plugin[Any]]] = {}
    failures: dict[str, str] = {}
    for package in packages:
        for module in _modules(package, failures):
            for kind, plugin in _declared(module):
                other = plugins.setdefault((kind, plugin.id), plugin)
                if other is not plugin:
                    raise PluginError(
                        plugin.id,
                        f"the {kind.__name__.lower()} is declared in {other.__module__} and in {module.__name__}; "
                        "change the id of one of them",
                    )
    return Catalogue(plugins, failures)


def _modules(package: str, failures: dict[str, str]) -> Iterator[ModuleType]:
    root = _import(package, failures)
    if root is None:
        return
    yield root
    for info in pkgutil.walk_packages(getattr(root, "__path__", ()), f"{package}."):
        if not info.name.rpartition(".")[2].startswith("_"):
            module = _import(info.name, failures)
            if module is not None:
                yield module


def _import(name: str, failures: dict[str, str]) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except BaseException as error:  # noqa: BLE001 — importing a plug-in may raise anything
        failures[name] = described(error)
        return None


def _declared(module: ModuleType) -> Iterator[tuple[type[Plugin[Any]], type[Plugin[Any]]]]:
    for _, member in inspect.getmembers(module, inspect.isclass):
        if member.__module__ != module.__name__ or inspect.isabstract(member):
            continue
        for kind in KINDS:
            if issubclass(member, kind) and "id" in vars(member):
                yield kind, member
