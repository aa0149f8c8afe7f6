"""Writes the documentation pages that are generated from the code. With --check, it only reports outdated pages."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import textwrap
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
from tocsin.contract.streams import SOURCES, STREAMS
from tocsin.contract.views import VIEWS

HERE = Path(__file__).parent
_NOTE = "<!-- Generated from the code by docs/generate.py. Do not edit; run `make docs` instead. -->\n"


def streams() -> Iterator[str]:
    """docs/streams.md."""
    yield "# Streams\n"
    yield _wrapped(
        "A stream is a named, append-only series of events with one schema. Column names are dotted ECS 9.4 names; "
        "Tocsin's own columns begin with `tocsin.`. Collected events may have nested or dotted fields. Fields that a "
        "stream does not define are stored in `tocsin.unmapped`.\n"
    )
    written = ", ".join(f"`{name}`" for name in SOURCES)
    yield f"Collectors append to {written}. Tocsin itself writes the other streams.\n"
    for stream in STREAMS.values():
        yield f"## {stream.name}\n"
        yield _wrapped(f"{stream.doc} Default retention: {stream.retention} (setting `store.retention`).\n")
        yield "| column | type | description |\n|---|---|---|"
        for column in stream.columns:
            needed = " **Required.**" if column.required else ""
            yield f"| `{column.name}` | {column.type.value} | {column.doc}.{needed} |"
        yield f"\n```json\n{json.dumps(dict(stream.example), indent=2, ensure_ascii=False)}\n```\n"
    yield "## Views of alerts and incidents\n"
    yield _wrapped(
        "The keyed state holds the current alerts and incidents. On an Elasticsearch cluster, dashboards read them "
        "through the following aliases. A dashboard shows the records that were active at any time within the dashboard's "
        "time range. The embedded store has no views.\n"
    )
    for view in VIEWS.values():
        yield f"### {view.alias('<namespace>')}\n\n{view.doc}"
        yield f"The column `{view.active}` (a date range) is the time during which the record is active.\n"
        yield "| column | type | description |\n|---|---|---|"
        yield from (f"| `{c.name}` | {c.type.value} | {c.doc}. |" for c in view.columns)
        yield ""


def _wrapped(paragraph: str) -> str:
    """A paragraph with lines of at most 140 characters, and an empty line after it."""
    return textwrap.fill(paragraph, 140, break_long_words=False, break_on_hyphens=False) + "\n"


def configuration() -> Iterator[str]:
    """docs/configuration.md."""
    yield "# Configuration\n"
    yield (
        "`tocsin init` writes a `tocsin.yaml` with comments, and `tocsin check` validates it. Tocsin reads the file that "
        "the option `--config` names. Without the option, it reads the file that the environment variable "
        "`TOCSIN_CONFIG` names, and without the variable the file `tocsin.yaml` in the current folder. Without a file, all "
        "settings have their defaults. An unknown key is an error. The error message names the line of the key.\n"
    )
    yield (
        "Environment variables replace sections that the file does not contain: `TOCSIN_NAMESPACE` sets `namespace`, "
        "`TOCSIN_STORE_URL` sets `store` to the Elasticsearch cluster at this URL (several URLs are separated by commas), "
        "and `TOCSIN_GRAFANA_URL` with `TOCSIN_GRAFANA_TOKEN` sets `grafana`.\n"
    )
    yield (
        "The file contains no secrets. A setting refers to a secret with `{env: NAME}` (an environment variable) or "
        "`{file: PATH}`; a secret itself in place of the reference is an error. Write lengths of time like `30s`, `5m`, "
        "`1h`, `14d` or `2w`, and sizes like `512MiB` or `4GiB`.\n"
    )
    for heading, section in SECTIONS.items():
        yield f"## {heading}\n\n{inspect.cleandoc(section.__doc__ or '')}\n"
        yield from _settings(section)
    yield "The settings of collectors, detectors and receivers are in [plugins.md](plugins.md).\n"


def plugins() -> Iterator[str]:
    """docs/plugins.md."""
    yield "# Catalogue of plug-ins\n"
    yield (
        "Every built-in collector, detector and receiver with its settings, generated from the docstrings. Techniques "
        f"are from MITRE ATLAS {atlas.version()}.\n"
    )
    for kind in KINDS:
        yield f"## {kind.__name__}s\n"
        if kind is Detector:
            yield "Each detector has a separate page.\n\n| detector | finds | stability |\n|---|---|---|"
        for id, plugin in _built_in(kind).items():
            if kind is Detector:
                says = inspect.cleandoc(plugin.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
                yield f"| [{id}](detectors/{id}.md) | {says} | {plugin.stability.value} |"
            else:
                yield f"### {id}\n\n*{plugin.stability.value}*\n\n{_docstring(plugin)}"
                yield from _settings(plugin.params_type())
        yield ""


def _built_in(kind: type[Plugin[Any]]) -> dict[str, type[Plugin[Any]]]:
    packages = {"tocsin_collectors", "tocsin_detectors", "tocsin_alerting"}
    found = discovery.discover().of(kind).items()
    return {id: plugin for id, plugin in found if plugin.__module__.partition(".")[0] in packages}


def detector(id: str, plugin: type[Detector[Any]]) -> Iterator[str]:
    """docs/detectors/<id>.md."""
    requires = plugin.requires
    lengths = {"window": requires.window, "baseline": requires.baseline, "history": requires.history}
    yield f"# {id}\n\n*{plugin.stability.value}*\n\n{_docstring(plugin)}"
    yield "## Facts\n\n| fact | value |\n|---|---|"
    yield f"| streams | {', '.join(f'[{name}](../streams.md#{name})' for name in requires.streams)} |"
    for name, length in lengths.items():
        yield f"| {name} | {format_length(length) if length else 'none'} |"
    yield f"| early evaluation | {_early(plugin)} |"
    yield f"| severities | {_severities(plugin)} |"
    yield f"| playbook | `{plugin.playbook}` |"
    yield f"| ATLAS techniques | {'; '.join(f'{t} {atlas.name(t)}' for t in plugin.atlas)} |"
    yield "| measured | [benchmarks](../../benchmarks/README.md) |\n"
    yield "## Settings\n"
    yield from _settings(plugin.params_type())
    yield "All detectors have the settings of `detectors.<id>` in [configuration.md](../configuration.md), too.\n"


def _early(plugin: type[Detector[Any]]) -> str:
    early = plugin.early
    if early is None:
        return "no: the window is judged when it has ended"
    of = f" of a value of `{early.by}`" if early.by else ""
    return f"yes, from {early.rows:,} row{'s' * (early.rows != 1)}{of} on"


def _severities(plugin: type[Detector[Any]]) -> str:
    table = plugin.table()
    words = ", ".join(f"{severity} from {least:.3g}" for severity, least in reversed([*table.worst_first()]))
    return f"{words} times the threshold on: {f'calibrated, {plugin.tail} tail' if plugin.tail else 'not calibrated'}"


def _docstring(plugin: type[Plugin[Any]]) -> str:
    """The docstring as Markdown: a line before an indented one is a heading."""
    lines = inspect.cleandoc(plugin.__doc__ or "").splitlines()
    found: list[str] = []
    for number, line in enumerate(lines):
        is_heading = number + 1 < len(lines) and lines[number + 1].startswith("    ")
        if is_heading and line and not line.startswith(" "):
            found += [""] * bool(found and found[-1]) + [f"## {line}", ""]
        else:
            found.append(line.strip())
    return "\n".join(found) + "\n"


def _settings(type_: type[Any]) -> Iterator[str]:
    fields = dataclasses.fields(type_)
    if not fields:
        return
    yield "| setting | default | description |\n|---|---|---|"
    for item in fields:
        if item.default_factory is not dataclasses.MISSING:
            default = json.dumps(item.default_factory())
        elif item.default is dataclasses.MISSING:
            default = "required"
        else:
            default = json.dumps(item.default, default=str)
        bounds = "".join(
            f" {word} {item.metadata[key]}."
            for key, word in (("ge", "Minimum"), ("le", "Maximum"))
            if item.metadata.get(key) is not None
        )
        choices = f" One of {', '.join(item.metadata['choices'])}." if item.metadata.get("choices") else ""
        yield f"| `{item.name}` | `{default}` | {item.metadata.get('doc', '')}.{bounds}{choices} |"
    yield ""


def command_line() -> Iterator[str]:
    """docs/commands.md."""
    yield "# Commands\n"
    yield _wrapped(
        "Every command and its options. Every command that prints a list has the option `--json`, which prints one JSON "
        "object on each line.\n"
    )
    yield _wrapped(
        "A TIME is written like `2026-11-23` or `2026-11-23T06:00:00Z`. A time without a zone is UTC. With `--from` and "
        "`--to`, a command that works on windows covers every window that overlaps this time.\n"
    )
    yield "| exit code | meaning |\n|---|---|"
    yield "| 0 | success |"
    yield "| 1 | failure, or the condition that the command's description names (such as a difference in `diff`) |"
    yield "| 2 | wrong usage or configuration |"
    yield "| 3 | a finding at or above the severity of `--fail-on`, or a gap with `--fail-on-gap` |\n"
    for name, command in _walk("tocsin", commands):
        context = click.Context(command, info_name=name, terminal_width=100)
        yield f"## {name}\n\n```\n{command.get_help(context)}\n```\n"


def _walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for word, child in sorted(command.commands.items()):
            yield from _walk(f"{name} {word}", child)


def pages() -> dict[str, Iterator[str]]:
    """The lines of every page, by its path below this folder."""
    found = {
        "streams.md": streams(),
        "configuration.md": configuration(),
        "plugins.md": plugins(),
        "commands.md": command_line(),
    }
    return found | {
        f"detectors/{id}.md": detector(id, made)
        for id, made in _built_in(Detector).items()
        if issubclass(made, Detector)
    }


def main() -> int:
    """Write the pages; with --check, compare them with the files."""
    stale, made = [], pages()
    for name, lines in made.items():
        text = _NOTE + "\n" + "\n".join(lines).rstrip() + "\n"
        path = HERE / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
    words = "out of date; run `make docs`" if "--check" in sys.argv else "written"
    print("\n".join(f"docs/{name}: {words}" for name in stale) or "docs: up to date")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
