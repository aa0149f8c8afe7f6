"""`tocsin plugins`: list, new, check."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from tocsin.cli.context import open_app
from tocsin.cli.output import Exit, json_option, print_text, show
from tocsin.cli.tables import Column
from tocsin.errors import PluginError
from tocsin.words import count

_PLUGIN = (
    Column("kind"),
    Column("id"),
    Column("stability"),
    Column("module", minor=True),
    Column("says", "description", sentence=True),
)
_CHECK = (Column("outcome"), Column("plugin"), Column("check"), Column("why", "reason", sentence=True))
_HINT = "run it with --traceback to see the lines of the plug-in that led to the error"


@click.group()
def plugins() -> None:
    """List, create and check plug-ins: collectors, detectors and receivers."""


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
        print_text(f"warning: {module} cannot be imported: {why}", err=True)


@plugins.command()
@click.argument("kind", type=click.Choice(["collector", "detector", "receiver"]))
@click.argument("name")
@click.option(
    "--baseline",
    is_flag=True,
    help="Write a detector that is fitted on normal history, with a `fit` method and a calibrated threshold.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    help="Folder to create the package in. Default: the current folder.",
)
def new(kind: str, name: str, baseline: bool, directory: Path) -> None:
    """Create a working package with one plug-in called NAME (lower_snake_case).

    The package also has a README, and the cases of a detector or the tests of a collector or receiver.
    """
    from tocsin.testing.template import write

    if baseline and kind != "detector":
        raise click.UsageError(f"--baseline is for a detector; a {kind} has no baseline")
    folder = write(name, directory, kind, baseline=baseline)
    print_text(f"wrote {folder}\n\n  tocsin plugins check {folder}\n  pip install -e {folder}")


@plugins.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--traceback", "with_traceback", is_flag=True, help="Print the traceback of each error in a plug-in."
)
@json_option
@click.pass_context
def check(ctx: click.Context, path: Path, with_traceback: bool, as_json: bool) -> None:
    """Run the conformance checks on the plug-ins in PATH: the folder of a package, or one file.

    `tocsin runs --outcome failed --traceback` shows the tracebacks of evaluations that failed in operation.
    """
    from tocsin.testing.package import run_checks

    try:
        rows = list(run_checks(path))
    except PluginError as error:
        _report_import(error, with_traceback=with_traceback)
        ctx.exit(Exit.USAGE)
    show(rows, _CHECK, as_json=as_json, empty="no plug-in was found")
    traces = dict.fromkeys(row["traceback"] for row in rows if row["traceback"])  # each one once
    failed = sum(row["outcome"] == "failed" for row in rows)
    if not as_json:
        counts = Counter(row["outcome"] for row in rows)
        skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
        print_text(f"{counts['passed']} of {count(len(rows), 'check')} passed, {failed} failed{skipped}")
    for trace in traces if with_traceback else ():
        print_text(f"\n{trace}", err=True)
    if traces and not with_traceback:
        print_text(_HINT, err=True)
    if failed or not rows:
        ctx.exit(Exit.FAILED)


def _report_import(error: PluginError, *, with_traceback: bool) -> None:
    """Print why a package could not be checked; the traceback of the module that raised on request."""
    from tocsin.testing.package import trace

    if error.__cause__ is not None and with_traceback:
        print_text(trace(error.__cause__), err=True)
    print_text(f"error: {error}", err=True)
    if error.__cause__ is not None and not with_traceback:
        print_text(_HINT, err=True)


COMMANDS = (plugins,)
