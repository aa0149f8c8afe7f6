"""Writes the pages that follow from the code; with --check it only says which are out of date."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tocsin.cli.main import tocsin as commands
from tocsin.clock import format_length
from tocsin.config import discovery
from tocsin.config.sections import SECTIONS
from tocsin.contract import atlas
from tocsin.contract.plugin import KINDS, Detector, Plugin
from tocsin.contract.streams import STREAMS
from tocsin.contract.views import VIEWS

HERE = Path(__file__).parent
_NOTE = "<!-- Written by docs/generate.py from the code; `make docs` writes it anew. -->\n"


def streams() -> Iterator[str]:
    """docs/streams.md."""
    yield "# Streams\n"
    yield (
        "Column names are dotted ECS 9.4 names; Tocsin's own stand under `tocsin.`. Events may be nested or dotted. "
        "Fields that a stream does not name are kept in `tocsin.unmapped`. Collectors write the first "
        "five; the others are what Tocsin itself says and does.\n"
    )
    for stream in STREAMS.values():
        yield f"## {stream.name}\n\n{stream.doc} Kept {stream.retention}, unless `store.retention` says otherwise.\n"
        yield "| column | type | what it is |\n|---|---|---|"
        for column in stream.columns:
            needed = " **Required.**" if column.required else ""
            yield f"| `{column.name}` | {column.type.value} | {column.doc}{needed} |"
        yield f"\n```json\n{json.dumps(dict(stream.example), indent=2, ensure_ascii=False)}\n```\n"
    yield "## What dashboards see of the keyed state\n"
    yield "On a cluster only; read them by their aliases.\n"
    for view in VIEWS.values():
        yield f"### {view.alias('<namespace>')}\n\n{view.doc}"
        yield f"Its time is `{view.active}`, a range: from when to when it was active.\n"
        yield "| column | type | what it is |\n|---|---|---|"
        yield from (f"| `{c.name}` | {c.type.value} | {c.doc} |" for c in view.columns)
        yield ""


def configuration() -> Iterator[str]:
    """docs/configuration.md."""
    yield "# Configuration\n"
    yield (
        "`tocsin init` writes a commented `tocsin.yaml`, `tocsin check` checks it. It is read from `--config`, else "
        "`$TOCSIN_CONFIG`, else `./tocsin.yaml`, else everything has its default. A key that does not exist is an error "
        "with its line. Secrets are named as `{env: NAME}` or `{file: PATH}` and never stand in the file.\n"
    )
    for heading, section in SECTIONS.items():
        yield f"## {heading}\n\n{inspect.cleandoc(section.__doc__ or '')}\n"
        yield from _settings(section)
    yield "The settings of collectors, detectors and receivers are in [plugins.md](plugins.md).\n"


def plugins() -> Iterator[str]:
    """docs/plugins.md."""
    yield "# Catalogue of plug-ins\n"
    yield f"From their docstrings. Techniques are those of MITRE ATLAS {atlas.version()}.\n"
    catalogue = discovery.discover()
    for kind in KINDS:
        yield f"## {kind.__name__}s\n"
        for id, plugin in catalogue.of(kind).items():
            if plugin.__module__.startswith("tocsin_") and _ours(plugin):
                yield from _plugin(id, plugin)


def _ours(plugin: type[Plugin[Any]]) -> bool:
    package = plugin.__module__.partition(".")[0]
    return package in {"tocsin_collectors", "tocsin_detectors", "tocsin_alerting"}


def _plugin(id: str, plugin: type[Plugin[Any]]) -> Iterator[str]:
    yield f"### {id}\n\n*{plugin.stability.value}*\n"
    if issubclass(plugin, Detector):
        requires = getattr(plugin, "requires", None)
        if requires is not None:
            lengths = [f"window {format_length(requires.window)}"]
            lengths += [f"baseline {format_length(requires.baseline)}"] if requires.baseline else []
            lengths += [f"history {format_length(requires.history)}"] if requires.history else []
            yield f"Reads {', '.join(requires.streams)}; {', '.join(lengths)}; playbook `{plugin.playbook}`.\n"
        for technique in plugin.atlas:
            yield f"- {technique} {atlas.name(technique)}"
        yield ""
    yield _docstring(plugin)
    yield from _settings(plugin.params_type())


def _docstring(plugin: type[Plugin[Any]]) -> str:
    lines = inspect.cleandoc(plugin.__doc__ or "").splitlines()
    said = []
    for at, line in enumerate(lines):
        below = at + 1 < len(lines) and lines[at + 1].startswith("    ")
        said.append(f"\n**{line}**\n" if below and line and not line.startswith(" ") else line.strip())
    return "\n".join(said) + "\n"


def _settings(type_: type[Any]) -> Iterator[str]:
    fields = dataclasses.fields(type_)
    if not fields:
        return
    yield "| setting | default | what it is |\n|---|---|---|"
    for item in fields:
        if item.default_factory is not dataclasses.MISSING:
            default = json.dumps(item.default_factory())
        elif item.default is dataclasses.MISSING:
            default = "needed"
        else:
            default = json.dumps(item.default, default=str)
        bounds = "".join(
            f" {word} {item.metadata[key]}"
            for key, word in (("ge", "≥"), ("le", "≤"))
            if item.metadata.get(key) is not None
        )
        choices = f" One of {', '.join(item.metadata['choices'])}." if item.metadata.get("choices") else ""
        yield f"| `{item.name}` | `{default}` | {item.metadata.get('doc', '')}{bounds}.{choices} |"
    yield ""


def command_line() -> Iterator[str]:
    """docs/commands.md."""
    yield "# Commands\n"
    yield (
        "Exit codes: 0 done, 1 failed, 2 wrong use or configuration, 3 a finding at or above `--fail-on`. Times are UTC. "
        "Every list has `--json`, one object a line.\n"
    )
    for name, command in _walk("tocsin", commands):
        context = click.Context(command, info_name=name, terminal_width=100)
        yield f"## {name}\n\n```\n{command.get_help(context)}\n```\n"


def _walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for word, child in sorted(command.commands.items()):
            yield from _walk(f"{name} {word}", child)


PAGES = {
    "streams.md": streams,
    "configuration.md": configuration,
    "plugins.md": plugins,
    "commands.md": command_line,
}


def main() -> int:
    """Write the pages, or with --check compare them."""
    stale = []
    for name, make in PAGES.items():
        text = _NOTE + "\n" + "\n".join(make()).rstrip() + "\n"
        path = HERE / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text)
    words = "out of date; run `make docs`" if "--check" in sys.argv else "written"
    print("\n".join(f"docs/{name}: {words}" for name in stale) or "docs: up to date")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
