"""`tocsin plugins`: list, new, check."""

from __future__ import annotations

from pathlib import Path

import click

from tocsin.cli.context import open_app
from tocsin.cli.output import Exit, json_option, show

_COLUMNS = ("kind", "id", "stability", "module", "says")


@click.group()
def plugins() -> None:
    """Collectors, detectors and receivers, yours and ours."""


@plugins.command(name="list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List every plug-in that is installed."""
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
    show(rows, _COLUMNS, as_json=as_json, empty="no plug-in is installed")
    for module, why in catalogue.failures.items():
        click.echo(f"warning: {module} cannot be imported: {why}", err=True)


@plugins.command()
@click.argument("kind", type=click.Choice(["detector"]))
@click.argument("name")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    help="Where to put it.",
)
def new(kind: str, name: str, directory: Path) -> None:  # noqa: ARG001 — one kind so far
    """Write a working package with one detector called NAME (lower_snake_case), its cases and a README."""
    from tocsin.testing.template import write

    folder = write(name, directory)
    click.echo(f"wrote {folder}\n\n  tocsin plugins check {folder}\n  pip install -e {folder}")


@plugins.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@json_option
@click.pass_context
def check(ctx: click.Context, path: Path, as_json: bool) -> None:
    """Run the conformance checks on the plug-ins of PATH: a package's folder, or one file."""
    from tocsin.testing.package import run_checks

    rows = list(run_checks(path))
    show(rows, ("plugin", "check", "outcome", "why"), as_json=as_json, empty="no plug-in was found")
    failed = sum(row["outcome"] == "failed" for row in rows)
    if not as_json:
        click.echo(f"{len(rows) - failed} of {len(rows)} checks passed")
    if failed or not rows:
        ctx.exit(Exit.FAILED)


COMMANDS = (plugins,)
