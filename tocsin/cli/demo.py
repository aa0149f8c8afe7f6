"""`tocsin demo`."""

from __future__ import annotations

from pathlib import Path

import click

from tocsin.cli.output import Exit


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default="tocsin-demo",
    show_default=True,
    help="Where the store, the sources and report.html go.",
)
@click.option(
    "--cluster",
    default="",
    envvar="TOCSIN_STORE_URL",
    metavar="URL",
    help="An Elasticsearch to keep it in, in a namespace of its own; left out: a folder.",
)
@click.option("--seed", default=1, show_default=True, help="Another seed, another story.")
@click.pass_context
def demo(ctx: click.Context, directory: Path, cluster: str, seed: int) -> None:
    """Live through a lender's twelve weeks and four attacks, on real data, and write a report."""
    from tocsin.demo.show import tell

    if not tell(directory, seed, cluster):
        ctx.exit(Exit.FAILED)


COMMANDS = (demo,)
