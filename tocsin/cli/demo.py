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
    help="Store everything in this Elasticsearch, in a separate namespace. Default: in the folder.",
)
@click.option(
    "--seed",
    default=1,
    show_default=True,
    help="Seed of the random numbers; another seed makes other events.",
)
@click.pass_context
def demo(ctx: click.Context, directory: Path, cluster: str, seed: int) -> None:
    """Simulate a lender's twelve weeks with four attacks, on real data, and write a report."""
    from tocsin.demo.show import run_demo

    if not run_demo(directory, seed, cluster):
        ctx.exit(Exit.FAILED)


COMMANDS = (demo,)
