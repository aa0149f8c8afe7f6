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
    help="Folder for the store, the sources and report.html.",
)
@click.option(
    "--cluster",
    default="",
    envvar="TOCSIN_STORE_URL",
    metavar="URL",
    help="Elasticsearch cluster to store the data in, in a separate namespace. Default: the folder of --dir.",
)
@click.option(
    "--seed",
    default=1,
    show_default=True,
    help="Seed of the random numbers. A different seed generates different events.",
)
@click.pass_context
def demo(ctx: click.Context, directory: Path, cluster: str, seed: int) -> None:
    """Simulate twelve weeks at a lender with three attacks and a drift, and write a report.

    The loan applications come from a public data set; the events and attacks are simulated.
    """
    from tocsin.demo.show import run_demo

    if not run_demo(directory, seed, cluster):
        ctx.exit(Exit.FAILED)


COMMANDS = (demo,)
