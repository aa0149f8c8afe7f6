"""`tocsin plugins`: list, new, check."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from tocsin.cli.context import open_app
from tocsin.cli.output import Exit, json_option, say, show
from tocsin.cli.tables import Column
from tocsin.cli.values import plural

_PLUGIN = (
    Column("kind"),
    Column("id"),
    Column("stability"),
    Column("module", minor=True),
    Column("says", "description", sentence=True),
)
_CHECK = (Column("outcome"), Column("plugin"), Column("check"), Column("why", "reason", sentence=True))


@click.group()
def plugins() -> None:
    """List, write and check plug-ins: collectors, detectors and receivers."""


@plugins.command(name="list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List the installed plug-ins."""
    catalogue = open_app(ctx).catalogue
    rows = [
        {
            "kind": kind.__name__.lower(),
            "id": id,
            "stability": plugin.stability.value,
            "module": plugin.__module__,
            "says": (plugin.__doc__ or "").strip().partition("\n")[0],
        }
        for (kind, id), plugin in sorted(catalogue.plugins.items(), key=lambda p: (p[0][0].__name__, p[0][1]))
    ]
    show(rows, _PLUGIN, as_json=as_json, empty="no plug-in is installed")
    for module, why in catalogue.failures.items():
        say(f"warning: {module} cannot be imported: {why}", err=True)


@plugins.command()
@click.argument("kind", type=click.Choice(["detector"]))
@click.argument("name")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    help="Folder to write the package to.",
)
def new(kind: str, name: str, directory: Path) -> None:  # noqa: ARG001 — one kind so far
    """Write a working package with one detector called NAME (lower_snake_case), its cases and a README."""
    from tocsin.testing.template import write

    folder = write(name, directory)
    say(f"wrote {folder}\n\n  tocsin plugins check {folder}\n  pip install -e {folder}")


@plugins.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--traceback", is_flag=True, help="Print the traceback of each check in which a plug-in raised."
)
@json_option
@click.pass_context
def check(ctx: click.Context, path: Path, traceback: bool, as_json: bool) -> None:
    """Run the conformance checks on the plug-ins of PATH: a package's folder, or one file.

    For the tracebacks of attempts that failed in operation, see `tocsin runs --outcome failed --traceback`.
    """
    from tocsin.testing.package import run_checks

    rows = list(run_checks(path))
    show(rows, _CHECK, as_json=as_json, empty="no plug-in was found")
    failed = sum(row["outcome"] == "failed" for row in rows)
    if not as_json:
        for row in rows:
            if traceback and row["traceback"]:
                say(f"\n{row['plugin']}, {row['check']}:\n{row['traceback']}")
        counts = Counter(row["outcome"] for row in rows)
        skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
        say(f"{counts['passed']} of {plural(len(rows), 'check')} passed, {failed} failed{skipped}")
    if failed or not rows:
        ctx.exit(Exit.FAILED)


COMMANDS = (plugins,)
