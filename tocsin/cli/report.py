"""`tocsin report`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli.context import open_app
from tocsin.cli.output import Time, in_order, print_text, progress

if TYPE_CHECKING:
    from tocsin.report.build import Format


@click.command()
@click.option(
    "--since", type=Time(), help="Start of the time that the report covers. Default: 30 days before --until."
)
@click.option("--until", type=Time(), help="End of the time that the report covers. Default: now.")
@click.option("--format", "format_", type=click.Choice(["html", "md"]), default="html", show_default=True,
              help="One HTML page, or a Markdown file and a folder of charts.")  # fmt: skip
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write. Default: report.html or report.md in the current folder.",
)
@click.pass_context
def report(
    ctx: click.Context, since: datetime | None, until: datetime | None, format_: Format, output: Path | None
) -> None:
    """Write a report for managers and auditors: alerts, incidents and coverage, with charts.

    Requires matplotlib: pip install 'tocsin[report]'.
    """
    from tocsin.report.build import report as make
    from tocsin.report.build import write

    in_order(since, until, "--since", "--until")
    app = open_app(ctx)
    with progress("report") as at:
        document = make(app, since, until, at.detail)
    first, *pictures = write(document, output or Path(f"report.{format_}"), format_)
    print_text(f"{document.verdict}.")
    print_text(
        f"Report: {first}" + (f" and {len(pictures)} pictures in {pictures[0].parent}" if pictures else "")
    )


COMMANDS = (report,)
