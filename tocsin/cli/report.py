"""`tocsin report`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli.context import open_app
from tocsin.cli.output import Time, in_order, progress

if TYPE_CHECKING:
    from tocsin.report.tell import Format


@click.command()
@click.option("--since", type=Time(), help="Tell from here on. Default: 30 days before the end.")
@click.option("--until", type=Time(), help="Tell of the time before this. Default: now.")
@click.option("--format", "format_", type=click.Choice(["html", "md"]), default="html", show_default=True,
              help="One page, or Markdown with a folder of pictures.")  # fmt: skip
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write it. Default: report.html or report.md here.",
)
@click.pass_context
def report(
    ctx: click.Context, since: datetime | None, until: datetime | None, format_: Format, output: Path | None
) -> None:
    """Tell a manager and an auditor what happened, with pictures: alerts, incidents, and what was looked at.

    Needs matplotlib: pip install 'tocsin[report]'.
    """
    from tocsin.report.tell import report as tell
    from tocsin.report.tell import write

    in_order(since, until, "--since", "--until")
    app = open_app(ctx)
    with progress("report") as say:
        document = tell(app, since, until, say)
    first, *pictures = write(document, output or Path(f"report.{format_}"), format_)
    click.echo(f"{document.verdict}.")
    click.echo(
        f"Report: {first}" + (f" and {len(pictures)} pictures in {pictures[0].parent}" if pictures else "")
    )


COMMANDS = (report,)
